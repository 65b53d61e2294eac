//! Limits that systemd gets and the kernel then has.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{BOOTED, Scoped, is_booted, systemctl};
use crate::harness::cgroup::has_controller;
use crate::need;

#[test]
fn limits_are_set_in_systemd_and_in_the_kernel() {
    need!(is_booted(), BOOTED);
    let c = Scoped::new(json!({
        "memory": { "limit": 64 << 20, "reservation": 16 << 20, "swap": 96 << 20 }, "pids": { "limit": 20 },
        "cpu": { "shares": 2048, "quota": 5500, "period": 100_000 },
        "unified": { "memory.high": "48M", "memory.min": "4096" }
    }));
    let swap = Path::new("/proc/swaps").exists() && fs::metadata("/sys/fs/cgroup/system.slice/memory.swap.max").is_ok();
    let limits = [
        ("MemoryMax", "67108864", "memory.max", "67108864"),
        ("MemoryLow", "16777216", "memory.low", "16777216"),
        ("MemoryHigh", "50331648", "memory.high", "50331648"),
        ("MemoryMin", "4096", "memory.min", "4096"),
        ("MemorySwapMax", "33554432", "memory.swap.max", "33554432"),
        ("TasksMax", "20", "pids.max", "20"),
        ("CPUWeight", "174", "cpu.weight", "174"),
        ("CPUQuotaPerSecUSec", "60ms", "cpu.max", "6000 100000"),
        ("CPUQuotaPeriodUSec", "100ms", "cpu.max", "6000 100000"),
    ];
    let check = || {
        for (property, value, file, content) in limits.iter().filter(|limit| swap || limit.2 != "memory.swap.max") {
            c.assert_shown(&[(property, value)]);
            c.assert_contents(&[(file, content)]);
        }
    };
    c.create().ok();
    check();
    // systemd reads its unit files again and writes the kernel's files.
    systemctl(&["daemon-reload"]);
    check();
    systemctl(&["set-property", "--runtime", &c.unit(), "IOWeight=77"]);
    check();

    c.on(&[
        "update",
        "--memory",
        "128M",
        "--memory-swap",
        "-1",
        "--pids-limit",
        "-1",
        "--cpu-quota",
        "-1",
        "--cpu-share",
        "1024",
    ])
    .ok();
    c.assert_shown(&[
        ("MemoryMax", "134217728"),
        ("TasksMax", "infinity"),
        ("CPUQuotaPerSecUSec", "infinity"),
        ("CPUWeight", "100"),
        ("MemoryLow", "16777216"),
    ]);
    c.assert_contents(&[
        ("memory.max", "134217728"),
        ("pids.max", "max"),
        ("cpu.max", "max 100000"),
        ("cpu.weight", "100"),
    ]);
    // A refused limit is reverted there too.
    let update = c.orlop(&["update", "--resources", "-", &c.id]);
    let asked = json!({ "pids": { "limit": 7 }, "unified": { "memory.oom.group": "7" } });
    update.stdin(&asked.to_string()).run().fails_with("memory.oom.group");
    c.assert_shown(&[("TasksMax", "infinity")]);
    c.assert_contents(&[("pids.max", "max")]);
}

#[test]
fn a_pids_limit_of_zero_is_a_limit() {
    need!(is_booted(), BOOTED);
    for limit in [0, 1, 2, 3] {
        let c = Scoped::new(json!({ "pids": { "limit": limit } }));
        c.bundle.change(|c| c["ociVersion"] = json!("1.3.0"));
        c.create().ok();
        c.assert_shown(&[("TasksMax", &limit.max(1).to_string())]);
        c.assert_contents(&[("pids.max", &limit.to_string()), ("pids.current", "1")]);
        c.on(&["start"]).ok();
    }
}

#[test]
fn an_idle_group_is_a_weight_of_zero() {
    need!(is_booted(), BOOTED);
    need!(Path::new("/sys/fs/cgroup/system.slice/cpu.idle").exists(), "cpu.idle");
    let c = Scoped::new(json!({ "cpu": { "idle": 1, "shares": 1024 } }));
    c.create().ok();
    c.assert_shown(&[("CPUWeight", "idle")]);
    c.assert_contents(&[("cpu.idle", "1")]);
    c.on(&["update", "--cpu-idle", "0", "--cpu-share", "2048"]).ok();
    c.assert_shown(&[("CPUWeight", "174")]);
    c.assert_contents(&[("cpu.idle", "0"), ("cpu.weight", "174")]);
}

/// The spare disk of the guest.
fn disk() -> Option<(String, String)> {
    for name in ["ubdb", "nvme2n1"] {
        if let Ok(numbers) = fs::read_to_string(format!("/sys/class/block/{name}/dev")) {
            return Some((name.into(), numbers.trim().into()));
        }
    }
    None
}

#[test]
fn disk_throttles_name_the_device_file() {
    need!(is_booted(), BOOTED);
    need!(
        has_controller("io") && disk().is_some(),
        "cgroup controller io and a spare disk"
    );
    let (name, numbers) = disk().expect("a disk");
    let (major, minor) = numbers.split_once(':').expect("two numbers");
    let throttle = |rate: u64| json!([{ "major": major.parse::<u32>().expect("a number"), "minor": minor.parse::<u32>().expect("a number"), "rate": rate }]);
    let c = Scoped::new(json!({ "blockIO": {
        "throttleReadBpsDevice": throttle(1 << 20), "throttleWriteBpsDevice": throttle(2 << 20),
        "throttleReadIOPSDevice": throttle(300), "throttleWriteIOPSDevice": throttle(400)
    } }));
    c.create().ok();
    c.assert_shown(&[
        ("IOReadBandwidthMax", &format!("/dev/{name} 1048576")),
        ("IOWriteBandwidthMax", &format!("/dev/{name} 2097152")),
        ("IOReadIOPSMax", &format!("/dev/{name} 300")),
        ("IOWriteIOPSMax", &format!("/dev/{name} 400")),
    ]);
    c.assert_contents(&[(
        "io.max",
        &format!("{numbers} rbps=1048576 wbps=2097152 riops=300 wiops=400"),
    )]);
}

#[test]
fn io_weights_are_set() {
    need!(is_booted(), BOOTED);
    let file = ["io.bfq.weight", "io.weight"]
        .into_iter()
        .find(|file| Path::new("/sys/fs/cgroup/system.slice").join(file).exists());
    need!(file.is_some(), "io.weight or io.bfq.weight");
    let c = Scoped::new(json!({ "blockIO": { "weight": 500 } }));
    c.create().ok();
    c.assert_shown(&[("IOWeight", "4950")]);
}

#[test]
fn processors_and_memory_nodes_are_set() {
    need!(is_booted(), BOOTED);
    need!(has_controller("cpuset"), "cgroup controller cpuset");
    let c = Scoped::new(json!({ "cpu": { "cpus": "0", "mems": "0" } }));
    c.create().ok();
    c.assert_shown(&[("AllowedCPUs", "0"), ("AllowedMemoryNodes", "0")]);
    c.assert_contents(&[
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("cpuset.cpus.effective", "0"),
        ("cpuset.mems.effective", "0"),
    ]);
    systemctl(&["daemon-reload"]);
    c.assert_contents(&[("cpuset.cpus", "0"), ("cpuset.mems", "0")]);
}

#[test]
fn huge_page_limits_are_written_to_the_files() {
    need!(is_booted(), BOOTED);
    need!(has_controller("hugetlb"), "cgroup controller hugetlb");
    let c = Scoped::new(json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 << 20 }] }));
    c.create().ok();
    let limits = [("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")];
    c.assert_contents(&limits);
    systemctl(&["daemon-reload"]);
    c.assert_contents(&limits);
}

#[test]
fn pressure_is_in_the_stats() {
    need!(is_booted(), BOOTED);
    need!(Path::new("/proc/pressure/cpu").exists(), "pressure stall information");
    let c = Scoped::new(json!({}));
    c.create().ok();
    let events = c.orlop(&["events", "--stats", &c.id]).run().ok().json();
    assert!(events.to_string().contains("psi"), "{events}");
}
