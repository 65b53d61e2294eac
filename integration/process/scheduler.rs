//! `process.scheduler`, `process.ioPriority` and CPU affinity, as the kernel then reports them.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::harness::Bundle;
use crate::harness::host::{allows_policy, set_policy};
use crate::harness::users::remapped as in_user_namespace;
use crate::need;

fn with_scheduler(scheduler: Value) -> Bundle {
    Bundle::new().edit(|c| c["process"]["scheduler"] = scheduler)
}

#[test]
fn scheduler_policies_with_a_nice_value() {
    for (policy, number) in [("SCHED_OTHER", 0), ("SCHED_BATCH", 3)] {
        for nice in [-5, 0, 19] {
            let facts = with_scheduler(json!({ "policy": policy, "nice": nice })).facts();
            let found = &facts["scheduler"];
            assert_eq!(
                (&found["policy"], &found["nice"]),
                (&json!(number), &json!(nice)),
                "{policy}"
            );
        }
    }
    assert_eq!(
        with_scheduler(json!({ "policy": "SCHED_IDLE" })).facts()["scheduler"]["policy"],
        5
    );
}

#[test]
fn scheduler_real_time_policies_with_a_priority() {
    need!(allows_policy(libc::SCHED_FIFO, 1), "real-time scheduling");
    for (policy, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
        for priority in [1, 99] {
            let facts = with_scheduler(json!({ "policy": policy, "priority": priority })).facts();
            let found = &facts["scheduler"];
            assert_eq!(
                (&found["policy"], &found["priority"]),
                (&json!(number), &json!(priority))
            );
        }
    }
}

/// The nice value of these tests, which a process inherits that sets none.
fn own_nice() -> i32 {
    // SAFETY: the call takes no pointer.
    unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
}

#[test]
fn scheduler_deadline_with_its_times_and_flags() {
    let bundle = with_scheduler(json!({
        "policy": "SCHED_DEADLINE",
        "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"],
        "runtime": 2_000_000, "deadline": 10_000_000, "period": 20_000_000,
    }));
    let out = bundle.run();
    need!(!out.stderr.contains("EBUSY"), "bandwidth for SCHED_DEADLINE");
    let found = out.ok().json()["scheduler"].clone();
    let expected = json!({ "policy": 6, "flags": 7, "priority": 0, "nice": own_nice(),
                           "runtime": 2_000_000, "deadline": 10_000_000, "period": 20_000_000 });
    assert_eq!(found, expected);
}

#[test]
fn scheduler_reset_on_fork_is_a_flag_of_any_policy() {
    let facts = with_scheduler(json!({ "policy": "SCHED_BATCH", "flags": ["SCHED_FLAG_RESET_ON_FORK"] })).facts();
    assert_eq!(
        (&facts["scheduler"]["policy"], &facts["scheduler"]["flags"]),
        (&json!(3), &json!(1))
    );
}

#[test]
fn scheduler_keep_flags_leave_what_the_caller_has() {
    let bundle = with_scheduler(json!({ "policy": "SCHED_OTHER", "nice": 3, "flags": ["SCHED_FLAG_KEEP_POLICY"] }));
    let as_batch = || set_policy(libc::SCHED_BATCH, 0);
    let facts = bundle.run_cmd(&[]).before_exec(as_batch).run().ok().json();
    assert_eq!(
        (&facts["scheduler"]["policy"], &facts["scheduler"]["nice"]),
        (&json!(3), &json!(3))
    );
}

#[test]
fn scheduler_iso_is_explained_as_missing_in_every_kernel() {
    let out = with_scheduler(json!({ "policy": "SCHED_ISO" }))
        .run()
        .fails_with("process.scheduler");
    assert!(out.stderr.contains("hint: SCHED_ISO"), "{out:#?}");
}

#[test]
fn scheduler_utilization_clamps_are_set_or_refused_by_the_kernel() {
    let out = with_scheduler(json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_UTIL_CLAMP_MIN"] })).run();
    if out.code == 0 {
        assert_eq!(out.json()["scheduler"]["policy"], 0);
    } else {
        out.fails_with("CONFIG_UCLAMP_TASK");
    }
}

/// The privilege does not extend into the user namespace; the runtime has it outside.
#[test]
fn scheduler_real_time_in_a_user_namespace() {
    need!(allows_policy(libc::SCHED_FIFO, 1), "real-time scheduling");
    let bundle = in_user_namespace(with_scheduler(json!({ "policy": "SCHED_RR", "priority": 7 })));
    bundle.change(|c| c["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_RT", "priority": 2 }));
    let facts = bundle.facts();
    let found = &facts["scheduler"];
    assert_eq!((&found["policy"], &found["priority"]), (&json!(2), &json!(7)));
    assert_eq!(facts["ioprio"], json!({ "class": 1, "level": 2 }));
}

#[test]
fn scheduler_unset_is_inherited() {
    let nicer = || {
        // SAFETY: the call takes no pointer.
        unsafe { libc::nice(4) };
        Ok(())
    };
    let facts = Bundle::new().run_cmd(&[]).before_exec(nicer).run().ok().json();
    assert_eq!(
        (&facts["scheduler"]["policy"], &facts["scheduler"]["nice"]),
        (&json!(0), &json!((own_nice() + 4).min(19)))
    );
}

#[test]
fn scheduler_is_inherited_by_what_the_process_starts() {
    let bundle = with_scheduler(json!({ "policy": "SCHED_BATCH", "nice": 7 })).sh("probe facts; true");
    let found = &bundle.facts()["scheduler"];
    assert_eq!((&found["policy"], &found["nice"]), (&json!(3), &json!(7)));
}

#[test]
fn io_priority_of_every_class() {
    for (class, number, levels) in [
        ("IOPRIO_CLASS_RT", 1, vec![0, 7]),
        ("IOPRIO_CLASS_BE", 2, vec![0, 4, 7]),
        ("IOPRIO_CLASS_IDLE", 3, vec![0]),
    ] {
        for level in levels {
            let bundle =
                Bundle::new().edit(|c| c["process"]["ioPriority"] = json!({ "class": class, "priority": level }));
            assert_eq!(
                bundle.facts()["ioprio"],
                json!({ "class": number, "level": level }),
                "{class}"
            );
        }
    }
}

#[test]
fn io_priority_holds_for_the_whole_process_group() {
    let bundle = Bundle::new().sh("probe facts; true");
    let bundle = bundle.edit(|c| c["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 6 }));
    assert_eq!(bundle.facts()["ioprio"], json!({ "class": 2, "level": 6 }));
}

/// It applies to processes that join; the first one has every processor.
#[test]
fn exec_cpu_affinity_does_not_apply_to_the_first_process() {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    need!(cpus > 1, "a second CPU");
    let bundle = Bundle::new().edit(|c| c["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "0" }));
    assert_eq!(bundle.facts()["cpuAffinity"].as_array().unwrap().len(), cpus);
}

#[test]
fn inherited_cpu_affinity_is_reset() {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    need!(cpus > 1, "a second CPU");
    let bundle = Bundle::new();
    let cmd = bundle.run_cmd(&[]).before_exec(|| {
        let mut set = CpuSet::new();
        set.set(0)?;
        Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
    });
    let facts = cmd.run().ok().json();
    assert_eq!(facts["cpuAffinity"].as_array().unwrap().len(), cpus);
}
