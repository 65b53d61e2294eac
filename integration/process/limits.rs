//! Limits and identity in the corners: all resource limits, user namespaces, capabilities one set at a time, the
//! working directory of somebody else, the environment.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::{Value, json};

use crate::harness::Bundle;
use crate::namespaces::user::remapped as in_user_namespace;
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

/// Init lacks the privilege in there; the runtime has it.
#[test]
fn a_hard_limit_is_raised_in_a_user_namespace() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:")).unwrap();
    let permitted = u64::from_str_radix(permitted.trim(), 16).unwrap();
    need!(permitted >> 24 & 1 == 1, "CAP_SYS_RESOURCE");
    let bundle = in_user_namespace(Bundle::new())
        .edit(|c| c["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "soft": 4096, "hard": 8192 }]));
    let lower = || unsafe {
        let limit = libc::rlimit {
            rlim_cur: 1024,
            rlim_max: 1024,
        };
        libc::setrlimit(libc::RLIMIT_CORE, &limit);
        Ok(())
    };
    let facts = bundle.run_cmd(&[]).before_exec(lower).run().ok().json();
    assert_eq!(facts["rlimits"]["RLIMIT_CORE"], json!([4096, 8192]));
}

/// A limit is for the program, not for what the runtime does before.
#[test]
fn a_tight_limit_does_not_keep_the_container_from_being_made() {
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

/// Nor the tightest ones, for a process that joins: it is forked and opens files before it is the user's.
#[test]
fn the_tightest_limits_keep_nobody_from_starting_and_joining() {
    for (bundle, user) in [
        (Bundle::new(), 0),
        // Nobody else's, because processes are counted by their user on the host.
        (Bundle::new(), 4711),
        (in_user_namespace(Bundle::new()), 0),
        (in_user_namespace(Bundle::new()), 4711),
    ] {
        // As many descriptors as there are standard streams: the program can open none.
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

/// The file is nobody's that is mapped, so init cannot write it.
#[test]
fn oom_score_in_a_user_namespace() {
    let bundle = in_user_namespace(Bundle::new()).edit(|c| c["process"]["oomScoreAdj"] = json!(700));
    assert_eq!(bundle.facts()["oomScoreAdj"], 700);
}

fn caps(bundle: Bundle, sets: Value) -> (Value, String) {
    let out = bundle.edit(|c| c["process"]["capabilities"] = sets).run().ok();
    (out.json()["caps"].clone(), out.stderr)
}

#[test]
fn capabilities_of_each_set_alone() {
    for bundle in [Bundle::new as fn() -> Bundle, || in_user_namespace(Bundle::new())] {
        for set in ["bounding", "permitted", "inheritable"] {
            let (found, stderr) = caps(bundle(), json!({ set: ["CAP_CHOWN", "CAP_NET_RAW"] }));
            for other in ["bounding", "permitted", "inheritable", "effective", "ambient"] {
                let mut expected = json!([]);
                if other == set && set != "permitted" {
                    expected = json!(["CAP_CHOWN", "CAP_NET_RAW"]);
                }
                // What root may not get through its bounding set is gone after the execve, see capabilities(7).
                assert_eq!(found[other], expected, "{other} with {set} alone");
            }
            assert!(stderr.is_empty(), "{stderr}");
        }
    }
}

/// What the specification calls "cannot be granted otherwise".
#[test]
fn capabilities_that_cannot_be_granted_are_a_warning() {
    for bundle in [Bundle::new as fn() -> Bundle, || in_user_namespace(Bundle::new())] {
        let (found, stderr) = caps(
            bundle(),
            json!({
                "bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"],
                "effective": ["CAP_CHOWN", "CAP_KILL"], "ambient": ["CAP_CHOWN"],
            }),
        );
        assert_eq!(
            (&found["effective"], &found["ambient"]),
            (&json!(["CAP_CHOWN"]), &json!([]))
        );
        assert!(
            stderr.contains("process.capabilities.effective") && stderr.contains("CAP_KILL"),
            "{stderr}"
        );
        assert!(
            stderr.contains("process.capabilities.ambient") && stderr.contains("CAP_CHOWN"),
            "{stderr}"
        );
    }
}

#[test]
fn capabilities_beyond_the_callers_bounding_set_are_a_warning() {
    let bundle = Bundle::new().with_caps(&["CAP_CHOWN"]);
    let without_chown = || unsafe {
        libc::prctl(libc::PR_CAPBSET_DROP, 0);
        Ok(())
    };
    let out = bundle.run_cmd(&[]).before_exec(without_chown).run().ok();
    assert!(out.stderr.contains("CAP_CHOWN"), "no warning: {out:#?}");
    let rest = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"]);
    for set in ["bounding", "permitted", "effective"] {
        assert_eq!(out.json()["caps"][set], rest, "{set}");
    }
}

#[test]
fn ambient_capabilities_reach_another_user() {
    for bundle in [Bundle::new(), in_user_namespace(Bundle::new())] {
        let kill = json!(["CAP_KILL"]);
        let bundle = bundle.edit(|c| {
            c["process"]["user"]["uid"] = json!(1000);
            for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
                c["process"]["capabilities"][set] = kill.clone();
            }
        });
        let facts = bundle.facts();
        for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
            assert_eq!(facts["caps"][set], kill, "{set}");
        }
    }
}

/// The directory opens for a group that only the process has: chdir(2) before the change of the user fails.
#[test]
fn a_working_directory_that_only_the_user_may_enter() {
    let bundle = in_user_namespace(Bundle::new()).edit(|c| {
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1000, "additionalGids": [7] });
        c["process"]["cwd"] = json!("/home/work");
    });
    let (home, work) = (bundle.inside("/home"), bundle.inside("/home/work"));
    fs::create_dir_all(&work).unwrap();
    // Nobody of the container owns it; its group is the container's 7.
    chown(&home, Some(5), Some(100_007)).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o070)).unwrap();
    assert_eq!(bundle.facts()["cwd"], "/home/work");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let out = bundle.run().fails_with("process.cwd \"/home/work\"");
    assert!(out.stderr.contains("EACCES"), "{out:#?}");
}

fn environment(bundle: &Bundle) -> Vec<String> {
    let facts = bundle.facts();
    let entries = facts["env"].as_array().unwrap().iter();
    entries.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn home_is_the_users_in_the_containers_passwd() {
    let bundle = Bundle::new().edit(|c| {
        c["process"]["env"] = json!(["PATH=/bin"]);
        c["process"]["user"]["uid"] = json!(1000);
    });
    let passwd = bundle.inside("/etc/passwd");
    assert_eq!(environment(&bundle), ["PATH=/bin", "HOME=/"], "no such file");
    fs::write(
        &passwd,
        "root:x:0:0::/root:/bin/sh\nme:x:1000:1000:Me:/home/me:/bin/sh\nalso:x:1000:1::/x:\n",
    )
    .unwrap();
    assert_eq!(environment(&bundle), ["PATH=/bin", "HOME=/home/me"]);
    bundle.change(|c| c["process"]["env"] = json!(["HOME=", "PATH=/bin"]));
    assert_eq!(
        environment(&bundle),
        ["PATH=/bin", "HOME=/home/me"],
        "an empty one is none"
    );
    bundle.change(|c| c["process"]["env"] = json!(["HOME=/else", "PATH=/bin"]));
    assert_eq!(environment(&bundle), ["HOME=/else", "PATH=/bin"]);
    bundle.change(|c| c["process"]["user"]["uid"] = json!(7));
    bundle.change(|c| c["process"]["env"] = json!(["PATH=/bin"]));
    assert_eq!(environment(&bundle), ["PATH=/bin", "HOME=/"], "not in the file");
    fs::write(&passwd, "seven:x:7\nbroken\n::::\nseven:x:7:7::/seven:\n").unwrap();
    assert_eq!(environment(&bundle), ["PATH=/bin", "HOME=/seven"]);
    fs::remove_file(&passwd).unwrap();
    fs::create_dir(&passwd).unwrap();
    assert_eq!(environment(&bundle), ["PATH=/bin", "HOME=/"], "a directory");
}

#[test]
fn a_variable_given_twice_has_its_last_value() {
    let asked = json!(["HOME=/", "A=1", "PATH=/nowhere", "A=2", "PATH=/bin"]);
    let bundle = Bundle::new().edit(|c| c["process"]["env"] = asked);
    // The program is found by the PATH that counts.
    assert_eq!(environment(&bundle), ["HOME=/", "A=2", "PATH=/bin"]);
}

/// Containers of one user could join each other's keyring if they knew its name.
#[test]
fn the_keyring_has_no_name_that_another_container_knows() {
    let allowed = std::thread::spawn(|| unsafe { libc::syscall(libc::SYS_keyctl, 1, 0) } > 0).join();
    need!(allowed.unwrap_or(false), "session keyrings");
    let name = |facts: &Value| {
        let description = facts["keyring"]["description"].as_str().unwrap();
        description.rsplit(';').next().unwrap().to_owned()
    };
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let facts = bundle.orlop(["exec", &c.id, "probe", "facts"]).run().ok().json();
    // For people who look at /proc/keys the id stands in it.
    let secret = name(&facts).strip_suffix(&format!("_ses.{}", c.id)).unwrap().to_owned();
    assert!(secret.len() >= 16, "{secret}");
    let facts = bundle.orlop(["exec", &c.id, "probe", "facts"]).run().ok().json();
    assert!(name(&facts).starts_with(&secret), "joined by all of its processes");
    let other = Bundle::new().edit(|c| c["linux"]["maskedPaths"] = json!([]));
    let keys = other.attempt(["keyctl-read"]);
    let keys = keys.detail("keyctl-read").as_str().unwrap();
    assert!(keys.contains("_ses."), "its own: {keys}");
    assert!(!keys.contains(&secret), "{keys}");
}

/// keyctl_join_session_keyring(3): who joins the container later finds the keyring by its name, if it may search it.
#[test]
fn the_keyring_can_be_joined_by_its_name() {
    let allowed = std::thread::spawn(|| unsafe { libc::syscall(libc::SYS_keyctl, 1, 0) } > 0).join();
    need!(allowed.unwrap_or(false), "session keyrings");
    for (bundle, permissions) in [
        (Bundle::new(), "3f080000"),
        (in_user_namespace(Bundle::new()), "3f000008"),
    ] {
        let facts = bundle.facts();
        let description = facts["keyring"]["description"].as_str().unwrap();
        assert_eq!(description.split(';').nth(3), Some(permissions), "{description}");
    }
}

/// By default SIGXFSZ would end the runtime without a word (setrlimit(2), RLIMIT_FSIZE).
#[test]
fn a_limit_of_file_size_is_an_error_with_its_cure() {
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
fn no_program_of_others_ignores_that_a_file_may_not_grow() {
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
