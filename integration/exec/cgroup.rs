//! The cgroup of a process that joins: the container's, one below it, or the one that init has moved to; and a frozen one.

use std::fs;

use serde_json::json;

use crate::harness::exec::{detached, exec_cmd, idle};
use crate::harness::{cgroup_of, eventually};
use crate::need;

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

/// When init has moved to another cgroup, processes that join are placed there.
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

/// The same when the cgroup still exists but accepts no process.
#[test]
fn inits_own_cgroup_when_the_containers_accepts_no_process() {
    let bundle = idle();
    let name = bundle.fresh_id();
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(format!("/{name}/leaf")));
    let c = bundle.start();
    let own = cgroup_of(c.pid());
    let other = own.parent().unwrap().with_file_name(format!("{name}-moved"));
    let threaded = own.with_file_name("threaded");
    // Beside a cgroup of threads, one of processes is invalid (cgroups(7), "domain invalid").
    fs::create_dir(&threaded).unwrap();
    let made = fs::write(threaded.join("cgroup.type"), "threaded").is_ok();
    if !made {
        fs::remove_dir(&threaded).unwrap();
    }
    need!(made, "a cgroup without controllers that are for processes only");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("cgroup.procs"), c.pid().to_string()).unwrap();
    assert_eq!(fs::read_to_string(own.join("cgroup.type")).unwrap(), "domain invalid\n");
    assert_eq!(cgroup_of(detached(&c, &[])), other);
    fs::write(other.join("cgroup.kill"), "1").unwrap();
    eventually("the moved cgroup is empty", || fs::remove_dir(&other).is_ok());
    fs::remove_dir(&threaded).unwrap();
}

/// The kernel allows no process in a cgroup that distributes resources to those below it.
#[test]
fn inits_own_cgroup_when_the_containers_has_controllers_enabled() {
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
fn a_paused_container_is_refused_without_the_flag() {
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

/// A runtime that is killed while it waits leaves no process behind.
#[test]
fn a_killed_runtime_leaves_no_half_made_process() {
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
