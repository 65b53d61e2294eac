//! The features document against the rules of `schema/features-schema.json` and `features-linux.json`, and against the
//! sentences of `features.md` that a schema cannot express.

use oci_spec::runtime::LinuxSeccomp;
use orlop::commands::features::document;
use orlop::error::Result;
use orlop::security::seccomp::arch::Arch;
use orlop::security::seccomp::compile::compile;
use orlop::security::seccomp::profile;
use serde_json::{Value, json};

fn strings(value: &Value) -> Vec<&str> {
    let array = value.as_array().unwrap_or_else(|| panic!("not an array: {value}"));
    array
        .iter()
        .map(|item| item.as_str().unwrap_or_else(|| panic!("not a string: {item}")))
        .collect()
}

/// Fails if an object has a key that the schema does not know.
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
fn the_document_is_valid() {
    assert_valid(&document());
}

#[test]
fn every_feature_is_listed_or_denied() {
    let document = document();
    let linux = &document["linux"];
    assert_eq!(
        linux["cgroup"],
        json!({ "v1": false, "v2": true, "systemd": true, "systemdUser": true, "rdma": true })
    );
    assert_eq!(
        linux["intelRdt"],
        json!({ "enabled": true, "schemata": true, "monitoring": true })
    );
    assert_eq!(linux["netDevices"], json!({ "enabled": true }));
    assert_eq!(linux["mountExtensions"], json!({ "idmap": { "enabled": true } }));
    assert_eq!(
        strings(&document["hooks"]),
        [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop"
        ]
    );
    let options = strings(&document["mountOptions"]);
    assert!(options.is_sorted());
    let names = orlop::bundle::mount_options::NAMES;
    let of_links = ["copy-symlink", "dest-nofollow", "src-nofollow"];
    assert!(names.iter().chain(&of_links).all(|name| options.contains(name)));
    assert_eq!(options.len(), names.len() + of_links.len());
    let seccomp = &linux["seccomp"];
    assert_eq!(seccomp["enabled"], json!(true));
    for (list, entry) in [
        ("actions", "SCMP_ACT_NOTIFY"),
        ("operators", "SCMP_CMP_MASKED_EQ"),
        ("archs", "SCMP_ARCH_X86_64"),
        ("knownFlags", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"),
        ("supportedFlags", "SECCOMP_FILTER_FLAG_LOG"),
    ] {
        assert!(strings(&seccomp[list]).contains(&entry), "{list}: {seccomp}");
    }
    assert!(strings(&linux["memoryPolicy"]["modes"]).contains(&"MPOL_BIND"));
    assert!(strings(&linux["memoryPolicy"]["flags"]).contains(&"MPOL_F_STATIC_NODES"));
}

#[test]
fn annotations_are_strings() {
    let annotations = &document()["annotations"];
    assert_eq!(annotations["dev.orlop.version"], json!(env!("CARGO_PKG_VERSION")));
    assert_eq!(annotations["org.opencontainers.runc.checkpoint.enabled"], json!("true"));
}

/// Reads the profile and compiles it for every architecture that a kernel may have.
fn compiles(profile: Value) -> Result<()> {
    let seccomp: LinuxSeccomp = serde_json::from_value(profile)?;
    for native in Arch::all() {
        compile(&profile::read(&seccomp, native, "linux.seccomp")?, native)?;
    }
    Ok(())
}

#[test]
fn everything_listed_about_seccomp_compiles_and_nothing_else_is_accepted() {
    let seccomp = &document()["linux"]["seccomp"];
    let profile = |field: &str, value: &str| {
        let rule = |action: &str, operator: &str| json!({ "names": ["read", "clone"], "action": action, "args": [{ "index": 1, "value": 7, "valueTwo": 3, "op": operator }] });
        let mut profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/run/agent" });
        match field {
            "actions" => profile["syscalls"] = json!([rule(value, "SCMP_CMP_EQ")]),
            "operators" => profile["syscalls"] = json!([rule("SCMP_ACT_ALLOW", value)]),
            "archs" => profile["architectures"] = json!([value]),
            _ => {
                profile["defaultAction"] = json!("SCMP_ACT_NOTIFY");
                profile["flags"] = json!([value]);
            }
        }
        profile
    };
    let others = [
        ("actions", "SCMP_ACT_CONTINUE"),
        ("operators", "SCMP_CMP_IN"),
        ("archs", "SCMP_ARCH_ALPHA"),
        ("knownFlags", "SECCOMP_FILTER_FLAG_NEW_LISTENER"),
    ];
    for (field, other) in others {
        let listed = strings(&seccomp[field]);
        assert!(!listed.is_empty() && !listed.contains(&other), "{field}");
        for value in listed {
            compiles(profile(field, value)).unwrap_or_else(|error| panic!("{value}: {error:?}"));
        }
        assert!(compiles(profile(field, other)).is_err(), "{other}");
    }
    let known = strings(&seccomp["knownFlags"]);
    assert!(
        strings(&seccomp["supportedFlags"])
            .iter()
            .all(|flag| known.contains(flag))
    );
}

/// An engine that takes annotations from its users refuses these.
#[test]
fn annotations_that_change_the_runtime_are_listed() {
    assert_eq!(
        strings(&document()["potentiallyUnsafeConfigAnnotations"]),
        [
            "org.systemd.property.",
            "run.oci.keep_original_groups",
            "run.oci.seccomp_fail_unknown_syscall",
            "org.criu.config",
            "run.oci.hooks.stdout",
            "run.oci.hooks.stderr"
        ]
    );
}

#[test]
fn fields_have_the_order_of_the_specification() {
    let document = document();
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
