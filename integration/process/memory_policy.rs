//! `linux.memoryPolicy`.

use serde_json::{Value, json};

use crate::harness::Bundle;
use crate::need;

/// The policy of each mapping is the process's own where the mapping has none, see numa(7).
fn memory_policy(policy: Value) -> String {
    let bundle = Bundle::new()
        .args(["probe", "cat", "/proc/self/numa_maps"])
        .edit(|c| c["linux"]["memoryPolicy"] = policy);
    let maps = bundle.run().ok().stdout;
    let stack = maps.lines().find(|line| line.contains("heap")).or(maps.lines().next());
    stack
        .and_then(|line| line.split(' ').nth(1))
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn memory_policy_of_every_mode() {
    need!(std::path::Path::new("/proc/self/numa_maps").exists(), "CONFIG_NUMA");
    for (mode, nodes, shown) in [
        ("MPOL_DEFAULT", None, "default"),
        ("MPOL_BIND", Some("0"), "bind:0"),
        ("MPOL_INTERLEAVE", Some("0"), "interleave:0"),
        ("MPOL_PREFERRED", Some("0"), "prefer:0"),
        ("MPOL_LOCAL", None, "local"),
    ] {
        let mut policy = json!({ "mode": mode });
        if let Some(nodes) = nodes {
            policy["nodes"] = json!(nodes);
        }
        assert_eq!(memory_policy(policy), shown, "{mode}");
    }
}

/// Linux 5.15.
#[test]
fn memory_policy_preferred_many() {
    need!(std::path::Path::new("/proc/self/numa_maps").exists(), "CONFIG_NUMA");
    let shown = memory_policy(json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }));
    // The name has a blank in it.
    assert_eq!(shown, "prefer");
}

/// Linux 6.9.
#[test]
fn memory_policy_weighted_interleave() {
    need!(
        std::path::Path::new("/sys/kernel/mm/mempolicy/weighted_interleave").exists(),
        "weighted interleaving of memory"
    );
    let shown = memory_policy(json!({ "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0" }));
    assert_eq!(shown, "weighted");
}

#[test]
fn memory_policy_flags() {
    need!(std::path::Path::new("/proc/self/numa_maps").exists(), "CONFIG_NUMA");
    for (flag, shown) in [
        ("MPOL_F_STATIC_NODES", "bind=static:0"),
        ("MPOL_F_RELATIVE_NODES", "bind=relative:0"),
    ] {
        assert_eq!(
            memory_policy(json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [flag] })),
            shown
        );
    }
    let balanced = memory_policy(json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"] }));
    // Newer kernels show this flag too.
    assert!(balanced.starts_with("bind") && balanced.ends_with(":0"), "{balanced}");
}

#[test]
fn memory_policy_of_missing_nodes() {
    need!(std::path::Path::new("/proc/self/numa_maps").exists(), "CONFIG_NUMA");
    need!(
        !std::path::Path::new("/sys/devices/system/node/node63").exists(),
        "a missing node 63"
    );
    let bundle = Bundle::new()
        .args(["true"])
        .edit(|c| c["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_BIND", "nodes": "63" }));
    let out = bundle.run().fails_with("linux.memoryPolicy");
    assert!(out.stderr.contains("hint: none of the nodes"), "{out:#?}");
    bundle.assert_clean();
}
