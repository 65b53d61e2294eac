//! Scheduling, memory policy, personality, limits and environment of a process of `exec`: from the config
//! and from a file of `--process`.

use std::fs;

use serde_json::{Value, json};

use crate::harness::exec::{exec_cmd, exec_facts, idle};
use crate::harness::users::remapped as in_user_namespace;
use crate::harness::{Bundle, Container, Facts};
use crate::need;

/// `exec --process` of a file whose process is `probe facts`, with further members.
pub(super) fn facts_of(c: &Container, members: Value) -> Facts {
    let mut process = json!({
        "args": ["/bin/probe", "facts"], "cwd": "/", "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"],
    });
    process
        .as_object_mut()
        .unwrap()
        .extend(members.as_object().unwrap().clone());
    let path = c.bundle.path("process.json");
    fs::write(&path, process.to_string()).unwrap();
    Facts(
        exec_cmd(c, &["--process", path.to_str().unwrap()], &[])
            .run()
            .ok()
            .json(),
    )
}

#[test]
fn scheduling_of_the_config_and_of_a_process_file() {
    for bundle in [idle(), in_user_namespace(idle())] {
        let bundle = bundle.edit(|c| {
            c["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 9 });
            c["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 5 });
        });
        let c = bundle.start();
        let from_file = facts_of(&c, json!({}));
        for facts in [exec_facts(&c, &[]), from_file] {
            let found = &facts["scheduler"];
            assert_eq!((&found["policy"], &found["nice"]), (&json!(3), &json!(9)));
            assert_eq!(facts["ioprio"], json!({ "class": 2, "level": 5 }));
        }
        let facts = facts_of(
            &c,
            json!({
                "scheduler": { "policy": "SCHED_OTHER", "nice": -3, "flags": ["SCHED_FLAG_RESET_ON_FORK"] },
                "ioPriority": { "class": "IOPRIO_CLASS_IDLE" },
            }),
        );
        let found = &facts["scheduler"];
        assert_eq!(
            (&found["policy"], &found["nice"], &found["flags"]),
            (&json!(0), &json!(-3), &json!(1))
        );
        assert_eq!(facts["ioprio"]["class"], 3);
    }
}

/// config.md: `initial` before the transition to the container's cgroup, `final` after it.
#[test]
fn exec_cpu_affinity_initial_and_final() {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    need!(cpus > 1, "a second CPU");
    let bundle = idle();
    let c = bundle.start();
    let every: Vec<usize> = (0..cpus).collect();
    for (affinity, expected) in [
        (json!({ "initial": "1", "final": "0" }), vec![0]),
        (json!({ "final": "1" }), vec![1]),
        // It is not changed after that.
        (json!({ "initial": "1" }), vec![1]),
        (json!({ "initial": "0-1", "final": "0-1" }), vec![0, 1]),
        (json!({ "initial": "", "final": "" }), every),
    ] {
        assert_eq!(
            facts_of(&c, json!({ "execCPUAffinity": affinity }))["cpuAffinity"],
            json!(expected),
            "{affinity}"
        );
    }
    let bundle = idle().edit(|c| c["process"]["execCPUAffinity"] = json!({ "final": "1" }));
    let c = bundle.start();
    assert_eq!(exec_facts(&c, &[])["cpuAffinity"], json!([1]));
    // Init still has every processor.
    let status = fs::read_to_string(format!("/proc/{}/status", c.pid())).unwrap();
    assert_eq!(
        status.lines().filter(|line| *line == "Cpus_allowed_list:\t1").count(),
        0,
        "{status}"
    );
}

#[test]
fn exec_cpu_affinity_of_missing_processors() {
    let bundle = idle().edit(|c| c["process"]["execCPUAffinity"] = json!({ "final": "60000" }));
    let c = bundle.start();
    let out = exec_cmd(&c, &[], &["true"])
        .run()
        .fails_with("process.execCPUAffinity.final");
    assert!(out.stderr.contains("hint: none of these processors"), "{out:#?}");
}

/// They belong to the container, so no process file can change them.
#[test]
fn memory_policy_and_personality_hold_for_every_process() {
    need!(std::path::Path::new("/proc/self/numa_maps").exists(), "CONFIG_NUMA");
    let bundle = idle().edit(|c| {
        c["linux"]["memoryPolicy"] = json!({ "mode": "MPOL_BIND", "nodes": "0" });
        c["linux"]["personality"] = json!({ "domain": "LINUX32" });
    });
    let c = bundle.start();
    assert_eq!(exec_facts(&c, &[])["personality"], 8);
    assert_eq!(facts_of(&c, json!({}))["personality"], 8);
    let maps = exec_cmd(&c, &[], &["probe", "cat", "/proc/self/numa_maps"])
        .run()
        .ok()
        .stdout;
    assert!(maps.contains(" bind:0 "), "{maps}");
}

#[test]
fn the_environment_has_each_name_once() {
    let bundle = idle();
    let c = bundle.start();
    let facts = facts_of(&c, json!({ "env": ["HOME=/", "A=1", "A=2"] }));
    assert_eq!(facts["env"], json!(["HOME=/", "A=2"]));
    assert!(!exec_facts(&c, &[])["env"].to_string().contains("NOTIFY_SOCKET"));
}

/// The variables of systemd for the runtime that created the container do not apply to this one.
#[test]
fn neither_notifications_nor_sockets_are_passed_on() {
    let bundle = Bundle::new().args(["probe", "notify", "READY=1", "sleep"]);
    let manager = bundle.path("manager");
    let socket = std::os::unix::net::UnixDatagram::bind(&manager).unwrap();
    let id = bundle.fresh_id();
    let told = |args: &[&str]| bundle.orlop(args).env("NOTIFY_SOCKET", manager.to_str().unwrap());
    told(&["create", "--bundle", bundle.dir().to_str().unwrap(), &id])
        .run()
        .ok();
    let start = told(&["start", &id]).spawn();
    let mut text = [0; 100];
    let length = socket.recv(&mut text).unwrap();
    assert!(text[..length].starts_with(b"READY=1\n"));
    // The descriptor that comes with the barrier is not received here, which has the same effect as closing it.
    socket.recv(&mut text).unwrap();
    start.wait().ok();
    let facts = told(&["exec", &id, "probe", "facts"])
        .through_shell("export LISTEN_PID=$$")
        .env("LISTEN_FDS", "1")
        .pass_fd(fs::File::open("/dev/zero").unwrap(), 3)
        .run()
        .ok()
        .json();
    assert_eq!(facts["fds"].as_object().unwrap().len(), 3);
    let env = facts["env"].to_string();
    assert!(!env.contains("NOTIFY_SOCKET") && !env.contains("LISTEN_"), "{env}");
}
