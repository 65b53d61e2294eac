//! The features document against the rules of `schema/features-schema.json` and `features-linux.json`, and against
//! the sentences of `features.md` that a schema cannot state.

use orlop::commands::features_document::{Cgroup, Facts, IntelRdt, MemoryPolicy, Seccomp, features};
use serde_json::{Value, json};

fn plain() -> Facts<'static> {
    Facts {
        oci_version_min: "1.0.0",
        oci_version_max: "1.3.0",
        version: "0.1.0",
        commit: "0123abc",
        hooks: &[
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ],
        mount_options: orlop::bundle::mount_options::NAMES,
        namespaces: &["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
        capabilities: &["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"],
        cgroup: Cgroup {
            v2: true,
            ..Cgroup::default()
        },
        idmap: true,
        unsafe_annotations: &["org.systemd.property."],
        ..Facts::default()
    }
}

fn everything() -> Facts<'static> {
    Facts {
        cgroup: Cgroup {
            v1: true,
            v2: true,
            systemd: true,
            systemd_user: true,
            rdma: true,
        },
        seccomp: Some(Seccomp {
            actions: &["SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY"],
            operators: &["SCMP_CMP_EQ"],
            archs: &["SCMP_ARCH_X86_64"],
            known_flags: &["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],
            supported_flags: &["SECCOMP_FILTER_FLAG_LOG"],
        }),
        apparmor: true,
        selinux: true,
        intel_rdt: IntelRdt {
            enabled: true,
            schemata: true,
            monitoring: true,
        },
        memory_policy: MemoryPolicy {
            modes: &["MPOL_BIND"],
            flags: &["MPOL_F_STATIC_NODES"],
        },
        net_devices: true,
        checkpoint: true,
        ..plain()
    }
}

fn strings(value: &Value) -> Vec<&str> {
    let array = value.as_array().unwrap_or_else(|| panic!("not an array: {value}"));
    array
        .iter()
        .map(|item| item.as_str().unwrap_or_else(|| panic!("not a string: {item}")))
        .collect()
}

/// The keys of an object, all of them known to the schema.
fn known_keys(object: &Value, known: &[&str]) {
    for key in object
        .as_object()
        .unwrap_or_else(|| panic!("not an object: {object}"))
        .keys()
    {
        assert!(known.contains(&key.as_str()), "{key} is not in the specification");
    }
}

fn booleans(object: &Value, known: &[&str]) {
    known_keys(object, known);
    assert!(object.as_object().unwrap().values().all(Value::is_boolean), "{object}");
}

fn version(text: &str) -> Vec<u32> {
    let parts: Vec<u32> = text.split('.').map(|part| part.parse().unwrap()).collect();
    assert_eq!(parts.len(), 3, "{text}");
    parts
}

fn assert_valid(document: &Value) {
    let top = [
        "ociVersionMin",
        "ociVersionMax",
        "hooks",
        "mountOptions",
        "linux",
        "annotations",
    ];
    known_keys(document, &[&top[..], &["potentiallyUnsafeConfigAnnotations"]].concat());
    let bound = |key: &str| version(document[key].as_str().unwrap());
    assert!(bound("ociVersionMin") <= bound("ociVersionMax"));
    for list in ["hooks", "mountOptions", "potentiallyUnsafeConfigAnnotations"] {
        strings(&document[list]);
    }
    for (key, value) in document["annotations"].as_object().unwrap() {
        assert!(!key.is_empty() && value.is_string(), "{key}: {value}");
    }

    let linux = &document["linux"];
    let lists = ["namespaces", "capabilities"];
    let objects = [
        "cgroup",
        "seccomp",
        "apparmor",
        "selinux",
        "intelRdt",
        "memoryPolicy",
        "mountExtensions",
        "netDevices",
    ];
    known_keys(linux, &[&lists[..], &objects].concat());
    for namespace in strings(&linux["namespaces"]) {
        assert!(["mount", "pid", "network", "uts", "ipc", "user", "cgroup", "time"].contains(&namespace));
    }
    for capability in strings(&linux["capabilities"]) {
        let name = capability.strip_prefix("CAP_").unwrap();
        assert!(
            !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_'),
            "{capability}"
        );
    }
    booleans(&linux["cgroup"], &["v1", "v2", "systemd", "systemdUser", "rdma"]);
    for module in ["apparmor", "selinux", "netDevices"] {
        booleans(&linux[module], &["enabled"]);
    }
    booleans(&linux["intelRdt"], &["enabled", "schemata", "monitoring"]);
    known_keys(&linux["mountExtensions"], &["idmap"]);
    booleans(&linux["mountExtensions"]["idmap"], &["enabled"]);
    known_keys(&linux["memoryPolicy"], &["modes", "flags"]);
    strings(&linux["memoryPolicy"]["modes"]);
    strings(&linux["memoryPolicy"]["flags"]);

    let seccomp = linux["seccomp"].as_object().unwrap();
    assert!(seccomp["enabled"].is_boolean());
    let lists = ["actions", "operators", "archs", "knownFlags", "supportedFlags"];
    for (key, value) in seccomp.iter().filter(|(key, _)| *key != "enabled") {
        assert!(lists.contains(&key.as_str()), "{key}");
        strings(value);
    }
}

#[test]
fn valid_with_little_and_with_everything() {
    assert_valid(&features(&plain()));
    assert_valid(&features(&everything()));
    assert_valid(&features(&Facts {
        oci_version_min: "1.0.0",
        oci_version_max: "1.0.0",
        ..Facts::default()
    }));
}

#[test]
fn what_is_missing_is_said_to_be_missing() {
    let linux = &features(&plain())["linux"];
    assert_eq!(linux["seccomp"], json!({ "enabled": false }));
    assert_eq!(linux["memoryPolicy"], json!({ "modes": [], "flags": [] }));
    assert_eq!(
        linux["cgroup"],
        json!({ "v1": false, "v2": true, "systemd": false, "systemdUser": false, "rdma": false })
    );
    assert_eq!(
        linux["intelRdt"],
        json!({ "enabled": false, "schemata": false, "monitoring": false })
    );
    assert_eq!(linux["netDevices"], json!({ "enabled": false }));
    assert_eq!(linux["mountExtensions"], json!({ "idmap": { "enabled": true } }));
}

#[test]
fn what_is_there_is_listed() {
    let document = features(&everything());
    let seccomp = &document["linux"]["seccomp"];
    assert_eq!(seccomp["enabled"], json!(true));
    assert_eq!(seccomp["actions"], json!(["SCMP_ACT_ALLOW", "SCMP_ACT_NOTIFY"]));
    assert_eq!(seccomp["supportedFlags"], json!(["SECCOMP_FILTER_FLAG_LOG"]));
    assert_eq!(document["linux"]["memoryPolicy"]["modes"], json!(["MPOL_BIND"]));
    assert_eq!(strings(&document["mountOptions"]), orlop::bundle::mount_options::NAMES);
}

#[test]
fn annotations_are_strings() {
    assert_eq!(
        features(&plain())["annotations"],
        json!({
            "dev.orlop.version": "0.1.0",
            "dev.orlop.commit": "0123abc",
            "org.opencontainers.runc.checkpoint.enabled": "false"
        })
    );
    let without_commit = features(&Facts {
        commit: "",
        checkpoint: true,
        ..plain()
    });
    assert!(without_commit["annotations"].get("dev.orlop.commit").is_none());
    assert_eq!(
        without_commit["annotations"]["org.opencontainers.runc.checkpoint.enabled"],
        json!("true")
    );
}

#[test]
fn fields_stand_in_the_order_of_the_specification() {
    let document = features(&plain());
    let keys: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "ociVersionMin",
        "ociVersionMax",
        "hooks",
        "mountOptions",
        "linux",
        "annotations",
        "potentiallyUnsafeConfigAnnotations",
    ];
    assert_eq!(keys, expected);
}
