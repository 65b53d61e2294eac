//! Checking a config is a pure function of the config, the command line and facts about the host, here made up. It reports
//! everything that is wrong, each with its place.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::config::{any_json, places};
use orlop::bundle::document::Spec;
use orlop::bundle::load::parse;
use orlop::bundle::text::{read_as, read_despite_mistakes};
use orlop::bundle::validate::{self, RuntimeOptions};
use orlop::commands::spec::default_spec;
use orlop::commands::update;
use orlop::error::{Finding, Report, anyhow};
use orlop::host::{CapabilitySets, Directory, Facts};
use orlop::plan::{IdMapping, IdMaps, Plan};

/// A host without security modules, on which the root file system exists. The user is root.
fn root() -> Facts {
    Facts {
        user: Some(0),
        group: Some(0),
        root_of_host: true,
        capability_sets: Some(CapabilitySets::default()),
        root: Some(Ok(Directory {
            path: "/bundle/rootfs".into(),
            is_directory: true,
        })),
        ..Facts::default()
    }
}

fn user() -> Facts {
    Facts {
        user: Some(1000),
        group: Some(1000),
        root_of_host: false,
        ..root()
    }
}

fn plan(config: &Value, facts: Facts) -> Result<Plan, Vec<Finding>> {
    let text = serde_json::to_vec_pretty(config).unwrap();
    let config = parse("/bundle".into(), text, Some("config.json".into()));
    let plan = config.and_then(|config| validate::plan(config, &RuntimeOptions::default(), facts));
    plan.map_err(|error| Report::of(&error).findings)
}

fn paths(config: &Value, facts: Facts) -> Vec<String> {
    let findings = plan(config, facts).err().unwrap_or_default();
    findings.into_iter().filter_map(|finding| finding.path).collect()
}

fn config(edit: impl FnOnce(&mut Value)) -> Value {
    let mut config = default_spec();
    edit(&mut config);
    config
}

fn add_namespace(config: &mut Value, namespace: Value) {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(namespace);
}

#[test]
fn every_mistake_is_reported_with_its_line() {
    let config = config(|c| {
        c["process"]["args"] = json!([]);
        c["process"]["rlimits"][0]["type"] = json!("RLIMIT_FILES");
        c["hostname"] = json!("a\0b");
        c["mounts"][2]["options"] = json!(["=1"]);
        c["linux"]["maskedPaths"] = json!(["proc"]);
    });
    let findings = plan(&config, root()).unwrap_err();
    let text = serde_json::to_string_pretty(&config).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let found: Vec<(&str, &str)> = findings
        .iter()
        .map(|finding| {
            let position = finding.position.unwrap();
            let line: String = lines[position.line - 1].chars().skip(position.column - 1).collect();
            let value = lines[position.line - 1].get(lines[position.line - 1].len() - line.len()..);
            (finding.path.as_deref().unwrap(), value.unwrap().trim_end_matches(','))
        })
        .collect();
    let expected = [
        ("process.args", "[]"),
        ("process.rlimits[0].type", "\"RLIMIT_FILES\""),
        ("hostname", "\"a\\u0000b\""),
        ("mounts[2].options[0]", "\"=1\""),
        ("linux.maskedPaths[0]", "\"proc\""),
    ];
    let mut found = found;
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(findings.is_sorted_by_key(|finding| finding.position));
}

#[test]
fn an_unprivileged_user_needs_a_user_namespace() {
    let plain = default_spec();
    assert!(plan(&plain, root()).is_ok());
    assert_eq!(paths(&plain, user()), ["linux.namespaces"]);
    let admin = Facts {
        capability_sets: Some(CapabilitySets {
            effective: 1 << 21,
            ..CapabilitySets::default()
        }),
        ..user()
    };
    assert!(plan(&plain, admin).is_ok());
    let rootless = config(|c| add_namespace(c, json!({ "type": "user" })));
    let plan = plan(&rootless, user()).unwrap();
    assert_eq!(plan.id_maps.unwrap().uid[0].host, 1000);
}

#[test]
fn an_unprivileged_user_cannot_map_owners_or_move_devices() {
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    let config = config(|c| {
        add_namespace(c, json!({ "type": "user" }));
        c["linux"]["netDevices"] = json!({ "eth1": {} });
        c["mounts"][0] = json!({
            "destination": "/data", "source": "/srv", "options": ["bind"], "uidMappings": map, "gidMappings": map,
        });
    });
    assert!(plan(&config, root()).is_ok());
    let mut found = paths(&config, user());
    found.sort_unstable();
    assert_eq!(found, ["linux.netDevices", "mounts[0]"]);
}

#[test]
fn labels_require_their_security_module() {
    let config = config(|c| {
        c["process"]["apparmorProfile"] = json!("x");
        c["linux"]["mountLabel"] = json!("y");
    });
    let mut found = paths(&config, root());
    found.sort_unstable();
    assert_eq!(found, ["linux.mountLabel", "process.apparmorProfile"]);
}

#[test]
fn a_joined_user_namespace_keeps_its_maps() {
    let maps = |host| IdMaps {
        uid: vec![IdMapping {
            container: 0,
            host,
            size: 5,
        }],
        gid: vec![IdMapping {
            container: 0,
            host,
            size: 5,
        }],
    };
    let joined = |maps| Facts {
        user_namespace: Some(maps),
        ..root()
    };
    let config = config(|c| {
        add_namespace(c, json!({ "type": "user", "path": "/run/user" }));
        c["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 7, "size": 5 }]);
        c["process"]["user"]["gid"] = json!(5);
    });
    let found = paths(&config, joined(Ok(maps(7))));
    assert_eq!(found, ["process.user.gid"], "not mapped");
    // What the maps decide is not checked while they are in question.
    assert_eq!(paths(&config, joined(Ok(maps(8)))), ["linux.uidMappings"]);
    assert_eq!(
        paths(&config, joined(Err(anyhow!("gone")))),
        ["linux.namespaces[6].path"]
    );
    // One's own user namespace is not joined.
    let own = Facts {
        own_namespaces: vec![(libc::CLONE_NEWUSER as u64, "/run/user".into())],
        ..root()
    };
    assert_eq!(paths(&config, own), ["linux.uidMappings"]);
}

/// `ro` and `rro` are decided once: a cgroup mount that ends read-only is not given to the container's user.
#[test]
fn the_cgroup_belongs_to_the_user_if_its_mount_is_writable() {
    let owner = |options: Value| {
        let config = config(|c| {
            c["process"]["user"]["uid"] = json!(5);
            let namespaces = c["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|entry| entry["type"] != "cgroup");
            namespaces.push(json!({ "type": "cgroup" }));
            let mounts = c["mounts"].as_array_mut().unwrap();
            mounts.retain(|entry| entry["destination"] != "/sys/fs/cgroup");
            mounts.push(json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "options": options }));
        });
        plan(&config, root()).unwrap().cgroup.owner
    };
    for writable in [
        json!([]),
        json!(["rw"]),
        json!(["ro", "rw"]),
        json!(["rro", "rrw"]),
        json!(["rro", "rw"]),
    ] {
        assert_eq!(owner(writable.clone()), Some(5), "{writable}");
    }
    for read_only in [json!(["ro"]), json!(["rro"]), json!(["rw", "ro"]), json!(["rw", "rro"])] {
        assert_eq!(owner(read_only.clone()), None, "{read_only}");
    }
}

#[test]
fn all_mistakes_in_the_file_of_update_are_reported() {
    let text = "{\n  \"memory\": {\"limit\": \"1G\"},\n  \"cpu\": {\"shares\": -1},\n  \"pids\": {\"limit\": 5}\n}";
    let report = Report::of(&update::parse(text.as_bytes(), "--resources \"f\"").unwrap_err());
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            let position = finding.position.unwrap();
            (finding.path.as_deref().unwrap(), position.line, position.column)
        })
        .collect();
    assert_eq!(found, [("memory.limit", 2, 23), ("cpu.shares", 3, 21)]);
    assert!(
        report.msg.starts_with("--resources \"f\":2:23: memory.limit: "),
        "{}",
        report.msg
    );
}

#[test]
fn a_thousand_mistakes_are_counted() {
    let config = config(|c| c["linux"]["maskedPaths"] = json!(vec!["relative"; 1000]));
    let findings = plan(&config, root()).unwrap_err();
    assert_eq!(findings.len(), 31);
    assert_eq!(findings[30].msg, "970 more mistakes are not shown");
}

/// The checks read nothing but what is handed in.
#[test]
fn the_checks_make_no_system_call() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bundle");
    let mut files: Vec<_> = std::fs::read_dir(source.join("validate"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    for file in [
        "checks",
        "position",
        "questions",
        "scheduling",
        "sysctl",
        "text",
        "reader",
        "keys",
    ] {
        files.push(source.join(file).with_extension("rs"));
    }
    // Tables and types.
    let harmless = [
        "use crate::sys::process::NAMESPACES;",
        "use crate::sys::process::Resource;",
        "use crate::sys::sched::SchedAttr;",
    ];
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines().filter(|line| !harmless.contains(line)) {
            for call in [
                "std::fs",
                "std::env",
                "std::process",
                "std::io",
                "crate::sys",
                "crate::log",
                "nix::",
            ] {
                assert!(!line.contains(call), "{}: {line}", file.display());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is in a config, the first mistake of type is the one that the reader stops at, and all have a place.
    #[test]
    fn the_first_finding_is_what_the_reader_stops_at(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 1..6),
    ) {
        let mut config = default_spec();
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&config, String::new(), &mut all);
            if let Some(found) = config.pointer_mut(&all[place.index(all.len())]) {
                *found = value;
            }
        }
        let text = config.to_string();
        let reading = read_despite_mistakes::<Spec>(text.as_bytes());
        match (read_as::<Spec>(text.as_bytes()), reading.mistakes.first()) {
            (Ok(_), None) => prop_assert!(reading.value.is_some()),
            (Err(error), Some(first)) => prop_assert_eq!(Report::of(&error), Report::of(&first.error)),
            (read, first) => prop_assert!(false, "{:?} {:?}", read.err(), first),
        }
        if let Err(findings) = plan(&config, root()) {
            prop_assert!(!findings.is_empty());
            for finding in findings {
                prop_assert!(!finding.msg.is_empty());
                prop_assert_eq!(finding.path.is_some(), finding.position.is_some(), "{:?}", finding);
            }
        }
    }
}
