//! `process` as it is planned: environment and capabilities.

use serde_json::{Value, json};

use orlop::bundle::capabilities::{Ceiling, bit, grantable};
use orlop::bundle::checks::Checks;
use orlop::bundle::document;
use orlop::bundle::text::read_as;
use orlop::bundle::validate::RuntimeOptions;
use orlop::bundle::validate::process::{self, ProcessInputs};
use orlop::error::{Report, Result};
use orlop::host::{Facts, Selinux};
use orlop::plan::{Capabilities, Process, Warning};

fn planned(change: Value) -> Result<Process> {
    let mut section = json!({ "args": ["sh"], "cwd": "/", "user": { "uid": 0, "gid": 0 } });
    let (section_map, change) = (section.as_object_mut().unwrap(), change);
    section_map.extend(change.as_object().unwrap().clone());
    let section: document::Process = read_as(section.to_string().as_bytes()).unwrap();
    with_facts(&section, &Facts::default())
}

fn with_facts(section: &document::Process, facts: &Facts) -> Result<Process> {
    let mut checks = Checks::default();
    let options = RuntimeOptions::default();
    let process = process::process(section, ProcessInputs::default(), &options, facts, &mut checks);
    checks.end(process, None).map(|(process, _)| process)
}

fn environment(entries: Value) -> Vec<String> {
    let plan = planned(json!({ "env": entries })).unwrap();
    plan.env
        .iter()
        .map(|entry| entry.to_str().unwrap().to_string())
        .collect()
}

#[test]
fn a_name_given_twice_has_its_last_value_at_its_last_place() {
    assert_eq!(environment(json!(["A=1", "B=2", "A=3"])), ["B=2", "A=3"]);
    assert_eq!(environment(json!(["A=1", "A=1", "A="])), ["A="]);
    assert_eq!(environment(json!(["A=1=2", "AB=1", "A=x"])), ["AB=1", "A=x"]);
    assert_eq!(
        environment(json!(["Z=1", "A=1", "M=1"])),
        ["Z=1", "A=1", "M=1"],
        "the order stays"
    );
}

#[test]
fn an_entry_without_name_or_value_is_refused() {
    for (entry, index) in [("A", 1), ("", 1), ("=", 1), ("=A=B", 1), ("A=\0", 1)] {
        let error = planned(json!({ "env": ["OK=1", entry] })).unwrap_err();
        assert_eq!(
            Report::of(&error).path,
            Some(format!("process.env[{index}]")),
            "{entry:?}"
        );
    }
}

fn caps(names: &[&str]) -> u64 {
    names.iter().map(|name| bit(name).unwrap()).sum()
}

const ALL: Ceiling = Ceiling {
    bounding: (1 << 41) - 1,
    permitted: (1 << 41) - 1,
    inheritable: (1 << 41) - 1,
};

#[test]
fn each_capability_set_is_cut_to_what_it_can_hold() {
    let (chown, kill, raw) = (caps(&["CAP_CHOWN"]), caps(&["CAP_KILL"]), caps(&["CAP_NET_RAW"]));
    let mut warnings = Vec::new();
    let wanted = Capabilities {
        bounding: chown,
        permitted: chown | kill,
        effective: chown | raw,
        inheritable: kill | raw,
        ambient: chown | kill | raw,
    };
    let granted = grantable(wanted, ALL, &mut warnings);
    let expected = Capabilities {
        bounding: chown,
        permitted: chown | kill,
        effective: chown,
        inheritable: kill | raw,
        ambient: kill,
    };
    assert_eq!(granted, expected);
    let named: Vec<(bool, &str)> = warnings
        .iter()
        .map(|warning| (warning.text.contains("effective"), warning.text.as_str()))
        .collect();
    let [(true, effective), (false, ambient)] = named.as_slice() else {
        panic!("{warnings:?}")
    };
    assert!(effective.ends_with("CAP_NET_RAW"), "{warnings:?}");
    assert!(
        ambient.contains("can't raise ambient capability CAP_CHOWN CAP_NET_RAW: "),
        "{warnings:?}"
    );
}

/// The ceiling is the caller's: its bounding set, its permitted set.
#[test]
fn what_the_caller_lacks_is_one_warning() {
    let kill = caps(&["CAP_KILL"]);
    let all = Capabilities {
        bounding: ALL.bounding,
        permitted: ALL.bounding,
        effective: ALL.bounding,
        inheritable: ALL.bounding,
        ambient: ALL.bounding,
    };
    let without = ALL.bounding & !kill;
    let ceiling = Ceiling {
        bounding: without,
        permitted: without,
        inheritable: without,
    };
    let mut warnings = Vec::new();
    let granted = grantable(all, ceiling, &mut warnings);
    assert_eq!(
        [
            granted.bounding,
            granted.permitted,
            granted.effective,
            granted.inheritable,
            granted.ambient
        ],
        [without; 5]
    );
    assert_eq!(
        warnings,
        [Warning::new(
            "process.capabilities",
            "process.capabilities: cannot be granted, the caller lacks them: CAP_KILL"
        )]
    );
    // In the bounding set only: it can stay there.
    let mut warnings = Vec::new();
    let ceiling = Ceiling {
        bounding: ALL.bounding,
        ..ceiling
    };
    let wanted = Capabilities {
        bounding: kill,
        ..Capabilities::default()
    };
    assert_eq!(grantable(wanted, ceiling, &mut warnings), wanted);
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn labels_require_a_kernel_that_knows_them() {
    assert!(
        planned(json!({ "apparmorProfile": "", "selinuxLabel": "" })).is_ok(),
        "empty means none"
    );
    let all = Facts {
        apparmor: true,
        selinux: Selinux::Enabled,
        ..Facts::default()
    };
    let without_policy = || Facts {
        selinux: Selinux::WithoutPolicy,
        ..Facts::default()
    };
    for field in ["apparmorProfile", "selinuxLabel"] {
        let section = json!({ "args": ["sh"], "cwd": "/", "user": { "uid": 0, "gid": 0 }, field: "x" });
        let section: document::Process = read_as(section.to_string().as_bytes()).unwrap();
        assert!(with_facts(&section, &all).is_ok(), "{field}");
        for facts in [Facts::default(), without_policy()] {
            let report = Report::of(&with_facts(&section, &facts).unwrap_err());
            assert_eq!(report.path, Some(format!("process.{field}")));
            assert!(report.hint.is_some());
        }
    }
}
