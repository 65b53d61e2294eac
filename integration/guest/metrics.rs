//! `metrics` and `top`, with the numbers of real controllers.

use serde_json::{Value, json};

use super::io::disk;
use super::{MIB, WAIT, go, name, update};
use crate::harness::Bundle;
use crate::harness::cgroup::has_controller;
use crate::harness::openmetrics::{Metrics, PARSER, has_parser};
use crate::need;

#[track_caller]
fn metrics(bundle: &Bundle) -> Metrics {
    Metrics::of(&bundle.orlop(["metrics"]).run().ok().stdout)
}

#[test]
fn memory_processes_and_limits_are_counted() {
    need!(has_parser(), PARSER);
    need!(
        has_controller("memory") && has_controller("pids"),
        name("memory or pids")
    );
    let bundle = Bundle::new()
        .edit(|c| {
            c["linux"]["resources"]["memory"] = json!({ "limit": 64 * MIB });
            c["linux"]["resources"]["pids"] = json!({ "limit": 20 });
        })
        .sh("probe eat 8 & wait");
    let c = bundle.start();
    c.until("ready");
    let metrics = metrics(&bundle);
    let value = |family: &str| {
        metrics
            .value(family, &c.id)
            .unwrap_or_else(|| panic!("no {family} in {:?}", metrics.names()))
    };
    assert_eq!(value("container_spec_memory_limit_bytes"), (64 * MIB) as f64);
    let used = (8 * MIB) as f64..(64 * MIB) as f64;
    for family in [
        "container_memory_usage_bytes",
        "container_memory_working_set_bytes",
        "container_memory_rss",
    ] {
        assert!(used.contains(&value(family)), "{family}: {}", value(family));
    }
    assert_eq!((value("container_processes"), value("container_threads")), (2.0, 2.0));
    assert_eq!(value("container_threads_max"), 20.0);
    assert_eq!(
        (value("container_oom_events"), value("container_memory_failcnt")),
        (0.0, 0.0)
    );
    assert_eq!(metrics.family("container_memory_usage_bytes").unit, "bytes");
    assert_eq!(metrics.family("container_oom_events").kind, "counter");
}

#[test]
fn kills_of_the_oom_killer_are_counted() {
    need!(has_parser(), PARSER);
    need!(has_controller("memory"), name("memory"));
    let bundle = super::with("memory", json!({ "limit": 16 * MIB, "swap": 16 * MIB }))
        .sh(&format!("{WAIT} probe eat 64; echo survived; sleep 100"));
    let c = bundle.start();
    go(&bundle);
    c.until("survived");
    let metrics = metrics(&bundle);
    assert_eq!(metrics.value("container_oom_events", &c.id), Some(1.0));
    assert!(metrics.value("container_memory_failcnt", &c.id) > Some(0.0));
}

#[test]
fn throttled_periods_are_counted() {
    need!(has_parser(), PARSER);
    need!(has_controller("cpu"), name("cpu"));
    let bundle = super::with("cpu", json!({ "quota": 2000, "period": 20_000 }))
        .sh("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 100");
    let c = bundle.start();
    c.until("done");
    let metrics = metrics(&bundle);
    let value = |family: &str| metrics.value(family, &c.id).unwrap();
    assert_eq!(
        (value("container_spec_cpu_quota"), value("container_spec_cpu_period")),
        (2000.0, 20_000.0)
    );
    assert!(value("container_cpu_cfs_throttled_periods") > 0.0);
    assert!(value("container_cpu_cfs_periods") >= value("container_cpu_cfs_throttled_periods"));
    assert!(value("container_cpu_cfs_throttled_seconds") > 0.0);
    assert!(value("container_cpu_usage_seconds") > 0.0);
}

#[test]
fn reads_are_counted_for_each_device() {
    need!(has_parser(), PARSER);
    need!(has_controller("io"), name("io"));
    need!(disk().is_some(), "a block device to spare");
    let (major, minor) = disk().expect("checked");
    let script = "busybox dd if=/dev/disk of=/dev/null bs=64k count=16 iflag=direct; echo done; sleep 100";
    let bundle = Bundle::new().sh(script).edit(|c| {
        c["linux"]["devices"] = json!([{ "path": "/dev/disk", "type": "b", "major": major, "minor": minor }]);
        let rule = json!({ "allow": true, "type": "b", "major": major, "minor": minor, "access": "r" });
        c["linux"]["resources"]["devices"] = json!([{ "allow": false, "access": "rwm" }, rule]);
    });
    let c = bundle.start();
    c.until("done");
    let metrics = metrics(&bundle);
    for (family, least) in [("container_fs_reads_bytes", MIB as f64), ("container_fs_reads", 1.0)] {
        let samples = &metrics.family(family).samples;
        let of_disk = |labels: &Value| labels["id"] == c.id.as_str() && labels["device"] == "/dev/ubda";
        let sample = samples.iter().find(|(_, labels, _)| of_disk(labels));
        assert!(
            sample.is_some_and(|(_, _, value)| *value >= least),
            "{family}: {samples:?}"
        );
    }
}

#[test]
fn top_shows_limits_throttling_and_kills() {
    need!(has_controller("memory"), name("memory"));
    need!(has_controller("cpu") && has_controller("pids"), name("cpu or pids"));
    let bundle = Bundle::new()
        .edit(|c| {
            c["linux"]["resources"]["memory"] = json!({ "limit": 16 * MIB, "swap": 16 * MIB });
            c["linux"]["resources"]["pids"] = json!({ "limit": 20 });
        })
        .sh("probe eat 64; echo survived; while :; do :; done");
    let c = bundle.start();
    c.until("survived");
    update(&c, &["--cpu-quota", "5000", "--cpu-period", "20000"]).ok();
    let words = ["top", "--interval", "500ms", "--count", "1", "--format", "json"];
    let document = bundle.orlop(words).run().ok().json();
    let shown = &document["containers"][0];
    assert_eq!(shown["memory"]["limit"], 16 * MIB);
    assert!(
        (1..16 * MIB).contains(&shown["memory"]["usage"].as_i64().unwrap()),
        "{document}"
    );
    assert_eq!(shown["pids"], json!({ "current": 1, "limit": 20 }));
    assert_eq!(shown["oomKills"], 1);
    // A quarter of a CPU, whatever the program would use.
    let percent = shown["cpu"]["percent"].as_f64().unwrap();
    assert!((1.0..60.0).contains(&percent), "{document}");
    assert!(
        shown["cpu"]["throttledPercent"]
            .as_f64()
            .is_some_and(|percent| percent > 0.0),
        "{document}"
    );
    assert!(
        shown["io"]["readBytesPerSecond"].is_number() || !has_controller("io"),
        "{document}"
    );
    let table = bundle
        .orlop(["top", "--interval", "10ms", "--count", "1"])
        .run()
        .ok()
        .stdout;
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((row[5], row[8], row[14]), ("16M", "20", "1"));
}
