//! `metrics`, with what every kernel counts without controllers. The controllers are in `guest/`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::harness::cgroup::with_leaf;
use crate::harness::openmetrics::{Metrics, PARSER, has_parser};
use crate::harness::{Bundle, Copies, users};
use crate::need;

#[test]
fn metrics_of_all_containers_are_valid_openmetrics() {
    need!(has_parser(), PARSER);
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let (running, created) = (bundle.start(), bundle.create());
    let metrics = Metrics::of(&bundle.orlop(["metrics"]).run().ok().stdout);
    let info = metrics.family("orlop_container_info");
    assert_eq!((info.kind.as_str(), info.samples.len()), ("gauge", 2));
    for (container, status) in [(&running, "running"), (&created, "created")] {
        let (_, labels, value) = info
            .samples
            .iter()
            .find(|(_, labels, _)| labels["id"] == container.id.as_str())
            .unwrap();
        assert_eq!((&labels["status"], *value), (&json!(status), 1.0));
        assert_eq!(labels["bundle"], bundle.dir().to_str().unwrap());
        assert_eq!(labels["created"], container.state()["created"]);
        assert!(
            labels["cgroup"].as_str().unwrap().starts_with("/sys/fs/cgroup/"),
            "{labels}"
        );
        assert!(metrics.value("container_cpu_usage_seconds", &container.id).is_some());
        assert_eq!(metrics.value("container_processes", &container.id), Some(1.0));
        let start = metrics.value("container_start_time_seconds", &container.id).unwrap();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        assert!((now - 60.0..now + 2.0).contains(&start), "{start}, now {now}");
    }
    for (_, labels, value) in &metrics.family("orlop_containers").samples {
        let expected = f64::from(labels["status"] == "running" || labels["status"] == "created");
        assert_eq!(*value, expected, "{labels}");
    }
    for (family, kind, unit) in [
        ("container_cpu_usage_seconds", "counter", "seconds"),
        ("container_start_time_seconds", "gauge", "seconds"),
        ("container_processes", "gauge", ""),
    ] {
        let found = metrics.family(family);
        assert_eq!((found.kind.as_str(), found.unit.as_str()), (kind, unit), "{family}");
    }
}

#[test]
fn a_state_directory_without_containers_has_metrics_too() {
    need!(has_parser(), PARSER);
    let bundle = Bundle::new();
    fs::create_dir_all(bundle.state_root()).unwrap();
    let metrics = Metrics::of(&bundle.orlop(["metrics"]).run().ok().stdout);
    assert_eq!(metrics.names(), ["orlop_containers"]);
    assert_eq!(metrics.family("orlop_containers").samples.len(), 5);
}

#[test]
fn annotations_become_labels_whatever_they_contain() {
    need!(has_parser(), PARSER);
    let value = "back\\slash \"quote\"\nline\t{é=\u{1f6a2}} \\n # EOF";
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .edit(|c| c["annotations"] = json!({ "org.example/name-1": value, "other": "x" }));
    let c = bundle.start();
    let output = bundle
        .orlop([
            "metrics",
            "--annotation",
            "org.example/name-1",
            "--annotation",
            "absent",
        ])
        .run()
        .ok();
    let metrics = Metrics::of(&output.stdout);
    let (_, labels, _) = &metrics.family("orlop_container_info").samples[0];
    assert_eq!(labels["id"], c.id.as_str());
    assert_eq!(labels["annotation_org_example_name_1"], value);
    assert_eq!(
        (labels.get("annotation_absent"), labels.get("annotation_other")),
        (None, None)
    );
    let both = ["metrics", "--annotation", "a.b", "--annotation", "a/b"];
    bundle
        .orlop(both)
        .run()
        .fails_with("would have the same label, annotation_a_b");
}

#[test]
fn the_output_file_is_replaced_as_a_whole() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let directory = bundle.path("collector");
    fs::create_dir(&directory).unwrap();
    let file = directory.join("orlop.prom");
    fs::write(&file, "old").unwrap();
    let old = fs::File::open(&file).unwrap();
    let write = || bundle.orlop(["metrics", "--output", file.to_str().unwrap()]);
    assert_eq!(write().umask(0o022).run().ok().stdout, "");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(&c.id) && text.ends_with("\n# EOF\n"), "{text}");
    // A reader that has opened the old file keeps it, and no other file is left.
    assert_eq!(std::io::read_to_string(old).unwrap(), "old");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o644);
    // If it cannot be replaced, nothing is left either.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    write().run().fails_with("--output");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    bundle
        .orlop(["metrics", "--output", "/nowhere/orlop.prom"])
        .run()
        .fails_with("/nowhere/orlop.prom");
}

#[test]
fn a_container_without_a_cgroup_has_only_its_properties() {
    need!(has_parser(), PARSER);
    let bundle = users::rootless(Bundle::new().args(["probe", "sleep"]));
    let id = bundle.fresh_id();
    users::as_user(bundle.create_cmd(&id, &[])).run().ok();
    let output = users::as_user(bundle.orlop(["metrics"])).run().ok();
    let metrics = Metrics::of(&output.stdout);
    let (_, labels, _) = &metrics.family("orlop_container_info").samples[0];
    assert_eq!((&labels["id"], &labels["cgroup"]), (&json!(id), &json!("")));
    assert_eq!(metrics.value("container_cpu_usage_seconds", &id), None);
    users::as_user(bundle.orlop(["delete", "--force", &id])).run().ok();
}

#[test]
fn an_unreadable_container_does_not_hide_the_others() {
    need!(has_parser(), PARSER);
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let broken = bundle.state_root().join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("state.json"), "{").unwrap();
    let output = bundle
        .orlop(["metrics"])
        .run()
        .fails_with("some containers cannot be read");
    let metrics = Metrics::of(&output.stdout);
    assert_eq!(metrics.family("orlop_container_info").samples[0].1["id"], c.id.as_str());
    fs::remove_dir_all(&broken).unwrap();
}

/// The bound is on processor time, which other programs on the machine hardly change.
#[test]
fn a_thousand_containers_take_less_than_a_second() {
    const MANY: usize = 1000;
    // The copies share the cgroup only if it is not named after the container.
    let (bundle, _) = with_leaf(Bundle::new().args(["probe", "sleep"]));
    let copies = Copies::of(&bundle, MANY);
    let output = bundle.orlop(["metrics"]).run().ok();
    for id in &copies.ids {
        let sample = format!("container_cpu_usage_seconds_total{{id=\"{id}\"}}");
        assert!(output.stdout.contains(&sample), "{id}");
    }
    assert!(
        output.processor_time < Duration::from_secs(1),
        "{:?}",
        output.processor_time
    );
}
