//! Which controllers are enabled, and where.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{MIB, name, update, with};
use crate::harness::cgroup::{content, has_controller};
use crate::harness::{Bundle, eventually};
use crate::need;

#[test]
fn only_needed_controllers_are_enabled_down_the_tree() {
    need!(has_controller("pids") && has_controller("memory"), name("pids, memory"));
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let top = format!("/{}-top", bundle.fresh_id());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(format!("{top}/middle/leaf")));
    let top = PathBuf::from(format!("/sys/fs/cgroup{top}"));
    // Created by another program, so only the needed controllers are enabled. (Those that the runtime creates:
    // `cgroup/leaf.rs`.)
    fs::create_dir(&top).expect("make a cgroup");
    let c = bundle.start();
    assert_eq!(content(&top, "cgroup.subtree_control"), "");
    update(&c, &["--pids-limit", "50"]).ok();
    assert_eq!(content(&top, "cgroup.subtree_control"), "pids");
    assert_eq!(content(&top, "middle/cgroup.subtree_control"), "pids");
    assert_eq!(content(&top, "middle/leaf/pids.max"), "50");
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
    assert!(!top.join("middle").exists());
    fs::remove_dir(&top).expect("remove the cgroup");
}

#[test]
fn a_parent_cgroup_with_processes_is_named() {
    need!(has_controller("memory"), name("memory"));
    let above = PathBuf::from(format!("/sys/fs/cgroup/{}-above", Bundle::new().fresh_id()));
    fs::create_dir(&above).expect("make a cgroup");
    let mut sleeper = std::process::Command::new("sleep")
        .arg("100")
        .spawn()
        .expect("run sleep");
    fs::write(above.join("cgroup.procs"), sleeper.id().to_string()).expect("move it");
    let bundle = with("memory", json!({ "limit": 64 * MIB })).args(["true"]);
    let name = above
        .file_name()
        .and_then(|name| name.to_str())
        .expect("UTF-8")
        .to_owned();
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(format!("/{name}/leaf")));
    let said = bundle.run();
    sleeper.kill().expect("kill it");
    sleeper.wait().expect("wait for it");
    eventually("its cgroup is empty", || fs::remove_dir(&above).is_ok());
    let said = said.fails_with("memory");
    assert!(
        said.stderr.contains("linux.resources.memory.limit") && said.stderr.contains("has processes of its own"),
        "{said:#?}"
    );
}

#[test]
fn dockers_values_for_unset_limits_enable_no_controller() {
    let bundle = Bundle::new().args(["probe", "sleep"]).edit(|c| {
        c["linux"]["resources"]["memory"] = json!({});
        c["linux"]["resources"]["cpu"] = json!({ "shares": 0 });
        c["linux"]["resources"]["blockIO"] = json!({ "weight": 0 });
    });
    bundle.start();
}

/// What `check` says about limits is what `create` does, and checking enables nothing.
#[test]
fn check_agrees_with_create_about_limits() {
    need!(has_controller("memory") && has_controller("pids"), name("memory, pids"));
    let bundle = Bundle::new().args(["true"]);
    let above = format!("/{}-above", bundle.fresh_id());
    let directory = PathBuf::from(format!("/sys/fs/cgroup{above}"));
    fs::create_dir(&directory).expect("make a cgroup");
    bundle.change(|c| {
        c["linux"]["cgroupsPath"] = json!(format!("{above}/leaf"));
        c["linux"]["resources"]["memory"] = json!({ "limit": 100 * MIB });
    });
    let dir = bundle.dir().to_str().unwrap().to_owned();
    let check = || bundle.orlop(["check", "--format", "json", dir.as_str()]).run();
    let errors = |output: &Value| -> Vec<Value> {
        let list = output["findings"].as_array().unwrap().iter();
        list.filter(|finding| finding["level"] == "error").cloned().collect()
    };
    assert_eq!(errors(&check().ok().json()), [json!(null); 0]);
    assert_eq!(content(&directory, "cgroup.subtree_control"), "");
    bundle.run().ok();
    // A cgroup with processes of its own cannot hand down the controller of memory.
    let mut sleeper = std::process::Command::new("sleep").arg("100").spawn().expect("sleep");
    fs::remove_dir(&directory).expect("remove the cgroup");
    fs::create_dir(&directory).expect("make it again");
    fs::write(directory.join("cgroup.procs"), sleeper.id().to_string()).expect("move a process");
    let said = bundle.run().fails().stderr;
    let found = errors(&serde_json::from_str(&check().stdout).unwrap());
    sleeper.kill().expect("kill");
    sleeper.wait().expect("wait");
    eventually("its cgroup is empty", || fs::remove_dir(&directory).is_ok());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["code"], "cgroup");
    assert!(
        said.contains(found[0]["message"].as_str().unwrap()),
        "{found:?}\n{said}"
    );
}
