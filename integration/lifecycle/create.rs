//! What create promises: all or nothing, no dependence on later edits, the truth about failures.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Bundle, alive, eventually};

#[test]
fn later_edits_of_the_config_have_no_effect() {
    let bundle = Bundle::new().args(["probe", "print", "as created"]);
    let c = bundle.create();
    bundle.change(|config| config["process"]["args"] = json!(["probe", "print", "edited"]));
    c.start();
    c.until("as created");

    let c = bundle.create();
    fs::remove_file(bundle.path("config.json")).unwrap();
    c.start();
    c.until("edited");
    c.until_stopped();
    c.delete();
}

#[test]
fn a_missing_program_is_reported() {
    let cases = [
        ("no-such-program", "executable file not found in $PATH"),
        ("/no/such/program", "no such file or directory"),
        // Engines know both; the second says more.
        ("/etc", "permission denied|is a directory"),
        ("/etc/plain", "permission denied"),
        ("/etc/garbage", "exec format error"),
    ];
    for (program, message) in cases {
        let bundle = Bundle::new().args([program]);
        fs::write(bundle.inside("/etc/plain"), "not executable").unwrap();
        fs::write(bundle.inside("/etc/garbage"), "not a program").unwrap();
        fs::set_permissions(bundle.inside("/etc/garbage"), fs::Permissions::from_mode(0o755)).unwrap();
        let out = bundle.run().fails();
        let said = out.stderr.to_lowercase();
        assert!(
            message.to_lowercase().split('|').any(|text| said.contains(text)),
            "no `{message}`: {out:#?}"
        );
        assert!(out.stderr.contains(program), "the program is not named: {out:#?}");
        bundle.assert_clean();
    }
}

#[test]
fn start_itself_reports_a_program_that_cannot_be_executed() {
    // Whatever create checked: only execve tells, and start has to wait for its answer.
    type Spoil = fn(&std::path::Path);
    let cases: [(&str, Spoil, &str); 3] = [
        (
            "spoiled",
            |p| fs::remove_file(p).unwrap(),
            "executable file not found in $PATH",
        ),
        (
            "/bin/spoiled",
            |p| fs::set_permissions(p, fs::Permissions::from_mode(0o644)).unwrap(),
            "permission denied",
        ),
        (
            "/bin/spoiled",
            |p| fs::write(p, "garbage").unwrap(),
            "exec format error",
        ),
    ];
    for (program, spoil, message) in cases {
        let bundle = Bundle::new().args([program]);
        let path = bundle.inside("/bin/spoiled");
        fs::copy(bundle.inside("/bin/probe"), &path).unwrap();
        let c = bundle.create();
        spoil(&path);
        c.try_start().fails_with(message);
        assert_eq!(c.status(), "stopped");
        c.delete();
        bundle.assert_clean();
    }
}

#[test]
fn process_may_be_absent_until_start() {
    let bundle = Bundle::new().edit(|c| {
        c.as_object_mut().unwrap().remove("process");
    });
    let c = bundle.create();
    assert_eq!(c.status(), "created");
    c.try_start().fails_with("process");
}

#[test]
fn mounts_may_be_absent() {
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        c.as_object_mut().unwrap().remove("mounts");
        c["linux"]["maskedPaths"] = json!([]);
        c["linux"]["readonlyPaths"] = json!([]);
    });
    bundle.run().ok();
}

#[test]
fn unknown_properties_are_ignored() {
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        c["futureSection"] = json!({ "a": 1 });
        c["process"]["futureField"] = json!(true);
        c["linux"]["futureField"] = json!(["x"]);
        c["solaris"] = json!({ "milestone": "x" });
    });
    bundle.run().ok();
}

#[test]
fn a_failing_create_leaves_nothing() {
    type Edit = fn(&mut Value);
    let cases: &[(&str, Edit)] = &[
        ("missing bind source", |c| {
            push(
                c,
                json!({"destination": "/mnt", "source": "/no/such/source", "options": ["bind"]}),
            )
        }),
        ("bad mount option", |c| {
            push(
                c,
                json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["size=nonsense"]}),
            )
        }),
        ("unknown file system", |c| {
            push(c, json!({"destination": "/tmp", "type": "nosuchfs", "source": "x"}))
        }),
        ("mount below a file", |c| {
            push(
                c,
                json!({"destination": "/bin/busybox/x", "type": "tmpfs", "source": "tmpfs"}),
            )
        }),
        ("missing root", |c| c["root"]["path"] = json!("no-such-directory")),
        ("root is a file", |c| c["root"]["path"] = json!("config.json")),
        ("no root", |c| drop(c.as_object_mut().unwrap().remove("root"))),
        ("namespace path missing", |c| {
            c["linux"]["namespaces"][1]["path"] = json!("/no/such/ns")
        }),
        ("namespace of another type", |c| {
            c["linux"]["namespaces"][1]["path"] = json!("/proc/self/ns/uts")
        }),
        ("namespace path of a plain file", |c| {
            c["linux"]["namespaces"][1]["path"] = json!("/etc/passwd")
        }),
        ("unknown namespace", |c| {
            c["linux"]["namespaces"][1]["type"] = json!("bogus")
        }),
        ("namespace twice", |c| {
            c["linux"]["namespaces"][1]["type"] = json!("pid")
        }),
        ("hostname without uts", |c| {
            c["linux"]["namespaces"]
                .as_array_mut()
                .unwrap()
                .retain(|n| n["type"] != "uts");
        }),
        ("unknown rlimit", |c| {
            c["process"]["rlimits"][0]["type"] = json!("RLIMIT_BOGUS")
        }),
        ("relative cwd", |c| c["process"]["cwd"] = json!("relative")),
        ("cwd is a file", |c| c["process"]["cwd"] = json!("/bin/busybox")),
        ("empty args", |c| c["process"]["args"] = json!([])),
        ("unknown sysctl", |c| {
            c["linux"]["sysctl"] = json!({"net.ipv4.no_such_thing": "1"})
        }),
        ("bad sysctl value", |c| {
            c["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "nonsense"})
        }),
        ("unknown device type", |c| {
            c["linux"]["devices"] = json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 3}])
        }),
        ("bad rootfsPropagation", |c| {
            c["linux"]["rootfsPropagation"] = json!("bogus")
        }),
        ("bad personality", |c| {
            c["linux"]["personality"] = json!({"domain": "BOGUS"})
        }),
        ("createRuntime hook fails", |c| {
            c["hooks"] = json!({"createRuntime": [{"path": "/bin/false"}]})
        }),
        ("prestart hook fails", |c| {
            c["hooks"] = json!({"prestart": [{"path": "/bin/false"}]})
        }),
        ("createContainer hook fails", |c| {
            c["hooks"] = json!({"createContainer": [{"path": "/bin/false"}]})
        }),
        ("createRuntime hook missing", |c| {
            c["hooks"] = json!({"createRuntime": [{"path": "/no/such/hook"}]})
        }),
        ("bad version", |c| c["ociVersion"] = json!("not-a-version")),
        ("newer major version", |c| c["ociVersion"] = json!("2.0.0")),
        ("wrong type in the config", |c| c["process"]["args"] = json!("a string")),
        ("NUL in an argument", |c| {
            c["process"]["args"] = json!(["probe", "a\u{0}b"])
        }),
    ];
    let mut wrong = Vec::new();
    for (what, edit) in cases {
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
        std::thread::sleep(Duration::from_millis(5));
        let leaks = bundle.leaks();
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
fn create_without_a_readable_config_leaves_nothing() {
    for content in [None, Some(""), Some("{"), Some("[]"), Some("null"), Some("{}")] {
        let bundle = Bundle::new();
        match content {
            None => fs::remove_file(bundle.path("config.json")).unwrap(),
            Some(text) => fs::write(bundle.path("config.json"), text).unwrap(),
        }
        bundle.create_cmd(&bundle.fresh_id(), &[]).run().fails();
        bundle.assert_clean();
    }
}

#[test]
fn an_unwritable_pid_file_fails_and_leaves_nothing() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    bundle
        .create_cmd(&bundle.fresh_id(), &["--pid-file", "/no/such/directory/pid"])
        .run()
        .fails();
    bundle.assert_clean();
}

#[test]
fn a_killed_creator_takes_the_half_made_container_with_it() {
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
        // The hook was the creator's child, not the container's; whether it outlives both is not our promise.
        let hook = fs::read_to_string(bundle.path("hooks.log.pid"))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        unsafe { libc::kill(hook, libc::SIGKILL) };

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
    // At once or after waiting for create: either way there is nothing stopped to delete.
    bundle.orlop(["delete", &id]).run().fails();
    create.wait().ok();
    assert_eq!(bundle.orlop(["state", &id]).run().ok().json()["status"], "created");
}

#[test]
fn pid_file_holds_the_pid() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let id = bundle.fresh_id();
    let path = bundle.path("init.pid");
    bundle
        .create_cmd(&id, &["--pid-file", path.to_str().unwrap()])
        .run()
        .ok();
    let pid = bundle.orlop(["state", &id]).run().ok().json()["pid"].to_string();
    assert_eq!(fs::read_to_string(&path).unwrap(), pid);
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
    bundle.run_cmd(&["--preserve-fds", "2"]).run().fails();
    bundle.assert_clean();
}

#[test]
fn errors_reach_the_log_file_as_json() {
    let bundle = Bundle::new().edit(|c| c["root"]["path"] = json!("no-such-directory"));
    let log = bundle.path("log.json");
    let dir = bundle.dir().to_str().unwrap();
    let id = bundle.fresh_id();
    let args = [
        "--log",
        log.to_str().unwrap(),
        "--log-format",
        "json",
        "create",
        "--bundle",
        dir,
        &id,
    ];
    let out = bundle.orlop(args).run();
    assert_ne!(out.code, 0);
    let text = fs::read_to_string(&log).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "error");
    assert!(last["msg"].as_str().unwrap().contains("no-such-directory"), "{last}");
    assert!(last["time"].as_str().unwrap().contains('T'), "{last}");
}

#[test]
fn what_fails_before_the_log_is_open_is_logged_too() {
    let bundle = Bundle::new().args(["true"]);
    let log = bundle.path("log.json");
    let dir = bundle.dir().to_str().unwrap();
    let global = ["--log", log.to_str().unwrap(), "--log-format=json"];
    let last = || -> Value {
        let text = fs::read_to_string(&log).unwrap_or_default();
        serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_default()
    };
    let said = |words: &[&str], text: &str| {
        let _ = fs::remove_file(&log);
        bundle.orlop([&global, words].concat()).run().fails();
        assert!(
            last()["msg"].as_str().unwrap_or_default().contains(text),
            "{words:?}: {}",
            last()
        );
        assert_eq!(last()["level"], "error");
    };
    said(&["create", "--bundle", dir, "--no-such-flag", "c"], "--no-such-flag");
    said(&["--no-such-flag", "create", "--bundle", dir, "c"], "--no-such-flag");
    said(
        &["create", "--bundle", dir, "--preserve-fds", "5", "c"],
        "descriptor 3 is not open",
    );

    // Without /proc the own binary cannot be protected.
    let _ = fs::remove_file(&log);
    let create = bundle.orlop([&global, &["create", "--bundle", dir, "c"][..]].concat());
    let without_proc = create.before_exec(|| unsafe {
        let done = libc::unshare(libc::CLONE_NEWNS) == 0
            && mount(c"none", c"/", std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE)
            && mount(c"none", c"/proc", c"tmpfs".as_ptr(), 0);
        if done {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    });
    without_proc.run().fails();
    assert!(
        last()["msg"].as_str().unwrap_or_default().contains("own binary"),
        "{}",
        last()
    );
}

unsafe fn mount(source: &std::ffi::CStr, target: &std::ffi::CStr, kind: *const libc::c_char, flags: u64) -> bool {
    let data = std::ptr::null();
    unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind, flags, data) == 0 }
}
