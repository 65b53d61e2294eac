//! `exec`: another process in a container that exists. What it must be like init, what may be chosen for it, and how its
//! end is told. What it must withstand is in `exec_containment.rs`.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::harness::{Bundle, Cmd, ConsoleSocket, Container, Facts, alive, eventually};
use crate::need;

/// A bundle whose process does nothing until it is killed.
pub fn idle() -> Bundle {
    Bundle::new().args(["probe", "sleep"])
}

/// `exec` with flags in a container.
pub fn exec_cmd(c: &Container, flags: &[&str], command: &[&str]) -> Cmd {
    c.bundle.orlop([&["exec"], flags, &[&c.id], command].concat())
}

#[track_caller]
pub fn exec_facts(c: &Container, flags: &[&str]) -> Facts {
    Facts(exec_cmd(c, flags, &["probe", "facts"]).run().ok().json())
}

/// A file with a process object.
fn process_file(bundle: &Bundle, process: &Value) -> String {
    let path = bundle.path("process.json");
    fs::write(&path, process.to_string()).expect("write process.json");
    path.to_str().expect("a UTF-8 path").to_owned()
}

fn link(pid: impl std::fmt::Display, name: &str) -> String {
    let target = fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("a namespace");
    target.to_string_lossy().into_owned()
}

// ---- what it is like ----------------------------------------------------------------------------------------------------

#[test]
fn it_is_in_all_of_inits_namespaces_and_in_its_cgroup() {
    let bundle = idle();
    let c = bundle.start();
    let facts = exec_facts(&c, &[]);
    let pid = c.pid();
    let names = fs::read_dir("/proc/self/ns")
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    for name in names
        .map(|name| name.into_string().unwrap())
        .filter(|name| !name.contains('_'))
    {
        assert_eq!(facts["namespaces"][&name], link(pid, &name), "{name}");
    }
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
        assert_ne!(link(pid, name), link("self", name), "{name}: the test proves nothing");
    }
    let cgroup = facts["cgroup"].as_str().unwrap();
    assert!(cgroup.lines().any(|line| line == "0::/"), "{cgroup}");
    assert_eq!(facts["hostname"], "orlop");
    // Neither the usher nor the runtime is seen as its parent.
    assert_eq!(facts["ppid"], 0);
    assert_eq!((&facts["sid"], &facts["pgid"]), (&facts["pid"], &facts["pid"]));
    assert_eq!(facts["pdeathsig"], 0);
    assert_eq!(facts["childSubreaper"], 0);
}

/// Attribute by attribute what init is: no second routine that could have forgotten one.
#[test]
fn it_is_what_init_is() {
    let settings = |c: &mut Value| {
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 7], "umask": 0o027 });
        c["process"]["cwd"] = json!("/tmp");
        c["process"]["env"] = json!(["PATH=/bin", "A=1", "B="]);
        c["process"]["oomScoreAdj"] = json!(321);
        c["process"]["rlimits"] = json!([
            { "type": "RLIMIT_NOFILE", "soft": 100, "hard": 200 },
            { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 },
        ]);
        c["process"]["capabilities"] = json!({
            "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"],
            "permitted": ["CAP_KILL", "CAP_CHOWN"],
            "effective": ["CAP_KILL"],
            "inheritable": ["CAP_CHOWN"],
            "ambient": ["CAP_CHOWN"],
        });
    };
    let shared = [
        "uid",
        "gid",
        "groups",
        "umask",
        "cwd",
        "env",
        "rlimits",
        "caps",
        "securebits",
        "noNewPrivileges",
        "seccomp",
        "dumpable",
        "oomScoreAdj",
        "scheduler",
        "ioprio",
        "cpuAffinity",
        "personality",
        "hostname",
        "mounts",
        "signals",
        "timerslack",
        "interfaces",
    ];
    for no_new_privileges in [true, false] {
        let bundle = Bundle::new().sh("probe facts; exec sleep 1000").edit(settings);
        bundle.change(|c| c["process"]["noNewPrivileges"] = json!(no_new_privileges));
        let c = bundle.start();
        c.until("\n}\n");
        let init: Value = serde_json::from_str(&c.stdout()).unwrap();
        let process = exec_facts(&c, &[]);
        // The shell adds variables of its own.
        let own = |entry: &Value| {
            ["PWD=", "SHLVL=", "OLDPWD="]
                .iter()
                .any(|name| entry.as_str().unwrap().starts_with(name))
        };
        for name in shared {
            let mut expected = init[name].clone();
            if name == "env" {
                expected.as_array_mut().unwrap().retain(|entry| !own(entry));
                let mut found = process[name].as_array().unwrap().clone();
                found.sort_by_key(Value::to_string);
                expected.as_array_mut().unwrap().sort_by_key(Value::to_string);
                assert_eq!(json!(found), expected, "{name}");
            } else {
                assert_eq!(process[name], expected, "{name}");
            }
        }
    }
}

/// runtime.md: later edits of config.json must not affect the container.
#[test]
fn later_edits_of_the_bundle_have_no_effect() {
    let bundle = idle();
    let c = bundle.start();
    bundle.change(|c| {
        c["process"]["user"] = json!({ "uid": 1234, "gid": 1234 });
        c["process"]["env"] = json!(["EDITED=1"]);
        c["process"]["cwd"] = json!("/etc");
        c["process"]["capabilities"] = json!({});
    });
    let facts = exec_facts(&c, &[]);
    assert_eq!(facts["uid"][0], 0);
    assert_eq!(facts["cwd"], "/");
    assert!(!facts["env"].to_string().contains("EDITED"));
    assert_eq!(facts["caps"]["effective"].as_array().unwrap().len(), 3);
    fs::remove_file(bundle.path("config.json")).unwrap();
    exec_facts(&c, &[]);
}

#[test]
fn home_comes_from_the_containers_passwd() {
    let bundle = idle();
    fs::write(
        bundle.inside("/etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n",
    )
    .unwrap();
    let c = bundle.start();
    let home = |flags: &[&str]| {
        let facts = exec_facts(&c, flags);
        let env = facts["env"].as_array().unwrap().clone();
        env.iter()
            .filter_map(Value::as_str)
            .filter_map(|v| v.strip_prefix("HOME="))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(home(&[]), "/root");
    assert_eq!(home(&["-u", "1000"]), "/home/u");
    assert_eq!(home(&["-u", "77"]), "/");
    assert_eq!(home(&["-u", "1000", "-e", "HOME=/mine"]), "/mine");
}

#[test]
fn the_keyring_is_the_containers() {
    const JOIN_SESSION_KEYRING: i32 = 1;
    let allowed = std::thread::spawn(|| unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0) } > 0).join();
    need!(allowed.unwrap_or(false), "session keyrings");
    let bundle = idle();
    let name = |c: &Container| {
        exec_facts(c, &[])["keyring"]["description"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let c = bundle.start();
    assert!(name(&c).ends_with(&format!("_ses.{}", c.id)), "{}", name(&c));
    let id = bundle.fresh_id();
    bundle.create_cmd(&id, &["--no-new-keyring"]).run().ok();
    let out = bundle.orlop(["exec", &id, "probe", "facts"]).run().ok().json();
    assert!(!out["keyring"].to_string().contains(&id), "{}", out["keyring"]);
}

#[test]
fn namespaces_that_the_container_shares_are_no_obstacle() {
    for kind in ["pid", "network", "ipc", "uts", "cgroup"] {
        let mut bundle = idle().without_namespace(kind);
        if kind == "uts" {
            bundle = bundle.edit(|c| drop(c.as_object_mut().unwrap().remove("hostname")));
        }
        if kind == "network" {
            bundle = bundle.edit(|c| {
                for mount in c["mounts"].as_array_mut().unwrap() {
                    if mount["destination"] == "/sys" {
                        *mount = json!({ "destination": "/sys", "type": "none", "source": "/sys",
                                         "options": ["rbind", "nosuid", "noexec", "nodev", "ro"] });
                    }
                }
            });
        }
        let c = bundle.start();
        let facts = exec_facts(&c, &[]);
        for name in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
            assert_eq!(facts["namespaces"][name], link(c.pid(), name), "without {kind}: {name}");
        }
    }
}

#[test]
fn the_root_of_a_container_without_pivot_is_its_own() {
    let bundle = idle();
    let id = bundle.fresh_id();
    bundle.create_cmd(&id, &["--no-pivot"]).run().ok();
    bundle.orlop(["start", &id]).run().ok();
    let out = bundle
        .orlop(["exec", &id, "probe", "facts", "/bin/probe"])
        .run()
        .ok()
        .json();
    let own = fs::metadata(bundle.inside("/bin/probe")).unwrap();
    assert_eq!(out["paths"]["/bin/probe"]["ino"], own.ino());
    assert_eq!(out["cwd"], "/");
}

#[test]
fn it_works_in_a_created_container_too() {
    let bundle = idle();
    let c = bundle.create();
    let facts = exec_facts(&c, &[]);
    assert_eq!(facts["namespaces"]["pid"], link(c.pid(), "pid"));
    assert_eq!(c.status(), "created");
    c.start();
    exec_facts(&c, &[]);
}

#[test]
fn it_ends_with_the_container() {
    let bundle = idle();
    let c = bundle.start();
    let mut waiting = exec_cmd(&c, &[], &["probe", "sleep"]).spawn();
    waiting.until("ready");
    c.kill("KILL");
    assert_eq!(waiting.wait().code, 137);
}

// ---- what may be chosen -------------------------------------------------------------------------------------------------

#[test]
fn flags_go_over_the_config() {
    let bundle = idle().edit(|c| {
        c["process"]["user"] = json!({ "uid": 5, "gid": 6, "additionalGids": [7] });
        c["process"]["env"] = json!(["PATH=/bin", "A=old", "AB=stays"]);
        c["process"]["noNewPrivileges"] = json!(false);
    });
    let c = bundle.start();
    let facts = exec_facts(&c, &[]);
    assert_eq!(
        (&facts["uid"][0], &facts["gid"][0], &facts["groups"]),
        (&json!(5), &json!(6), &json!([7]))
    );
    assert_eq!(facts["noNewPrivileges"], false);
    let facts = exec_facts(
        &c,
        &[
            "--cwd",
            "/tmp",
            "--env",
            "A=new",
            "-e",
            "C=x=y",
            "-e",
            "D=",
            "--user",
            "1000",
            "--additional-gids",
            "8",
            "-g",
            "9",
            "--no-new-privs",
        ],
    );
    assert_eq!(facts["cwd"], "/tmp");
    assert_eq!(facts["uid"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(facts["gid"], json!([6, 6, 6, 6]), "the group of the config");
    assert_eq!(facts["groups"], json!([7, 8, 9]));
    assert_eq!(facts["noNewPrivileges"], true);
    assert_eq!(
        facts["env"],
        json!(["PATH=/bin", "AB=stays", "A=new", "C=x=y", "D=", "HOME=/"])
    );
    let facts = exec_facts(&c, &["-u", "1000:1001"]);
    assert_eq!((&facts["uid"][0], &facts["gid"][0]), (&json!(1000), &json!(1001)));
    let mut last = exec_facts(&c, &["-e", "PATH=/nowhere", "-e", "PATH=/bin:/etc"])["env"]
        .as_array()
        .unwrap()
        .clone();
    last.retain(|entry| entry.as_str().unwrap().starts_with("PATH="));
    assert_eq!(last, ["PATH=/bin:/etc"], "the last one counts");
}

#[test]
fn what_follows_the_id_is_the_command() {
    let bundle = idle();
    let c = bundle.start();
    for command in [
        ["probe", "print", "-t", "--user", "x"].as_slice(),
        &["--", "probe", "print", "--", "--cwd"],
        &["probe", "print", "--help", "-d", "--version"],
    ] {
        let out = exec_cmd(&c, &[], command).run().ok();
        let words = command.iter().skip_while(|word| **word != "print").skip(1);
        assert_eq!(
            out.stdout.lines().collect::<Vec<_>>(),
            words.copied().collect::<Vec<_>>()
        );
    }
    let out = exec_cmd(&c, &[], &["-t", "probe"])
        .run()
        .fails_with("before the container's id");
    assert_eq!(out.code, 255);
}

#[test]
fn a_process_object_says_it_all() {
    let bundle = idle();
    let c = bundle.start();
    let process = json!({
        "args": ["probe", "facts"], "cwd": "/tmp", "env": ["PATH=/bin", "X=1"],
        "user": { "uid": 1000, "gid": 1001, "additionalGids": [4], "umask": 0o077 },
        "capabilities": { "bounding": ["CAP_KILL"] },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 50, "hard": 60 }],
        "oomScoreAdj": 555,
        "noNewPrivileges": true,
    });
    let file = process_file(&bundle, &process);
    let facts = Facts(exec_cmd(&c, &["--process", &file], &[]).run().ok().json());
    assert_eq!(
        (&facts["uid"][0], &facts["gid"][0], &facts["groups"]),
        (&json!(1000), &json!(1001), &json!([4]))
    );
    assert_eq!((&facts["cwd"], &facts["umask"]), (&json!("/tmp"), &json!("0077")));
    assert_eq!(facts["env"], json!(["PATH=/bin", "X=1", "HOME=/"]));
    assert_eq!(facts["caps"]["bounding"], json!(["CAP_KILL"]));
    assert_eq!(facts["caps"]["effective"], json!([]));
    assert_eq!(facts["rlimits"]["RLIMIT_NOFILE"], json!([50, 60]));
    assert_eq!(facts["oomScoreAdj"], 555);
    assert_eq!(facts["noNewPrivileges"], true);
    // What is said besides goes over it.
    let facts = exec_facts(&c, &["-p", &file, "-u", "2000", "--cwd", "/", "-e", "X=2"]);
    assert_eq!((&facts["uid"][0], &facts["gid"][0]), (&json!(2000), &json!(1001)));
    assert_eq!(facts["cwd"], "/");
    assert_eq!(facts["env"], json!(["PATH=/bin", "X=2", "HOME=/"]));
    for (broken, text) in [
        ("", "EOF"),
        ("[]", "not a JSON object"),
        ("{", "EOF"),
        (r#"{"args":[],"cwd":"/","user":{"uid":0,"gid":0}}"#, "process.args"),
        (
            r#"{"args":["true"],"cwd":"tmp","user":{"uid":0,"gid":0}}"#,
            "process.cwd",
        ),
        (
            r#"{"args":["true"],"cwd":"/","user":{"uid":4294967295,"gid":0}}"#,
            "process.user.uid",
        ),
        (r#"{"args":["true"],"cwd":"/","user":{"uid":-1,"gid":0}}"#, "user.uid"),
        (
            r#"{"args":["true"],"cwd":"/","user":{"uid":0,"gid":0},"rlimits":[{"type":"RLIMIT_CORE","soft":2,"hard":1}]}"#,
            "process.rlimits[0]",
        ),
    ] {
        fs::write(&file, broken).unwrap();
        let out = exec_cmd(&c, &["--process", &file], &[]).run().fails_with(text);
        assert_eq!(out.code, 255);
    }
    let out = exec_cmd(&c, &["--process", "/no/such/file"], &[])
        .run()
        .fails_with("/no/such/file");
    assert_eq!(out.code, 255);
}

#[test]
fn a_container_without_a_process_needs_a_process_object() {
    let bundle = idle().edit(|c| drop(c.as_object_mut().unwrap().remove("process")));
    let c = bundle.create();
    let out = exec_cmd(&c, &[], &["true"])
        .run()
        .fails_with("no process to take defaults from");
    assert_eq!(out.code, 255);
    let process =
        json!({ "args": ["probe", "exit", "3"], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    let file = process_file(&bundle, &process);
    assert_eq!(exec_cmd(&c, &["--process", &file], &[]).run().code, 3);
}

#[test]
fn descriptors_are_passed_on_request_only() {
    let bundle = idle();
    let c = bundle.start();
    let hosts = || File::open("/etc/hostname").unwrap();
    let facts = exec_cmd(&c, &[], &["probe", "facts"])
        .pass_fd(hosts(), 3)
        .pass_fd(hosts(), 7)
        .run()
        .ok()
        .json();
    assert_eq!(
        facts["fds"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["0", "1", "2"]
    );
    let facts = exec_cmd(&c, &["--preserve-fds", "2"], &["probe", "facts"])
        .pass_fd(hosts(), 3)
        .pass_fd(hosts(), 4)
        .pass_fd(hosts(), 5)
        .run()
        .ok()
        .json();
    assert_eq!(
        facts["fds"].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["0", "1", "2", "3", "4"]
    );
    let out = exec_cmd(&c, &["--preserve-fds", "1"], &["true"])
        .run()
        .fails_with("--preserve-fds");
    assert_eq!(out.code, 255);
}

// ---- cgroups ------------------------------------------------------------------------------------------------------------

/// The host's directory of the cgroup that a process is in.
fn cgroup_of(pid: i32) -> std::path::PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
    std::path::Path::new("/sys/fs/cgroup").join(path)
}

/// Starts a process that stays, and returns its pid on the host.
fn detached(c: &Container, flags: &[&str]) -> i32 {
    let file = c.bundle.path("exec.pid");
    let _ = fs::remove_file(&file);
    let flags = [&["--detach", "--pid-file", file.to_str().unwrap()], flags].concat();
    exec_cmd(c, &flags, &["sleep", "1000"]).run().ok();
    fs::read_to_string(&file)
        .unwrap()
        .parse()
        .expect("a pid and nothing else")
}

#[test]
fn a_cgroup_below_the_containers() {
    let bundle = idle();
    let c = bundle.start();
    let own = cgroup_of(c.pid());
    assert_eq!(cgroup_of(detached(&c, &[])), own);
    fs::create_dir_all(own.join("a/b")).unwrap();
    assert_eq!(cgroup_of(detached(&c, &["--cgroup", "a/b"])), own.join("a/b"));
    assert_eq!(cgroup_of(detached(&c, &["--cgroup", "/a"])), own.join("a"));
    assert_eq!(cgroup_of(detached(&c, &["--cgroup", "/"])), own);
    for missing in ["nosuch", "a/nosuch"] {
        let out = exec_cmd(&c, &["--cgroup", missing], &["true"])
            .run()
            .fails_with(missing);
        assert_eq!(out.code, 255);
    }
}

/// A container that puts itself elsewhere takes the place of its processes along.
#[test]
fn inits_own_cgroup_when_the_containers_is_gone() {
    let bundle = idle();
    let c = bundle.start();
    let own = cgroup_of(c.pid());
    let other = own.with_file_name(format!("{}-moved", own.file_name().unwrap().to_str().unwrap()));
    fs::create_dir(&other).unwrap();
    fs::write(other.join("cgroup.procs"), c.pid().to_string()).unwrap();
    fs::remove_dir(&own).unwrap();
    assert_eq!(cgroup_of(detached(&c, &[])), other);
    let out = exec_cmd(&c, &["--cgroup", "/"], &["true"]).run();
    assert_eq!(out.code, 255, "what was asked for is not replaced: {out:#?}");
    fs::write(other.join("cgroup.kill"), "1").unwrap();
    eventually("the moved cgroup is empty", || fs::remove_dir(&other).is_ok());
}

/// As the one before, where the cgroup is still there but takes no process.
#[test]
fn inits_own_cgroup_when_the_containers_takes_nobody() {
    let bundle = idle();
    let name = bundle.fresh_id();
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(format!("/{name}/leaf")));
    let c = bundle.start();
    let own = cgroup_of(c.pid());
    let other = own.parent().unwrap().with_file_name(format!("{name}-moved"));
    let threaded = own.with_file_name("threaded");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("cgroup.procs"), c.pid().to_string()).unwrap();
    // Beside a cgroup of threads, one of processes is invalid (cgroups(7), "domain invalid").
    fs::create_dir(&threaded).unwrap();
    fs::write(threaded.join("cgroup.type"), "threaded").unwrap();
    assert_eq!(fs::read_to_string(own.join("cgroup.type")).unwrap(), "domain invalid\n");
    assert_eq!(cgroup_of(detached(&c, &[])), other);
    fs::write(other.join("cgroup.kill"), "1").unwrap();
    eventually("the moved cgroup is empty", || fs::remove_dir(&other).is_ok());
    fs::remove_dir(&threaded).unwrap();
}

/// The kernel allows no process in a cgroup that distributes resources to those below it.
#[test]
fn inits_own_cgroup_when_the_containers_holds_controllers() {
    let bundle = idle();
    let c = bundle.start();
    let own = cgroup_of(c.pid());
    let controllers = fs::read_to_string(own.join("cgroup.controllers")).unwrap();
    let first = controllers
        .split_whitespace()
        .find(|name| *name == "pids" || *name == "memory");
    need!(first.is_some(), "the cgroup v2 controller pids or memory");
    fs::create_dir(own.join("init")).unwrap();
    fs::write(own.join("init/cgroup.procs"), c.pid().to_string()).unwrap();
    fs::write(own.join("cgroup.subtree_control"), format!("+{}", first.unwrap())).unwrap();
    assert_eq!(cgroup_of(detached(&c, &[])), own.join("init"));
    let out = exec_cmd(&c, &["--cgroup", "/"], &["true"]).run().fails_with("EBUSY");
    assert_eq!(out.code, 255);
}

#[test]
fn a_paused_container_refuses_unless_told_to() {
    let bundle = idle();
    let c = bundle.start();
    let own = cgroup_of(c.pid());
    let freeze = |text: &str| fs::write(own.join("cgroup.freeze"), text).unwrap();
    freeze("1");
    eventually("the container is paused", || c.status() == "paused");
    let out = exec_cmd(&c, &[], &["true"])
        .run()
        .fails_with("cannot exec in a paused container (use --ignore-paused to override)");
    assert_eq!(out.code, 255);
    let mut waiting = exec_cmd(&c, &["--ignore-paused"], &["probe", "print", "thawed"]).spawn();
    let processes = || fs::read_to_string(own.join("cgroup.procs")).unwrap().lines().count();
    eventually("it waits in the cgroup", || processes() == 2);
    assert!(!waiting.has_ended());
    freeze("0");
    assert_eq!(waiting.wait().ok().stdout, "thawed\n");
}

/// Whoever gives up waiting leaves nobody behind.
#[test]
fn a_runtime_that_dies_takes_the_half_made_process_along() {
    let bundle = idle();
    let c = bundle.start();
    let own = cgroup_of(c.pid());
    fs::write(own.join("cgroup.freeze"), "1").unwrap();
    eventually("the container is paused", || c.status() == "paused");
    let waiting = exec_cmd(&c, &["--ignore-paused"], &["sleep", "1000"]).spawn();
    let processes = || fs::read_to_string(own.join("cgroup.procs")).unwrap().lines().count();
    eventually("somebody waits in the cgroup", || processes() == 2);
    waiting.signal(libc::SIGTERM);
    assert_eq!(waiting.wait().code, 128 + libc::SIGTERM);
    fs::write(own.join("cgroup.freeze"), "0").unwrap();
    eventually("only init is left", || processes() == 1);
}

// ---- how it ends --------------------------------------------------------------------------------------------------------

#[test]
fn the_exit_code_is_the_programs() {
    let bundle = idle();
    let c = bundle.start();
    for (command, code) in [
        (&["probe", "exit", "0"], 0),
        (&["probe", "exit", "7"], 7),
        (&["probe", "exit", "255"], 255),
        (&["probe", "kill-self", "9"], 137),
        (&["probe", "kill-self", "15"], 143),
    ] {
        assert_eq!(exec_cmd(&c, &[], command).run().code, code, "{command:?}");
    }
}

#[test]
fn every_failure_of_ours_is_255() {
    let bundle = idle();
    fs::write(bundle.inside("/etc/data"), "no program").unwrap();
    let c = bundle.start();
    let of = |words: &[&str], text: &str| {
        let out = bundle.orlop(words).run().fails_with(text);
        assert_eq!(out.code, 255, "{out:#?}");
        assert_eq!(out.stdout, "", "{out:#?}");
    };
    of(&["exec", "nobody", "true"], "container does not exist");
    of(&["exec", &c.id], "exec args cannot be empty");
    of(&["exec", &c.id, "--"], "exec args cannot be empty");
    of(&["exec", &c.id, ""], "must not be empty");
    of(&["exec"], "ID");
    of(&["exec", "--nonsense", &c.id, "true"], "--nonsense");
    of(&["exec", &c.id, "nosuch"], "executable file not found in $PATH");
    of(&["exec", &c.id, "/no/such"], "no such file or directory");
    of(&["exec", &c.id, "/etc/data"], "permission denied");
    of(&["exec", &c.id, "/etc"], "is a directory");
    of(
        &["exec", "--detach", &c.id, "nosuch"],
        "executable file not found in $PATH",
    );
    of(&["exec", "--cwd", "/no/such", &c.id, "true"], "/no/such");
    of(&["exec", "--cwd", "/etc/data", &c.id, "true"], "ENOTDIR");
    of(&["exec", "--cwd", "tmp", &c.id, "true"], "absolute");
    of(&["exec", "--env", "NOVALUE", &c.id, "true"], "NOVALUE");
    of(&["exec", "--env", "=x", &c.id, "true"], "NAME=VALUE");
    of(&["exec", "--cap", "CAP_NONSENSE", &c.id, "true"], "CAP_NONSENSE");
    of(&["exec", "--apparmor", "nonsense", &c.id, "true"], "apparmor");
    of(
        &["exec", "--pid-file", "/no/such/dir/pid", &c.id, "sleep", "1000"],
        "pid file",
    );
    of(
        &["exec", "--pidfd-socket", "/no/such/socket", &c.id, "sleep", "1000"],
        "pidfd socket",
    );
    assert!(!bundle.inside("/no").exists());
    c.kill("KILL");
    c.until_stopped();
    of(&["exec", &c.id, "true"], "cannot exec in a stopped container");
    c.delete();
    of(&["exec", &c.id, "true"], "container does not exist");
}

/// Where the caller cannot be given what it asked for, the program has not run.
#[test]
fn a_failed_handover_runs_nothing() {
    let bundle = idle().edit(|c| c["root"]["readonly"] = json!(false));
    let c = bundle.start();
    for flag in ["--pid-file", "--pidfd-socket"] {
        let out = exec_cmd(&c, &["--detach", flag, "/no/such/place"], &["touch", "/ran"])
            .run()
            .fails();
        assert_eq!(out.code, 255);
    }
    let out = exec_cmd(
        &c,
        &["-t", "--detach", "--console-socket", "/no/such/place"],
        &["touch", "/ran"],
    )
    .run()
    .fails();
    assert_eq!(out.code, 255);
    // What only execve(2) can tell comes after the pid file, which goes again.
    fs::write(bundle.inside("/bin/garbage"), "garbage").unwrap();
    fs::set_permissions(bundle.inside("/bin/garbage"), fs::Permissions::from_mode(0o755)).unwrap();
    let file = bundle.path("pid");
    let out = exec_cmd(&c, &["--detach", "--pid-file", file.to_str().unwrap()], &["garbage"])
        .run()
        .fails_with("exec format error");
    assert_eq!(out.code, 255);
    assert!(!file.exists());
    assert!(!bundle.inside("/ran").exists());
    exec_cmd(&c, &[], &["touch", "/ran"]).run().ok();
    assert!(bundle.inside("/ran").exists(), "the test proves nothing");
}

#[test]
fn detached_it_goes_on_alone() {
    let bundle = idle();
    let c = bundle.start();
    let pid = detached(&c, &[]);
    assert!(alive(pid));
    assert_eq!(link(pid, "pid"), link(c.pid(), "pid"));
    assert_eq!(
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(),
        "sleep\n",
        "execve has happened"
    );
    let leftover = bundle.path(".exec.pid");
    assert!(!leftover.exists(), "the file was renamed into place");
}

#[test]
fn signals_are_passed_on() {
    let bundle = idle();
    let c = bundle.start();
    let mut running = exec_cmd(&c, &[], &["probe", "signals"]).spawn();
    running.until("ready");
    for (signal, name) in [(libc::SIGUSR1, "USR1"), (libc::SIGINT, "INT"), (libc::SIGHUP, "HUP")] {
        running.signal(signal);
        running.until(name);
    }
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, 0);
}

#[test]
fn standard_streams_are_the_callers() {
    let bundle = idle();
    let c = bundle.start();
    let out = exec_cmd(&c, &[], &["probe", "read-stdin"])
        .stdin("some text")
        .run()
        .ok();
    assert_eq!(out.stdout, "some text<eof>\n");
}

// ---- terminal and sockets -----------------------------------------------------------------------------------------------

#[test]
fn a_terminal_over_the_console_socket() {
    let bundle = idle().edit(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    let c = bundle.start();
    let socket = ConsoleSocket::new(&bundle);
    exec_cmd(
        &c,
        &["--tty", "--detach", "--console-socket", socket.path()],
        &[
            "sh",
            "-c",
            "read line </dev/tty; echo got $line; probe facts /dev/pts/0; exec probe signals",
        ],
    )
    .run()
    .ok();
    let mut terminal = socket.terminal();
    terminal.send("a line\n");
    terminal.until("got a line");
    terminal.until("/dev/pts/0");
    terminal.until("\"uid\": 1000");
    terminal.until("ready");
    terminal.send("\u{3}");
    terminal.until("INT");
    terminal.resize(10, 20);
    terminal.until("WINCH");
}

/// The config's own terminal is init's; the size in it serves whoever asks for one.
#[test]
fn a_terminal_only_where_it_is_asked_for() {
    let bundle = idle();
    let c = bundle.start();
    assert_eq!(exec_facts(&c, &[])["tty"], json!([null, null, null]));
    let process = json!({ "args": ["probe", "facts"], "cwd": "/", "env": ["PATH=/bin"], "terminal": true,
        "consoleSize": { "height": 33, "width": 77 }, "user": { "uid": 0, "gid": 0 } });
    let file = process_file(&bundle, &process);
    let socket = ConsoleSocket::new(&bundle);
    exec_cmd(
        &c,
        &["--process", &file, "--detach", "--console-socket", socket.path()],
        &[],
    )
    .run()
    .ok();
    let facts: Value = serde_json::from_str(&socket.terminal().until_closed()).expect("the probe's report");
    let size = json!({ "rows": 33, "columns": 77 });
    assert_eq!(facts["tty"], json!([size, size, size]));
}

#[test]
fn a_terminal_and_its_socket_need_each_other() {
    let bundle = idle();
    let c = bundle.start();
    let socket = bundle.path("nobody.sock");
    let socket = socket.to_str().unwrap();
    for flags in [
        ["-t", "-d"].as_slice(),
        &["-t", "--console-socket", socket],
        &["-d", "--console-socket", socket],
        &["--console-socket", socket],
    ] {
        let out = exec_cmd(&c, flags, &["true"]).run().fails_with("console");
        assert_eq!(out.code, 255);
    }
}

/// Both ends of a new pseudo-terminal.
fn pty() -> (File, OwnedFd) {
    let (mut master, mut slave): (RawFd, RawFd) = (-1, -1);
    let none = std::ptr::null_mut();
    assert_eq!(
        unsafe { libc::openpty(&mut master, &mut slave, none, none.cast(), none.cast()) },
        0
    );
    for fd in [master, slave] {
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    unsafe { (File::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) }
}

fn settings(fd: &OwnedFd) -> Vec<u32> {
    unsafe {
        let mut termios = std::mem::zeroed::<libc::termios>();
        assert_eq!(libc::tcgetattr(fd.as_raw_fd(), &mut termios), 0);
        vec![termios.c_iflag, termios.c_oflag, termios.c_cflag, termios.c_lflag]
    }
}

fn set_size(fd: RawFd, rows: u16, columns: u16) {
    let size = libc::winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    assert_eq!(unsafe { libc::ioctl(fd, libc::TIOCSWINSZ, &size) }, 0);
}

#[test]
fn a_terminal_in_the_foreground() {
    let bundle = idle();
    let c = bundle.start();
    let (mut master, slave) = pty();
    set_size(slave.as_raw_fd(), 21, 43);
    let before = settings(&slave);
    let copy = || slave.try_clone().unwrap();
    let script = "while busybox stty size; read line; do echo got:$line; [ \"$line\" != end ] || kill -KILL $$; done";
    let running = exec_cmd(&c, &["--tty"], &["sh", "-c", script])
        .pass_fd(copy(), 0)
        .pass_fd(copy(), 1)
        .pass_fd(copy(), 2)
        .spawn();
    let mut seen = String::new();
    let mut until = |master: &mut File, text: &str| {
        while !seen.contains(text) {
            let mut bytes = [0_u8; 4096];
            let count = master.read(&mut bytes).expect("read the terminal");
            seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        let end = seen.find(text).expect("just found") + text.len();
        seen.drain(..end).collect::<String>()
    };
    until(&mut master, "21 43");
    assert_ne!(settings(&slave), before, "raw mode");
    set_size(slave.as_raw_fd(), 10, 20);
    running.signal(libc::SIGWINCH);
    std::io::Write::write_all(&mut master, b"typed\r").unwrap();
    until(&mut master, "got:typed");
    // The signal comes through another door than keys, and maybe later.
    let mut answer = String::new();
    while !answer.contains("10 20") {
        std::io::Write::write_all(&mut master, b"\r").unwrap();
        answer = until(&mut master, "got:\r\n");
    }
    std::io::Write::write_all(&mut master, b"end\r").unwrap();
    assert_eq!(running.wait().code, 137);
    assert_eq!(settings(&slave), before, "put back as it was");
}

/// What came over a socket beside one descriptor.
fn receive(listener: &UnixListener) -> (String, OwnedFd) {
    let (stream, _) = listener.accept().expect("accept");
    let mut word = [0_u8; 64];
    let mut control = [0_u64; 8];
    let mut part = libc::iovec {
        iov_base: word.as_mut_ptr().cast(),
        iov_len: word.len(),
    };
    unsafe {
        let mut message = std::mem::zeroed::<libc::msghdr>();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        let length = libc::recvmsg(stream.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC);
        assert!(length > 0, "nothing came");
        let header = libc::CMSG_FIRSTHDR(&message);
        assert!(!header.is_null(), "no descriptor came");
        let fd = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
        (
            String::from_utf8_lossy(&word[..length as usize]).into_owned(),
            OwnedFd::from_raw_fd(fd),
        )
    }
}

/// The pid that a pidfd stands for.
fn pid_behind(pidfd: &OwnedFd) -> i32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    let pid = info
        .lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .expect("a pidfd");
    pid.trim().parse().unwrap()
}

#[test]
fn a_pidfd_over_its_socket() {
    let bundle = idle();
    let path = bundle.path("pidfd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let path = path.to_str().unwrap();
    let id = bundle.fresh_id();
    bundle.create_cmd(&id, &["--pidfd-socket", path]).run().ok();
    let (word, pidfd) = receive(&listener);
    let state = bundle.orlop(["state", &id]).run().ok().json();
    assert_eq!(
        (word.as_str(), json!(pid_behind(&pidfd))),
        ("standard", state["pid"].clone())
    );
    let c = bundle.start();
    let pid = detached(&c, &["--pidfd-socket", path]);
    let (word, pidfd) = receive(&listener);
    assert_eq!((word.as_str(), pid_behind(&pidfd)), ("setns", pid));
    bundle.run_cmd(&["--detach", "--pidfd-socket", path]).run().ok();
    assert_eq!(receive(&listener).0, "standard");
}

// ---- its words ----------------------------------------------------------------------------------------------------------

#[test]
fn golden_texts() {
    let bundle = idle();
    fs::write(bundle.path("process.json"), "{\"args\": [\"true\"],\n \"cwd\": \"/\"").unwrap();
    let file = bundle.path("process.json");
    let file = file.to_str().unwrap();
    let c = bundle.start();
    let say = |name: &str, flags: &[&str], command: &[&str]| {
        let words = [&["exec"], flags, &[&c.id], command].concat();
        crate::errors::verb(&bundle, name, &words, &c.id);
    };
    say("exec_program_not_found", &[], &["nosuch"]);
    say("exec_program_not_found_detached", &["--detach"], &["/no/such"]);
    say("exec_cwd_missing", &["--cwd", "/no/such"], &["true"]);
    say(
        "exec_cwd_through_a_descriptor",
        &["--cwd", "/proc/self/fd/3"],
        &["true"],
    );
    say("exec_capability_unknown", &["--cap", "NET_RAW"], &["true"]);
    say("exec_variable_without_value", &["--env", "HOME"], &["true"]);
    say("exec_cgroup_missing", &["--cgroup", "a/b"], &["true"]);
    say("exec_terminal_detached", &["--tty", "--detach"], &["sh"]);
    say(
        "exec_console_socket_useless",
        &["--console-socket", "/run/socket"],
        &["sh"],
    );
    say("exec_process_file_broken", &["--process", file], &[]);
    say("exec_process_file_missing", &["--process", "/no/such"], &[]);
    say("exec_pidfd_socket_missing", &["--pidfd-socket", "/no/such"], &["true"]);
    say("exec_pid_file_unwritable", &["--pid-file", "/no/such/pid"], &["true"]);
    let own = cgroup_of(c.pid());
    fs::write(own.join("cgroup.freeze"), "1").unwrap();
    eventually("the container is paused", || c.status() == "paused");
    say("exec_paused", &[], &["true"]);
    fs::write(own.join("cgroup.freeze"), "0").unwrap();
    c.kill("KILL");
    c.until_stopped();
    say("exec_stopped", &[], &["true"]);
}
