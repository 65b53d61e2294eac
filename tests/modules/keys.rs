//! The keys of config.json: the types know all that the schema of the spec has, what is required is missed, and what is
//! misspelt is told.
//!
//! `every_key.json` has each key of the runtime-spec's schema, version 1.3, once; it is made from that. Of the sections of
//! other systems it has no more than their names.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::config::{places, read};
use orlop::bundle::document::{Process, Spec};
use orlop::bundle::reader::{self, Notes};
use orlop::bundle::text::read_all;
use orlop::commands::spec::default_spec;
use orlop::error::Report;
use orlop::plan::{HookPoint, Warning};

fn every_key() -> Value {
    serde_json::from_str(include_str!("../every_key.json")).unwrap()
}

fn notes(config: &Value) -> Notes {
    read_all::<Spec>(config.to_string().as_bytes()).unwrap().1
}

/// `/linux/devices/0/major` as `linux.devices[0].major`.
fn path(pointer: &str) -> String {
    let parts = pointer.split('/').skip(1);
    parts.fold(String::new(), |path, part| match part.parse::<usize>() {
        Ok(index) => format!("{path}[{index}]"),
        Err(_) if path.is_empty() => part.into(),
        Err(_) => format!("{path}.{part}"),
    })
}

/// All places of objects whose keys the spec names, and those keys.
fn keys(config: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    places(config, String::new(), &mut all);
    let named = all.iter().filter_map(|place| place.rsplit_once('/'));
    named
        .filter(|(above, key)| config.pointer(above).unwrap().is_object() && !matches!(*key, "key" | "any"))
        .filter(|(above, _)| *above != "/linux/timeOffsets")
        .map(|(above, key)| (above.to_string(), key.to_string()))
        .collect()
}

#[test]
fn the_types_know_every_key_of_the_schema() {
    let notes = notes(&every_key());
    let unknown: Vec<_> = notes.unknown.iter().map(|(path, _)| reader::text(path)).collect();
    let others = ["process.commandLine", "solaris", "windows", "vm", "zos", "freebsd"];
    assert_eq!(unknown, others);
    assert_eq!(notes.missing, [] as [Vec<_>; 0]);
    assert!(keys(&every_key()).len() > 180);
}

/// What the spec calls REQUIRED, but for what is only found missing when it is used: `ociVersion`, `root`,
/// `root.path`, `process.args`, `ioPriority.priority`, and `pids.limit`, which may be missing for "no limit".
#[test]
fn every_required_key_is_missed() {
    let mut required = BTreeSet::new();
    for (above, key) in keys(&every_key()) {
        let mut config = every_key();
        config
            .pointer_mut(&above)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove(&key);
        let at = path(&format!("{above}/{key}"));
        match read_all::<Spec>(config.to_string().as_bytes()) {
            Err(error) => {
                let report = Report::of(&error);
                assert!(report.msg.ends_with(&format!("missing field `{key}`")), "{report:?}");
                assert_eq!(report.path, Some(path(&above)), "{report:?}");
                required.insert(at);
            }
            Ok((_, notes)) if notes.missing.is_empty() => {}
            Ok((_, notes)) => {
                assert_eq!(
                    notes.missing.iter().map(|path| reader::text(path)).collect::<Vec<_>>(),
                    [&*at]
                );
                required.insert(at);
            }
        }
    }
    let mapping = ["containerID", "hostID", "size"];
    let maps = [
        "linux.uidMappings",
        "linux.gidMappings",
        "mounts[0].uidMappings",
        "mounts[0].gidMappings",
    ];
    let mut wanted: BTreeSet<String> = maps
        .iter()
        .flat_map(|map| mapping.map(|key| format!("{map}[0].{key}")))
        .collect();
    for hook in HookPoint::ALL.map(HookPoint::name) {
        wanted.insert(format!("hooks.{hook}[0].path"));
    }
    for throttle in ["ReadBps", "WriteBps", "ReadIOPS", "WriteIOPS"] {
        for key in ["major", "minor", "rate"] {
            wanted.insert(format!("linux.resources.blockIO.throttle{throttle}Device[0].{key}"));
        }
    }
    wanted.extend(
        [
            "mounts[0].destination",
            "process.consoleSize.height",
            "process.consoleSize.width",
            "process.cwd",
            "process.user",
            "process.user.uid",
            "process.user.gid",
            "process.rlimits[0].type",
            "process.rlimits[0].soft",
            "process.rlimits[0].hard",
            "process.scheduler.policy",
            "process.ioPriority.class",
            "linux.namespaces[0].type",
            "linux.devices[0].type",
            "linux.devices[0].path",
            "linux.devices[0].major",
            "linux.devices[0].minor",
            "linux.resources.devices[0].allow",
            "linux.resources.blockIO.weightDevice[0].major",
            "linux.resources.blockIO.weightDevice[0].minor",
            "linux.resources.hugepageLimits[0].pageSize",
            "linux.resources.hugepageLimits[0].limit",
            "linux.resources.network.priorities[0].name",
            "linux.resources.network.priorities[0].priority",
            // Not required, but the type has 0 for it.
            "linux.resources.pids.limit",
            "linux.memoryPolicy.mode",
            "linux.seccomp.defaultAction",
            "linux.seccomp.syscalls[0].names",
            "linux.seccomp.syscalls[0].action",
            "linux.seccomp.syscalls[0].args[0].index",
            "linux.seccomp.syscalls[0].args[0].value",
            "linux.seccomp.syscalls[0].args[0].op",
            "linux.personality.domain",
        ]
        .map(String::from),
    );
    assert_eq!(required, wanted);
}

#[test]
fn a_missing_key_is_refused_at_its_place() {
    let refused = |pointer: &str| {
        let mut config = default_spec();
        config["linux"]["devices"] = json!([{"type": "c", "path": "/dev/x", "major": 1, "minor": 3}]);
        let (above, key) = pointer.rsplit_once('/').unwrap();
        config
            .pointer_mut(above)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove(key)
            .unwrap();
        let report = Report::of(&read(config.to_string()).err().expect(pointer));
        assert_eq!(report.path, Some(path(pointer)), "{report:?}");
        assert!(report.hint.is_some(), "{report:?}");
    };
    refused("/process/user/uid");
    refused("/process/user/gid");
    refused("/process/rlimits/0/soft");
    refused("/linux/devices/0/minor");
    refused("/linux/resources/devices/0/allow");
}

#[test]
fn a_fifo_needs_no_number_and_a_process_no_user() {
    let mut config = default_spec();
    config["linux"]["devices"] = json!([{"type": "p", "path": "/dev/fifo"}]);
    let read = |config: &Value| read(config.to_string());
    assert_eq!(read(&config).unwrap().warnings, []);
    config["process"].as_object_mut().unwrap().remove("user").unwrap();
    let warnings = read(&config).unwrap().warnings;
    assert_eq!(
        warnings,
        [Warning::new(
            "process.user",
            "process.user is missing: the process runs as root (uid 0, gid 0)"
        )]
    );
    config["linux"]["devices"] = json!([{"type": "u", "path": "/dev/x"}]);
    let report = Report::of(&read(&config).err().unwrap());
    assert_eq!(report.path.as_deref(), Some("linux.devices[0].major"), "{report:?}");
}

/// Of every key of the schema: in another case, without its last letter, with two letters exchanged, as another number.
#[test]
fn every_key_misspelt_is_told_apart() {
    let config = every_key();
    let mut told = 0;
    for (above, key) in keys(&config) {
        let known = config.pointer(&above).unwrap().as_object().unwrap();
        let capital = format!("{}{}", key[..1].to_uppercase(), &key[1..]);
        let mut misspelt = vec![capital, key.to_uppercase(), key.to_lowercase(), format!("{key}s")];
        misspelt.push(
            key.chars()
                .flat_map(|c| {
                    if c.is_uppercase() {
                        vec!['_', c.to_ascii_lowercase()]
                    } else {
                        vec![c]
                    }
                })
                .collect(),
        );
        if key.len() > 4 {
            misspelt.push(key[..key.len() - 1].into());
            misspelt.push(format!("{}{}{}", &key[..1], &key[2..3], &key[1..2]) + &key[3..]);
            misspelt.push(format!("{}x{}", &key[..2], &key[3..]));
        }
        misspelt.retain(|other| !known.contains_key(other));
        for other in misspelt {
            let mut config = config.clone();
            config.pointer_mut(&above).unwrap()[&other] = Value::Null;
            let at = path(&format!("{above}/{other}"));
            let found = notes(&config).unknown;
            let (_, advice) = found.iter().find(|(path, _)| reader::text(path) == at).expect(&at);
            let foreign = ["commandLine", "solaris", "windows", "vm", "zos", "freebsd"];
            if !foreign.contains(&&*key) {
                assert_eq!(advice.as_deref(), Some(&*format!("did you mean {key}?")), "{at}");
                told += 1;
            }
        }
    }
    assert!(told > 1000, "{told}");
}

#[test]
fn foreign_and_misplaced_keys_are_told() {
    let mut config = default_spec();
    config["root"]["readOnly"] = json!(true);
    config["linux"]["maskedPath"] = json!(["/proc"]);
    config["linux"]["noNewPrivileges"] = json!(true);
    config["process"]["user"]["username"] = json!("www-data");
    config["process"]["seccomp"] = json!({});
    // These are somebody's own, and nobody's mistake.
    config["com.example.extension"] = json!(1);
    config["process"]["entrypoint"] = json!([]);
    config["annotations"] = json!({"Process": "x", "annotation": "y"});
    config["linux"]["sysctl"] = json!({"kernel.domainname": "x"});
    let warnings = read(config.to_string()).unwrap().warnings;
    let texts: Vec<_> = warnings.iter().map(|warning| warning.text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "unknown key process.seccomp is ignored: it is a key of linux",
            "unknown key root.readOnly is ignored: did you mean readonly?",
            "unknown key linux.maskedPath is ignored: did you mean maskedPaths?",
            "unknown key linux.noNewPrivileges is ignored: it is a key of process",
            "process.user.username is ignored: it is for Windows; on Linux uid and gid name the user",
        ]
    );
}

/// `mounts add` repeats only the warnings about mounts.
#[test]
fn a_warning_knows_the_mount_that_it_is_about() {
    let mut config = default_spec();
    config["mounts"][2]["option"] = json!([]);
    config["linux"]["maskedPath"] = json!([]);
    let warnings = read(config.to_string()).unwrap().warnings;
    let about: Vec<_> = warnings.iter().map(|warning| warning.mount).collect();
    assert_eq!(about, [Some(2), None], "{warnings:?}");
}

/// The lists that no type checks.
#[test]
fn the_advice_about_places_is_true() {
    let config = every_key();
    for (above, key) in keys(&config) {
        let mut config = json!({"ociVersion": "1.3.0", "hooks": {}});
        config["hooks"][&key] = Value::Null;
        for (_, advice) in notes(&config).unknown {
            let Some(place) = advice
                .as_deref()
                .and_then(|advice| advice.strip_prefix("it is a key of "))
            else {
                continue;
            };
            let place = format!("/{}", place.replace('.', "/"));
            let there = every_key()
                .pointer(&place)
                .and_then(|object| object.get(&key))
                .is_some();
            assert!(there, "{above}/{key}: {place}");
        }
    }
}

#[test]
fn lists_in_place_of_objects_are_refused_everywhere() {
    let config = every_key();
    let mut all = Vec::new();
    places(&config, String::new(), &mut all);
    let mut tried = 0;
    for place in all.iter().filter(|place| config.pointer(place).unwrap().is_object()) {
        if place.is_empty() || ["/solaris", "/windows", "/vm", "/zos", "/freebsd"].contains(&&**place) {
            continue;
        }
        let object = config.pointer(place).unwrap().as_object().unwrap();
        for list in [json!([]), object.values().cloned().collect()] {
            let mut config = config.clone();
            *config.pointer_mut(place).unwrap() = list;
            let read = read_all::<Spec>(config.to_string().as_bytes());
            let report = Report::of(&read.expect_err(place));
            assert_eq!(report.path, Some(path(place)), "{report:?}");
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
    // The file of `exec --process`.
    let list = json!({"cwd": "/", "user": []});
    assert!(read_all::<Process>(list.to_string().as_bytes()).is_err());
}
