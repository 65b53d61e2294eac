//! `--cgroup-manager`, by which Podman asks for a container without a cgroup of its own (`--cgroups disabled`).

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::{Bundle, alive, eventually};

const DISABLED: [&str; 2] = ["--cgroup-manager", "disabled"];

fn own_cgroup() -> String {
    fs::read_to_string("/proc/self/cgroup").expect("our cgroup")
}

#[test]
fn it_lives_in_the_cgroup_of_its_caller() {
    let bundle = Bundle::new()
        .without_namespace("cgroup")
        .sh("cat /proc/self/cgroup; while :; do sleep 0.05; done");
    let id = bundle.fresh_id();
    let on = |words: &[&str]| bundle.orlop([words, &[id.as_str()]].concat()).run();
    let dir = bundle.dir().to_str().expect("UTF-8").to_owned();
    let created = bundle.orlop([&DISABLED[..], &["create", "--bundle", &dir, &id]].concat());
    created.run().ok();
    let pid = on(&["state"]).ok().json()["pid"].to_string();
    let cgroup_of = |pid: &str| fs::read_to_string(Path::new("/proc").join(pid).join("cgroup")).expect("its cgroup");
    assert_eq!(cgroup_of(&pid), own_cgroup());
    on(&["start"]).ok();
    let exec = bundle.orlop(["exec", &id, "cat", "/proc/self/cgroup"]).run().ok();
    assert_eq!(exec.stdout, own_cgroup());
    // What lives on a cgroup says what is missing.
    on(&["pause"]).fails_with("has no cgroup");
    on(&["update", "--memory", "64M"]).fails_with("has no cgroup");
    bundle.orlop(["kill", &id, "KILL"]).run().ok();
    eventually("it is killed", || on(&["state"]).ok().json()["status"] == "stopped");
    on(&["delete"]).ok();
    assert!(!alive(pid.parse().expect("a number")));
}

#[test]
fn what_a_cgroup_would_be_needed_for_is_refused() {
    let run = |bundle: &Bundle| {
        let dir = bundle.dir().to_str().expect("UTF-8").to_owned();
        let id = bundle.fresh_id();
        bundle
            .orlop([&DISABLED[..], &["run", "--bundle", &dir, &id]].concat())
            .run()
    };
    let limited = Bundle::new().edit(|c| c["linux"]["resources"] = json!({ "memory": { "limit": 64 << 20 } }));
    run(&limited).fails_with("linux.resources.memory.limit");
    let placed = Bundle::new().edit(|c| c["linux"]["cgroupsPath"] = json!("/somewhere"));
    run(&placed).fails_with("linux.cgroupsPath \"/somewhere\"");
    assert!(!Path::new("/sys/fs/cgroup/somewhere").exists());
}

#[test]
fn a_manager_is_named_once() {
    let bundle = Bundle::new();
    let dir = bundle.dir().to_str().expect("UTF-8").to_owned();
    let run = |flags: &[&str]| {
        let id = bundle.fresh_id();
        bundle.orlop([flags, &["run", "--bundle", &dir, &id]].concat()).run()
    };
    run(&["--cgroup-manager", "cgroupfs"]).ok();
    run(&["--cgroup-manager", "nobody"]).fails_with("nobody");
    run(&["--cgroup-manager", "disabled", "--systemd-cgroup"]).fails_with("--systemd-cgroup");
}
