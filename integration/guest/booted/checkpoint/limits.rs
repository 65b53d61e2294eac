//! Limits of a restored container, and its state before the checkpoint.

use std::path::Path;

use serde_json::json;

use super::super::{BOOTED, is_booted};
use super::{CHECKPOINT, HERE, Movable, can_checkpoint};
use crate::harness::Bundle;
use crate::harness::cgroup::content;
use crate::need;

fn limited() -> Movable {
    let bundle = Bundle::new().args(["probe", "rewrite", "8", "4", "8", "/tmp/report"]);
    let c = Movable::start(bundle.edit(|c| {
        c["linux"]["resources"] = json!({
            "memory": { "limit": 64 << 20, "swap": 64 << 20 }, "pids": { "limit": 20 }, "cpu": { "quota": 50_000, "period": 100_000 }
        });
    }));
    c.until_it_goes_on();
    c
}

fn assert_contents(leaf: &Path, files: &[(&str, &str)]) {
    for (file, expected) in files {
        assert_eq!(content(leaf, file), *expected, "{file}");
    }
}

const BEFORE: &[(&str, &str)] = &[
    ("memory.max", "67108864"),
    ("pids.max", "20"),
    ("cpu.max", "50000 100000"),
];

#[test]
fn a_restored_container_has_the_limits_of_its_config() {
    need!(is_booted(), BOOTED);
    need!(can_checkpoint(), CHECKPOINT);
    let c = limited();
    assert_contents(&c.leaf, BEFORE);
    c.checkpoint("images", &[]);
    assert!(!c.leaf.exists(), "its cgroup is left");
    c.restore(HERE, "images", &[]);
    assert_contents(&c.leaf, BEFORE);
    assert_eq!(content(&c.leaf, "cgroup.procs").lines().count(), 1);
    assert_eq!(content(&c.leaf, "pids.current"), "1");
    c.until_it_goes_on();

    c.checkpoint("images-2", &[]);
    c.bundle.change(|c| {
        c["linux"]["resources"] = json!({
            "memory": { "limit": 96 << 20, "swap": 96 << 20 }, "pids": { "limit": 9 }, "cpu": { "quota": 60_000, "period": 100_000 }
        });
    });
    c.restore(HERE, "images-2", &[]);
    let changed = [
        ("memory.max", "100663296"),
        ("pids.max", "9"),
        ("cpu.max", "60000 100000"),
    ];
    assert_contents(&c.leaf, &changed);
    c.until_it_goes_on();
    c.assert_memory_intact();
    c.delete();
}

#[test]
fn a_restored_container_is_held_to_its_limits() {
    need!(is_booted(), BOOTED);
    need!(can_checkpoint(), CHECKPOINT);
    let c = limited();
    c.checkpoint("images", &[]);
    c.restore(HERE, "images", &[]);
    // Its memory is charged to the new cgroup.
    let charged: u64 = content(&c.leaf, "memory.current").parse().expect("bytes");
    assert!(charged >= 8 << 20, "{charged}");
    let exec = |args: &[&str]| c.cmd(&[&["exec", c.id.as_str()], args].concat()).run();
    assert_eq!(exec(&["probe", "eat", "128"]).code, 137);
    assert!(content(&c.leaf, "memory.events").contains("\noom_kill 1"));
    // One place is taken by its first process, one by this.
    assert_eq!(exec(&["probe", "forks", "40"]).ok().stdout.trim(), "18");
    assert!(content(&c.leaf, "pids.events").starts_with("max "));
    c.until_it_goes_on();
    c.assert_memory_intact();
}

#[test]
fn an_updated_limit_is_not_restored() {
    need!(is_booted(), BOOTED);
    need!(can_checkpoint(), CHECKPOINT);
    let c = limited();
    c.cmd(&[
        "update",
        "--memory",
        "80M",
        "--memory-swap",
        "80M",
        "--pids-limit",
        "7",
        &c.id,
    ])
    .run()
    .ok();
    assert_contents(&c.leaf, &[("memory.max", "83886080"), ("pids.max", "7")]);
    c.checkpoint("images", &[]);
    c.restore(HERE, "images", &[]);
    assert_contents(&c.leaf, BEFORE);
}

#[test]
fn a_paused_container_is_restored() {
    need!(is_booted(), BOOTED);
    need!(can_checkpoint(), CHECKPOINT);
    let c = limited();
    c.on(&["pause"]).ok();
    assert_eq!(c.status(), "paused");
    c.checkpoint("images", &[]);
    assert!(!c.leaf.exists(), "its cgroup is left");
    c.restore(HERE, "images", &[]);
    assert_eq!(c.status(), "running");
    assert_contents(&c.leaf, BEFORE);
    c.until_it_goes_on();
    c.assert_memory_intact();
}

#[test]
fn a_container_that_is_left_running_keeps_its_cgroup() {
    need!(is_booted(), BOOTED);
    need!(can_checkpoint(), CHECKPOINT);
    let c = limited();
    c.checkpoint("images", &["--leave-running"]);
    assert_eq!(c.status(), "running");
    assert_eq!(content(&c.leaf, "cgroup.freeze"), "0");
    assert_contents(&c.leaf, BEFORE);
    c.until_it_goes_on();
    c.assert_memory_intact();
}
