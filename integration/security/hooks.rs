//! Programs that run before the container's own: hooks of the engine inside the container's namespaces and cgroup.

use std::fs;
use std::time::Duration;

use nix::sys::stat::SFlag;

use crate::harness::Bundle;
use crate::harness::host::{has_strace, make_node, traced};
use crate::need;

/// The device number belongs to no driver, so that a weak runtime does no harm: without the rules, opening it fails with ENXIO.
#[test]
fn device_rules_hold_for_a_create_container_hook() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["true"]);
    make_node(&bundle.path("node"), SFlag::S_IFCHR, 0o600, (240, 77));
    let bundle = bundle.with_host_hook(
        "createContainer",
        "LC_ALL=C cat \"${OUT%/*}/node\" >\"$OUT\" 2>&1 || true",
    );
    // However long the kernel takes to load the rules.
    let run = traced(bundle.run_cmd(&[]), false, "-e inject=bpf:delay_enter=500000");
    run.within(Duration::from_secs(60)).run().ok();
    let said = fs::read_to_string(bundle.path("hooks.log")).unwrap();
    assert!(said.contains("Operation not permitted"), "{said}");
}
