//! `memory` and `hugepageLimits`, as the kernel enforces them.

use std::fs;
use std::io::{Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use serde_json::{Value, json};

use super::{MIB, WAIT, go, leaf, name, update, update_by, with};
use crate::harness::Bundle;
use crate::harness::cgroup::{content, has_controller};
use crate::need;

#[test]
fn a_memory_limit_kills() {
    need!(has_controller("memory"), name("memory"));
    let bundle = with("memory", json!({ "limit": 16 * MIB, "swap": 16 * MIB })).args(["probe", "eat", "64"]);
    let killed = bundle.run();
    assert_eq!(killed.code, 128 + libc::SIGKILL);
    if crate::harness::runtime().ends_with("orlop") {
        assert!(
            killed
                .stderr
                .contains("killed a process of this container: memory.max = 16777216"),
            "{killed:#?}"
        );
    }
    let bundle = with("memory", json!({ "limit": 64 * MIB })).args(["probe", "eat", "8"]);
    bundle.start().until("ready");
}

#[test]
fn limits_of_memory_are_in_its_files() {
    need!(has_controller("memory"), name("memory"));
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
fn events_report_out_of_memory_when_it_happens() {
    need!(has_controller("memory"), name("memory"));
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
fn out_of_memory_is_reported_before_delete_removes_the_cgroup() {
    need!(has_controller("memory"), name("memory"));
    let bundle = with("memory", json!({ "limit": 16 * MIB, "swap": 16 * MIB })).args(["probe", "eat", "64"]);
    let leaf = leaf(&bundle);
    // More than once: the kernel may report it at once or a moment later.
    for _ in 0..4 {
        let c = bundle.create();
        let watcher = watch_kills(&leaf);
        let pid = c.pid();
        c.start();
        let alive = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        while alive() {}
        let began = Instant::now();
        c.delete();
        // By the clock, because a late report of the kernel is rare.
        if crate::harness::runtime().ends_with("orlop") {
            assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
        }
        assert_eq!(watcher.join().expect("a watcher"), 1);
    }
}

/// Reads memory.events when the kernel says that it has changed, and only then, until the cgroup is gone. Returns how many
/// processes were killed.
fn watch_kills(leaf: &Path) -> std::thread::JoinHandle<u64> {
    let leaf = leaf.to_owned();
    let mut file = fs::File::open(leaf.join("memory.events")).expect("open memory.events");
    std::thread::spawn(move || {
        let mut killed = 0;
        while leaf.exists() {
            let changed = poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLPRI)], 100_u16) == Ok(1);
            // An engine has other work as well.
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
fn too_little_memory_for_init_is_reported_as_such() {
    need!(has_controller("memory"), name("memory"));
    for limit in [1, 4096, 16 << 10] {
        let bundle = with("memory", json!({ "limit": limit, "swap": limit })).args(["true"]);
        let id = bundle.fresh_id();
        let said = bundle.create_cmd(&id, &[]).run().fails_with("memory");
        assert!(said.stderr.contains("linux.resources.memory.limit"), "{said:#?}");
        bundle.assert_clean();
    }
}

/// Whatever it was doing, and never as a broken pipe.
#[test]
fn an_init_killed_by_the_oom_killer_is_reported_as_such() {
    need!(has_controller("memory"), name("memory"));
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
                let output = output.fails_with(&format!("init was killed by the OOM killer: memory.max = {limit}"));
                assert!(output.stderr.contains("linux.resources.memory.limit"), "{output:#?}");
                break;
            }
        }
    }
    assert!(refused > 4, "{refused}");
}

/// The kernel copies the arguments before it switches to the new program, and cannot go back when there is no memory for
/// them.
#[test]
fn an_init_killed_inside_execve_is_reported_as_such() {
    need!(has_controller("memory"), name("memory"));
    let limit = 512 << 10;
    let bundle = with("memory", json!({ "limit": limit, "swap": limit })).edit(|c| {
        let long = "x".repeat(100 << 10);
        c["process"]["args"] = json!(["true", long, long, long, long, long, long]);
    });
    let message = format!("init was killed by the OOM killer: memory.max = {limit}");
    let c = bundle.create();
    c.try_start().fails_with(&message);
    assert_eq!(c.status(), "stopped");
    c.delete();
    bundle.run().fails_with(&message);
    bundle.assert_clean();
}

#[test]
fn a_small_program_starts_in_160_kibibytes() {
    need!(has_controller("memory"), name("memory"));
    let bundle = with("memory", json!({ "limit": 160 << 10, "swap": 160 << 10 })).args(["true"]);
    for _ in 0..5 {
        bundle.run().ok();
    }
}

#[test]
fn an_update_checks_the_memory_in_use_on_request() {
    need!(has_controller("memory"), name("memory"));
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
fn an_update_below_the_memory_in_use_is_warned_about() {
    need!(has_controller("memory"), name("memory"));
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

#[test]
fn huge_pages_are_limited() {
    need!(has_controller("hugetlb"), name("hugetlb"));
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

/// With fs.suid_dumpable at 1 each change of the user makes a process dumpable, so that other processes of the user could
/// inspect it.
#[test]
fn the_runtime_stays_undumpable_after_changing_its_user() {
    let guest = fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("User Mode Linux"));
    need!(guest, "a kernel whose fs.suid_dumpable may be changed");
    fs::write("/proc/sys/fs/suid_dumpable", "1").unwrap();
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .edit(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    let c = bundle.create();
    // The files of an undumpable process in /proc belong to root.
    let owner = || fs::metadata(format!("/proc/{}/environ", c.pid())).unwrap().uid();
    let waiting = owner();
    c.start();
    let running = owner();
    fs::write("/proc/sys/fs/suid_dumpable", "0").unwrap();
    assert_eq!((waiting, running), (0, 1000));
}
