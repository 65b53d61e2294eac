//! A state directory in which something is wrong: `delete --force` removes what can be found.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Bundle, Container, alive, eventually};

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
            let refused = c.try_delete().fails();
            if what != "of a later version" {
                assert!(refused.stderr.contains("delete --force"), "{what}: {refused:#?}");
            }
            bundle.orlop(["delete", "--force", &c.id]).run().ok();
            eventually("init dies", || !alive(pid));
            assert!(!bundle.state_root().join(&c.id).exists(), "{what}");
            bundle.assert_clean();
        }
    }
}

#[test]
fn delete_by_force_removes_a_state_that_is_no_file() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.start();
    c.until_stopped();
    fs::remove_file(state_file(&c)).unwrap();
    symlink("/etc/passwd", state_file(&c)).unwrap();
    c.try_delete().fails();
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
    assert!(fs::metadata("/etc/passwd").is_ok());
    bundle.assert_clean();
}

#[test]
fn a_container_lives_while_one_of_its_threads_does() {
    // The first thread ends, and is a zombie until the others have.
    let bundle = Bundle::new().args(["probe", "leave-a-thread"]);
    let c = bundle.start();
    c.until("ready");
    eventually("the first thread ends", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", c.pid())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"))
    });
    assert_eq!(c.status(), "running");
    c.try_delete().fails();
    c.kill("KILL");
    c.until_stopped();
    c.delete();
}

#[test]
fn a_state_that_cannot_be_told_is_an_error_and_not_stopped() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let mut told = 0;
    // With too few descriptors something fails on the way, /proc/PID/stat last of all.
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
