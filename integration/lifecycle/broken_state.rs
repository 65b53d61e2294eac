//! A damaged state directory: `delete --force` removes what can be found.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::host::make_fifo;
use crate::harness::{Bundle, Container, HostMount, alive, eventually};

fn state_file(c: &Container) -> PathBuf {
    c.bundle.state_root().join(&c.id).join("state.json")
}

#[test]
fn delete_by_force_removes_a_container_with_a_broken_state() {
    type Spoil = fn(&str) -> String;
    let cases: [(&str, Spoil); 5] = [
        ("empty", |_| String::new()),
        ("cut off", |text| text[..text.len() / 2].into()),
        ("a list", |_| "[]".into()),
        ("of a later version", |text| {
            text.replace("\"version\":1", "\"version\":99")
        }),
        ("without a field", |text| {
            let mut state: Value = serde_json::from_str(text).unwrap();
            state.as_object_mut().unwrap().remove("bundle");
            state.to_string()
        }),
    ];
    for (what, spoil) in cases {
        for path in [None, Some("own")] {
            let bundle = Bundle::new().args(["probe", "sleep"]);
            if let Some(path) = path {
                let path = format!("/{}-{path}", bundle.fresh_id());
                bundle.change(|c| c["linux"]["cgroupsPath"] = json!(path));
            }
            let c = bundle.start();
            let pid = c.pid();
            let text = fs::read_to_string(state_file(&c)).unwrap();
            fs::write(state_file(&c), spoil(&text)).unwrap();
            let later = what == "of a later version";
            c.try_delete()
                .fails_with(if later { "unknown version 99" } else { "delete --force" });
            bundle.orlop(["delete", "--force", &c.id]).run().ok();
            eventually("init dies", || !alive(pid));
            assert!(!bundle.state_root().join(&c.id).exists(), "{what}");
            bundle.assert_clean();
        }
    }
}

#[test]
fn delete_by_force_removes_a_state_that_is_not_a_file() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.start();
    c.until_stopped();
    fs::remove_file(state_file(&c)).unwrap();
    symlink("/etc/passwd", state_file(&c)).unwrap();
    c.try_delete().fails_for("state.json: not a regular file");
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
    assert!(fs::metadata("/etc/passwd").is_ok());
    bundle.assert_clean();
}

/// Another type of file instead of a file of the state: no verb blocks on it, and force removes the whole container.
#[test]
fn other_file_types_in_the_state_are_reported_and_removed_by_force() {
    type Replace = fn(&Path);
    let cases: [(&str, Replace); 5] = [
        ("nothing", |_| ()),
        ("a directory", |path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("odd"), "").unwrap();
        }),
        ("a pipe", make_fifo),
        ("a socket", |path| drop(UnixListener::bind(path).unwrap())),
        ("a link", |path| symlink("/etc/passwd", path).unwrap()),
    ];
    for (what, replace) in cases {
        for own_path in [false, true] {
            let bundle = Bundle::new().args(["probe", "sleep"]);
            let whole = bundle.start();
            if own_path {
                let path = format!("/{}-above/own", bundle.fresh_id());
                bundle.change(|c| c["linux"]["cgroupsPath"] = json!(path));
            }
            let c = bundle.start();
            let pid = c.pid();
            fs::remove_file(state_file(&c)).unwrap();
            replace(&state_file(&c));
            for verb in [
                &["state"][..],
                &["kill"],
                &["delete"],
                &["pause"],
                &["exec"],
                &["update"],
                &["start"],
            ] {
                let rest: &[&str] = if verb == ["exec"] { &["true"] } else { &[] };
                let refused = bundle.orlop([verb, &[&c.id], rest].concat()).run();
                let refused = refused.fails_with("state.json");
                assert!(refused.stderr.contains("delete --force"), "{what}: {refused:#?}");
            }
            let list = bundle.orlop(["list"]).run().fails_with(&c.id);
            assert!(list.stdout.contains(&whole.id), "{what}: {list:#?}");
            assert!(alive(pid));
            bundle.orlop(["delete", "--force", &c.id]).run().ok();
            assert!(!alive(pid), "{what}: its process lives");
            assert!(!bundle.state_root().join(&c.id).exists(), "{what}");
            bundle.orlop(["list"]).run().ok();
            assert_eq!(whole.status(), "running");
        }
    }
    assert!(fs::metadata("/etc/passwd").is_ok());
}

#[test]
fn a_stored_config_that_is_not_a_file_is_removed_by_force() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let config = bundle.state_root().join(&c.id).join("config.json");
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    bundle.orlop(["exec", &c.id, "true"]).run().fails_with("config.json");
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
    bundle.assert_clean();
}

/// If two or three fields are missing or invalid, no process, cgroup or state is left.
#[test]
fn a_state_without_several_fields_leaves_nothing() {
    let fields = [
        "pid",
        "startTime",
        "bundle",
        "cgroup",
        "created",
        "phase",
        "version",
        "id",
    ];
    for (index, first) in fields.iter().enumerate() {
        for (second, third) in [(index + 1, index + 3), (index + 2, index + 2), (index + 3, index + 4)] {
            let bundle = Bundle::new().args(["probe", "sleep"]);
            let c = bundle.start();
            let pid = c.pid();
            let mut state: Value = serde_json::from_str(&fs::read_to_string(state_file(&c)).unwrap()).unwrap();
            let object = state.as_object_mut().unwrap();
            object.remove(*first);
            object.insert(fields[second % fields.len()].into(), json!({ "odd": [] }));
            object.remove(fields[third % fields.len()]);
            fs::write(state_file(&c), state.to_string()).unwrap();
            bundle.orlop(["delete", "--force", &c.id]).run().ok();
            assert!(!alive(pid), "{state}");
            bundle.assert_clean();
        }
    }
    // These are not required when the state is read.
    for (pid, cgroup) in [
        (json!(0), Value::Null),
        (
            json!(1 << 21),
            json!({ "path": "/sys/fs/cgroup/x", "owner": "", "inode": 7 }),
        ),
    ] {
        let bundle = Bundle::new().args(["probe", "sleep"]);
        let c = bundle.start();
        let init = c.pid();
        let mut state: Value = serde_json::from_str(&fs::read_to_string(state_file(&c)).unwrap()).unwrap();
        (state["pid"], state["cgroup"]) = (pid, cgroup);
        fs::write(state_file(&c), state.to_string()).unwrap();
        bundle.orlop(["delete", "--force", &c.id]).run().ok();
        assert!(!alive(init), "{state}");
        bundle.assert_clean();
    }
}

/// A state root that is writable for everyone: a state of another user is not used, and its hooks are not run.
#[test]
fn a_state_of_another_user_is_not_trusted() {
    let bundle = Bundle::new()
        .args(["true"])
        .with_host_hook("poststop", "echo ran >>$OUT");
    for name in ["", "state.json", "config.json"] {
        let c = bundle.start();
        c.until_stopped();
        let directory = bundle.state_root().join(&c.id);
        let path = if name.is_empty() {
            directory.clone()
        } else {
            directory.join(name)
        };
        chown(&path, Some(4711), None).unwrap();
        let verbs: &[&[&str]] = match name {
            "config.json" => &[],
            _ => &[&["state"], &["delete"], &["delete", "--force"], &["start"], &["kill"]],
        };
        for verb in verbs {
            let refused = bundle.orlop([verb, &[c.id.as_str()][..]].concat()).run();
            refused.fails_with("belongs to uid 4711");
        }
        if !verbs.is_empty() {
            bundle.orlop(["list"]).run().fails_with("belongs to uid 4711");
            assert!(!bundle.path("hooks.log").exists());
            assert!(path.exists());
        }
        chown(&path, Some(0), None).unwrap();
        c.delete();
        fs::remove_file(bundle.path("hooks.log")).unwrap();
    }
}

/// A process that cannot be killed at once, or a cgroup in use: the container stays known.
#[test]
fn a_cgroup_that_cannot_be_removed_keeps_the_container_known() {
    let bundle = Bundle::new()
        .args(["true"])
        .with_host_hook("poststop", "echo ran >>$OUT");
    let path = format!("/{}-leaf", bundle.fresh_id());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(path));
    let c = bundle.start();
    c.until_stopped();
    let leaf = PathBuf::from(format!("/sys/fs/cgroup{path}"));
    fs::create_dir(leaf.join("below")).unwrap();
    // A mount is a reason that no signal removes.
    let held = HostMount::tmpfs(&leaf.join("below"), 0);
    bundle.orlop(["delete", "--force", &c.id]).run().fails_with("EBUSY");
    assert_eq!(c.status(), "stopped");
    assert!(!bundle.path("hooks.log").exists());
    drop(held);
    c.delete();
    assert_eq!(fs::read_to_string(bundle.path("hooks.log")).unwrap(), "ran\n");
}

#[test]
fn a_container_runs_while_one_of_its_threads_does() {
    // The first thread ends, and is a zombie until the others have.
    let bundle = Bundle::new().args(["probe", "leave-a-thread"]);
    let c = bundle.start();
    c.until("ready");
    eventually("the first thread ends", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", c.pid())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"))
    });
    assert_eq!(c.status(), "running");
    c.try_delete().fails_for("not stopped: running");
    c.kill("KILL");
    c.until_stopped();
    c.delete();
}

#[test]
fn a_state_that_cannot_be_determined_is_an_error_not_stopped() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let mut told = 0;
    // With too few descriptors some step fails, the read of /proc/PID/stat last of all.
    for descriptors in 4..12 {
        let limit = format!("ulimit -n {descriptors}");
        let output = bundle.orlop(["state", &c.id]).through_shell(&limit).run();
        if output.code == 0 {
            assert_eq!(output.json()["status"], "running", "{limit}");
            told += 1;
        } else {
            assert!(output.stderr.contains("EMFILE"), "{limit}: {output:#?}");
        }
    }
    assert!(0 < told && told < 8, "{told}");
}
