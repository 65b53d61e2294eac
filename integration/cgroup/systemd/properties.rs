//! Limits and annotations as properties of the unit.

use orlop::dbus::Value;
use serde_json::json;

use super::fake::{Fake, Manner};
use super::{OURS, Scoped, is_orlop};
use crate::harness::cgroup::has_controller;
use crate::need;

#[test]
fn annotations_are_properties_of_the_unit() {
    need!(is_orlop(), OURS);
    let c = Scoped::new(Manner::Good)
        .annotation("org.systemd.property.CollectMode", "'inactive-or-failed'")
        .annotation("org.systemd.property.TimeoutStopSec", "7")
        .annotation("org.systemd.property.Description", "'mine'")
        .annotation("org.systemd.property.After", "['a.service', 'b.service']");
    c.create().ok();
    let properties = Fake::properties(&c.fake.call("StartTransientUnit")[2]);
    let names = vec![Value::text("a.service"), Value::text("b.service")];
    for property in [
        ("CollectMode", Value::text("inactive-or-failed")),
        ("TimeoutStopUSec", Value::Uint64(7_000_000)),
        ("Description", Value::text("mine")),
        ("After", Value::Array("s".into(), names)),
    ] {
        let found: Vec<_> = properties.iter().filter(|(name, _)| *name == property.0).collect();
        assert_eq!(found, [&(property.0.to_owned(), property.1)]);
    }
}

#[test]
fn annotations_that_are_not_properties_are_refused() {
    need!(is_orlop(), OURS);
    for (name, value, message) in [
        ("CollectMode", "inactive", "neither a value nor a supported type"),
        ("collectMode", "'inactive'", "is not a valid property name"),
        ("TimeoutStopSec", "'7'", "must be a number of seconds"),
        ("PIDs", "[uint32 1]", "orlop sets this property itself"),
        ("Slice", "'a.slice'", "orlop sets this property itself"),
        ("Delegate", "false", "orlop sets this property itself"),
    ] {
        let name = format!("org.systemd.property.{name}");
        let c = Scoped::new(Manner::Good).annotation(&name, value);
        let refused = c.create().fails_with(message);
        assert!(refused.stderr.contains(&format!("annotations.{name}")), "{refused:#?}");
        assert!(c.fake.names().is_empty());
    }
    // Only systemd can find out that this property does not exist.
    let name = "org.systemd.property.Bogus";
    let c = Scoped::new(Manner::Refuses("Bogus")).annotation(name, "true");
    let refused = c.create().fails_with("Cannot set property Bogus");
    assert!(refused.stderr.contains(&format!("annotations.{name}")), "{refused:#?}");
    // Without systemd they are ordinary annotations.
    let c = Scoped::new(Manner::Good).annotation(name, "no value");
    c.bundle.change(|c| c["linux"]["cgroupsPath"] = json!(null));
    let bundle = c.bundle.dir().to_str().expect("UTF-8").to_owned();
    c.orlop(&["create", "--bundle", &bundle, &c.id]).run().ok();
}

#[test]
fn limits_are_set_by_systemd_and_written() {
    need!(is_orlop(), OURS);
    need!(
        has_controller("memory") && has_controller("pids") && has_controller("cpu"),
        "cgroup controllers cpu, memory and pids"
    );
    let c = Scoped::new(Manner::Good).resources(json!({
        "memory": { "limit": 64 << 20, "reservation": 16 << 20 }, "pids": { "limit": 20 },
        "cpu": { "shares": 2048, "quota": 5500, "period": 100000 }, "unified": { "memory.high": "48M" }
    }));
    c.create().ok();
    let properties = Fake::properties(&c.fake.call("StartTransientUnit")[2]);
    for (name, number) in [
        ("MemoryMax", 64 << 20),
        ("MemoryLow", 16 << 20),
        ("MemoryHigh", 48 << 20),
        ("TasksMax", 20),
        ("CPUWeight", 174),
        ("CPUQuotaPeriodUSec", 100_000),
        ("CPUQuotaPerSecUSec", 60_000),
    ] {
        let found = properties.iter().find(|(known, _)| known == name);
        assert_eq!(found, Some(&(name.to_owned(), Value::Uint64(number))));
    }
    // The fake systemd writes none of it.
    for (file, content) in [
        ("memory.max", "67108864"),
        ("memory.low", "16777216"),
        ("memory.high", "50331648"),
        ("pids.max", "20"),
        ("cpu.weight", "174"),
        ("cpu.max", "6000 100000"),
    ] {
        assert_eq!(c.content(file), content, "{file}");
    }

    c.on(&["update", "--pids-limit", "30", "--cpu-quota", "20000"]).ok();
    let set = c.fake.call("SetUnitProperties");
    assert_eq!(set[..2], [Value::text(c.unit()), Value::Bool(true)]);
    let properties = Fake::properties(&set[2]);
    for (name, number) in [("TasksMax", 30), ("CPUQuotaPerSecUSec", 200_000)] {
        assert!(
            properties.contains(&(name.to_owned(), Value::Uint64(number))),
            "{properties:?}"
        );
    }
    assert_eq!(c.content("pids.max"), "30");
    assert_eq!(c.content("cpu.max"), "20000 100000");
}

/// All or nothing, in systemd too.
#[test]
fn an_update_that_is_refused_changes_nothing() {
    need!(is_orlop(), OURS);
    need!(
        has_controller("pids") && has_controller("memory"),
        "cgroup controllers memory and pids"
    );
    let c = Scoped::new(Manner::Refuses("TasksMax"));
    c.create().ok();
    c.on(&["update", "--memory", "64M", "--pids-limit", "5"])
        .fails_with("TasksMax");
    assert_eq!(c.content("memory.max"), "max");

    // Accepted by systemd, refused by the kernel.
    let c = Scoped::new(Manner::Good).resources(json!({ "pids": { "limit": 20 } }));
    c.create().ok();
    let update = c.orlop(&["update", "--resources", "-", &c.id]);
    let asked =
        json!({ "pids": { "limit": 5 }, "memory": { "limit": 64 << 20 }, "unified": { "memory.oom.group": "7" } });
    update.stdin(&asked.to_string()).run().fails_with("memory.oom.group");
    assert_eq!(c.content("pids.max"), "20");
    assert_eq!(c.content("memory.max"), "max");
    let calls = c.fake.calls();
    let sets: Vec<_> = calls.iter().filter(|(name, _)| name == "SetUnitProperties").collect();
    let [_, (_, back)] = sets.as_slice() else {
        panic!("{sets:#?}")
    };
    let back = Fake::properties(&back[2]);
    for (name, number) in [("TasksMax", 20), ("MemoryMax", u64::MAX)] {
        assert!(back.contains(&(name.to_owned(), Value::Uint64(number))), "{back:?}");
    }
}

#[test]
fn the_oom_policy_is_set_when_the_unit_starts() {
    need!(is_orlop(), OURS);
    need!(has_controller("memory"), "cgroup controller memory");
    for (manner, policy) in [(Manner::Good, Some("kill")), (Manner::Old, None)] {
        let c = Scoped::new(manner).resources(json!({ "unified": { "memory.oom.group": "1" } }));
        c.create().ok();
        let properties = Fake::properties(&c.fake.call("StartTransientUnit")[2]);
        let said = properties.iter().find(|(name, _)| name == "OOMPolicy");
        assert_eq!(said.and_then(|(_, value)| value.as_text()), policy);
        assert_eq!(c.content("memory.oom.group"), "1");
    }
}

/// A controller that systemd has not handed down is not enabled behind its back.
#[test]
fn a_limit_without_its_controller_is_refused() {
    need!(is_orlop(), OURS);
    let all = ["cpuset", "io", "memory", "pids", "cpu"];
    let missing = all.into_iter().find(|controller| !has_controller(controller));
    need!(missing.is_some(), "a kernel without one of the controllers");
    let file = format!("{}.max", missing.expect("one that is missing"));
    let c = Scoped::new(Manner::Good).resources(json!({ "unified": { file: "1" } }));
    c.create().fails_with("has not given the cgroup controller");
    assert!(!c.leaf().exists());
    // Nor one that systemd does not know, if the kernel lacks it.
    let c = Scoped::new(Manner::Good).resources(json!({ "unified": { "nonsense.max": "1" } }));
    c.create().fails_with("controller \"nonsense\" is not available");
    assert!(!c.leaf().exists());
}
