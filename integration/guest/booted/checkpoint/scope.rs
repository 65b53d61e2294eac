//! A container in a scope of systemd.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::super::{BOOTED, Scoped, is_booted};
use super::{CHECKPOINT, PATIENCE, can_checkpoint, show_log, without_streams};
use crate::harness::checkpoint::with_criu;
use crate::harness::{Bundle, eventually};
use crate::need;

fn path(c: &Scoped, name: &str) -> String {
    c.bundle.path(name).to_str().expect("UTF-8").to_owned()
}

#[track_caller]
fn checkpoint(c: &Scoped) {
    let (images, work) = (path(c, "images"), path(c, "work"));
    let args = ["checkpoint", "--image-path", &images, "--work-path", &work, &c.id];
    let output = with_criu(c.orlop(&args), &[]).within(PATIENCE).run();
    show_log(&output, &Path::new(&work).join("dump.log"));
    output.ok();
}

#[track_caller]
fn restore(c: &Scoped) {
    let (images, work, bundle) = (path(c, "images"), path(c, "work"), path(c, ""));
    let paths = ["--image-path", &images, "--work-path", &work, "--bundle", &bundle];
    let args = [&["restore", "--detach"], &paths[..], &[c.id.as_str()]].concat();
    let output = with_criu(c.orlop(&args), &[]).within(PATIENCE).run();
    show_log(&output, &Path::new(&work).join("restore.log"));
    output.ok();
}

fn counter() -> Bundle {
    let script = "i=0; while :; do i=$((i+1)); echo $i >/tmp/new; busybox mv /tmp/new /tmp/count; sleep 0.05; done";
    Bundle::new().writable().sh(script)
}

fn count(c: &Scoped) -> u64 {
    let text = fs::read_to_string(c.bundle.inside("/tmp/count")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

#[test]
fn a_container_in_a_scope_is_restored_in_a_new_one() {
    need!(is_booted(), BOOTED);
    need!(can_checkpoint(), CHECKPOINT);
    let c = Scoped::of(
        counter(),
        json!({ "memory": { "limit": 64 << 20, "swap": 64 << 20 }, "pids": { "limit": 20 } }),
        false,
    );
    without_streams(&c.bundle, &["--systemd-cgroup"], &c.id);
    c.on(&["start"]).ok();
    eventually("it counts", || count(&c) > 3);
    let first = c.shown("InvocationID");
    checkpoint(&c);
    assert!(!c.leaf().exists(), "its cgroup is left");
    c.assert_shown(&[("ActiveState", "inactive"), ("LoadState", "not-found")]);
    let before = count(&c);

    c.bundle
        .change(|config| config["linux"]["resources"]["pids"]["limit"] = json!(30));
    restore(&c);
    eventually("it counts on", || count(&c) > before + 3);
    c.assert_shown(&[
        ("ActiveState", "active"),
        ("MemoryMax", "67108864"),
        ("TasksMax", "30"),
        ("Delegate", "yes"),
    ]);
    c.assert_contents(&[("memory.max", "67108864"), ("pids.max", "30")]);
    assert_ne!(c.shown("InvocationID"), first);
    assert!(c.content("cgroup.procs").lines().any(|pid| pid == c.pid()));
    // It is a container like any other.
    c.on(&["pause"]).ok();
    assert_eq!(c.on(&["state"]).ok().json()["status"], "paused");
    c.on(&["resume"]).ok();
    c.on(&["delete", "--force"]).ok();
    c.assert_shown(&[("LoadState", "not-found")]);
}

/// CRIU mounts the cgroup file system itself, and that would reset them for the whole host.
#[test]
fn the_options_of_the_cgroup_mount_stay() {
    need!(is_booted(), BOOTED);
    need!(can_checkpoint(), CHECKPOINT);
    let options = || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 ")).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    let before = options();
    assert!(before.contains("nsdelegate"), "{before}");
    let c = Scoped::of(counter(), json!({}), false);
    without_streams(&c.bundle, &["--systemd-cgroup"], &c.id);
    c.on(&["start"]).ok();
    eventually("it counts", || count(&c) > 3);
    checkpoint(&c);
    assert_eq!(options(), before);
    restore(&c);
    assert_eq!(options(), before);
}
