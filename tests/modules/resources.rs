//! `linux.resources` → files of a cgroup, at the limits of every field's range.

use serde_json::{Value, json};

use orlop::cgroup::resources::convert;
use orlop::cgroup::update::settings_to_write;
use orlop::error::Report;
use orlop::plan::limits::{Controller, Limit, Limits, Section, Setting};

fn limits(resources: Value) -> orlop::error::Result<Limits> {
    convert(&serde_json::from_value(resources).unwrap(), "1.3.0")
}

/// `file=value` for each write. In braces: what is written if the file is missing; empty if nothing is.
fn written(limits: &Limits) -> Vec<String> {
    let one = |setting: &Setting| {
        let limit = &setting.limit;
        let mut text = format!("{}={}", limit.file(), limit.text());
        if let Some(fallback) = limit.fallback() {
            text += &format!(" {{{}={}}}", fallback.file(), fallback.text());
        }
        if limit.is_optional() {
            text += " {}";
        }
        text
    };
    limits.settings.iter().map(one).collect()
}

#[track_caller]
fn accepted(resources: Value, expected: &[&str]) {
    let limits = limits(resources.clone()).unwrap_or_else(|error| panic!("{resources}: {error:#}"));
    assert_eq!(written(&limits), expected, "{resources}");
}

/// Checks which field the error names.
#[track_caller]
fn refused(resources: Value, path: &str) {
    let error = limits(resources.clone()).expect_err(&resources.to_string());
    let report = Report::of(&error);
    assert_eq!(report.path.as_deref(), Some(path), "{resources}: {error:#}");
    assert!(
        report.hint.is_some() || path == "linux.resources.rdma",
        "{resources}: {error:#}"
    );
}

#[test]
fn unset_fields_of_engines_set_no_limit() {
    accepted(json!({}), &[]);
    accepted(
        json!({
            "devices": [], "memory": {}, "cpu": {}, "blockIO": {}, "network": {}, "hugepageLimits": [], "rdma": {},
            "unified": {}
        }),
        &[],
    );
    accepted(
        json!({
            "memory": { "limit": 0, "reservation": 0, "swap": 0, "kernel": 0, "kernelTCP": 0, "disableOOMKiller": false,
                "swappiness": u64::MAX, "useHierarchy": true, "checkBeforeUpdate": false },
            "cpu": { "shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0, "cpus": "",
                "mems": "" },
            "blockIO": { "weight": 0, "leafWeight": 0, "weightDevice": [], "throttleReadBpsDevice": [],
                "throttleWriteBpsDevice": null },
            "network": { "classID": 0, "priorities": [] },
        }),
        &[],
    );
}

#[test]
fn shares_are_converted_by_the_curve_of_other_runtimes() {
    // Values of the formula that runc and crun use, computed separately, and its limits.
    let table: &[(u64, u64)] = &[
        (1, 1),
        (2, 1),
        (3, 2),
        (10, 4),
        (100, 17),
        (256, 35),
        (512, 59),
        (1000, 99),
        (1024, 100),
        (1025, 101),
        (2048, 174),
        (4096, 303),
        (102_400, 4429),
        (204_800, 8064),
        (262_143, 10000),
        (262_144, 10_000),
        (u64::MAX, 10_000),
    ];
    for (shares, weight) in table {
        accepted(
            json!({ "cpu": { "shares": shares } }),
            &[&format!("cpu.weight={weight}")],
        );
    }
    let weight = |shares: u64| -> u64 {
        let limits = limits(json!({ "cpu": { "shares": shares } })).unwrap();
        let Limit::CpuWeight(weight) = limits.settings[0].limit else {
            panic!("{limits:?}")
        };
        weight
    };
    assert!((1..3000).all(|shares| weight(shares) <= weight(shares + 1)));
}

#[test]
fn quota_period_and_burst() {
    let cpu = |cpu: Value, expected: &[&str]| accepted(json!({ "cpu": cpu }), expected);
    cpu(json!({ "quota": 50_000 }), &["cpu.max=50000 100000"]);
    cpu(json!({ "quota": 1000, "period": 1000 }), &["cpu.max=1000 1000"]);
    cpu(json!({ "quota": i64::MAX }), &["cpu.max=9223372036854775807 100000"]);
    cpu(json!({ "quota": -1 }), &["cpu.max=max 100000 {}"]);
    cpu(
        json!({ "quota": i64::MIN, "period": 1_000_000 }),
        &["cpu.max=max 1000000 {}"],
    );
    cpu(json!({ "period": 20_000 }), &["cpu.max=max 20000 {}"]);
    cpu(json!({ "quota": 0, "period": 20_000 }), &["cpu.max=max 20000 {}"]);
    cpu(json!({ "burst": 0 }), &["cpu.max.burst=0"]);
    cpu(json!({ "burst": 700 }), &["cpu.max.burst=700"]);
    cpu(
        json!({ "burst": 50_000, "quota": 50_000 }),
        &["cpu.max=50000 100000", "cpu.max.burst=50000"],
    );
    refused(
        json!({ "cpu": { "burst": 50_001, "quota": 50_000 } }),
        "linux.resources.cpu.burst",
    );
    refused(json!({ "cpu": { "quota": 1 } }), "linux.resources.cpu.quota");
    refused(json!({ "cpu": { "quota": 999 } }), "linux.resources.cpu.quota");
    for period in [1, 999, 1_000_001, u64::MAX] {
        refused(json!({ "cpu": { "period": period } }), "linux.resources.cpu.period");
    }
}

#[test]
fn an_idle_group_has_no_weight() {
    accepted(json!({ "cpu": { "idle": 1, "shares": 1024 } }), &["cpu.idle=1"]);
    accepted(
        json!({ "cpu": { "idle": 0, "shares": 1024 } }),
        &["cpu.idle=0", "cpu.weight=100"],
    );
    for idle in [-1, 2, i64::MAX] {
        refused(json!({ "cpu": { "idle": idle } }), "linux.resources.cpu.idle");
    }
}

#[test]
fn cpu_sets_and_real_time() {
    accepted(
        json!({ "cpu": { "cpus": "0-3,7", "mems": "0" } }),
        &["cpuset.cpus=0-3,7", "cpuset.mems=0"],
    );
    refused(
        json!({ "cpu": { "realtimeRuntime": 950_000 } }),
        "linux.resources.cpu.realtimeRuntime",
    );
    refused(
        json!({ "cpu": { "realtimeRuntime": -1 } }),
        "linux.resources.cpu.realtimeRuntime",
    );
    refused(
        json!({ "cpu": { "realtimePeriod": 1 } }),
        "linux.resources.cpu.realtimePeriod",
    );
}

#[test]
fn memory_and_swap() {
    let memory = |memory: Value, expected: &[&str]| accepted(json!({ "memory": memory }), expected);
    memory(json!({ "limit": 1 }), &["memory.max=1"]);
    memory(json!({ "limit": i64::MAX }), &["memory.max=9223372036854775807"]);
    memory(json!({ "limit": -1 }), &["memory.swap.max=max {}", "memory.max=max {}"]);
    memory(json!({ "reservation": 1 << 20 }), &["memory.low=1048576"]);
    memory(json!({ "reservation": -1 }), &["memory.low=max"]);
    memory(json!({ "kernel": -1, "kernelTCP": -1 }), &[]);
    // The config counts memory and swap together, the kernel separately.
    memory(
        json!({ "limit": 10, "swap": 30 }),
        &["memory.swap.max=20", "memory.max=10"],
    );
    memory(
        json!({ "limit": 10, "swap": 10 }),
        &["memory.swap.max=0 {}", "memory.max=10"],
    );
    memory(
        json!({ "limit": 10, "swap": -1 }),
        &["memory.swap.max=max {}", "memory.max=10"],
    );
    memory(json!({ "limit": 10, "swap": 0 }), &["memory.max=10"]);
    memory(
        json!({ "limit": -1, "swap": -1 }),
        &["memory.swap.max=max {}", "memory.max=max {}"],
    );
    memory(json!({ "swap": -1 }), &["memory.swap.max=max {}"]);
    memory(
        json!({ "limit": i64::MAX, "swap": i64::MAX }),
        &["memory.swap.max=0 {}", "memory.max=9223372036854775807"],
    );
    for (memory, field) in [
        (json!({ "limit": -2 }), "limit"),
        (json!({ "limit": i64::MIN }), "limit"),
        (json!({ "reservation": -2 }), "reservation"),
        (json!({ "swap": -2, "limit": 1 }), "swap"),
        (json!({ "swap": 1 }), "swap"),
        (json!({ "swap": 1, "limit": -1 }), "swap"),
        (json!({ "swap": 9, "limit": 10 }), "swap"),
        (json!({ "kernel": 1 }), "kernel"),
        (json!({ "kernelTCP": 1 }), "kernelTCP"),
        (json!({ "swappiness": 0 }), "swappiness"),
        (json!({ "swappiness": 60 }), "swappiness"),
        (json!({ "disableOOMKiller": true }), "disableOOMKiller"),
        (json!({ "useHierarchy": false }), "useHierarchy"),
    ] {
        refused(json!({ "memory": memory }), &format!("linux.resources.memory.{field}"));
    }
}

#[test]
fn a_check_before_the_update_knows_the_limit() {
    let check = |memory: Value| {
        let asked = limits(json!({ "memory": memory })).unwrap().not_below_usage;
        asked.map(|asked| (asked.memory, asked.memory_and_swap))
    };
    assert_eq!(
        check(json!({ "limit": 5, "checkBeforeUpdate": true })),
        Some((Some(5), None))
    );
    assert_eq!(
        check(json!({ "limit": 5, "swap": 7, "checkBeforeUpdate": true })),
        Some((Some(5), Some(7)))
    );
    assert_eq!(check(json!({ "limit": 5, "checkBeforeUpdate": false })), None);
    assert_eq!(check(json!({ "limit": 5 })), None);
    for memory in [
        json!({ "limit": -1, "swap": -1, "checkBeforeUpdate": true }),
        json!({ "checkBeforeUpdate": true }),
    ] {
        assert_eq!(check(memory), Some((None, None)));
    }
}

#[test]
fn pids_limits() {
    for (limit, value) in [(-1, "max {}"), (0, "0"), (1, "1"), (i64::MAX, "9223372036854775807")] {
        accepted(json!({ "pids": { "limit": limit } }), &[&format!("pids.max={value}")]);
    }
    for (version, zero) in [
        ("1.0.0", "max {}"),
        ("1.0.2-dev", "max {}"),
        ("1.2.1+dev", "max {}"),
        ("1.3.0", "0"),
        ("1.3.0-rc.1", "0"),
        ("1.10.0", "0"),
    ] {
        let resources = serde_json::from_value(json!({ "pids": { "limit": 0 } })).unwrap();
        let limits = convert(&resources, version).unwrap();
        assert_eq!(written(&limits), [format!("pids.max={zero}")], "{version}");
    }
    for limit in [-2, i64::MIN] {
        refused(json!({ "pids": { "limit": limit } }), "linux.resources.pids.limit");
    }
}

#[test]
fn weights_of_block_devices() {
    for (weight, converted) in [(10, 1), (11, 11), (100, 910), (500, 4950), (1000, 10_000)] {
        accepted(
            json!({ "blockIO": { "weight": weight } }),
            &[&format!("io.bfq.weight={weight} {{io.weight={converted}}}")],
        );
        accepted(
            json!({ "blockIO": { "weightDevice": [{ "major": 8, "minor": 16, "weight": weight }] } }),
            &[&format!("io.bfq.weight=8:16 {weight} {{io.weight=8:16 {converted}}}")],
        );
    }
    for weight in [1, 9, 1001, u16::MAX] {
        refused(
            json!({ "blockIO": { "weight": weight } }),
            "linux.resources.blockIO.weight",
        );
        refused(
            json!({ "blockIO": { "weightDevice": [{ "major": 8, "minor": 0, "weight": weight }] } }),
            "linux.resources.blockIO.weightDevice[0].weight",
        );
    }
    accepted(
        json!({ "blockIO": { "weightDevice": [{ "major": 8, "minor": 0, "weight": 0, "leafWeight": 0 }] } }),
        &[],
    );
    refused(
        json!({ "blockIO": { "leafWeight": 10 } }),
        "linux.resources.blockIO.leafWeight",
    );
    let device = |entry: Value| json!({ "blockIO": { "weightDevice": [entry] } });
    let field = |name: &str| format!("linux.resources.blockIO.weightDevice[0]{name}");
    refused(device(json!({ "major": 8, "minor": 0 })), &field(""));
    refused(
        device(json!({ "major": 8, "minor": 0, "leafWeight": 10 })),
        &field(".leafWeight"),
    );
    refused(
        device(json!({ "major": -1, "minor": 0, "weight": 10 })),
        &field(".major"),
    );
    refused(
        device(json!({ "major": 8, "minor": 4_294_967_296i64, "weight": 10 })),
        &field(".minor"),
    );
}

#[test]
fn throttles_of_block_devices() {
    let entry = |rate: u64| json!([{ "major": 8, "minor": 0, "rate": rate }]);
    accepted(
        json!({ "blockIO": {
            "throttleReadBpsDevice": entry(1), "throttleWriteBpsDevice": entry(u64::MAX),
            "throttleReadIOPSDevice": entry(0), "throttleWriteIOPSDevice": entry(4),
        } }),
        &[
            "io.max=8:0 rbps=1",
            "io.max=8:0 wbps=18446744073709551615",
            "io.max=8:0 riops=max",
            "io.max=8:0 wiops=4",
        ],
    );
    refused(
        json!({ "blockIO": { "throttleReadIOPSDevice": [{ "major": 8, "minor": -1, "rate": 1 }] } }),
        "linux.resources.blockIO.throttleReadIOPSDevice[0].minor",
    );
}

#[test]
fn huge_pages_are_limited_when_reserved_and_when_used() {
    let pages = |size: &str, limit: i64| json!({ "hugepageLimits": [{ "pageSize": size, "limit": limit }] });
    accepted(pages("2MB", 0), &["hugetlb.2MB.max=0", "hugetlb.2MB.rsvd.max=0"]);
    accepted(
        pages("64KB", -1),
        &["hugetlb.64KB.max=max", "hugetlb.64KB.rsvd.max=max"],
    );
    accepted(
        pages("1GB", i64::MAX),
        &[
            "hugetlb.1GB.max=9223372036854775807",
            "hugetlb.1GB.rsvd.max=9223372036854775807",
        ],
    );
    refused(pages("2MB", -2), "linux.resources.hugepageLimits[0].limit");
    for size in ["", "MB", "2", "2mb", "2MiB", "../2MB", "2 MB", "-2MB", "2MB\n"] {
        refused(pages(size, 1), "linux.resources.hugepageLimits[0].pageSize");
    }
}

#[test]
fn rdma_devices() {
    accepted(
        json!({ "rdma": {
            "mlx5_1": { "hcaHandles": 3, "hcaObjects": 10000 }, "mlx4_0": { "hcaObjects": 0 },
            "rxe3": { "hcaHandles": u32::MAX }
        } }),
        &[
            "rdma.max=mlx4_0 hca_object=0",
            "rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
            "rdma.max=rxe3 hca_handle=4294967295",
        ],
    );
    refused(json!({ "rdma": { "mlx5_1": {} } }), "linux.resources.rdma.mlx5_1");
    refused(
        json!({ "rdma": { "a b": { "hcaHandles": 1 } } }),
        "linux.resources.rdma",
    );
    refused(json!({ "rdma": { "": { "hcaHandles": 1 } } }), "linux.resources.rdma");
}

#[test]
fn network_classes_and_priorities_are_refused() {
    refused(
        json!({ "network": { "classID": 1 } }),
        "linux.resources.network.classID",
    );
    refused(
        json!({ "network": { "priorities": [{ "name": "eth0", "priority": 0 }] } }),
        "linux.resources.network.priorities",
    );
}

#[test]
fn unified_is_written_last_line_by_line() {
    accepted(
        json!({
            "unified": {
                "memory.max": "9", "memory.high": "8", "io.max": "259:0 rbps=2097152 wiops=120\n253:0 rbps=2097152\n",
                "cgroup.max.depth": "3", "unknown.to.us": " x ", "cpuset.cpus": ""
            },
            "memory": { "limit": 5 }
        }),
        &[
            "memory.max=5",
            "cgroup.max.depth=3",
            "cpuset.cpus=\n",
            "io.max=259:0 rbps=2097152 wiops=120",
            "io.max=253:0 rbps=2097152",
            "memory.high=8",
            "memory.max=9",
            "unknown.to.us= x ",
        ],
    );
    let limits = limits(json!({ "unified": { "cgroup.max.depth": "3", "misc.max": "a 1" } })).unwrap();
    let controllers: Vec<_> = limits
        .settings
        .iter()
        .map(|setting| setting.limit.controller())
        .collect();
    assert_eq!(controllers, [None, Some(Controller::Other("misc"))]);
    // A config that names the file needs the controller.
    let limits = self::limits(json!({ "unified": { "memory.max": "max" } })).unwrap();
    assert_eq!(limits.settings[0].limit.controller(), Some(Controller::Memory));
    for file in [
        "",
        "memory",
        "../memory.max",
        "a/memory.max",
        "/memory.max",
        ".",
        "..",
        ".hidden",
        "memory.max\0",
    ] {
        refused(
            json!({ "unified": { file: "1" } }),
            &format!("linux.resources.unified.{file}"),
        );
    }
    for file in [
        "cgroup.procs",
        "cgroup.freeze",
        "cgroup.kill",
        "cgroup.subtree_control",
        "cgroup.threads",
        "cgroup.type",
    ] {
        refused(
            json!({ "unified": { file: "1" } }),
            &format!("linux.resources.unified.{file}"),
        );
    }
}

/// The writes of an update.
fn changed(old: Value, new: Value, named: &[Section]) -> Vec<String> {
    let (old, new) = (limits(old).unwrap(), limits(new).unwrap());
    let settings = settings_to_write(&old, &new, |section| named.contains(&section));
    written(&Limits {
        settings,
        not_below_usage: None,
    })
}

#[test]
fn an_update_writes_what_differs_and_what_it_names() {
    let old = json!({ "cpu": { "shares": 1024 }, "pids": { "limit": 5 }, "memory": { "limit": 10, "swap": 20 } });
    assert!(changed(old.clone(), old.clone(), &[]).is_empty());
    assert_eq!(changed(old.clone(), old.clone(), &[Section::Pids]), ["pids.max=5"]);
    let new = json!({ "cpu": { "shares": 2048 }, "pids": { "limit": 5 }, "memory": { "limit": 12, "swap": 20 } });
    // The sum stays, so swap alone shrinks.
    assert_eq!(
        changed(old, new, &[]),
        ["memory.swap.max=8", "memory.max=12", "cpu.weight=174"]
    );
}

#[test]
fn burst_and_quota_change_in_an_order_that_the_kernel_takes() {
    let cpu = |quota: i64, burst: u64| json!({ "cpu": { "quota": quota, "burst": burst } });
    let (small, large) = (cpu(2000, 2000), cpu(9000, 9000));
    assert_eq!(
        changed(small.clone(), large.clone(), &[Section::Cpu]),
        ["cpu.max=9000 100000", "cpu.max.burst=9000"]
    );
    assert_eq!(
        changed(large, small, &[Section::Cpu]),
        ["cpu.max.burst=2000", "cpu.max=2000 100000"]
    );
}

#[test]
fn a_missing_pids_limit_is_no_limit() {
    let read = |resources: Value, version: &str| {
        let text = json!({ "linux": { "resources": resources } }).to_string();
        let config = orlop::bundle::load::parse("/".into(), text.into_bytes(), None).unwrap();
        let linux = config.spec.linux().as_ref().unwrap();
        written(&orlop::bundle::validate::cgroup::limits(linux, version).unwrap())
    };
    for version in ["1.0.2", "1.3.0"] {
        assert!(read(json!({ "pids": {} }), version).is_empty());
        assert!(read(json!({ "pids": null }), version).is_empty());
        assert_eq!(
            read(json!({ "pids": {}, "unified": { "pids.max": "7" } }), version),
            ["pids.max=7"]
        );
    }
    assert_eq!(read(json!({ "pids": { "limit": 0 } }), "1.3.0"), ["pids.max=0"]);
}

#[test]
fn lifting_a_limit_needs_no_controller() {
    for resources in [
        json!({ "pids": { "limit": -1 } }),
        json!({ "memory": { "limit": -1 } }),
        json!({ "memory": { "limit": -1, "swap": -1 } }),
        json!({ "cpu": { "quota": -1 } }),
        json!({ "cpu": { "period": 50_000 } }),
    ] {
        let limits = limits(resources.clone()).unwrap();
        assert!(!limits.settings.is_empty());
        let mut needed = limits.settings.iter().filter_map(|setting| setting.limit.controller());
        assert_eq!(needed.next(), None, "{resources}");
    }
}
