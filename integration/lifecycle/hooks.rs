//! Hooks: when each kind runs, in which namespaces, and what it is told.

use std::fs;

use serde_json::{Value, json};

use crate::harness::Bundle;

/// Every hook appends its name and the state to one file, which is also visible inside the container.
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
fn hooks_run_in_order_and_at_the_right_time() {
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
fn hooks_get_the_state() {
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
            "createRuntime" | "createContainer" => "creating",
            "prestart" | "startContainer" => "created",
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

/// A hook on the host that writes the output of a script to a file; the state is on its standard input.
fn with_report(bundle: Bundle, kind: &str, script: &str) -> Bundle {
    let file = bundle.path(kind);
    let script = format!(
        "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); {{ {script}; }} >{} 2>&1",
        file.display()
    );
    let hook =
        json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] });
    bundle.with_hook(kind, hook)
}

fn report(bundle: &Bundle, kind: &str) -> String {
    fs::read_to_string(bundle.path(kind)).unwrap_or_default()
}

/// runtime.md: createRuntime hooks run "after the runtime environment has been created ... but before pivot_root".
#[test]
fn create_runtime_hooks_see_namespaces_and_mounts_before_the_pivot() {
    let mut bundle = Bundle::new().args(["probe", "sleep"]);
    for kind in ["prestart", "createRuntime"] {
        bundle = with_report(bundle, kind, "cat /proc/$pid/mountinfo; readlink /proc/$pid/ns/mnt");
    }
    let c = bundle.create();
    let inside = fs::read_link(format!("/proc/{}/ns/mnt", c.pid())).unwrap();
    for kind in ["prestart", "createRuntime"] {
        let text = report(&bundle, kind);
        assert!(text.contains(inside.to_str().unwrap()), "{kind}: {text}");
        // The host's paths are still valid.
        for place in ["/proc", "/dev/pts", "/sys/fs/cgroup"] {
            let path = bundle.inside(place);
            assert!(
                text.contains(&format!(" {} ", path.display())),
                "{kind}: {place} is not mounted: {text}"
            );
        }
    }
}

/// The path of a createContainer hook "MUST resolve in the runtime namespace", and it runs in the container's, before
/// pivot_root.
#[test]
fn create_container_hooks_run_host_programs_inside_before_the_pivot() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let bundle = with_report(
        bundle,
        "createContainer",
        "cat /proc/self/mountinfo; hostname; cat $0; echo $$",
    );
    let bundle = bundle.edit(|c| c["hostname"] = json!("inside"));
    let c = bundle.create();
    let text = report(&bundle, "createContainer");
    let proc = bundle.inside("/proc");
    assert!(text.contains(&format!(" {} ", proc.display())), "{text}");
    assert!(text.lines().any(|line| line == "inside"), "{text}");
    assert_eq!(c.status(), "created");
}

/// "before the user-specified process is executed", in the container, after `start` was called.
#[test]
fn start_container_hooks_run_inside_just_before_the_program() {
    let bundle = Bundle::new().sh("echo program >>/tmp/log; exec probe sleep");
    let host = bundle.path("shared");
    fs::create_dir(&host).unwrap();
    let script = "echo hook $$ $(cat /etc/who) >>/tmp/log";
    let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", script], "env": ["PATH=/bin"] });
    let bundle = bundle
        .mount("/tmp", "bind", host.to_str().unwrap(), &["bind", "rw"])
        .with_hook("startContainer", hook);
    fs::write(bundle.inside("/etc/who"), "image").unwrap();
    let c = bundle.create();
    assert!(!host.join("log").exists(), "before start");
    c.start();
    c.until("ready");
    // A child of init in its pid namespace, so not 1.
    let log = fs::read_to_string(host.join("log")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert!(
        lines[0].starts_with("hook ") && lines[0].ends_with(" image") && lines[0] != "hook 1 image",
        "{log}"
    );
    assert_eq!(lines[1..], ["program"]);
}

/// "after the user-specified process is executed but before the start operation returns".
#[test]
fn poststart_hooks_run_after_the_program_is_executed() {
    let bundle = with_report(
        Bundle::new().args(["probe", "sleep"]),
        "poststart",
        "cat /proc/$pid/cmdline",
    );
    let c = bundle.create();
    assert_eq!(report(&bundle, "poststart"), "");
    c.start();
    assert_eq!(report(&bundle, "poststart"), "probe\0sleep\0");
}

/// "after the container is deleted but before the delete operation returns".
#[test]
fn poststop_hooks_run_after_the_container_is_deleted() {
    let bundle = Bundle::new().args(["true"]);
    let state = bundle.state_root();
    let bundle = with_report(bundle, "poststop", &format!("ls -A {}", state.display()));
    let c = bundle.start();
    c.until_stopped();
    assert!(!bundle.path("poststop").exists());
    c.delete();
    assert!(bundle.path("poststop").exists());
    assert_eq!(
        report(&bundle, "poststop"),
        "",
        "the container's directory is still there"
    );
}

/// The state as runtime.md and the schema have it, and pid as the hook's own namespace counts.
#[test]
fn the_state_of_hooks_follows_the_schema() {
    let bundle = with_recording_hooks(Bundle::new().args(["probe", "sleep"]));
    let c = bundle.start();
    let pid = c.pid();
    c.kill("KILL");
    c.until_stopped();
    c.delete();
    let states = recorded(&bundle);
    assert_eq!(states.len(), 12);
    for (name, state) in states {
        let kind = name.split(' ').next().unwrap();
        let state = state.as_object().unwrap_or_else(|| panic!("{name}: {state}"));
        for required in ["ociVersion", "id", "status", "bundle"] {
            assert!(state[required].is_string(), "{name}: {required}");
        }
        let known = ["ociVersion", "id", "status", "pid", "bundle", "annotations"];
        assert!(
            state.keys().all(|key| known.contains(&key.as_str())),
            "{name}: {state:?}"
        );
        let expected = match kind {
            "createContainer" | "startContainer" => json!(1),
            "poststop" => json!(0),
            _ => json!(pid),
        };
        assert_eq!(state.get("pid").unwrap_or(&json!(0)), &expected, "{name}");
        assert!(
            std::path::Path::new(state["bundle"].as_str().unwrap()).is_absolute(),
            "{name}"
        );
    }
}
