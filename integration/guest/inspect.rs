//! `inspect`: limits beside the files of the cgroup.

use std::fs;

use serde_json::{Value, json};

use super::{leaf, name, update, update_by};
use crate::harness::cgroup::has_controller;
use crate::harness::exec::idle;
use crate::harness::{Bundle, Container};
use crate::need;

fn inspect(c: &Container) -> Value {
    c.bundle.orlop(["inspect", "--format", "json", &c.id]).run().ok().json()
}

fn limits(document: &Value) -> Vec<(&str, &Value)> {
    let entries = document["sections"]["limits"].as_array().expect("limits");
    entries
        .iter()
        .map(|entry| (entry["name"].as_str().unwrap(), &entry["equal"]))
        .collect()
}

fn limited() -> Bundle {
    idle().edit(|c| {
        c["linux"]["resources"]["memory"] = json!({ "limit": 100_000_001, "reservation": 50_000_000 });
        c["linux"]["resources"]["pids"] = json!({ "limit": 50 });
        c["linux"]["resources"]["cpu"] = json!({ "quota": 50_000, "period": 100_000, "shares": 512 });
        c["linux"]["resources"]["unified"] = json!({ "memory.high": "90000000" });
    })
}

#[test]
fn limits_are_in_force_until_someone_changes_them() {
    for controller in ["memory", "pids", "cpu"] {
        need!(has_controller(controller), name(controller));
    }
    let bundle = limited();
    let leaf = leaf(&bundle);
    let c = bundle.start();
    let equal = json!(true);
    let found = inspect(&c);
    assert_eq!(found["differences"], json!([]), "{found:#}");
    let files = [
        "memory.max",
        "memory.low",
        "memory.high",
        "cpu.weight",
        "cpu.max",
        "pids.max",
    ];
    for file in files {
        assert!(limits(&found).contains(&(file, &equal)), "{file}: {found:#}");
    }
    let memory = &found["sections"]["usage"][0];
    assert!(memory["found"].as_u64().is_some_and(|bytes| bytes > 0), "{memory}");
    // What `update` changes is asked for from then on.
    update(&c, &["--memory", "80M", "--pids-limit", "-1", "--cpu-quota", "-1"]).ok();
    update_by(&c, json!({ "unified": { "memory.high": "max" } })).ok();
    let found = inspect(&c);
    assert_eq!(found["differences"], json!([]), "{found:#}");
    let memory = found["sections"]["limits"].as_array().unwrap().iter();
    let memory = memory.clone().find(|entry| entry["name"] == "memory.max").unwrap();
    assert_eq!(
        (&memory["asked"], &memory["found"]),
        (&json!("83886080"), &json!("83886080"))
    );
    // Someone else's change is marked.
    fs::write(leaf.join("memory.max"), "70000000").unwrap();
    fs::write(leaf.join("pids.max"), "7").unwrap();
    let found = inspect(&c);
    assert_eq!(
        found["differences"],
        json!(["limits: pids.max", "limits: memory.max"]),
        "{found:#}"
    );
}
