//! Documents that come from outside, besides config.json and the seccomp profile: whatever is in them, they are taken or
//! refused with the place, and nothing makes a reader panic. What reads single values has its property beside it.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::config::{any_json, places};
use orlop::bundle::document::Process;
use orlop::bundle::raw::{Faults, RawProcess};
use orlop::bundle::text::read_as;
use orlop::bundle::validate::{self, RuntimeOptions};
use orlop::called_as::CalledAs;
use orlop::commands::update;
use orlop::commands::update_document::merge;
use orlop::error::{Report, Result};
use orlop::host::Facts;
use orlop::state::Store;

/// Changes some places of a document into anything.
fn changed(mut document: Value, changes: &[(prop::sample::Index, Value)]) -> Value {
    for (place, value) in changes {
        let mut all = Vec::new();
        places(&document, String::new(), &mut all);
        if let Some(found) = document.pointer_mut(&all[place.index(all.len())]) {
            *found = value.clone();
        }
    }
    document
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, Value)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any_json()), 1..4)
}

/// What is an object is refused by its place in the document, all else in words. The document itself, which lacks something,
/// has no place in itself.
fn refused(error: &orlop::error::Error, document: &Value) {
    let report = Report::of(error);
    assert!(!report.msg.is_empty());
    if document.is_object() && !report.msg.starts_with("missing field") {
        assert!(report.path.is_some(), "no place: {}\n{document}", report.msg);
    }
}

/// What engines give to `exec --process`.
fn process() -> Value {
    json!({
        "terminal": false, "user": { "uid": 0, "gid": 5, "additionalGids": [1, 2] }, "args": ["true", "x"], "cwd": "/",
        "env": ["PATH=/bin", "A=b"], "noNewPrivileges": true, "oomScoreAdj": 100,
        "capabilities": { "bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 5, "hard": 9 }],
        "scheduler": { "policy": "SCHED_OTHER", "nice": 5 }, "ioPriority": { "class": "IOPRIO_CLASS_BE", "priority": 3 },
        "execCPUAffinity": { "initial": "0", "final": "0" }, "consoleSize": { "height": 5, "width": 9 }
    })
}

fn read_process(bytes: &[u8]) -> Result<()> {
    let process: Process = read_as(bytes)?;
    let raw = RawProcess {
        process,
        linux: Default::default(),
        annotations: None,
        added_capabilities: 0,
        added_groups: Vec::new(),
        file: None,
        faults: Faults::default(),
        warnings: Vec::new(),
    };
    validate::joining(raw, &RuntimeOptions::default(), &Facts::default(), true).map(drop)
}

/// What engines give to `update --resources`.
fn resources() -> Value {
    json!({
        "memory": { "limit": 1 << 30, "swap": 2u64 << 30, "reservation": 5 }, "pids": { "limit": 9 },
        "cpu": { "shares": 1024, "quota": 5000, "period": 100000, "burst": 10, "cpus": "0-1", "mems": "0", "idle": 0 },
        "blockIO": { "weight": 10, "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": 600 }] },
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 5 }], "unified": { "memory.high": "5" },
        "rdma": { "mlx": { "hcaHandles": 3 } }, "devices": [{ "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw" }]
    })
}

/// As `update --resources` does, up to the cgroup.
fn update(old: &Value, bytes: &[u8]) -> Result<()> {
    let asked = update::parse(bytes, "--resources")?;
    let mut merged = old.as_object().cloned().unwrap_or_default();
    merge(&mut merged, &asked);
    update::converted(&merged, "1.3.0").map(drop)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_process_file_with_anything_in_it_is_a_process_or_an_error(changes in changes()) {
        read_process(process().to_string().as_bytes()).unwrap();
        let document = changed(process(), &changes);
        if let Err(error) = read_process(document.to_string().as_bytes()) {
            refused(&error, &document);
        }
    }

    #[test]
    fn a_process_file_of_any_bytes_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read_process(&bytes).is_err());
    }

    /// Read, laid over what the container has, and converted.
    #[test]
    fn resources_with_anything_in_them_are_limits_or_an_error(changes in changes(), old in changes()) {
        prop_assert!(update(&resources(), resources().to_string().as_bytes()).is_ok());
        let document = changed(resources(), &changes);
        if let Err(error) = update(&changed(resources(), &old), document.to_string().as_bytes()) {
            // It may be the old ones, which are below linux.resources in any case.
            refused(&error, &document);
        }
    }

    #[test]
    fn resources_of_any_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(update(&resources(), &bytes).is_err());
    }

    /// The state file is only ours, and yet nothing of it is trusted.
    #[test]
    fn a_state_file_with_anything_in_it_is_a_state_or_an_error(changes in changes(), bytes in prop::collection::vec(any::<u8>(), 0..99)) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(Some(&root.path().join("root")), CalledAs::Orlop).unwrap();
        let container = store.claim("c").unwrap();
        let file = root.path().join("root/c/state.json");
        container.write(&super::store::state("c")).unwrap();
        let text = std::fs::read(&file).unwrap();
        prop_assert!(container.read().unwrap().is_some());
        std::fs::write(&file, changed(serde_json::from_slice(&text).unwrap(), &changes).to_string()).unwrap();
        if let Err(error) = container.read() {
            prop_assert!(format!("{error:#}").contains("state.json"), "{error:#}");
        }
        std::fs::write(&file, bytes).unwrap();
        let said = format!("{:#}", container.read().unwrap_err());
        prop_assert!(said.contains("state.json"), "{}", said);
    }
}
