//! `list`.

use serde_json::json;

use crate::harness::Bundle;

#[test]
fn list_shows_containers_in_three_forms() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let (a, b) = (bundle.create(), bundle.start());
    let table = bundle.orlop(["list"]).run().ok().stdout;
    let mut lines = table.lines();
    let head: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let line = lines.find(|line| line.contains(&b.id)).unwrap();
    let row: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        row[..4],
        [&b.id, &b.pid().to_string(), "running", bundle.dir().to_str().unwrap()]
    );

    let json = bundle.orlop(["list", "--format", "json"]).run().ok().json();
    let entry = json
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["id"] == a.id.as_str())
        .unwrap()
        .clone();
    assert_eq!(entry["status"], "created");
    assert_eq!(entry["pid"], a.pid());
    assert_eq!(entry["bundle"], json!(bundle.dir()));
    assert_eq!(entry["owner"], "root");
    assert!(entry["created"].as_str().unwrap().contains('T'), "{entry}");

    let quiet = bundle.orlop(["list", "--quiet"]).run().ok().stdout;
    let mut ids: Vec<&str> = quiet.lines().collect();
    ids.sort_unstable();
    assert_eq!(ids, [a.id.as_str(), b.id.as_str()]);
}

#[test]
fn list_of_nothing_is_empty() {
    let bundle = Bundle::new();
    std::fs::create_dir_all(bundle.state_root()).unwrap();
    assert_eq!(bundle.orlop(["list", "--quiet"]).run().ok().stdout, "");
    bundle.orlop(["list", "--format", "json"]).run().ok().json();
}

#[test]
fn list_refuses_a_named_root_that_does_not_exist() {
    let bundle = Bundle::new();
    let missing = bundle.path("no-such-root");
    let out = bundle.without_root(["--root", missing.to_str().unwrap(), "list"]).run();
    out.fails_with("no-such-root");
}
