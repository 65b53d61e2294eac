//! The process: who it is, what it may do, what it inherits and what it must not.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Bundle, Facts};
use crate::need;

fn facts() -> Facts {
    Bundle::new().facts()
}

#[test]
fn capabilities_are_what_was_asked() {
    let facts = facts();
    let three = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"]);
    for set in ["bounding", "permitted", "effective"] {
        assert_eq!(facts["caps"][set], three, "{set}");
    }
    for set in ["inheritable", "ambient"] {
        assert_eq!(facts["caps"][set], json!([]), "{set}");
    }
    assert_eq!(facts["securebits"], 0);
    assert_eq!(facts["noNewPrivileges"], true);
    assert_eq!(facts["seccomp"], 0);
}

#[test]
fn no_capabilities_means_none() {
    for capabilities in [json!({}), Value::Null] {
        let facts = Bundle::new()
            .edit(|c| match capabilities {
                Value::Null => drop(c["process"].as_object_mut().unwrap().remove("capabilities")),
                empty => c["process"]["capabilities"] = empty,
            })
            .facts();
        for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
            assert_eq!(facts["caps"][set], json!([]), "{set}");
        }
    }
}

#[test]
fn an_unknown_or_unavailable_capability_is_a_warning() {
    let bundle = Bundle::new().with_caps(&["CAP_FROM_THE_FUTURE"]);
    let out = bundle.run().ok();
    assert!(out.stderr.contains("CAP_FROM_THE_FUTURE"), "no warning: {out:#?}");
    assert_eq!(
        out.json()["caps"]["effective"],
        json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"])
    );
}

#[test]
fn other_users_have_no_effective_capabilities_of_their_own() {
    let facts = Bundle::new()
        .edit(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 7] }))
        .facts();
    assert_eq!(facts["uid"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(facts["gid"], json!([1001, 1001, 1001, 1001]));
    let mut groups: Vec<u64> = facts["groups"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    groups.sort_unstable();
    assert_eq!(groups, [5, 7]);
    // The specification's sets are what the process has, also for another user than root.
    assert_eq!(facts["caps"]["ambient"], json!([]));
    assert_eq!(facts["caps"]["inheritable"], json!([]));
    assert_eq!(
        facts["caps"]["bounding"],
        json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"])
    );
}

#[test]
fn limits_are_set_and_others_unchanged() {
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

#[test]
fn names_of_the_host() {
    assert_eq!(facts()["hostname"], "orlop");
    let facts = Bundle::new().edit(|c| c["domainname"] = json!("example.org")).facts();
    assert_eq!(facts["domainname"], "example.org");
}

#[test]
fn identity_and_session() {
    let facts = facts();
    assert_eq!(facts["pid"], 1);
    assert_eq!(facts["ppid"], 0);
    assert_eq!((&facts["sid"], &facts["pgid"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&facts["uid"], &facts["gid"]),
        (&json!([0, 0, 0, 0]), &json!([0, 0, 0, 0]))
    );
    assert_eq!(facts["cwd"], "/");
    assert_eq!(facts["argv"], json!(["probe", "facts"]));
    assert_eq!(facts["pdeathsig"], 0);
    assert_eq!(facts["childSubreaper"], 0);
    assert_eq!(facts["personality"], 0);
    assert_eq!(facts["timerslack"], 50_000);
    assert_eq!(facts["tty"], json!([null, null, null]));
}

#[test]
fn groups_of_the_caller_are_dropped() {
    let bundle = Bundle::new();
    let facts = bundle.run_cmd(&[]).groups(&[4, 27, 999]).run().ok().json();
    assert_eq!(facts["groups"], json!([]));
    bundle.change(|c| c["process"]["user"]["additionalGids"] = json!([]));
    let facts = bundle.run_cmd(&[]).groups(&[4, 27, 999]).run().ok().json();
    assert_eq!(facts["groups"], json!([]));
}

#[test]
fn only_stdio_is_open() {
    let facts = facts();
    let fds: Vec<&String> = facts["fds"].as_object().unwrap().keys().collect();
    assert_eq!(fds, ["0", "1", "2"]);
}

#[test]
fn environment_is_what_was_asked() {
    let bundle = Bundle::new();
    let facts = bundle.run_cmd(&[]).env("SECRET", "of the caller").run().ok().json();
    let env: Vec<&str> = facts["env"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(env[..2], [path, "TERM=xterm"]);
    assert!(env[2..].iter().all(|entry| entry.starts_with("HOME=")), "{env:?}");

    let asked = json!(["Z=1", "PATH=/bin", "A=2", "HOME=/home", "EMPTY="]);
    let facts = Bundle::new().edit(|c| c["process"]["env"] = asked.clone()).facts();
    assert_eq!(facts["env"], asked, "order and content as given");
}

#[test]
fn the_program_is_found_in_the_containers_path() {
    let bundle = Bundle::new()
        .args(["hidden", "facts"])
        .edit(|c| c["process"]["env"] = json!(["PATH=/nowhere:/etc"]));
    fs::copy(bundle.inside("/bin/probe"), bundle.inside("/etc/hidden")).unwrap();
    let facts = bundle.facts();
    assert_eq!(facts["argv"], json!(["hidden", "facts"]));
}

#[test]
fn signals_are_neither_blocked_nor_ignored() {
    let bundle = Bundle::new();
    let cmd = bundle.run_cmd(&[]).before_exec(|| unsafe {
        // As a caller with its own habits: what it blocks does not concern the container.
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGUSR1);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        Ok(())
    });
    let facts = cmd.run().ok().json();
    let set = |name: &str| facts["signals"][name].as_u64().unwrap();
    // 32 and 33 belong to the C library, which lets no program change them: GNU make passes 32 on as ignored.
    let internal = 0b11 << 31;
    assert_eq!((set("blocked"), set("ignored") & !internal, set("pending")), (0, 0, 0));
}

#[test]
fn the_keyring_is_new() {
    const JOIN_SESSION_KEYRING: i32 = 1;
    let allowed = std::thread::spawn(|| unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0) } > 0).join();
    need!(allowed.unwrap_or(false), "session keyrings");
    let bundle = Bundle::new();
    let name = |flags: &[&str]| {
        let facts = bundle.run_cmd(flags).run().ok().json();
        facts["keyring"]["description"].as_str().unwrap_or_default().to_owned()
    };
    // Named for the container: `_ses.ID` by custom.
    assert!(name(&[]).ends_with("-c0"));
    assert!(!name(&["--no-new-keyring"]).ends_with("-c1"));
}

#[test]
fn oom_score_is_untouched_or_as_asked() {
    let as_victim = || unsafe {
        let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        libc::write(fd, b"321".as_ptr().cast(), 3);
        libc::close(fd);
        Ok(())
    };
    let bundle = Bundle::new();
    assert_eq!(
        bundle.run_cmd(&[]).before_exec(as_victim).run().ok().json()["oomScoreAdj"],
        321
    );
    bundle.change(|c| c["process"]["oomScoreAdj"] = json!(500));
    assert_eq!(
        bundle.run_cmd(&[]).before_exec(as_victim).run().ok().json()["oomScoreAdj"],
        500
    );
}

#[test]
fn umask_is_inherited_or_as_asked() {
    let bundle = Bundle::new();
    for mask in [0o027, 0o077, 0o000] {
        let facts = bundle.run_cmd(&[]).umask(mask).run().ok().json();
        assert_eq!(
            facts["umask"],
            format!("{mask:04o}"),
            "\"If unspecified, the umask is not changed from the calling process'\""
        );
    }
    bundle.change(|c| c["process"]["user"]["umask"] = json!(0o007));
    assert_eq!(bundle.run_cmd(&[]).umask(0o077).run().ok().json()["umask"], "0007");
}

#[test]
fn the_callers_umask_does_not_spoil_the_root_file_system() {
    let bundle = Bundle::new()
        .args(["probe", "facts", "/dev/null", "/dev/shm", "/mnt", "/new"])
        .mount("/mnt", "tmpfs", "tmpfs", &[]);
    let bundle = bundle.edit(|c| {
        c["linux"]["devices"] = json!([{ "path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 }])
    });
    let facts = Facts(bundle.run_cmd(&[]).umask(0o077).run().ok().json());
    assert_eq!(facts.path("/dev/null")["mode"], "0666");
    assert_eq!(facts.path("/dev/shm")["mode"], "1777");
    assert!(bundle.inside("/mnt").exists());
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(bundle.inside("/mnt")).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o755, "a mount point made by the runtime");
}

#[test]
fn inherited_cpu_affinity_is_reset() {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    need!(cpus > 1, "a second CPU");
    let bundle = Bundle::new();
    let cmd = bundle.run_cmd(&[]).before_exec(|| unsafe {
        let mut set = std::mem::zeroed::<libc::cpu_set_t>();
        libc::CPU_SET(0, &mut set);
        match libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    });
    let facts = cmd.run().ok().json();
    assert_eq!(facts["cpuAffinity"].as_array().unwrap().len(), cpus);
}
