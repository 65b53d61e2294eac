//! Limits that the kernel enforces: needs the controllers, which the guest of `make guest-test` has all of.

use std::fs;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Bundle, Container, Output, eventually};
use crate::need;

fn has(controller: &str) -> bool {
    let all = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    all.split_whitespace().any(|name| name == controller)
}

fn name(controller: &str) -> String {
    format!("cgroup controller {controller}")
}

fn with(section: &str, value: Value) -> Bundle {
    Bundle::new().edit(|c| c["linux"]["resources"][section] = value)
}

/// Its leaf, on the host.
fn leaf(bundle: &Bundle) -> PathBuf {
    let name = format!("/{}-leaf", bundle.fresh_id());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(name));
    PathBuf::from(format!("/sys/fs/cgroup{name}"))
}

fn content(leaf: &Path, file: &str) -> String {
    let path = leaf.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

fn update(c: &Container, flags: &[&str]) -> Output {
    c.bundle.orlop([&["update"], flags, &[c.id.as_str()]].concat()).run()
}

fn update_by(c: &Container, resources: Value) -> Output {
    let update = c.bundle.orlop(["update", "--resources", "-", &c.id]);
    update.stdin(&resources.to_string()).run()
}

/// Lets a script that waits for it go on: `while [ ! -e /tmp/go ]; do sleep 0.05; done`.
fn go(bundle: &Bundle) {
    fs::File::create(bundle.inside("/tmp/go")).expect("make /tmp/go");
}

const WAIT: &str = "echo waiting; while [ ! -e /tmp/go ]; do sleep 0.05; done;";
const MIB: i64 = 1 << 20;

// memory

#[test]
fn a_memory_limit_kills() {
    need!(has("memory"), name("memory"));
    let bundle = with("memory", json!({ "limit": 16 * MIB, "swap": 16 * MIB })).args(["probe", "eat", "64"]);
    let killed = bundle.run();
    assert_eq!(killed.code, 128 + libc::SIGKILL);
    if crate::harness::runtime().ends_with("orlop") {
        assert!(
            killed.stderr.contains("lack of memory: memory.max = 16777216"),
            "{killed:#?}"
        );
    }
    let bundle = with("memory", json!({ "limit": 64 * MIB })).args(["probe", "eat", "8"]);
    bundle.start().until("ready");
}

#[test]
fn limits_of_memory_are_in_its_files() {
    need!(has("memory"), name("memory"));
    let bundle = with(
        "memory",
        json!({ "limit": 64 * MIB, "reservation": 16 * MIB, "swap": 96 * MIB, "checkBeforeUpdate": true }),
    )
    .edit(|c| c["linux"]["resources"]["unified"] = json!({ "memory.high": "50331648" }))
    .args(["probe", "sleep"]);
    let leaf = leaf(&bundle);
    let c = bundle.start();
    let files = [
        ("memory.max", 64),
        ("memory.low", 16),
        ("memory.high", 48),
        ("memory.swap.max", 32),
    ];
    for (file, mebibytes) in files.into_iter().filter(|(file, _)| leaf.join(file).exists()) {
        assert_eq!(content(&leaf, file), (mebibytes * MIB).to_string(), "{file}");
    }
    update(&c, &["--memory", "-1"]).ok();
    assert_eq!(content(&leaf, "memory.max"), "max");
}

#[test]
fn events_report_a_lack_of_memory_as_it_happens() {
    need!(has("memory"), name("memory"));
    let script = format!("{WAIT} probe eat 64; echo survived; sleep 100");
    let bundle = with("memory", json!({ "limit": 16 * MIB, "swap": 16 * MIB })).sh(&script);
    let c = bundle.start();
    c.until("waiting");
    let mut events = bundle.orlop(["events", "--interval", "100ms", &c.id]).spawn();
    events.until("stats");
    go(&bundle);
    events.until("\"oom\"");
    c.until("survived");
    c.kill("KILL");
    let told = events.wait().ok().stdout;
    let event = told.lines().find(|line| line.contains("oom\"")).expect("an event");
    assert_eq!(
        serde_json::from_str::<Value>(event).expect("JSON"),
        json!({ "type": "oom", "id": c.id })
    );
}

#[test]
fn a_watcher_hears_of_a_lack_of_memory_before_delete_removes_the_cgroup() {
    need!(has("memory"), name("memory"));
    let bundle = with("memory", json!({ "limit": 16 * MIB, "swap": 16 * MIB })).args(["probe", "eat", "64"]);
    let leaf = leaf(&bundle);
    // More than once: the kernel may tell of it at once, or a moment later.
    for _ in 0..4 {
        let c = bundle.create();
        let watcher = watch_kills(&leaf);
        let pid = c.pid();
        c.start();
        let alive = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while alive() {}
        let began = Instant::now();
        c.delete();
        // By the clock, because it takes luck to see the kernel be late.
        if crate::harness::runtime().ends_with("orlop") {
            assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
        }
        assert_eq!(watcher.join().expect("a watcher"), 1);
    }
}

/// Reads memory.events when the kernel says that it has changed, and only then, until the cgroup is gone; how many were
/// killed.
fn watch_kills(leaf: &Path) -> std::thread::JoinHandle<u64> {
    let leaf = leaf.to_owned();
    let mut file = fs::File::open(leaf.join("memory.events")).expect("open memory.events");
    std::thread::spawn(move || {
        let mut killed = 0;
        while leaf.exists() {
            let mut poll = libc::pollfd {
                fd: file.as_raw_fd(),
                events: libc::POLLPRI,
                revents: 0,
            };
            // SAFETY: one pollfd, which outlives the call.
            let changed = unsafe { libc::poll(&mut poll, 1, 100) } == 1;
            // An engine that has other things to do as well.
            std::thread::sleep(Duration::from_millis(20));
            let mut text = String::new();
            if changed && file.rewind().and_then(|()| file.read_to_string(&mut text)).is_ok() {
                let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
                killed = line.expect("oom_kill").parse().expect("a number");
            }
        }
        killed
    })
}

#[test]
fn too_little_memory_for_init_is_told_as_such() {
    need!(has("memory"), name("memory"));
    for limit in [1, 4096, 16 << 10] {
        let bundle = with("memory", json!({ "limit": limit, "swap": limit })).args(["true"]);
        let id = bundle.fresh_id();
        let said = bundle.create_cmd(&id, &[]).run().fails_with("memory");
        assert!(said.stderr.contains("linux.resources.memory.limit"), "{said:#?}");
        bundle.assert_clean();
    }
}

/// Whatever it was doing, and never as a pipe that broke.
#[test]
fn an_init_that_is_killed_for_lack_of_memory_is_told_as_such() {
    need!(has("memory"), name("memory"));
    let mut refused = 0;
    for limit in (8..=120).step_by(8).map(|kibibytes: i64| kibibytes << 10) {
        let bundle = with("memory", json!({ "limit": limit, "swap": limit })).args(["true"]);
        let id = bundle.fresh_id();
        for verb in ["create", "start"] {
            let output = match verb {
                "create" => bundle.create_cmd(&id, &[]).run(),
                _ => bundle.orlop([verb, &id]).run(),
            };
            if output.code != 0 {
                refused += 1;
                let output = output.fails_with(&format!(
                    "init was killed by the kernel for lack of memory: memory.max = {limit}"
                ));
                assert!(output.stderr.contains("linux.resources.memory.limit"), "{output:#?}");
                break;
            }
        }
    }
    assert!(refused > 4, "{refused}");
}

/// The kernel copies the arguments before it takes the new program, and cannot go back when they do not fit.
#[test]
fn an_init_that_is_killed_inside_execve_is_told_as_such() {
    need!(has("memory"), name("memory"));
    let limit = 512 << 10;
    let bundle = with("memory", json!({ "limit": limit, "swap": limit })).edit(|c| {
        let long = "x".repeat(100 << 10);
        c["process"]["args"] = json!(["true", long, long, long, long, long, long]);
    });
    let message = format!("init was killed by the kernel for lack of memory: memory.max = {limit}");
    let c = bundle.create();
    c.try_start().fails_with(&message);
    assert_eq!(c.status(), "stopped");
    c.delete();
    bundle.run().fails_with(&message);
    bundle.assert_clean();
}

#[test]
fn a_small_program_starts_in_160_kibibytes() {
    need!(has("memory"), name("memory"));
    let bundle = with("memory", json!({ "limit": 160 << 10, "swap": 160 << 10 })).args(["true"]);
    for _ in 0..5 {
        bundle.run().ok();
    }
}

#[test]
fn an_update_checks_what_is_in_use_if_asked_to() {
    need!(has("memory"), name("memory"));
    let bundle = with("memory", json!({ "limit": 64 * MIB })).args(["probe", "eat", "16"]);
    let leaf = leaf(&bundle);
    let c = bundle.start();
    c.until("ready");
    update_by(&c, json!({ "memory": { "limit": MIB, "checkBeforeUpdate": true } })).fails_with("memory.limit");
    if leaf.join("memory.swap.current").exists() {
        let both = json!({ "memory": { "limit": MIB, "swap": 2 * MIB, "checkBeforeUpdate": true } });
        let out = update_by(&c, both).fails_with("rejecting memory limit");
        assert!(out.stderr.contains("rejecting memory+swap limit"), "{}", out.stderr);
    }
    assert_eq!(content(&leaf, "memory.max"), (64 * MIB).to_string());
    assert_eq!(c.status(), "running");
    update(&c, &["--memory", "32M"]).ok();
    assert_eq!(content(&leaf, "memory.max"), (32 * MIB).to_string());
}

#[test]
fn an_update_below_what_is_in_use_is_warned_of() {
    need!(has("memory"), name("memory"));
    let bundle = with("memory", json!({ "limit": 64 * MIB })).args(["probe", "eat", "24"]);
    let c = bundle.start();
    c.until("ready");
    let roomy = update(&c, &["--memory", "48M"]).ok();
    assert_eq!(roomy.stderr, "");
    let tight = update(&c, &["--memory", "4M", "--memory-swap", "4M"]);
    assert!(
        tight.stderr.contains("memory.checkBeforeUpdate") && tight.stderr.contains("4194304"),
        "{tight:#?}"
    );
}

// pids

#[test]
fn a_limit_of_processes_holds() {
    need!(has("pids"), name("pids"));
    let forks = |limit: i64| {
        let bundle = with("pids", json!({ "limit": limit })).args(["probe", "forks", "20"]);
        bundle.run().ok().stdout.trim().to_owned()
    };
    assert_eq!(forks(8), "7");
    assert_eq!(forks(-1), "20");
    // Engines that speak a version before 1.3 send zero for no limit.
    assert_eq!(forks(0), "20");
    // Since then it is a limit like any other: init is in, and nobody else.
    let zero = || with("pids", json!({ "limit": 0 })).edit(|c| c["ociVersion"] = json!("1.3.0"));
    let bundle = zero().args(["probe", "forks", "20"]);
    assert_eq!(bundle.run().ok().stdout.trim(), "0");
    let bundle = zero().args(["probe", "sleep"]);
    let leaf = leaf(&bundle);
    let _c = bundle.start();
    assert_eq!(content(&leaf, "pids.max"), "0");
    // An object without a limit is none.
    let bundle = with("pids", json!({})).args(["probe", "forks", "20"]);
    assert_eq!(bundle.run().ok().stdout.trim(), "20");
}

#[test]
fn an_update_takes_effect_on_a_running_container() {
    need!(has("pids"), name("pids"));
    let bundle = Bundle::new().sh(&format!("{WAIT} exec probe forks 20"));
    let c = bundle.start();
    c.until("waiting");
    update(&c, &["--pids-limit", "6"]).ok();
    go(&bundle);
    c.until("\n5\n");
}

#[test]
fn an_update_to_zero_processes_means_what_the_config_means() {
    need!(has("pids"), name("pids"));
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

// cpu

/// The throttling part of the stats of a container that computes for half a second of its time.
fn throttling(bundle: Bundle) -> Value {
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 100";
    let bundle = bundle.sh(script);
    let c = bundle.start();
    c.until("done");
    let event = bundle.orlop(["events", "--stats", &c.id]).run().ok().json();
    event["data"]["cpu"]["throttling"].clone()
}

#[test]
fn a_cpu_quota_throttles() {
    need!(has("cpu"), name("cpu"));
    let limited = throttling(with("cpu", json!({ "quota": 2000, "period": 20_000 })));
    assert!(
        limited["throttledPeriods"].as_u64().is_some_and(|periods| periods > 0),
        "{limited}"
    );
    assert!(
        limited["throttledTime"].as_u64().is_some_and(|time| time > 0),
        "{limited}"
    );
    let free = throttling(Bundle::new());
    assert_eq!(free["throttledPeriods"], Value::Null, "{free}");
}

#[test]
fn shares_quota_burst_and_idle_are_in_their_files() {
    need!(has("cpu"), name("cpu"));
    let bundle = with(
        "cpu",
        json!({ "shares": 2048, "quota": 20_000, "period": 50_000, "burst": 20_000 }),
    )
    .args(["probe", "sleep"]);
    let leaf = leaf(&bundle);
    let c = bundle.start();
    let cpu = |weight: &str, max: &str, burst: &str| {
        assert_eq!(content(&leaf, "cpu.weight"), weight);
        assert_eq!(content(&leaf, "cpu.max"), max);
        assert_eq!(content(&leaf, "cpu.max.burst"), burst);
    };
    cpu("174", "20000 50000", "20000");
    // Down and up again, both at once: each order would be refused in one of the directions.
    update(&c, &["--cpu-quota", "5000", "--cpu-burst", "5000"]).ok();
    cpu("174", "5000 50000", "5000");
    update(
        &c,
        &["--cpu-quota", "40000", "--cpu-burst", "40000", "--cpu-share", "512"],
    )
    .ok();
    cpu("59", "40000 50000", "40000");
    // A period alone keeps the quota.
    update(&c, &["--cpu-period", "100000"]).ok();
    cpu("59", "40000 100000", "40000");
    update(&c, &["--cpu-quota", "-1", "--cpu-burst", "0"]).ok();
    cpu("59", "max 100000", "0");
    if leaf.join("cpu.idle").exists() {
        update(&c, &["--cpu-idle", "1"]).ok();
        assert_eq!(content(&leaf, "cpu.idle"), "1");
        update(&c, &["--cpu-idle", "0"]).ok();
        assert_eq!(content(&leaf, "cpu.idle"), "0");
        // What it had before it was idle.
        assert_eq!(content(&leaf, "cpu.weight"), "59");
    }
}

#[test]
fn a_refused_update_puts_back_every_controllers_values() {
    need!(has("cpu") && has("memory") && has("pids"), name("cpu, memory, pids"));
    let bundle = with("memory", json!({ "limit": 64 * MIB })).args(["probe", "sleep"]);
    let leaf = leaf(&bundle);
    let c = bundle.start();
    let before = (content(&leaf, "memory.max"), content(&leaf, "cgroup.max.depth"));
    update_by(
        &c,
        json!({
            "memory": { "limit": 32 * MIB, "reservation": MIB }, "pids": { "limit": 9 }, "cpu": { "shares": 512 },
            "unified": { "cgroup.max.depth": "4", "memory.nonsense": "1" }
        }),
    )
    .fails_with("memory.nonsense");
    assert_eq!(
        (content(&leaf, "memory.max"), content(&leaf, "cgroup.max.depth")),
        before
    );
    assert_eq!(content(&leaf, "memory.low"), "0");
    assert_eq!(content(&leaf, "pids.max"), "max");
    assert_eq!(content(&leaf, "cpu.weight"), "100");
    update(&c, &["--pids-limit", "9"]).ok();
    assert_eq!(content(&leaf, "memory.max"), before.0);
}

// io

/// A block device of the guest, as `major:minor`.
fn disk() -> Option<(u64, u64)> {
    numbers("ubda")
}

fn numbers(device: &str) -> Option<(u64, u64)> {
    let numbers = fs::read_to_string(format!("/sys/class/block/{device}/dev")).ok()?;
    let (major, minor) = numbers.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[test]
fn io_is_throttled() {
    need!(has("io"), name("io"));
    need!(disk().is_some(), "a block device to spare");
    let (major, minor) = disk().expect("checked");
    let read = |rate: u64| {
        let script = "busybox dd if=/dev/disk of=/dev/null bs=64k count=32 iflag=direct";
        let bundle = with(
            "blockIO",
            json!({ "throttleReadBpsDevice": [{ "major": major, "minor": minor, "rate": rate }] }),
        )
        .sh(script)
        .edit(|c| {
            c["linux"]["devices"] = json!([{ "path": "/dev/disk", "type": "b", "major": major, "minor": minor }]);
            let rule = json!({ "allow": true, "type": "b", "major": major, "minor": minor, "access": "r" });
            c["linux"]["resources"]["devices"] = json!([{ "allow": false, "access": "rwm" }, rule]);
        });
        let begun = Instant::now();
        bundle.run().ok();
        begun.elapsed()
    };
    // Two MiB at one MiB a second.
    assert!(read(MIB as u64) > Duration::from_millis(1200));
    assert!(read(0) < Duration::from_millis(1200));
}

/// By whichever of the two files the kernel has; without both, the error names them.
#[test]
fn a_weight_of_io_is_set_or_refused() {
    need!(has("io"), name("io"));
    let bundle = with("blockIO", json!({ "weight": 500 })).args(["probe", "sleep"]);
    let leaf = leaf(&bundle);
    let id = bundle.fresh_id();
    let said = bundle.create_cmd(&id, &[]).run();
    if said.code == 0 {
        let weight = [("io.bfq.weight", "500"), ("io.weight", "4950")];
        let (file, value) = weight
            .into_iter()
            .find(|(file, _)| leaf.join(file).exists())
            .expect("a file of weights");
        assert!(content(&leaf, file).lines().any(|line| line.ends_with(value)));
        bundle.orlop(["delete", "--force", &id]).run().ok();
    } else {
        let said = said.fails_with("linux.resources.blockIO.weight");
        assert!(said.stderr.contains("io.bfq.weight, nor io.weight"), "{said:#?}");
        assert!(!leaf.exists());
    }
}

/// A kernel with io.weight takes a device's only while io.cost is at work on it.
#[test]
fn a_weight_of_a_device_is_set_or_explained() {
    // The other one is the emulated machine's, whose kernel has io.cost.
    let disk = disk().or_else(|| numbers("nvme2n1"));
    need!(
        has("io") && disk.is_some(),
        "cgroup controller io and a block device to spare"
    );
    let (major, minor) = disk.expect("a disk");
    let entry = json!([{ "major": major, "minor": minor, "weight": 500 }]);
    let bundle = with("blockIO", json!({ "weightDevice": entry })).args(["probe", "sleep"]);
    let leaf = leaf(&bundle);
    let id = bundle.fresh_id();
    let said = bundle.create_cmd(&id, &[]).run();
    if said.code == 0 {
        let lines = ["io.bfq.weight", "io.weight"].map(|file| fs::read_to_string(leaf.join(file)).unwrap_or_default());
        assert!(lines.concat().contains(&format!("{major}:{minor} ")), "{lines:?}");
        bundle.orlop(["delete", "--force", &id]).run().ok();
        return;
    }
    let said = said.fails_with("linux.resources.blockIO.weightDevice[0].weight");
    let none = said.stderr.contains("io.bfq.weight, nor io.weight");
    assert!(
        none || said.stderr.contains("hint: io.cost is not at work on this device"),
        "{said:#?}"
    );
    assert!(!leaf.exists());
}

#[test]
fn an_unknown_block_device_is_told_with_its_field() {
    need!(has("io"), name("io"));
    let bundle = with(
        "blockIO",
        json!({ "throttleWriteIOPSDevice": [{ "major": 250, "minor": 77, "rate": 5 }] }),
    );
    let leaf = leaf(&bundle);
    let said = bundle
        .args(["true"])
        .run()
        .fails_with("linux.resources.blockIO.throttleWriteIOPSDevice[0]");
    assert!(said.stderr.contains("ENODEV"), "{said:#?}");
    assert!(!leaf.exists());
}

// the tree

#[test]
fn controllers_are_enabled_down_the_tree_and_only_if_asked_for() {
    need!(has("pids") && has("memory"), name("pids, memory"));
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let top = format!("/{}-top", bundle.fresh_id());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(format!("{top}/middle/leaf")));
    let top = PathBuf::from(format!("/sys/fs/cgroup{top}"));
    // Somebody else's, so it hands down what it must and no more. (See `engines/as_runc.rs` for those that are made.)
    fs::create_dir(&top).expect("make a cgroup");
    let c = bundle.start();
    assert_eq!(content(&top, "cgroup.subtree_control"), "");
    update(&c, &["--pids-limit", "50"]).ok();
    assert_eq!(content(&top, "cgroup.subtree_control"), "pids");
    assert_eq!(content(&top, "middle/cgroup.subtree_control"), "pids");
    assert_eq!(content(&top, "middle/leaf/pids.max"), "50");
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
    assert!(!top.join("middle").exists());
    fs::remove_dir(&top).expect("remove the cgroup");
}

#[test]
fn a_cgroup_with_processes_above_is_told() {
    need!(has("memory"), name("memory"));
    let above = PathBuf::from(format!("/sys/fs/cgroup/{}-above", Bundle::new().fresh_id()));
    fs::create_dir(&above).expect("make a cgroup");
    let mut sleeper = std::process::Command::new("sleep")
        .arg("100")
        .spawn()
        .expect("run sleep");
    fs::write(above.join("cgroup.procs"), sleeper.id().to_string()).expect("move it");
    let bundle = with("memory", json!({ "limit": 64 * MIB })).args(["true"]);
    let name = above
        .file_name()
        .and_then(|name| name.to_str())
        .expect("UTF-8")
        .to_owned();
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(format!("/{name}/leaf")));
    let said = bundle.run();
    sleeper.kill().expect("kill it");
    sleeper.wait().expect("wait for it");
    eventually("its cgroup is empty", || fs::remove_dir(&above).is_ok());
    let said = said.fails_with("memory");
    assert!(
        said.stderr.contains("linux.resources.memory.limit") && said.stderr.contains("has processes of its own"),
        "{said:#?}"
    );
}

#[test]
fn what_docker_sends_for_unset_enables_nothing() {
    let bundle = Bundle::new().args(["probe", "sleep"]).edit(|c| {
        c["linux"]["resources"]["memory"] = json!({});
        c["linux"]["resources"]["cpu"] = json!({ "shares": 0 });
        c["linux"]["resources"]["blockIO"] = json!({ "weight": 0 });
    });
    bundle.start();
}

// hugetlb

#[test]
fn huge_pages_are_limited() {
    need!(has("hugetlb"), name("hugetlb"));
    let bundle = with("hugepageLimits", json!([{ "pageSize": "2MB", "limit": 4 * MIB }])).args(["probe", "sleep"]);
    let leaf = leaf(&bundle);
    let c = bundle.start();
    assert_eq!(content(&leaf, "hugetlb.2MB.max"), (4 * MIB).to_string());
    assert_eq!(content(&leaf, "hugetlb.2MB.rsvd.max"), (4 * MIB).to_string());
    update_by(
        &c,
        json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 2 * MIB }] }),
    )
    .ok();
    assert_eq!(content(&leaf, "hugetlb.2MB.rsvd.max"), (2 * MIB).to_string());
    let stats = bundle.orlop(["events", "--stats", &c.id]).run().ok().json();
    assert_eq!(stats["data"]["hugetlb"]["2MB"], json!({ "failcnt": 0 }));
    update_by(&c, json!({ "hugepageLimits": [{ "pageSize": "3MB", "limit": 0 }] })).fails_with("hugepageLimits[1]");
}

/// With fs.suid_dumpable at 1 each change of the user makes a process visible to the user's others.
#[test]
fn a_process_of_ours_stays_hidden_when_it_changes_its_user() {
    let guest = fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("User Mode Linux"));
    need!(guest, "a kernel whose fs.suid_dumpable may be changed");
    fs::write("/proc/sys/fs/suid_dumpable", "1").unwrap();
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .edit(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    let c = bundle.create();
    // Of a process that is hidden the files belong to root.
    let owner = || fs::metadata(format!("/proc/{}/environ", c.pid())).unwrap().uid();
    let waiting = owner();
    c.start();
    let running = owner();
    fs::write("/proc/sys/fs/suid_dumpable", "0").unwrap();
    assert_eq!((waiting, running), (0, 1000));
}
