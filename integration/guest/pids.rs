//! `pids`, as the kernel enforces it.

use serde_json::json;

use super::{WAIT, go, leaf, name, update, with};
use crate::harness::Bundle;
use crate::harness::cgroup::{content, has_controller};
use crate::need;

#[test]
fn a_limit_of_processes_holds() {
    need!(has_controller("pids"), name("pids"));
    let forks = |limit: i64| {
        let bundle = with("pids", json!({ "limit": limit })).args(["probe", "forks", "20"]);
        bundle.run().ok().stdout.trim().to_owned()
    };
    assert_eq!(forks(8), "7");
    assert_eq!(forks(-1), "20");
    // Engines that use a version before 1.3 send zero for no limit.
    assert_eq!(forks(0), "20");
    // Since 1.3 it is a limit like any other: init is in the cgroup, and no other process can enter.
    let zero = || with("pids", json!({ "limit": 0 })).edit(|c| c["ociVersion"] = json!("1.3.0"));
    let bundle = zero().args(["probe", "forks", "20"]);
    assert_eq!(bundle.run().ok().stdout.trim(), "0");
    let bundle = zero().args(["probe", "sleep"]);
    let leaf = leaf(&bundle);
    let _c = bundle.start();
    assert_eq!(content(&leaf, "pids.max"), "0");
    // An object without a limit sets none.
    let bundle = with("pids", json!({})).args(["probe", "forks", "20"]);
    assert_eq!(bundle.run().ok().stdout.trim(), "20");
}

#[test]
fn an_update_takes_effect_on_a_running_container() {
    need!(has_controller("pids"), name("pids"));
    let bundle = Bundle::new().sh(&format!("{WAIT} exec probe forks 20"));
    let c = bundle.start();
    c.until("waiting");
    update(&c, &["--pids-limit", "6"]).ok();
    go(&bundle);
    c.until("\n5\n");
}

#[test]
fn an_update_to_a_pids_limit_of_zero_follows_the_version() {
    need!(has_controller("pids"), name("pids"));
    for (version, max) in [("1.2.1", "max"), ("1.3.0", "0")] {
        let bundle = with("pids", json!({ "limit": 9 })).args(["probe", "sleep"]);
        bundle.change(|c| c["ociVersion"] = json!(version));
        let leaf = leaf(&bundle);
        let c = bundle.start();
        update(&c, &["--pids-limit", "0"]).ok();
        assert_eq!(content(&leaf, "pids.max"), max, "{version}");
        update(&c, &["--pids-limit", "-1"]).ok();
        assert_eq!(content(&leaf, "pids.max"), "max", "{version}");
    }
}
