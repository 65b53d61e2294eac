//! What confines a restored container: its seccomp filter, privileges, devices, keyring, limits.

use serde_json::json;

use super::round_trip;
use crate::harness::checkpoint::{CRIU, Workload, bundle, checkpoint, has_criu, restore, restore_cmd, with_parts};
use crate::harness::exec::{exec_cmd, exec_facts};
use crate::harness::golden::own_texts;
use crate::harness::host::{has_session_keyrings, join_session_keyring};
use crate::harness::seccomp::{denying, docker, with, with_privileges};
use crate::harness::{Attempts, cgroup_of};
use crate::need;

#[test]
fn the_seccomp_filter_stays_in_force() {
    need!(has_criu(), CRIU);
    for no_new in [true, false] {
        let profile = denying(&["munlockall"], "SCMP_ACT_ERRNO");
        let parts = ["filtered", "threads", "children"];
        let bundle = with_privileges(with(with_parts(bundle(), &parts), profile), no_new);
        let report = round_trip(&bundle, &[]);
        let main = report.same("/threads/main").as_str().unwrap();
        assert!(main.contains("Seccomp 2"), "{main}");
    }
}

#[test]
fn an_engines_seccomp_profile() {
    need!(has_criu(), CRIU);
    let bundle = with(with_parts(bundle(), &["memory", "messages", "threads"]), docker());
    let report = round_trip(&bundle, &[]);
    assert!(report.same("/threads/main").as_str().unwrap().contains("Seccomp 2"));
}

/// A process of `exec` in a restored container is confined as one in the container that was saved.
#[test]
fn exec_is_confined_as_before() {
    need!(has_criu(), CRIU);
    let bundle = with(
        with_parts(bundle(), &["memory"]),
        denying(&["munlockall"], "SCMP_ACT_ERRNO"),
    );
    // Others raise it.
    let soft = if own_texts() { 800 } else { 900 };
    let bundle = bundle.edit(|c| {
        c["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "hard": 900, "soft": soft }]);
        c["process"]["oomScoreAdj"] = json!(77);
    });
    let work = Workload::start(&bundle);
    let call = format!("syscall,{}", libc::SYS_munlockall);
    let look = || {
        let facts = exec_facts(&work.container, &[]);
        let kept = [
            "uid",
            "gid",
            "groups",
            "env",
            "rlimits",
            "caps",
            "noNewPrivileges",
            "seccomp",
            "oomScoreAdj",
            "hostname",
            "cgroup",
        ];
        let facts: Vec<_> = kept.iter().map(|key| facts[key].clone()).collect();
        let tried = exec_cmd(
            &work.container,
            &[],
            &["probe", "try", &call, "mknod,/dev/new,c,1,3", "open,/dev/full,r"],
        )
        .run()
        .ok();
        (facts, Attempts(tried.json()))
    };
    let (facts, tried) = look();
    assert_eq!(tried.result(&call), "EPERM");
    let image = checkpoint(&work.container, &[]);
    restore(&work.container, &image, &[]);
    let (facts_after, tried_after) = look();
    assert_eq!(facts_after, facts);
    assert_eq!(tried_after.0, tried.0);
}

/// The program that decides about devices belongs to the cgroup, which is new.
#[test]
fn device_rules_apply_again() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]).with_caps(&["CAP_MKNOD"]).edit(|c| {
        c["linux"]["resources"]["devices"] = json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 10, "minor": 237, "access": "rwm" },
        ]);
    });
    let work = Workload::start(&bundle);
    let image = checkpoint(&work.container, &[]);
    restore(&work.container, &image, &[]);
    // Every node may be made, not every device opened.
    let operations = ["mknod,/dev/allowed,c,10,237", "mknod,/dev/refused,c,10,229"];
    let tried = exec_cmd(
        &work.container,
        &[],
        &[&["probe", "try"], &operations as &[&str]].concat(),
    )
    .run()
    .ok();
    let tried = Attempts(tried.json());
    assert_ne!(tried.result(operations[0]), "EPERM");
    assert_eq!(tried.result(operations[1]), "EPERM");
}

/// Not that of the caller, whose keys a restored process could use otherwise.
#[test]
fn the_session_keyring_is_not_the_callers() {
    need!(has_criu(), CRIU);
    need!(has_session_keyrings(), "session keyrings");
    need!(
        own_texts(),
        "a runtime that gives a restored container a session keyring"
    );
    let bundle = with_parts(bundle(), &["keyring"]);
    let work = Workload::start(&bundle);
    let image = checkpoint(&work.container, &[]);
    let restore = restore_cmd(&work.container, &image, &[]).before_exec(|| join_session_keyring(c"callers"));
    restore.run().ok();
    let report = work.report();
    let keyring = report.same("/keyring");
    assert!(keyring["id"].is_number(), "{keyring}");
    assert!(!keyring.to_string().contains("callers"), "{keyring}");
}

#[test]
fn the_cgroup_is_the_containers() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["children"]);
    let work = Workload::start(&bundle);
    let before = cgroup_of(work.container.pid());
    let image = checkpoint(&work.container, &[]);
    assert!(!before.exists());
    restore(&work.container, &image, &[]);
    assert_eq!(cgroup_of(work.container.pid()), before);
    let processes = std::fs::read_to_string(before.join("cgroup.procs")).unwrap();
    // Init, child, grandchild, stopped and orphan; the zombie is in none.
    assert_eq!(processes.lines().count(), 5, "{processes}");
    assert_eq!(std::fs::read_to_string(before.join("cgroup.freeze")).unwrap(), "0\n");
}
