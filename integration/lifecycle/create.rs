//! What create promises: all or nothing, and correct errors.

use std::fs;

use serde_json::{Value, json};

use crate::harness::exec::exec_cmd;
use crate::harness::golden::own_texts;
use crate::harness::host::kill;
use crate::harness::{Bundle, alive, eventually};

#[test]
fn a_failing_create_leaves_nothing() {
    type Edit = fn(&mut Value);
    // What is wrong, words that the error must contain, and how it is made wrong.
    let cases: &[(&str, &[&str], Edit)] = &[
        ("missing bind source", &["mounts[7].source", "ENOENT"], |c| {
            push(
                c,
                json!({"destination": "/mnt", "source": "/no/such/source", "options": ["bind"]}),
            )
        }),
        ("bad mount option", &["mounts[7]", "size=nonsense", "EINVAL"], |c| {
            push(
                c,
                json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=nonsense"]}),
            )
        }),
        ("unknown file system", &["mounts[7]", "ENODEV"], |c| {
            push(c, json!({"destination": "/tmp", "type": "nosuchfs", "source": "x"}))
        }),
        ("mount below a file", &["mounts[7]", "ENOTDIR"], |c| {
            push(
                c,
                json!({"destination": "/bin/busybox/x", "type": "tmpfs", "source": "tmpfs"}),
            )
        }),
        ("missing root", &["root.path", "ENOENT"], |c| {
            c["root"]["path"] = json!("no-such-directory")
        }),
        ("root is a file", &["root.path", "not a directory"], |c| {
            c["root"]["path"] = json!("config.json")
        }),
        ("no root", &["root: missing"], |c| {
            drop(c.as_object_mut().unwrap().remove("root"))
        }),
        ("namespace path missing", &["linux.namespaces[1].path", "ENOENT"], |c| {
            c["linux"]["namespaces"][1]["path"] = json!("/no/such/ns")
        }),
        (
            "namespace of another type",
            &["linux.namespaces[1].path", "setns", "EINVAL"],
            |c| c["linux"]["namespaces"][1]["path"] = json!("/proc/self/ns/uts"),
        ),
        (
            "namespace path of a plain file",
            &["linux.namespaces[1].path", "setns", "EINVAL"],
            |c| c["linux"]["namespaces"][1]["path"] = json!("/etc/passwd"),
        ),
        ("unknown namespace", &["linux.namespaces[1].type", "bogus"], |c| {
            c["linux"]["namespaces"][1]["type"] = json!("bogus")
        }),
        ("namespace twice", &["linux.namespaces[1]", "duplicate"], |c| {
            c["linux"]["namespaces"][1]["type"] = json!("pid")
        }),
        ("hostname without uts", &["hostname", "UTS namespace"], |c| {
            c["linux"]["namespaces"]
                .as_array_mut()
                .unwrap()
                .retain(|n| n["type"] != "uts");
        }),
        ("unknown rlimit", &["process.rlimits[0].type", "RLIMIT_BOGUS"], |c| {
            c["process"]["rlimits"][0]["type"] = json!("RLIMIT_BOGUS")
        }),
        ("relative cwd", &["process.cwd", "absolute path"], |c| {
            c["process"]["cwd"] = json!("relative")
        }),
        ("cwd is a file", &["process.cwd", "ENOTDIR"], |c| {
            c["process"]["cwd"] = json!("/bin/busybox")
        }),
        ("empty args", &["process.args", "missing or empty"], |c| {
            c["process"]["args"] = json!([])
        }),
        (
            "unknown sysctl",
            &[r#"linux.sysctl["net.ipv4.no_such_thing"]"#, "ENOENT"],
            |c| c["linux"]["sysctl"] = json!({"net.ipv4.no_such_thing": "1"}),
        ),
        (
            "bad sysctl value",
            &[r#"linux.sysctl["net.ipv4.ip_forward"]"#, "EINVAL"],
            |c| c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "nonsense"}),
        ),
        ("unknown device type", &["linux.devices[0].type", "`z`"], |c| {
            c["linux"]["devices"] = json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}])
        }),
        ("bad rootfsPropagation", &["linux.rootfsPropagation", "bogus"], |c| {
            c["linux"]["rootfsPropagation"] = json!("bogus")
        }),
        ("bad personality", &["linux.personality.domain", "BOGUS"], |c| {
            c["linux"]["personality"] = json!({"domain": "BOGUS"})
        }),
        (
            "createRuntime hook fails",
            &["hooks.createRuntime[0]", "exit status 1"],
            |c| c["hooks"] = json!({"createRuntime": [{"path": "/bin/false"}]}),
        ),
        ("prestart hook fails", &["hooks.prestart[0]", "exit status 1"], |c| {
            c["hooks"] = json!({"prestart": [{"path": "/bin/false"}]})
        }),
        (
            "createContainer hook fails",
            &["hooks.createContainer[0]", "exit status 1"],
            |c| c["hooks"] = json!({"createContainer": [{"path": "/bin/false"}]}),
        ),
        (
            "createRuntime hook missing",
            &["hooks.createRuntime[0]", "ENOENT"],
            |c| c["hooks"] = json!({"createRuntime": [{"path": "/no/such/hook"}]}),
        ),
        ("bad version", &["ociVersion", "not-a-version"], |c| {
            c["ociVersion"] = json!("not-a-version")
        }),
        ("newer major version", &["ociVersion", "2.0.0"], |c| {
            c["ociVersion"] = json!("2.0.0")
        }),
        ("wrong type in the config", &["process.args", "invalid type"], |c| {
            c["process"]["args"] = json!("a string")
        }),
        ("NUL in an argument", &["process.args[1]", "NUL"], |c| {
            c["process"]["args"] = json!(["probe", "a\u{0}b"])
        }),
    ];
    let mut wrong = Vec::new();
    for (what, words, edit) in cases {
        let bundle = Bundle::new().args(["probe", "sleep"]).edit(edit);
        let id = bundle.fresh_id();
        let out = bundle.create_cmd(&id, &[]).run();
        if out.code == 0 {
            wrong.push(format!("{what}: accepted"));
            continue;
        }
        if out.stderr.trim().is_empty() {
            wrong.push(format!("{what}: no message"));
        }
        let missing: Vec<_> = words.iter().filter(|text| !out.stderr.contains(**text)).collect();
        if own_texts() && !missing.is_empty() {
            wrong.push(format!("{what}: no {missing:?} in {out:#?}"));
        }
        let leaks = bundle.lasting_leaks();
        if !leaks.is_empty() {
            wrong.push(format!("{what}: left {leaks:?}"));
        }
        // The id is free again.
        bundle
            .change(|c| *c = serde_json::from_str(include_str!("../../fixtures/bundles/default/config.json")).unwrap());
        let again = bundle.create_cmd(&id, &[]).run();
        if again.code != 0 {
            wrong.push(format!("{what}: the id is not free again: {}", again.stderr));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn push(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().unwrap().push(mount);
}

#[test]
fn the_half_made_container_ends_with_its_killed_creator() {
    for force in [true, false] {
        let script = "echo $$ >$OUT.pid; cat >$OUT; exec sleep 100";
        let bundle = Bundle::new()
            .args(["probe", "sleep"])
            .with_host_hook("createRuntime", script);
        let id = bundle.fresh_id();
        let create = bundle.create_cmd(&id, &[]).spawn();
        let log = bundle.path("hooks.log");
        let state = || serde_json::from_str::<Value>(&fs::read_to_string(&log).unwrap_or_default()).ok();
        eventually("the hook runs", || state().is_some());
        let init = state().unwrap()["pid"].as_i64().unwrap() as i32;
        assert!(alive(init));
        create.signal(libc::SIGKILL);
        create.wait();
        eventually("init dies with its creator", || !alive(init));
        // The hook was a child of the creator, not of the container; whether it outlives both is not promised.
        let hook = fs::read_to_string(bundle.path("hooks.log.pid"))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        kill(hook);

        let args = if force {
            vec!["delete", "--force", &id]
        } else {
            vec!["delete", &id]
        };
        bundle.orlop(args).run().ok();
        bundle.assert_clean();
        bundle.change(|c| drop(c.as_object_mut().unwrap().remove("hooks")));
        bundle.create_cmd(&id, &[]).run().ok();
    }
}

#[test]
fn a_container_being_created_is_visible_and_not_deletable() {
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .with_host_hook("createRuntime", "cat >$OUT; sleep 1");
    let id = bundle.fresh_id();
    let create = bundle.create_cmd(&id, &[]).spawn();
    eventually("the hook runs", || bundle.path("hooks.log").exists());
    assert_eq!(bundle.orlop(["state", &id]).run().ok().json()["status"], "creating");
    // At once or after waiting for create: in both cases there is no stopped container to delete.
    bundle.orlop(["delete", &id]).run().fails_for("not stopped: creat");
    create.wait().ok();
    assert_eq!(bundle.orlop(["state", &id]).run().ok().json()["status"], "created");
}

#[test]
fn preserved_descriptors_arrive_and_others_do_not() {
    let bundle = Bundle::new();
    let file = |name: &str| {
        fs::write(bundle.path(name), format!("{name}\n")).unwrap();
        fs::File::open(bundle.path(name)).unwrap()
    };
    let run = |flags: &[&str]| {
        let cmd = bundle
            .run_cmd(flags)
            .pass_fd(file("three"), 3)
            .pass_fd(file("four"), 4)
            .pass_fd(file("nine"), 9);
        let facts = cmd.run().ok().json();
        facts["fds"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(run(&[]), ["0", "1", "2"]);
    assert_eq!(run(&["--preserve-fds", "1"]), ["0", "1", "2", "3"]);
    assert_eq!(run(&["--preserve-fds", "2"]), ["0", "1", "2", "3", "4"]);

    let bundle = Bundle::new().sh("cat <&3; cat <&4");
    fs::write(bundle.path("three"), "three\n").unwrap();
    fs::write(bundle.path("four"), "four\n").unwrap();
    let open = |name: &str| fs::File::open(bundle.path(name)).unwrap();
    let out = bundle
        .run_cmd(&["--preserve-fds", "2"])
        .pass_fd(open("three"), 3)
        .pass_fd(open("four"), 4)
        .run()
        .ok();
    assert_eq!(out.stdout, "three\nfour\n");
}

#[test]
fn preserving_a_closed_descriptor_is_an_error() {
    let bundle = Bundle::new().args(["true"]);
    bundle
        .run_cmd(&["--preserve-fds", "2"])
        .run()
        .fails_for("file descriptor 3 is not open");
    bundle.assert_clean();
}

/// Podman passes one descriptor, `--preserve-fd 5`, as the last of three. No file of the runtime gets the numbers between.
#[test]
fn descriptors_closed_by_the_caller_stay_closed() {
    let bundle = Bundle::new().sh("cat <&5; for fd in 3 4 6; do [ ! -e /proc/self/fd/$fd ] || echo $fd is open; done");
    fs::write(bundle.path("five"), "five\n").unwrap();
    let open = || fs::File::open(bundle.path("five")).unwrap();
    let out = bundle.run_cmd(&["--preserve-fds", "3"]).pass_fd(open(), 5).run().ok();
    assert_eq!(out.stdout, "five\n");
    let container = Bundle::new().args(["probe", "sleep"]);
    let container = container.start();
    let exec = exec_cmd(
        &container,
        &["--preserve-fds", "3"],
        &["sh", "-c", "cat <&5; ls /proc/self/fd"],
    );
    let out = exec.pass_fd(open(), 5).run().ok();
    // (ls opens the directory as the lowest free number.)
    assert_eq!(out.stdout, "five\n0\n1\n2\n3\n5\n");
}

#[test]
fn a_container_being_created_cannot_be_signalled_or_started() {
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .with_host_hook("createRuntime", "cat >$OUT; while [ -e $OUT ]; do sleep 0.01; done");
    let id = bundle.fresh_id();
    let create = bundle.create_cmd(&id, &[]).spawn();
    let log = bundle.path("hooks.log");
    eventually("the hook runs", || fs::metadata(&log).is_ok_and(|file| file.len() > 0));
    for words in [&["kill", &id, "TERM"], &["kill", &id, "KILL"], &["exec", &id, "true"]] {
        bundle.orlop(words).run().fails_with("still being created");
    }
    fs::remove_file(&log).unwrap();
    create.wait().ok();
    assert_eq!(bundle.orlop(["state", &id]).run().ok().json()["status"], "created");
}
