//! `process.rlimits`.

use std::fs;

use nix::sys::resource::{Resource, setrlimit};
use serde_json::{Value, json};

use super::identity::facts;
use crate::harness::Bundle;
use crate::harness::users::remapped as in_user_namespace;
use crate::need;

/// Every limit of getrlimit(2), each a little below the caller's own.
const LIMITS: [(&str, u32); 16] = [
    ("RLIMIT_AS", libc::RLIMIT_AS),
    ("RLIMIT_CORE", libc::RLIMIT_CORE),
    ("RLIMIT_CPU", libc::RLIMIT_CPU),
    ("RLIMIT_DATA", libc::RLIMIT_DATA),
    ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE),
    ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS),
    ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK),
    ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE),
    ("RLIMIT_NICE", libc::RLIMIT_NICE),
    ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
    ("RLIMIT_NPROC", libc::RLIMIT_NPROC),
    ("RLIMIT_RSS", libc::RLIMIT_RSS),
    ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO),
    ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
    ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING),
    ("RLIMIT_STACK", libc::RLIMIT_STACK),
];

fn own_hard_limit(kind: u32) -> u64 {
    let mut own = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one struct, which outlives the call.
    unsafe { libc::getrlimit(kind, &mut own) };
    own.rlim_max
}

fn with_every_limit(bundle: Bundle) -> (Bundle, Vec<(&'static str, Value)>) {
    let wanted: Vec<(&str, u64, u64)> = LIMITS
        .iter()
        .map(|(name, kind)| {
            let hard = own_hard_limit(*kind).min(1 << 40);
            (*name, hard - hard / 8, hard)
        })
        .collect();
    let list: Vec<Value> = wanted
        .iter()
        .map(|(name, soft, hard)| json!({ "type": name, "soft": soft, "hard": hard }))
        .collect();
    let expected = wanted
        .iter()
        .map(|(name, soft, hard)| (*name, json!([soft, hard])))
        .collect();
    (bundle.edit(|c| c["process"]["rlimits"] = json!(list)), expected)
}

#[test]
fn rlimits_of_all_sixteen_types() {
    let (bundle, expected) = with_every_limit(Bundle::new());
    let facts = bundle.facts();
    for (name, values) in expected {
        assert_eq!(facts["rlimits"][name], values, "{name}");
    }
}

#[test]
fn rlimits_of_all_sixteen_types_in_a_user_namespace() {
    let (bundle, expected) = with_every_limit(in_user_namespace(Bundle::new()));
    let bundle = bundle.edit(|c| c["process"]["user"]["uid"] = json!(1000));
    let facts = bundle.facts();
    for (name, values) in expected {
        assert_eq!(facts["rlimits"][name], values, "{name}");
    }
}

/// Init lacks the privilege in the user namespace; the runtime has it.
#[test]
fn a_hard_limit_is_raised_in_a_user_namespace() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap();
    let permitted = u64::from_str_radix(permitted.trim(), 16).unwrap();
    need!(permitted >> 24 & 1 == 1, "CAP_SYS_RESOURCE");
    let bundle = in_user_namespace(Bundle::new())
        .edit(|c| c["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "soft": 4096, "hard": 8192 }]));
    let lower = || Ok(setrlimit(Resource::RLIMIT_CORE, 1024, 1024)?);
    let facts = bundle.run_cmd(&[]).before_exec(lower).run().ok().json();
    assert_eq!(facts["rlimits"]["RLIMIT_CORE"], json!([4096, 8192]));
}

/// A limit applies to the program, not to the runtime before it.
#[test]
fn a_tight_limit_does_not_prevent_create() {
    for bundle in [Bundle::new(), in_user_namespace(Bundle::new())] {
        let bundle = bundle.edit(|c| {
            c["process"]["rlimits"] = json!([
                { "type": "RLIMIT_NOFILE", "soft": 8, "hard": 8 },
                { "type": "RLIMIT_FSIZE", "soft": 1 << 20, "hard": 1 << 20 },
            ]);
        });
        assert_eq!(bundle.facts()["rlimits"]["RLIMIT_NOFILE"], json!([8, 8]));
    }
}

/// The same for the tightest limits and a process that joins: it forks and opens files before it becomes the user.
#[test]
fn the_tightest_limits_prevent_neither_start_nor_exec() {
    for (bundle, user) in [
        (Bundle::new(), 0),
        // A separate ID, because processes are counted by their user on the host.
        (Bundle::new(), 4711),
        (in_user_namespace(Bundle::new()), 0),
        (in_user_namespace(Bundle::new()), 4711),
    ] {
        // Only as many descriptors as there are standard streams: the program can open none.
        let bundle = bundle.args(["probe", "sleep"]).edit(|c| {
            c["process"]["user"] = json!({ "uid": user, "gid": user });
            c["process"]["cwd"] = json!("/etc");
            c["process"]["rlimits"] = json!([
                { "type": "RLIMIT_NOFILE", "soft": 3, "hard": 3 },
                { "type": "RLIMIT_NPROC", "soft": 2, "hard": 2 },
            ]);
        });
        fs::write(
            bundle.inside("/etc/passwd"),
            format!("someone:x:{user}:{user}::/home/someone:/bin/sh\n"),
        )
        .unwrap();
        let c = bundle.start();
        c.until("ready");
        let out = bundle
            .orlop(["exec", &c.id, "sh", "-c", "ulimit -n; ulimit -u; pwd; echo $HOME"])
            .run();
        assert_eq!(out.ok().stdout, "3\n2\n/etc\n/home/someone\n", "user {user}");
        c.kill("KILL");
        c.until_stopped();
        bundle.change(|c| c["process"]["args"] = json!(["sh", "-c", "ulimit -n; pwd; echo $HOME"]));
        assert_eq!(bundle.run().ok().stdout, "3\n/etc\n/home/someone\n", "user {user}");
        bundle.change(|c| {
            c["process"]["args"] = json!(["missing"]);
            c["process"]["rlimits"][1] = json!({ "type": "RLIMIT_NPROC", "soft": 1, "hard": 1 });
        });
        bundle.run().fails_with("executable file not found in $PATH");
        bundle.change(|c| c["process"]["args"] = json!(["true"]));
        bundle.run().ok();
    }
}

#[test]
fn a_limit_that_cannot_be_set_is_named() {
    for bundle in [Bundle::new(), in_user_namespace(Bundle::new())] {
        let bundle = bundle.args(["true"]).edit(|c| {
            c["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 1_u64 << 40 }]);
        });
        bundle.run().fails_with("process.rlimits[0] \"RLIMIT_NOFILE\"");
        bundle.assert_clean();
    }
}

/// By default SIGXFSZ would kill the runtime without a message (setrlimit(2), RLIMIT_FSIZE).
#[test]
fn a_too_low_file_size_limit_is_an_error_with_a_hint() {
    let bundle = Bundle::new().args(["true"]);
    for flags in [&["create"][..], &["run"]] {
        let id = bundle.fresh_id();
        let dir = bundle.dir().to_str().unwrap();
        let command = bundle.orlop([flags, &["--bundle", dir, &id]].concat());
        let output = command.through_shell("ulimit -f 1").run().fails_with("EFBIG");
        assert!(output.stderr.contains("ulimit -f"), "{output:#?}");
        bundle.assert_clean();
    }
}

#[test]
fn no_other_program_inherits_an_ignored_sigxfsz() {
    let shown = "grep SigIgn /proc/self/status";
    // A shell may ignore others.
    let ignores = |text: &str| -> Vec<bool> {
        let masks = text.lines().filter_map(|line| line.strip_prefix("SigIgn:\t"));
        masks
            .map(|mask| u64::from_str_radix(mask, 16).unwrap() >> (libc::SIGXFSZ - 1) & 1 == 1)
            .collect()
    };
    let bundle = Bundle::new()
        .sh(shown)
        .with_host_hook("createRuntime", &format!("{shown} >>$OUT"))
        .with_host_hook("poststop", &format!("{shown} >>$OUT"));
    fs::hard_link(bundle.inside("/bin/busybox"), bundle.inside("/bin/grep")).unwrap();
    assert_eq!(ignores(&bundle.run().ok().stdout), [false]);
    assert_eq!(
        ignores(&fs::read_to_string(bundle.path("hooks.log")).unwrap()),
        [false, false]
    );
    let bundle = bundle.args(["probe", "sleep"]);
    let c = bundle.start();
    let exec = bundle.orlop(["exec", &c.id, "sh", "-c", shown]).run().ok();
    assert_eq!(ignores(&exec.stdout), [false]);
}

#[test]
fn limits_are_set_and_others_are_unchanged() {
    let facts = facts();
    assert_eq!(facts["rlimits"]["RLIMIT_NOFILE"], json!([1024, 1024]));
    for (name, kind) in [
        ("RLIMIT_STACK", libc::RLIMIT_STACK),
        ("RLIMIT_CORE", libc::RLIMIT_CORE),
        ("RLIMIT_NPROC", libc::RLIMIT_NPROC),
    ] {
        let mut own = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: the kernel writes one struct, which outlives the call.
        unsafe { libc::getrlimit(kind, &mut own) };
        assert_eq!(facts["rlimits"][name], json!([own.rlim_cur, own.rlim_max]), "{name}");
    }
}

#[test]
fn a_limit_given_twice_is_refused() {
    let bundle = Bundle::new().edit(|c| {
        let limit = c["process"]["rlimits"][0].clone();
        c["process"]["rlimits"].as_array_mut().unwrap().push(limit);
    });
    bundle.run().fails_with("RLIMIT_NOFILE");
}
