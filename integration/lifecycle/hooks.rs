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

/// A hook on the host that leaves what a script says in a file; the state is on its standard input.
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
        // The host's paths are still the paths.
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
fn create_container_hooks_are_the_hosts_programs_inside_before_the_pivot() {
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
fn poststart_hooks_find_the_program_executed() {
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
fn poststop_hooks_find_the_container_deleted() {
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
fn the_state_of_hooks_is_that_of_the_schema() {
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

/// config.md, `args`: "with the same semantics as execv's argv", so the first is the name.
#[test]
fn a_hooks_first_argument_is_its_name() {
    let bundle = Bundle::new().args(["true"]);
    let out = bundle.path("name");
    let script = format!("tr '\\0' '|' </proc/$$/cmdline >{}", out.display());
    let bundle = bundle
        .with_hook(
            "createRuntime",
            json!({ "path": "/bin/sh", "args": ["any name", "-c", script], "env": ["PATH=/usr/bin:/bin"] }),
        )
        .with_hook("createRuntime", json!({ "path": "/bin/true" }));
    bundle.run().ok();
    assert!(fs::read_to_string(out).unwrap().starts_with("any name|-c|"));
}

#[test]
fn what_a_failing_hook_said_is_in_the_error() {
    for kind in ["prestart", "createRuntime", "createContainer", "poststart"] {
        let bundle = Bundle::new()
            .args(["probe", "sleep"])
            .with_host_hook(kind, "echo to the one; echo to the other >&2; exit 9");
        let out = bundle.run().fails_with(&format!("hooks.{kind}[0]"));
        for text in ["to the one", "to the other", "9"] {
            assert!(out.stderr.contains(text), "{kind}: no {text:?}: {out:#?}");
        }
        bundle.assert_clean();
    }
    let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", "echo from inside >&2; exit 9"] });
    let bundle = Bundle::new().args(["true"]).with_hook("startContainer", hook);
    let out = bundle.run().fails_with("hooks.startContainer[0]");
    assert!(out.stderr.contains("from inside"), "{out:#?}");
}

/// "If any startContainer hook fails, the runtime MUST generate an error, stop the container, and continue the lifecycle at
/// step 12": it is destroyed, and poststop hooks run.
#[test]
fn a_failing_start_container_hook_destroys_the_container() {
    let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", "exit 7"] });
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .with_hook("startContainer", hook)
        .with_host_hook("poststart", "echo poststart >>$OUT")
        .with_host_hook("poststop", "echo poststop >>$OUT");
    let c = bundle.create();
    let pid = c.pid();
    c.try_start().fails_with("startContainer");
    assert!(!alive(pid));
    bundle.orlop(["state", &c.id]).run().fails_with("does not exist");
    assert_eq!(
        fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default(),
        "poststop\n"
    );
    bundle.assert_clean();
}

/// The hooks after one that has failed do not run, those of poststop do.
#[test]
fn a_failing_hook_is_the_last_of_its_kind() {
    for kind in ["prestart", "createRuntime", "createContainer", "poststart"] {
        let bundle = Bundle::new()
            .args(["probe", "sleep"])
            .with_host_hook(kind, "echo first >>$OUT; exit 1")
            .with_host_hook(kind, "echo second >>$OUT")
            .with_host_hook("poststop", "echo poststop >>$OUT");
        bundle.run().fails_with(kind);
        let log = fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default();
        assert_eq!(log, "first\npoststop\n", "{kind}");
    }
}

#[test]
fn the_timeout_holds_for_every_kind() {
    for kind in ["prestart", "createContainer", "poststart", "startContainer"] {
        let path = if kind == "startContainer" {
            "/bin/busybox"
        } else {
            "/bin/sh"
        };
        let hook = json!({ "path": path, "args": ["sh", "-c", "exec sleep 100"], "timeout": 1,
                           "env": ["PATH=/usr/bin:/bin"] });
        let bundle = Bundle::new().args(["probe", "sleep"]).with_hook(kind, hook);
        let begun = std::time::Instant::now();
        bundle.run().fails_with("timeout of 1 s");
        let taken = begun.elapsed();
        assert!(
            taken > Duration::from_millis(900) && taken < Duration::from_secs(8),
            "{kind}: {taken:?}"
        );
        bundle.assert_clean();
    }
    // A hook that is in time is not waited for any longer.
    let hook = json!({ "path": "/bin/true", "timeout": 1000 });
    Bundle::new().args(["true"]).with_hook("createRuntime", hook).run().ok();
}

/// Nothing of the runtime's own is open in a hook, on either side, nor what was meant for the container's process.
#[test]
fn hooks_have_only_their_standard_streams() {
    let mut bundle = Bundle::new().args(["probe", "sleep", "0"]);
    let host = bundle.inside("/bin/probe");
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let file = bundle.path(kind);
        let script = format!("exec {} facts >{} 2>&1", host.display(), file.display());
        bundle = bundle.with_hook(kind, json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
    }
    let dir = bundle.path("shared");
    fs::create_dir(&dir).unwrap();
    let script = "exec /bin/probe facts >/tmp/startContainer 2>&1";
    let bundle = bundle
        .mount("/tmp", "bind", dir.to_str().unwrap(), &["bind", "rw"])
        .with_hook(
            "startContainer",
            json!({ "path": "/bin/busybox", "args": ["sh", "-c", script] }),
        );
    let cmd = bundle.run_cmd(&["--preserve-fds", "1"]);
    cmd.pass_fd(fs::File::open("/dev/zero").unwrap(), 3).run().ok();
    for file in [
        bundle.path("prestart"),
        bundle.path("createRuntime"),
        bundle.path("createContainer"),
        dir.join("startContainer"),
        bundle.path("poststart"),
        bundle.path("poststop"),
    ] {
        let text = fs::read_to_string(&file).unwrap();
        let facts: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}: {text}", file.display()));
        let numbers: Vec<&String> = facts["fds"].as_object().unwrap().keys().collect();
        assert_eq!(numbers, ["0", "1", "2"], "{}", file.display());
        assert_eq!(facts["argv"][1], "facts");
        // The shell adds PWD and the like.
        assert!(!facts["env"].to_string().contains("ORLOP_TEST"), "{}", facts["env"]);
    }
}

/// The hooks of `start` and `delete` too, whose caller's descriptors were nobody's concern so far.
#[test]
fn hooks_of_start_and_delete_inherit_nothing() {
    let mut bundle = Bundle::new().args(["probe", "sleep"]);
    let host = bundle.inside("/bin/probe");
    for kind in ["poststart", "poststop"] {
        let script = format!("exec {} facts >{} 2>&1", host.display(), bundle.path(kind).display());
        bundle = bundle.with_hook(kind, json!({ "path": "/bin/sh", "args": ["sh", "-c", script] }));
    }
    let c = bundle.create();
    for (verb, kind) in [
        (&["start"] as &[&str], "poststart"),
        (&["delete", "--force"], "poststop"),
    ] {
        let mut cmd = bundle.orlop([verb, &[&c.id]].concat());
        for number in [3, 9, 100] {
            cmd = cmd.pass_fd(fs::File::open("/").unwrap(), number);
        }
        cmd.run().ok();
        let facts: Value = serde_json::from_str(&fs::read_to_string(bundle.path(kind)).unwrap()).unwrap();
        let numbers: Vec<&String> = facts["fds"].as_object().unwrap().keys().collect();
        assert_eq!(numbers, ["0", "1", "2"], "{kind}");
    }
}

/// A startContainer hook is a program of the image's, and so is what it says.
#[test]
fn what_a_hook_says_reaches_no_terminal_unescaped() {
    let script = r"printf '\033[2Jred\r\norlop: error: forged\n\302\233mtail'; exit 1";
    let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", script] });
    let bundle = Bundle::new().args(["true"]).with_hook("startContainer", hook);
    let out = bundle
        .run()
        .fails_with(r"output: \x1b[2Jred\r\norlop: error: forged\n\u009bmtail");
    assert!(!out.stderr.contains(['\u{1b}', '\r', '\u{9b}']), "{:?}", out.stderr);
    assert!(!out.stderr.contains("\norlop: error: forged"), "{:?}", out.stderr);
    // Nor that of an engine's user.
    let log = bundle.path("log");
    let (id, dir) = (bundle.fresh_id(), bundle.dir().to_str().unwrap());
    let run = [
        "--log",
        log.to_str().unwrap(),
        "--log-format",
        "json",
        "run",
        "--bundle",
        dir,
        &id,
    ];
    bundle.orlop(run).run().fails();
    let line: Value = serde_json::from_str(fs::read_to_string(&log).unwrap().lines().last().unwrap()).unwrap();
    let message = line["msg"].as_str().unwrap();
    assert!(!message.contains(['\u{1b}', '\r', '\n']), "{message}");
}
