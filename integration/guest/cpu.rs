//! `cpu`, as the kernel enforces it.

use serde_json::{Value, json};

use super::{MIB, leaf, name, update, update_by, with};
use crate::harness::Bundle;
use crate::harness::cgroup::{content, has_controller};
use crate::need;

/// The throttling statistics of a container that uses half a second of processor time.
fn throttling(bundle: Bundle) -> Value {
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 100";
    let bundle = bundle.sh(script);
    let c = bundle.start();
    c.until("done");
    let event = bundle.orlop(["events", "--stats", &c.id]).run().ok().json();
    event["data"]["cpu"]["throttling"].clone()
}

#[test]
fn a_cpu_quota_throttles() {
    need!(has_controller("cpu"), name("cpu"));
    let limited = throttling(with("cpu", json!({ "quota": 2000, "period": 20_000 })));
    assert!(
        limited["throttledPeriods"].as_u64().is_some_and(|periods| periods > 0),
        "{limited}"
    );
    assert!(
        limited["throttledTime"].as_u64().is_some_and(|time| time > 0),
        "{limited}"
    );
    let free = throttling(Bundle::new());
    assert_eq!(free["throttledPeriods"], Value::Null, "{free}");
}

#[test]
fn shares_quota_burst_and_idle_are_in_their_files() {
    need!(has_controller("cpu"), name("cpu"));
    let bundle = with(
        "cpu",
        json!({ "shares": 2048, "quota": 20_000, "period": 50_000, "burst": 20_000 }),
    )
    .args(["probe", "sleep"]);
    let leaf = leaf(&bundle);
    let c = bundle.start();
    let cpu = |weight: &str, max: &str, burst: &str| {
        assert_eq!(content(&leaf, "cpu.weight"), weight);
        assert_eq!(content(&leaf, "cpu.max"), max);
        assert_eq!(content(&leaf, "cpu.max.burst"), burst);
    };
    cpu("174", "20000 50000", "20000");
    // Quota and period together, down and up again: each order of writing would be refused in one of the directions.
    update(&c, &["--cpu-quota", "5000", "--cpu-burst", "5000"]).ok();
    cpu("174", "5000 50000", "5000");
    update(
        &c,
        &["--cpu-quota", "40000", "--cpu-burst", "40000", "--cpu-share", "512"],
    )
    .ok();
    cpu("59", "40000 50000", "40000");
    // A period alone keeps the quota.
    update(&c, &["--cpu-period", "100000"]).ok();
    cpu("59", "40000 100000", "40000");
    update(&c, &["--cpu-quota", "-1", "--cpu-burst", "0"]).ok();
    cpu("59", "max 100000", "0");
    if leaf.join("cpu.idle").exists() {
        update(&c, &["--cpu-idle", "1"]).ok();
        assert_eq!(content(&leaf, "cpu.idle"), "1");
        update(&c, &["--cpu-idle", "0"]).ok();
        assert_eq!(content(&leaf, "cpu.idle"), "0");
        // The value it had before it was idle.
        assert_eq!(content(&leaf, "cpu.weight"), "59");
    }
}

#[test]
fn a_refused_update_puts_back_every_controllers_values() {
    need!(
        has_controller("cpu") && has_controller("memory") && has_controller("pids"),
        name("cpu, memory, pids")
    );
    let bundle = with("memory", json!({ "limit": 64 * MIB })).args(["probe", "sleep"]);
    let leaf = leaf(&bundle);
    let c = bundle.start();
    let before = (content(&leaf, "memory.max"), content(&leaf, "cgroup.max.depth"));
    update_by(
        &c,
        json!({
            "memory": { "limit": 32 * MIB, "reservation": MIB }, "pids": { "limit": 9 }, "cpu": { "shares": 512 },
            "unified": { "cgroup.max.depth": "4", "memory.nonsense": "1" }
        }),
    )
    .fails_with("memory.nonsense");
    assert_eq!(
        (content(&leaf, "memory.max"), content(&leaf, "cgroup.max.depth")),
        before
    );
    assert_eq!(content(&leaf, "memory.low"), "0");
    assert_eq!(content(&leaf, "pids.max"), "max");
    assert_eq!(content(&leaf, "cpu.weight"), "100");
    update(&c, &["--pids-limit", "9"]).ok();
    assert_eq!(content(&leaf, "memory.max"), before.0);
}
