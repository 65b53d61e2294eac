//! What the processes of a container have: memory, files, sockets, timers, threads, each made and checked by a part of the
//! workload.

use std::time::Duration;

use serde_json::json;

use super::{KEEP, networked, round_trip};
use crate::harness::checkpoint::{CRIU, Workload, bundle, checkpoint, has_criu, restore, with_parts};
use crate::need;

#[test]
fn memory() {
    need!(has_criu(), CRIU);
    round_trip(&with_parts(bundle(), &["memory"]), &[]);
}

#[test]
fn children_with_sessions_a_zombie_and_an_orphan() {
    need!(has_criu(), CRIU);
    round_trip(&with_parts(bundle(), &["children"]), &[]);
}

#[test]
fn pipes_and_unix_sockets_with_data_in_flight() {
    need!(has_criu(), CRIU);
    round_trip(&with_parts(bundle(), &["messages"]), &[]);
}

#[test]
fn shared_memory_semaphores_and_message_queues() {
    need!(has_criu(), CRIU);
    round_trip(&with_parts(bundle(), &["ipc"]), &[]);
}

#[test]
fn open_files_and_locks() {
    need!(has_criu(), CRIU);
    round_trip(&with_parts(bundle(), &["files"]), &["--file-locks"]);
}

#[test]
fn timers() {
    need!(has_criu(), CRIU);
    round_trip(&with_parts(bundle(), &["timers"]), &[]);
}

#[test]
fn descriptors_for_events() {
    need!(has_criu(), CRIU);
    round_trip(&with_parts(bundle(), &["watches"]), &[]);
}

#[test]
fn threads_and_signals() {
    need!(has_criu(), CRIU);
    round_trip(&with_parts(bundle(), &["threads"]), &[]);
}

#[test]
fn a_connection_whose_both_ends_are_inside() {
    need!(has_criu(), CRIU);
    let (bundle, _holder) = networked(with_parts(bundle(), &["tcp"]));
    round_trip(&bundle, &["--tcp-established"]);
}

#[test]
fn a_process_with_everything_several_times() {
    need!(has_criu(), CRIU);
    let rounds = std::env::var("CHECKPOINT_ROUNDS").ok();
    let rounds = rounds.map_or(3, |text| text.parse().expect("CHECKPOINT_ROUNDS is a number"));
    let (bundle, _holder) = networked(with_parts(bundle(), &["all"]));
    let work = Workload::start(&bundle);
    let mut before = work.report();
    for _ in 0..rounds {
        let image = checkpoint(&work.container, &KEEP);
        restore(&work.container, &image, &KEEP);
        before = work.assert_continues(&before);
        std::fs::remove_dir_all(&image.dir).unwrap();
    }
}

/// The clock and the timers stand still while there is no process.
#[test]
fn the_clock_does_not_jump() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["timers"]);
    let work = Workload::start(&bundle);
    let image = checkpoint(&work.container, &[]);
    let begun = std::time::Instant::now();
    // Not a wait for something: the time that must not be seen inside.
    std::thread::sleep(Duration::from_millis(1500));
    let apart = begun.elapsed().as_millis() as u64;
    restore(&work.container, &image, &[]);
    let first = work.report();
    // It started less than this long ago, by its own clock.
    let lived = first.grows("timers.timerfd");
    assert!(lived < apart, "{lived} ms have passed inside, {apart} ms outside");
}

#[test]
fn identity_limits_and_privileges() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["identity", "threads"]).edit(|c| {
        let process = &mut c["process"];
        process["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 27], "umask": 0o27 });
        process["cwd"] = json!("/tmp");
        process["env"].as_array_mut().unwrap().push(json!("WORD=a b=c"));
        process["rlimits"] = json!([
            { "type": "RLIMIT_NOFILE", "hard": 900, "soft": 800 },
            { "type": "RLIMIT_CORE", "hard": 5 << 20, "soft": 0 },
            { "type": "RLIMIT_NPROC", "hard": 5000, "soft": 4000 },
        ]);
        process["oomScoreAdj"] = json!(321);
        let capabilities = process["capabilities"].as_object_mut().unwrap();
        for set in ["inheritable", "ambient"] {
            capabilities.insert(set.into(), json!(["CAP_NET_BIND_SERVICE"]));
        }
        c["domainname"] = json!("example.org");
        c["linux"]["sysctl"] = json!({ "kernel.msgmax": "12345", "kernel.shmmni": "77" });
    });
    let (bundle, _holder) = networked(bundle);
    round_trip(&bundle, &[]);
}

#[test]
fn new_privileges_stay_allowed_or_forbidden() {
    need!(has_criu(), CRIU);
    for forbidden in [false, true] {
        let bundle = with_parts(bundle(), &["identity"]).edit(|c| c["process"]["noNewPrivileges"] = json!(forbidden));
        let (bundle, _holder) = networked(bundle);
        let report = round_trip(&bundle, &[]);
        assert_eq!(report.same("/identity/noNewPrivileges"), &json!(forbidden));
    }
}
