//! `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity`, `linux.memoryPolicy`: names to numbers, and
//! what is refused at which place.

use proptest::prelude::*;
use serde_json::{Value, json};

use orlop::bundle::checks::Checks;
use orlop::bundle::document::Process;
use orlop::bundle::scheduling;
use orlop::bundle::text::read_as;
use orlop::bundle::validate::memory_policy;
use orlop::cpu_list::CpuList;
use orlop::error::Report;
use orlop::plan::{IoPriority, Scheduling, Warning};

fn take(mut process: Value) -> Result<(Scheduling, Vec<Warning>), Box<Report>> {
    let mut checks = Checks::default();
    let map = process.as_object_mut().unwrap();
    map.insert("cwd".into(), json!("/"));
    map.insert("user".into(), json!({ "uid": 0, "gid": 0 }));
    read_as::<Process>(process.to_string().as_bytes())
        .and_then(|process| {
            let taken = scheduling::scheduling(&process, true, &mut checks);
            checks.end(taken, None)
        })
        .map(|(taken, notes)| (taken, notes.warnings))
        .map_err(|error| Box::new(Report::of(&error)))
}

fn scheduler(section: Value) -> Result<orlop::sys::sched::SchedAttr, Box<Report>> {
    take(json!({ "scheduler": section })).map(|(taken, _)| taken.scheduler.expect("a scheduler"))
}

fn refused(process: Value) -> String {
    let path = take(process).expect_err("accepted").path.unwrap_or_default();
    // What the reader of types finds is told from where it began to read.
    if path.starts_with("process.") {
        path
    } else {
        format!("process.{path}")
    }
}

#[test]
fn every_policy_and_flag_of_the_specification_has_its_number() {
    for (name, number) in [
        ("SCHED_OTHER", 0),
        ("SCHED_BATCH", 3),
        ("SCHED_ISO", 4),
        ("SCHED_IDLE", 5),
    ] {
        let attr = scheduler(json!({ "policy": name })).unwrap();
        assert_eq!((attr.policy, attr.nice, attr.priority), (number, 0, 0), "{name}");
    }
    for (name, number) in [("SCHED_FIFO", 1), ("SCHED_RR", 2)] {
        let attr = scheduler(json!({ "policy": name, "priority": 99 })).unwrap();
        assert_eq!((attr.policy, attr.priority), (number, 99), "{name}");
    }
    let deadline = json!({ "policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 2048, "period": 4096 });
    let attr = scheduler(deadline).unwrap();
    assert_eq!(
        (attr.policy, attr.runtime, attr.deadline, attr.period),
        (6, 1024, 2048, 4096)
    );
    for (name, number) in [
        ("SCHED_FLAG_RESET_ON_FORK", 1),
        ("SCHED_FLAG_RECLAIM", 2),
        ("SCHED_FLAG_DL_OVERRUN", 4),
        ("SCHED_FLAG_KEEP_POLICY", 8),
        ("SCHED_FLAG_KEEP_PARAMS", 16),
        ("SCHED_FLAG_UTIL_CLAMP_MIN", 32),
        ("SCHED_FLAG_UTIL_CLAMP_MAX", 64),
    ] {
        let attr = scheduler(json!({ "policy": "SCHED_OTHER", "flags": [name] })).unwrap();
        assert_eq!(attr.flags, number, "{name}");
    }
}

#[test]
fn values_that_do_not_go_with_the_policy_are_refused_at_their_place() {
    for (section, member) in [
        (json!({}), "policy"),
        (json!({ "policy": "" }), "policy"),
        (json!({ "policy": 0 }), "policy"),
        (json!({ "policy": "sched_other" }), "policy"),
        (
            json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_RECLAIM", "X"] }),
            "flags[1]",
        ),
        (
            json!({ "policy": "SCHED_OTHER", "flags": "SCHED_FLAG_RECLAIM" }),
            "flags",
        ),
        (json!({ "policy": "SCHED_OTHER", "nice": -21 }), "nice"),
        (json!({ "policy": "SCHED_OTHER", "nice": 1.5 }), "nice"),
        (json!({ "policy": "SCHED_OTHER", "priority": 1 }), "priority"),
        (json!({ "policy": "SCHED_FIFO", "priority": 0 }), "priority"),
        (json!({ "policy": "SCHED_RR", "priority": 100 }), "priority"),
        (json!({ "policy": "SCHED_RR", "priority": -1 }), "priority"),
        (json!({ "policy": "SCHED_BATCH", "runtime": 1 }), "runtime"),
        (
            json!({ "policy": "SCHED_FIFO", "priority": 1, "deadline": 1 }),
            "deadline",
        ),
        (json!({ "policy": "SCHED_IDLE", "period": 1 }), "period"),
        (json!({ "policy": "SCHED_DEADLINE" }), "runtime"),
        (
            json!({ "policy": "SCHED_DEADLINE", "runtime": 1023, "deadline": 2000 }),
            "runtime",
        ),
        (
            json!({ "policy": "SCHED_DEADLINE", "runtime": 3000, "deadline": 2000 }),
            "deadline",
        ),
        (
            json!({ "policy": "SCHED_DEADLINE", "runtime": 3000, "deadline": 1_u64 << 63 }),
            "deadline",
        ),
        (
            json!({ "policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 2000, "period": 1999 }),
            "period",
        ),
        (
            json!({ "policy": "SCHED_DEADLINE", "priority": 1, "runtime": 1024, "deadline": 2000 }),
            "priority",
        ),
    ] {
        let path = refused(json!({ "scheduler": section.clone() }));
        // A missing member is told at the section, and named in the text.
        let found = path == format!("process.scheduler.{member}") || path == "process.scheduler" && member == "policy";
        assert!(found, "{section}: {path}");
    }
    assert_eq!(refused(json!({ "scheduler": "SCHED_OTHER" })), "process.scheduler");
}

#[test]
fn a_nice_value_without_use_is_a_warning() {
    let deadline = json!({ "policy": "SCHED_DEADLINE", "nice": 19, "runtime": 42_000, "deadline": 100_000 });
    let (_, warnings) = take(json!({ "scheduler": deadline })).unwrap();
    assert!(
        warnings
            .iter()
            .any(|warning| warning.text.contains("process.scheduler.nice")),
        "{warnings:?}"
    );
    let (_, warnings) = take(json!({ "scheduler": { "policy": "SCHED_BATCH", "nice": 19 } })).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn io_priorities_are_class_and_level() {
    let io = |section: Value| take(json!({ "ioPriority": section })).map(|(taken, _)| taken.io);
    for (class, number) in [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)] {
        for level in 0..=7 {
            let taken = io(json!({ "class": class, "priority": level })).unwrap();
            assert_eq!(taken, Some(IoPriority(number << 13 | level)), "{class} {level}");
        }
        for level in [-1, 8, i64::MAX, i64::MIN] {
            assert!(
                io(json!({ "class": class, "priority": level })).is_err(),
                "{class} {level}"
            );
        }
    }
    assert_eq!(
        io(json!({ "class": "IOPRIO_CLASS_IDLE" })).unwrap(),
        Some(IoPriority(3 << 13))
    );
    assert_eq!(
        refused(json!({ "ioPriority": { "class": "IOPRIO_CLASS_BE" } })),
        "process.ioPriority.priority"
    );
    assert_eq!(
        refused(json!({ "ioPriority": { "class": "IOPRIO_CLASS_NONE", "priority": 0 } })),
        "process.ioPriority.class"
    );
    assert_eq!(
        refused(json!({ "ioPriority": { "priority": 4 } })),
        "process.ioPriority"
    );
}

#[test]
fn processors_are_lists() {
    let (taken, _) = take(json!({ "execCPUAffinity": { "initial": "7", "final": "0-3,7" } })).unwrap();
    assert_eq!(taken.exec_initial.unwrap().words(), [0x80]);
    assert_eq!(taken.exec_final.unwrap().words(), [0x8f]);
    let (taken, _) = take(json!({ "execCPUAffinity": { "initial": "" } })).unwrap();
    assert_eq!((taken.exec_initial, taken.exec_final), (None, None));
    assert_eq!(
        refused(json!({ "execCPUAffinity": { "final": "x" } })),
        "process.execCPUAffinity.final"
    );
    assert_eq!(
        refused(json!({ "execCPUAffinity": { "initial": 3 } })),
        "process.execCPUAffinity.initial"
    );
}

#[test]
fn lists_are_read_strictly() {
    for (list, words) in [
        ("0", vec![1]),
        ("63,64", vec![1 << 63, 1]),
        ("0-127", vec![u64::MAX, u64::MAX]),
        ("60-68", vec![0xf << 60, 0x1f]),
        ("1,1,1-1", vec![2]),
        ("007", vec![0x80]),
    ] {
        assert_eq!(CpuList::parse(list).unwrap().words(), words, "{list}");
    }
    for list in [
        "",
        ",",
        "0,",
        ",0",
        "0,,1",
        "-",
        "1-",
        "-1",
        "2-1",
        "1-2-3",
        " 1",
        "1 ",
        "0x1",
        "+1",
        "1\n",
        "a",
        "65536",
        "99999999999999999999",
        "٣",
    ] {
        assert!(CpuList::parse(list).is_err(), "{list:?}");
    }
    let longest = "0-65535,".repeat(50_000);
    let begun = std::time::Instant::now();
    assert_eq!(
        CpuList::parse(longest.trim_end_matches(',')).unwrap().words().len(),
        1024
    );
    assert!(begun.elapsed() < std::time::Duration::from_secs(10));
}

proptest! {
    #[test]
    fn a_list_has_the_numbers_that_it_names(numbers in prop::collection::btree_set(0u32..2000, 1..40)) {
        let list: Vec<String> = numbers.iter().map(u32::to_string).collect();
        let set = CpuList::parse(&list.join(",")).unwrap();
        for id in 0..2048u32 {
            let bit = set.words().get((id / 64) as usize).is_some_and(|word| word >> (id % 64) & 1 == 1);
            prop_assert_eq!(bit, numbers.contains(&id), "{}", id);
        }
    }
}

#[test]
fn memory_policies_follow_the_kernels_rules() {
    let plan = |policy: Value| memory_policy::memory_policy(&serde_json::from_value(policy).unwrap());
    for (mode, nodes, number) in [
        ("MPOL_DEFAULT", None, 0),
        ("MPOL_PREFERRED", Some("0"), 1),
        ("MPOL_PREFERRED", None, 1),
        ("MPOL_BIND", Some("0"), 2),
        ("MPOL_INTERLEAVE", Some("0"), 3),
        ("MPOL_LOCAL", Some(""), 4),
        ("MPOL_PREFERRED_MANY", Some("0"), 5),
        ("MPOL_WEIGHTED_INTERLEAVE", Some("0"), 6),
    ] {
        assert_eq!(
            plan(json!({ "mode": mode, "nodes": nodes })).unwrap().mode,
            number,
            "{mode}"
        );
    }
    for (flag, bit) in [
        ("MPOL_F_STATIC_NODES", 1 << 15),
        ("MPOL_F_RELATIVE_NODES", 1 << 14),
        ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ] {
        let planned = plan(json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": [flag] })).unwrap();
        assert_eq!(planned.mode, 2 | bit, "{flag}");
    }
    let path = |policy: Value| Report::of(&plan(policy).expect_err("accepted")).path.unwrap();
    for mode in ["MPOL_DEFAULT", "MPOL_LOCAL"] {
        assert_eq!(path(json!({ "mode": mode, "nodes": "0" })), "linux.memoryPolicy.nodes");
        assert_eq!(
            path(json!({ "mode": mode, "flags": ["MPOL_F_STATIC_NODES"] })),
            "linux.memoryPolicy.flags"
        );
    }
    for mode in [
        "MPOL_BIND",
        "MPOL_INTERLEAVE",
        "MPOL_PREFERRED_MANY",
        "MPOL_WEIGHTED_INTERLEAVE",
    ] {
        assert_eq!(path(json!({ "mode": mode })), "linux.memoryPolicy.nodes");
    }
    assert_eq!(
        path(json!({ "mode": "MPOL_BIND", "nodes": "0-" })),
        "linux.memoryPolicy.nodes"
    );
    let balancing = json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"] });
    assert_eq!(path(balancing), "linux.memoryPolicy.flags");
}
