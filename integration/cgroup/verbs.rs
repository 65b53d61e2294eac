//! The verbs that need a container's cgroup: `pause`, `resume`, `ps`, `events` and `update`, with features that every
//! kernel has. The limits themselves are in `guest/`.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::cgroup::{content, with_leaf};
use crate::harness::{Bundle, Container, Holder, alive, eventually};

fn verb(c: &Container, words: &[&str]) -> crate::harness::Output {
    let (name, rest) = words.split_first().expect("a verb");
    c.bundle.orlop([&[*name], rest, &[c.id.as_str()]].concat()).run()
}

/// `update` with a document, the form that every runtime accepts.
fn update(c: &Container, resources: Value) -> crate::harness::Output {
    let update = c.bundle.orlop(["update", "--resources", "-", &c.id]);
    update.stdin(&resources.to_string()).run()
}

#[test]
fn a_paused_container_stops_and_continues() {
    let bundle = Bundle::new().sh("while :; do echo x; sleep 0.01; done");
    let c = bundle.start();
    c.until("x");
    verb(&c, &["pause"]).ok();
    assert_eq!(c.status(), "paused");
    // It has stopped when `pause` returns; a container that has not would print in this time.
    let length = c.stdout().len();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(c.stdout().len(), length);
    verb(&c, &["pause"]).fails_with("already paused");
    verb(&c, &["resume"]).ok();
    assert_eq!(c.status(), "running");
    eventually("it goes on", || c.stdout().len() > length);
    verb(&c, &["resume"]).fails_with("not paused");
}

/// `resume` does not wait and changes nothing.
#[test]
fn resume_names_the_cgroup_above_that_is_frozen() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let name = format!("{}-above", bundle.fresh_id());
    let above = PathBuf::from(format!("/sys/fs/cgroup/{name}"));
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(format!("/{name}/middle/leaf")));
    let c = bundle.start();
    c.until("ready");
    let freeze = |value: &str| fs::write(above.join("cgroup.freeze"), value).expect("cgroup.freeze");
    for paused in [false, true] {
        if paused {
            verb(&c, &["pause"]).ok();
        }
        freeze("1");
        eventually("it is frozen", || c.status() == "paused");
        let begun = Instant::now();
        let said = verb(&c, &["resume"]).fails_with("stays frozen");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert!(said.stderr.contains(&format!("{:?}", above)), "{said:#?}");
        let own = content(&above.join("middle/leaf"), "cgroup.freeze");
        assert_eq!(own, if paused { "1" } else { "0" });
        freeze("0");
        if paused {
            verb(&c, &["resume"]).ok();
        }
        eventually("it goes on", || c.status() == "running");
    }
}

#[test]
fn only_a_running_container_can_be_paused() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.create();
    verb(&c, &["pause"]).fails_with("not running");
    verb(&c, &["resume"]).fails_with("not paused");
    c.start();
    c.until_stopped();
    verb(&c, &["pause"]).fails_with("not running");
    verb(&c, &["resume"]).fails_with("not running");
    bundle.orlop(["pause", "nobody"]).run().fails_with("does not exist");
}

#[test]
fn a_paused_container_can_be_killed_and_deleted() {
    let bundle = Bundle::new().args(["probe", "fork-tree", "3"]);
    let c = bundle.start();
    c.until("ready");
    verb(&c, &["pause"]).ok();
    c.kill("KILL");
    c.until_stopped();
    c.delete();
    let c = bundle.start();
    c.until("ready");
    verb(&c, &["pause"]).ok();
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
    bundle.assert_clean();
}

#[test]
fn ps_shows_every_process_and_no_other() {
    let bundle = Bundle::new().args(["probe", "fork-tree", "3"]);
    let c = bundle.start();
    c.until("ready");
    let pids: Vec<i32> = serde_json::from_value(verb(&c, &["ps", "--format", "json"]).ok().json()).expect("pids");
    assert_eq!(pids.len(), 4, "{pids:?}");
    assert!(pids.contains(&c.pid()) && pids.iter().all(|pid| alive(*pid)));

    let table = verb(&c, &["ps"]).ok().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 5, "{table}");
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    );
    assert!(
        lines[1..].iter().all(|line| line.contains("probe fork-tree 3")),
        "{table}"
    );

    // Everything after the ID goes to ps(1).
    let table = bundle.orlop(["ps", &c.id, "-o", "comm,pid", "-A"]).run().ok().stdout;
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(table.lines().skip(1).all(|line| line.starts_with("probe ")), "{table}");
    bundle
        .orlop(["ps", &c.id, "-o", "comm", "-A"])
        .run()
        .fails_with("no PID column");
    bundle
        .orlop(["ps", &c.id, "--nonsense"])
        .run()
        .fails_with("ps --nonsense");
}

#[test]
fn ps_finds_processes_in_cgroups_below() {
    let (bundle, leaf) = with_leaf(Bundle::new().args(["probe", "fork-tree", "1"]));
    let c = bundle.start();
    c.until("ready");
    fs::create_dir(leaf.join("below")).expect("make a cgroup");
    let init = c.pid();
    let child = content(&leaf, "cgroup.procs")
        .lines()
        .find(|line| *line != init.to_string())
        .map(str::to_owned);
    fs::write(leaf.join("below/cgroup.procs"), child.expect("a child")).expect("move the child");
    let pids = verb(&c, &["ps", "-f", "json"]).ok().json();
    assert_eq!(pids.as_array().map(Vec::len), Some(2), "{pids}");
}

#[test]
fn ps_of_a_stopped_container_is_empty() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.start();
    c.until_stopped();
    assert_eq!(verb(&c, &["ps", "-f", "json"]).ok().json(), json!([]));
    assert_eq!(verb(&c, &["ps"]).ok().stdout.lines().count(), 1);
}

#[test]
fn stats_have_the_form_that_engines_read() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    c.until("ready");
    let event = verb(&c, &["events", "--stats"]).ok().json();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!(c.id)));
    let data = &event["data"];
    assert_eq!(data["pids"]["current"], 1);
    assert!(
        data["cpu"]["usage"]["total"].as_u64().is_some_and(|total| total > 0),
        "{data}"
    );
    for path in [
        "/cpu/usage/kernel",
        "/cpu/usage/user",
        "/cpu/throttling",
        "/cpuset/cpu_exclusive",
        "/memory",
        "/blkio",
        "/hugetlb",
        "/intel_rdt",
        "/network_interfaces",
    ] {
        assert!(data.pointer(path).is_some(), "{path} is missing: {data}");
    }
}

#[test]
fn events_come_at_the_interval_and_end_with_the_container() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    c.until("ready");
    let begun = Instant::now();
    let mut events = bundle.orlop(["events", "--interval", "50ms", &c.id]).spawn();
    events.until("\n");
    assert!(begun.elapsed() >= Duration::from_millis(50));
    c.kill("KILL");
    let told = events.wait().ok().stdout;
    for line in told.lines() {
        let event: Value = serde_json::from_str(line).expect("a JSON document a line");
        assert_eq!(event["type"], "stats");
    }
    verb(&c, &["events", "--stats"]).fails_with("is not running");
}

#[test]
fn an_update_is_written_and_remembered() {
    let (bundle, leaf) = with_leaf(Bundle::new().args(["probe", "sleep"]));
    let bundle = bundle.edit(|c| c["linux"]["resources"]["unified"] = json!({ "cgroup.max.depth": "7" }));
    let c = bundle.start();
    assert_eq!(content(&leaf, "cgroup.max.depth"), "7");
    verb(&c, &["update", "--unified", "cgroup.max.depth=3"]).ok();
    assert_eq!(content(&leaf, "cgroup.max.depth"), "3");
    // Settings that the second does not mention stay, also when it comes from a file.
    let text =
        json!({ "unified": { "cgroup.max.descendants": "9" }, "memory": { "limit": 0 }, "cpu": { "shares": 0 } });
    let from_stdin = bundle
        .orlop(["update", "--resources", "-", &c.id])
        .stdin(&text.to_string());
    from_stdin.run().ok();
    assert_eq!(content(&leaf, "cgroup.max.descendants"), "9");
    assert_eq!(content(&leaf, "cgroup.max.depth"), "3");
    let state = fs::read_to_string(bundle.state_root().join(&c.id).join("state.json")).expect("state.json");
    let state: Value = serde_json::from_str(&state).expect("JSON");
    assert_eq!(
        state["resources"]["unified"],
        json!({ "cgroup.max.depth": "3", "cgroup.max.descendants": "9" })
    );
    assert_eq!(c.status(), "running");
}

#[test]
fn an_update_that_is_refused_changes_nothing() {
    let (bundle, leaf) = with_leaf(Bundle::new().args(["probe", "sleep"]));
    let c = bundle.start();
    let depth = |value: &str| json!({ "unified": { "cgroup.max.depth": value } });
    update(&c, depth("3")).ok();
    let file = bundle.state_root().join(&c.id).join("state.json");
    let before = fs::read_to_string(&file).expect("state.json");
    // Files are written in the order of their names.
    for (mut resources, field) in [
        (depth("5"), "unified.cgroup.max.descendants"),
        (depth("5"), "unified.cgroup.nonsense"),
        (depth("5"), "memory.swap"),
    ] {
        match field {
            "memory.swap" => resources["memory"] = json!({ "swap": 1 << 30 }),
            field => resources["unified"][field.trim_start_matches("unified.")] = json!("many"),
        }
        update(&c, resources).fails_with(field);
        assert_eq!(content(&leaf, "cgroup.max.depth"), "3");
    }
    assert_eq!(fs::read_to_string(&file).expect("state.json"), before);
}

#[test]
fn settings_that_cgroup_v2_lacks_are_refused_by_name() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    for (flag, value, name) in [
        ("--cpu-rt-period", "1000", "--cpu-rt-period: cgroup version 2"),
        ("--cpu-rt-runtime", "1000", "--cpu-rt-runtime: cgroup version 2"),
        ("--l3-cache-schema", "L3:0=f", "Intel RDT"),
        ("--mem-bw-schema", "MB:0=20", "Intel RDT"),
        ("--blkio-weight", "5", "blockIO.weight"),
        ("--pids-limit", "-2", "pids.limit"),
        ("--cpu-idle", "7", "cpu.idle"),
        ("--unified", "cgroup.kill=1", "cgroup.kill"),
    ] {
        verb(&c, &["update", flag, value]).fails_with(name);
    }
    for text in ["{\"memory\": {\"limit\": \"a lot\"}}", "[]", "", "{"] {
        bundle
            .orlop(["update", "-r", "-", &c.id])
            .stdin(text)
            .run()
            .fails_with("--resources");
    }
    bundle
        .orlop(["update", "-r", "/nowhere", &c.id])
        .run()
        .fails_with("ENOENT");
    verb(&c, &["update", "-r", "-", "--memory", "1M"]).fails_with("--resources");
    assert_eq!(c.status(), "running");
    c.kill("KILL");
    c.until_stopped();
    verb(&c, &["update", "--pids-limit", "5"]).fails_with("not running");
}

/// A document without known settings must not succeed silently.
#[test]
fn an_update_without_known_settings_is_an_error() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let whole = json!({ "ociVersion": "1.3.0", "linux": { "resources": { "pids": { "limit": 1 } } } });
    let refused = update(&c, whole).fails_with("--resources");
    assert!(
        refused
            .stderr
            .contains("ociVersion, linux: not a section of linux.resources")
            && refused.stderr.contains("blockIO, cpu"),
        "{refused:#?}"
    );
    update(&c, json!({ "memroy": { "limit": 1 } })).fails_with("memroy");
    assert!(update(&c, json!({})).ok().stderr.contains("so nothing is updated"));
    let said = update(&c, json!({ "cpu": {}, "cup": { "shares": 2 } })).ok().stderr;
    assert!(said.contains("warning") && said.contains("cup"), "{said}");
    // Engines send every section, even if it is empty.
    assert_eq!(
        update(&c, json!({ "cpu": {}, "memory": { "limit": 0 } })).ok().stderr,
        ""
    );
}

/// As runc does.
#[test]
fn limits_of_kernel_memory_are_ignored_with_a_warning() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    for flag in ["--kernel-memory", "--kernel-memory-tcp"] {
        let said = verb(&c, &["update", flag, "1M"]).ok().stderr;
        assert!(said.contains("kernel memory") && said.contains("ignored"), "{said}");
    }
    let said = update(&c, json!({ "memory": { "kernel": 1 << 20 } })).ok().stderr;
    assert!(said.contains("kernel memory"), "{said}");
    assert_eq!(
        update(&c, json!({ "memory": { "kernel": 0, "kernelTCP": -1 } }))
            .ok()
            .stderr,
        ""
    );
    let help = bundle.orlop(["update", "--help"]).run().ok().stdout;
    assert!(
        !help.contains("--cpu-rt") && !help.contains("--kernel-memory"),
        "{help}"
    );
}

/// A limit for which the host has no controller; the guest has all but `rdma`.
#[test]
fn a_missing_controller_is_named() {
    let all = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").expect("controllers");
    let missing = ["rdma", "misc", "memory", "dmem"]
        .into_iter()
        .find(|name| !all.split_whitespace().any(|n| n == *name));
    crate::need!(missing.is_some(), "a kernel without some controller");
    let file = format!("{}.max", missing.expect("checked"));
    let (bundle, leaf) = with_leaf(Bundle::new().args(["probe", "sleep"]));
    let c = bundle.start();
    let said = update(&c, json!({ "unified": { file.as_str(): "1" } })).fails_with("controller");
    assert!(
        said.stderr.contains(&format!("linux.resources.unified.{file}")),
        "{said:#?}"
    );
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
    bundle.change(|c| c["linux"]["resources"]["unified"] = json!({ file.as_str(): "1" }));
    let said = bundle.run().fails_with("controller");
    assert!(
        said.stderr.contains(&format!("linux.resources.unified.{file}")),
        "{said:#?}"
    );
    assert!(!leaf.exists(), "a refused container leaves no cgroup");
}

/// On a host without any controller too: engines send such values for "no limit".
#[test]
fn no_limit_needs_no_controller() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    bundle
        .change(|c| c["linux"]["resources"] = json!({ "pids": { "limit": 0 }, "memory": { "limit": -1, "swap": -1 } }));
    let c = bundle.start();
    for flags in [
        ["--pids-limit", "0"],
        ["--pids-limit", "-1"],
        ["--memory", "-1"],
        ["--cpu-quota", "-1"],
    ] {
        verb(&c, &[&["update"], &flags[..]].concat()).ok();
    }
    bundle.change(|c| c["linux"]["resources"] = json!({ "pids": { "limit": -1 }, "cpu": { "quota": -1 } }));
    bundle.start();
}

/// The program is replaced, not added: with two programs both would have to allow an access, and nothing could be allowed
/// again.
#[test]
fn updated_device_rules_replace_the_old_ones() {
    // The host's first console: anyone may create the node, and by default opening it is denied.
    let script = "busybox mknod /tmp/log c 1 11 && echo made
        while :; do if (: </tmp/log) 2>/dev/null; then echo yes; else echo no; fi; sleep 0.02; done";
    let bundle = Bundle::new()
        .sh(script)
        .with_caps(&["CAP_MKNOD", "CAP_SYSLOG"])
        .edit(|c| {
            c["root"]["readonly"] = json!(false);
        });
    let c = bundle.start();
    c.until("made\n");
    let last = |c: &Container| c.stdout().lines().last().unwrap_or_default().to_owned();
    eventually("it is denied at first", || last(&c) == "no");
    for (allow, answer) in [(true, "yes"), (false, "no"), (true, "yes")] {
        let rule = json!({ "devices": [{ "allow": allow, "type": "c", "major": 1, "minor": 11, "access": "rwm" }] });
        bundle
            .orlop(["update", "-r", "-", &c.id])
            .stdin(&rule.to_string())
            .run()
            .ok();
        eventually("the rule has its effect", || last(&c) == answer);
    }
}

/// A container that may manage its part of the tree owns it.
#[test]
fn a_writable_cgroup_belongs_to_the_containers_user() {
    let owners = |bundle: Bundle| {
        let (bundle, leaf) = with_leaf(bundle.args(["probe", "sleep"]));
        let c = bundle.start();
        c.until("ready");
        use std::os::unix::fs::MetadataExt;
        let owner = |path: PathBuf| {
            fs::metadata(&path)
                .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
                .uid()
        };
        let owners = [
            "",
            "cgroup.procs",
            "cgroup.subtree_control",
            "cgroup.threads",
            "cgroup.freeze",
        ];
        owners.map(|file| owner(leaf.join(file)))
    };
    let with_user = |bundle: Bundle| {
        bundle
            .without_mount("/sys/fs/cgroup")
            .edit(|c| c["process"]["user"] = json!({ "uid": 1234, "gid": 5 }))
    };
    let mounted = |options| with_user(Bundle::new()).mount("/sys/fs/cgroup", "cgroup", "cgroup", options);
    let writable = || mounted(&["nosuid"]);
    // The last of contradicting options counts, as it does for the mount itself.
    for options in [&["nosuid"] as &[&str], &["ro", "rw"], &["rro", "rrw"], &["rro", "rw"]] {
        assert_eq!(owners(mounted(options)), [1234, 1234, 1234, 1234, 0], "{options:?}");
    }
    // Not where it may only read, nor where it sees the host's tree.
    for options in [&["ro"] as &[&str], &["rro"], &["rw", "ro"], &["rw", "rro"]] {
        assert_eq!(owners(mounted(options)), [0; 5], "{options:?}");
    }
    assert_eq!(owners(with_user(Bundle::new())), [0; 5]);
    assert_eq!(owners(writable().without_namespace("cgroup")), [0; 5]);
    // As Docker with userns-remap configures `--network container:ID`: the process that clones init has no power over a
    // cgroup that was given away.
    let holder = Holder::remapped(libc::CLONE_NEWNET, 0, 100_000);
    let joining = crate::harness::namespaces::joining(writable(), &holder, &["user", "network"]);
    assert_eq!(owners(joining), [101_234, 101_234, 101_234, 101_234, 0]);
}
