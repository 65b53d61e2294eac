//! `features`, which engines read before they ask for something.

use serde_json::json;

use crate::harness::Bundle;

/// That the features work is tested with each subject.
#[test]
fn features_lists_the_supported_features() {
    let bundle = Bundle::new();
    let document = bundle.orlop(["features"]).run().ok().json();
    assert_eq!(
        (&document["ociVersionMin"], &document["ociVersionMax"]),
        (&json!("1.0.0"), &json!("1.3.0"))
    );
    let linux = &document["linux"];
    for enabled in [
        &linux["seccomp"]["enabled"],
        &linux["apparmor"]["enabled"],
        &linux["selinux"]["enabled"],
        &linux["intelRdt"]["enabled"],
        &linux["intelRdt"]["schemata"],
        &linux["intelRdt"]["monitoring"],
        &linux["netDevices"]["enabled"],
        &linux["mountExtensions"]["idmap"]["enabled"],
        &linux["cgroup"]["v2"],
    ] {
        assert_eq!(enabled, true, "{linux:#}");
    }
    assert_eq!(linux["cgroup"]["v1"], false);
    let has = |list: &serde_json::Value, name: &str| list.as_array().is_some_and(|l| l.contains(&json!(name)));
    assert!(has(&linux["memoryPolicy"]["modes"], "MPOL_INTERLEAVE"));
    assert!(has(&linux["memoryPolicy"]["flags"], "MPOL_F_STATIC_NODES"));
    assert!(has(&linux["seccomp"]["actions"], "SCMP_ACT_NOTIFY"));
    assert!(has(&linux["seccomp"]["archs"], "SCMP_ARCH_X86_64"));
    assert!(has(&document["mountOptions"], "rnosymfollow"));
    let kinds = ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"];
    assert!(kinds.iter().all(|kind| has(&linux["namespaces"], kind)));
}
