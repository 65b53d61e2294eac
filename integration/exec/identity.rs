//! What a process that `exec` starts has in common with init, and what may be chosen for it on the command line.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::harness::exec::{exec_cmd, exec_facts, idle, link};
use crate::harness::host::has_session_keyrings;
use crate::harness::{Bundle, Container, cgroup_of, eventually};
use crate::need;

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
    // Neither the exec parent nor the runtime is visible as its parent.
    assert_eq!(facts["ppid"], 0);
    assert_eq!((&facts["sid"], &facts["pgid"]), (&facts["pid"], &facts["pid"]));
    assert_eq!(facts["pdeathsig"], 0);
    assert_eq!(facts["childSubreaper"], 0);
}

/// Each attribute is that of init; `exec` must not forget one.
#[test]
fn it_has_the_attributes_of_init() {
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
    need!(has_session_keyrings(), "session keyrings");
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
fn it_works_with_namespaces_that_the_container_shares() {
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

#[test]
fn flags_override_the_config() {
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
fn everything_after_the_id_is_the_command() {
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
        .fails_with("before the container ID");
    assert_eq!(out.code, 255);
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

#[test]
fn golden_texts() {
    let bundle = idle();
    fs::write(bundle.path("process.json"), "{\"args\": [\"true\"],\n \"cwd\": \"/\"").unwrap();
    let file = bundle.path("process.json");
    let file = file.to_str().unwrap();
    let c = bundle.start();
    let say = |name: &str, flags: &[&str], command: &[&str]| {
        let words = [&["exec"], flags, &[&c.id], command].concat();
        crate::harness::golden::verb(&bundle, name, &words, &c.id);
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
