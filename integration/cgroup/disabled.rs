//! `--cgroup-manager`, with which Podman requests a container without a separate cgroup (`--cgroups disabled`).

use std::fs;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use crate::harness::users::{as_user, rootless};
use crate::harness::{Bundle, Cmd, alive, eventually};

const DISABLED: [&str; 2] = ["--cgroup-manager", "disabled"];

fn own_cgroup() -> String {
    fs::read_to_string("/proc/self/cgroup").expect("our cgroup")
}

#[test]
fn it_runs_in_the_cgroup_of_its_caller() {
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
    // Verbs that need a cgroup say that it is missing.
    on(&["pause"]).fails_with("has no cgroup");
    on(&["update", "--memory", "64M"]).fails_with("has no cgroup");
    bundle.orlop(["kill", &id, "KILL"]).run().ok();
    eventually("it is killed", || on(&["state"]).ok().json()["status"] == "stopped");
    on(&["delete"]).ok();
    assert!(!alive(pid.parse().expect("a number")));
}

#[test]
fn settings_that_need_a_cgroup_are_refused() {
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
fn the_cgroup_manager_is_given_once() {
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

/// A host on which no cgroup can be created, for this command only.
fn with_read_only_cgroups(cmd: Cmd) -> Cmd {
    cmd.through_shell("mount --make-rprivate / && mount -o remount,bind,ro /sys/fs/cgroup")
        .before_exec(|| Ok(unshare(CloneFlags::CLONE_NEWNS)?))
}

/// A host without cgroup2, for this command only.
fn without_cgroup2(cmd: Cmd) -> Cmd {
    cmd.through_shell("mount --make-rprivate / && while umount -R /sys/fs/cgroup 2>/dev/null; do :; done")
        .before_exec(|| Ok(unshare(CloneFlags::CLONE_NEWNS)?))
}

/// As inside a Docker container. The flags that the hint names must work.
#[test]
fn without_a_writable_cgroup_tree_the_hint_names_flags_that_work() {
    let bundle = Bundle::new().args(["probe", "exit", "3"]);
    let dir = bundle.dir().to_str().expect("UTF-8").to_owned();
    for host in [with_read_only_cgroups as fn(Cmd) -> Cmd, without_cgroup2] {
        let run = |flags: &[&str]| {
            let id = bundle.fresh_id();
            let words = [flags, &["run", "--bundle", &dir, &id]].concat();
            host(bundle.orlop(words)).run()
        };
        let hint = "(--cgroup-manager disabled or --rootless=true)";
        let refused = run(&[]).fails_with(hint);
        assert!(!refused.stderr.contains("leave"), "{refused:#?}");
        for flags in [&DISABLED[..], &["--rootless=true"]] {
            let done = run(flags);
            assert_eq!(done.code, 3, "{flags:?}: {done:#?}");
        }
        // The hint says what the config must not request.
        bundle.change(|c| c["linux"]["cgroupsPath"] = json!("/somewhere"));
        run(&[])
            .fails_with("hint: ")
            .fails_with("leave linux.cgroupsPath out and run");
        bundle.change(|c| c["linux"]["resources"] = json!({ "pids": { "limit": 10 } }));
        run(&[]).fails_with("leave linux.cgroupsPath and the limits in linux.resources out");
        bundle.change(|c| {
            c["linux"].as_object_mut().expect("an object").remove("cgroupsPath");
            c["linux"].as_object_mut().expect("an object").remove("resources");
        });
    }
}

/// runc's flag: without it, only a runtime that is not root on the host continues when a cgroup cannot be created.
#[test]
fn rootless_decides_whether_a_cgroup_may_be_missing() {
    let bundle = Bundle::new()
        .args(["probe", "exit", "3"])
        .without_mount("/sys/fs/cgroup");
    let dir = bundle.dir().to_str().expect("UTF-8").to_owned();
    let run = |flags: &[&str]| {
        let id = bundle.fresh_id();
        let words = [flags, &["run", "--bundle", &dir, &id]].concat();
        with_read_only_cgroups(bundle.orlop(words)).run()
    };
    for flags in [&[] as &[&str], &["--rootless", "auto"], &["--rootless=false"]] {
        run(flags).fails_with("EROFS");
    }
    assert_eq!(run(&["--rootless=true"]).code, 3);
    // A requested setting is never dropped.
    bundle.change(|c| c["linux"]["resources"] = json!({ "pids": { "limit": 10 } }));
    run(&["--rootless=true"]).fails_with("EROFS");
}

#[test]
fn an_unprivileged_user_can_be_required_to_have_a_cgroup() {
    let bundle = rootless(Bundle::new().args(["probe", "exit", "3"]));
    let dir = bundle.dir().to_str().expect("UTF-8").to_owned();
    let run = |flag: &str| {
        let id = bundle.fresh_id();
        as_user(bundle.orlop([flag, "run", "--bundle", &dir, &id])).run()
    };
    assert_eq!(run("--rootless=auto").code, 3);
    assert_eq!(run("--rootless=true").code, 3);
    run("--rootless=false").fails_with("cgroup");
}
