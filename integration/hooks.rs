//! Hooks: when each kind runs, in which namespaces, what it is told, and what its failure means.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Bundle, alive};

/// Every hook appends its name and the state it was given to one file, which is also visible inside the container.
fn with_recording_hooks(bundle: Bundle) -> Bundle {
    let host = bundle.path("hooks");
    fs::create_dir(&host).unwrap();
    let mut bundle = bundle.mount("/tmp", "bind", host.to_str().unwrap(), &["bind", "rw"]);
    for (kind, dir) in [
        ("prestart", host.to_str().unwrap()),
        ("createRuntime", host.to_str().unwrap()),
        ("createContainer", host.to_str().unwrap()),
        ("startContainer", "/tmp"),
        ("poststart", host.to_str().unwrap()),
        ("poststop", host.to_str().unwrap()),
    ] {
        for n in 1..=2 {
            let script = format!("{{ echo hook {kind} {n}; cat; echo; }} >>{dir}/log");
            let path = if kind == "startContainer" {
                "/bin/busybox"
            } else {
                "/bin/sh"
            };
            bundle = bundle.with_hook(
                kind,
                json!({ "path": path, "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }),
            );
        }
    }
    bundle
}

/// Name and state of each hook in the order they ran.
fn recorded(bundle: &Bundle) -> Vec<(String, Value)> {
    let text = fs::read_to_string(bundle.path("hooks").join("log")).unwrap_or_default();
    let mut all: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("hook "), all.last_mut()) {
            (Some(name), _) => all.push((name.to_owned(), String::new())),
            (None, Some((_, state))) => state.push_str(line),
            (None, None) => panic!("{text}"),
        }
    }
    all.into_iter()
        .map(|(name, state)| (name, serde_json::from_str(&state).unwrap_or(Value::String(state))))
        .collect()
}

#[test]
fn hooks_run_in_order_and_at_their_time() {
    let bundle = with_recording_hooks(Bundle::new().args(["probe", "signals"]));
    let names = |bundle: &Bundle| recorded(bundle).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let c = bundle.create();
    let created = [
        "prestart 1",
        "prestart 2",
        "createRuntime 1",
        "createRuntime 2",
        "createContainer 1",
        "createContainer 2",
    ];
    assert_eq!(names(&bundle), created);
    c.start();
    let started = ["startContainer 1", "startContainer 2", "poststart 1", "poststart 2"];
    assert_eq!(names(&bundle), [&created[..], &started].concat());
    c.kill("KILL");
    c.until_stopped();
    assert_eq!(names(&bundle).len(), 10, "poststop ran before delete");
    c.delete();
    assert_eq!(
        names(&bundle),
        [&created[..], &started, &["poststop 1", "poststop 2"]].concat()
    );
}

#[test]
fn hooks_are_told_the_state() {
    let bundle =
        with_recording_hooks(Bundle::new().args(["probe", "sleep"])).edit(|c| c["annotations"] = json!({ "a": "b" }));
    let c = bundle.start();
    let pid = c.pid();
    c.kill("KILL");
    c.until_stopped();
    c.delete();
    let mut wrong = Vec::new();
    for (name, state) in recorded(&bundle) {
        let status = match name.split(' ').next().unwrap() {
            "prestart" | "createRuntime" | "createContainer" => "creating",
            "startContainer" => "created",
            "poststart" => "running",
            _ => "stopped",
        };
        // Inside its pid namespace the process may also be known as 1.
        let pids: &[i32] = match name.split(' ').next().unwrap() {
            "createContainer" | "startContainer" => &[pid, 1],
            "poststop" => &[0, pid],
            _ => &[pid],
        };
        let given = state["pid"].as_i64().unwrap_or(0) as i32;
        let version = state["ociVersion"].as_str().unwrap_or("");
        let ok = state["id"] == c.id.as_str()
            && state["status"] == status
            && pids.contains(&given)
            && state["bundle"] == json!(bundle.dir())
            && state["annotations"] == json!({ "a": "b" })
            && version.starts_with("1.")
            && version.split('.').count() >= 3;
        if !ok {
            wrong.push(format!("{name} (expected {status}, pid of {pids:?}): {state}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn hooks_run_in_their_namespaces() {
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .edit(|c| c["hostname"] = json!("inside"));
    let host = bundle.path("hooks");
    fs::create_dir(&host).unwrap();
    let shared = host.to_str().unwrap();
    let at = |dir: &str, name: &str, path: &str| json!({ "path": path, "args": ["sh", "-c", format!("readlink /proc/self/ns/mnt >{dir}/{name}")], "env": ["PATH=/bin:/usr/bin"] });
    let bundle = bundle
        .mount("/tmp", "bind", shared, &["bind", "rw"])
        .with_hook("createRuntime", at(shared, "createRuntime", "/bin/sh"))
        .with_hook("createContainer", at(shared, "createContainer", "/bin/sh"))
        .with_hook("startContainer", at("/tmp", "startContainer", "/bin/busybox"))
        .with_hook("poststart", at(shared, "poststart", "/bin/sh"));
    std::os::unix::fs::symlink("busybox", bundle.inside("/bin/readlink")).unwrap();
    let c = bundle.start();
    let own = fs::read_link("/proc/self/ns/mnt")
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let inside = fs::read_link(format!("/proc/{}/ns/mnt", c.pid()))
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let seen = |name: &str| {
        fs::read_to_string(host.join(name))
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    assert_eq!(seen("createRuntime"), own);
    assert_eq!(seen("createContainer"), inside);
    assert_eq!(seen("startContainer"), inside);
    assert_eq!(seen("poststart"), own);
}

#[test]
fn hooks_see_only_their_environment() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let out = bundle.path("env");
    let script = format!("tr '\\0' '\\n' </proc/self/environ >{}", out.display());
    let hook = json!({ "path": "/bin/sh", "args": ["hook-name", "-c", script], "env": ["A=1", "B=two words"] });
    let bundle = bundle.with_hook("createRuntime", hook);
    bundle
        .create_cmd(&bundle.fresh_id(), &[])
        .env("SECRET", "of the caller")
        .run()
        .ok();
    // The shell adds PWD and the like for its children only in part; what was given must be there, nothing else of ours.
    let env = fs::read_to_string(&out).unwrap();
    assert!(env.contains("A=1\n") && env.contains("B=two words\n"), "{env}");
    assert!(!env.contains("SECRET") && !env.contains("ORLOP_TEST"), "{env}");
}

#[test]
fn a_failing_start_container_hook_is_the_error_of_start() {
    let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", "echo why it failed >&2; exit 7"] });
    let bundle = Bundle::new()
        .args(["probe", "print", "must not run"])
        .with_hook("startContainer", hook);
    let c = bundle.create();
    let out = c.try_start().fails();
    assert!(out.stderr.contains("startContainer"), "{out:#?}");
    std::thread::sleep(Duration::from_millis(20));
    assert!(!c.stdout().contains("must not run"));
}

#[test]
fn a_failing_create_hook_is_named() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let bundle = Bundle::new()
            .args(["true"])
            .with_host_hook(kind, "echo why it failed >&2; exit 77");
        let out = bundle.create_cmd(&bundle.fresh_id(), &[]).run().fails_with("hook");
        assert!(
            out.stderr
                .split(|c: char| !c.is_alphanumeric())
                .any(|word| word == "77"),
            "the exit status is missing: {out:#?}"
        );
        bundle.assert_clean();
    }
}

#[test]
fn a_failing_create_still_runs_poststop() {
    // "The container is destroyed, and the lifecycle continues with the poststop hooks."
    let bundle = Bundle::new()
        .args(["true"])
        .with_host_hook("poststop", "echo ran >>$OUT");
    let bundle = bundle.with_host_hook("createRuntime", "exit 1");
    bundle.create_cmd(&bundle.fresh_id(), &[]).run().fails();
    assert_eq!(
        fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default(),
        "ran\n"
    );
}

#[test]
fn a_failing_poststart_hook_stops_the_container() {
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .with_host_hook("poststart", "exit 1");
    let bundle = bundle.with_host_hook("poststop", "echo poststop >>$OUT");
    let c = bundle.create();
    let pid = c.pid();
    c.try_start().fails();
    assert!(!alive(pid));
    bundle.orlop(["state", &c.id]).run().fails_with("does not exist");
    assert_eq!(
        fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default(),
        "poststop\n"
    );
}

#[test]
fn a_failing_poststop_hook_is_only_a_warning() {
    let bundle = Bundle::new().args(["true"]).with_host_hook("poststop", "exit 1");
    let bundle = bundle.with_host_hook("poststop", "echo second >>$OUT");
    let c = bundle.start();
    c.until_stopped();
    let out = c.try_delete().ok();
    assert!(out.stderr.contains("poststop"), "no warning: {out:#?}");
    assert_eq!(
        fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default(),
        "second\n"
    );
    bundle.assert_clean();
}

#[test]
fn a_hook_that_takes_too_long_is_killed() {
    let bundle = Bundle::new().args(["true"]);
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "exec sleep 100"], "timeout": 1, "env": [format!("OUT={}", bundle.path("x").display())] });
    let bundle = bundle.with_hook("createRuntime", hook);
    let begun = std::time::Instant::now();
    bundle.create_cmd(&bundle.fresh_id(), &[]).run().fails();
    assert!(begun.elapsed() < Duration::from_secs(5));
    bundle.assert_clean();
}

#[test]
fn hook_paths_and_timeouts_are_validated() {
    for hook in [
        json!({ "path": "bin/true" }),
        json!({ "path": "/bin/true", "timeout": 0 }),
        json!({ "path": "/bin/true", "timeout": -1 }),
    ] {
        let bundle = Bundle::new().args(["true"]).with_hook("poststop", hook.clone());
        let out = bundle.create_cmd(&bundle.fresh_id(), &[]).run();
        assert_ne!(out.code, 0, "accepted {hook}");
        bundle.assert_clean();
    }
}
