//! A create that hangs at any point: the point is visible, and one `delete --force` ends it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::host::kill;
use crate::harness::users::remapped;
use crate::harness::{Bundle, Output, SilentMount, SilentSocket, alive, eventually};
use crate::need;

/// Creates, deletes by force while create hangs, and returns the output of create. `at` is the step that is visible
/// meanwhile.
#[track_caller]
fn deleted(bundle: &Bundle, flags: &[&str], at: &str) -> Output {
    let id = bundle.fresh_id();
    let mut create = bundle.create_cmd(&id, flags).spawn();
    let state = || bundle.orlop(["state", &id]).run();
    eventually(at, || {
        assert!(!create.has_ended(), "create has ended");
        let seen = state();
        seen.code == 0 && seen.json()["step"].as_str().is_some_and(|step| step.contains(at))
    });
    let seen = state().ok().json();
    assert_eq!(seen["status"], "creating");
    let pid = seen["pid"].as_i64().unwrap();
    let listed = bundle.orlop(["list", "--format", "json"]).run().ok().json();
    assert_eq!((&listed[0]["pid"], &listed[0]["step"]), (&seen["pid"], &seen["step"]));
    // Init stays where it is, and the state has its PID.
    assert!(pid == 0 || alive(pid as i32));
    let begun = Instant::now();
    bundle.orlop(["delete", "--force", &id]).run().ok();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let output = create.wait();
    assert!(!bundle.state_root().join(&id).exists());
    assert!(pid == 0 || !alive(pid as i32));
    output
}

fn deleted_meanwhile(output: Output) {
    output.fails_with("the container was deleted while it was being created");
}

#[test]
fn init_in_the_source_of_a_mount() {
    let bundle = Bundle::new().args(["true"]);
    let silent = SilentMount::new(&bundle.path("silent"));
    need!(silent.is_some(), "/dev/fuse");
    let silent = silent.unwrap();
    let bundle = bundle.mount("/data", "none", silent.name().to_str().unwrap(), &["bind"]);
    deleted_meanwhile(deleted(&bundle, &[], "mounts[7] \"/data\""));
    bundle.change(|c| c["process"]["user"] = json!({ "uid": 5, "gid": 5 }));
    let without = ["--cgroup-manager", "disabled"];
    let id = bundle.fresh_id();
    let dir = bundle.dir().to_str().unwrap().to_owned();
    // Init cannot be found through a cgroup here.
    let create = bundle
        .orlop([&without[..], &["create", "--bundle", &dir, &id]].concat())
        .spawn();
    let state = || bundle.orlop(["state", &id]).run();
    eventually("it hangs", || state().stdout.contains("mounts[7]"));
    bundle.orlop(["delete", "--force", &id]).run().ok();
    deleted_meanwhile(create.wait());
    drop(silent);
    bundle.assert_clean();
}

#[test]
fn init_at_its_working_directory() {
    let bundle = Bundle::new().args(["true"]);
    let silent = SilentMount::new(&bundle.inside("/data"));
    need!(silent.is_some(), "/dev/fuse");
    let bundle = bundle.edit(|c| c["process"]["cwd"] = json!("/data/name"));
    deleted_meanwhile(deleted(&bundle, &[], "cwd"));
}

/// The runtime opens the sources of a container in a user namespace itself, and only its end helps then.
#[test]
fn the_runtime_in_the_source_of_a_mount() {
    let bundle = remapped(Bundle::new().args(["true"]));
    let silent = SilentMount::new(&bundle.path("silent"));
    need!(silent.is_some(), "/dev/fuse");
    let silent = silent.unwrap();
    let bundle = bundle.mount("/data", "none", silent.name().to_str().unwrap(), &["bind"]);
    assert_eq!(deleted(&bundle, &[], "mounts[7] \"/data\"").code, 128 + libc::SIGKILL);
}

#[test]
fn the_runtime_at_its_pid_file() {
    let bundle = Bundle::new()
        .args(["true"])
        .with_host_hook("poststop", "echo stopped >$OUT");
    let silent = SilentMount::new(&bundle.path("silent"));
    need!(silent.is_some(), "/dev/fuse");
    let silent = silent.unwrap();
    let name = silent.name();
    let flags = ["--pid-file", name.to_str().unwrap()];
    assert_eq!(deleted(&bundle, &flags, "pid file").code, 128 + libc::SIGKILL);
    assert!(bundle.path("hooks.log").exists(), "no poststop hook");
}

/// The program is executed by a child of the runtime, which has the container's lock until then.
#[test]
fn the_runtime_at_a_hook_that_cannot_be_executed() {
    let bundle = Bundle::new().args(["true"]);
    let silent = SilentMount::new(&bundle.path("silent"));
    need!(silent.is_some(), "/dev/fuse");
    let silent = silent.unwrap();
    let bundle = bundle
        .with_host_hook("createRuntime", "true")
        .with_hook("createRuntime", json!({ "path": silent.name() }));
    deleted(&bundle, &[], "hooks.createRuntime[1]");
}

#[test]
fn the_runtime_at_a_dead_server() {
    let terminal = Bundle::new()
        .args(["true"])
        .edit(|c| c["process"]["terminal"] = json!(true));
    let socket = SilentSocket::new(terminal.path("console.sock"));
    let flags = ["--console-socket", socket.path.to_str().unwrap()];
    assert_eq!(deleted(&terminal, &flags, "console socket").code, 128 + libc::SIGKILL);
    let bundle = Bundle::new().args(["true"]);
    let socket = SilentSocket::new(bundle.path("pidfd.sock"));
    let flags = ["--pidfd-socket", socket.path.to_str().unwrap()];
    assert_eq!(deleted(&bundle, &flags, "pidfd socket").code, 128 + libc::SIGKILL);
}

/// A start holds the lock too.
#[test]
fn a_start_whose_program_does_not_begin() {
    let bundle = Bundle::new()
        .args(["true"])
        .with_host_hook("poststart", "cat >/dev/null; echo $$ >$OUT; exec sleep 100");
    let c = bundle.create();
    let start = bundle.orlop(["start", &c.id]).spawn();
    eventually("the hook runs", || bundle.path("hooks.log").exists());
    let begun = Instant::now();
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    start.wait();
    let hook: i32 = std::fs::read_to_string(bundle.path("hooks.log"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    kill(hook);
}

/// The lines of `--debug` about a create: (process, step) of each, with its time.
fn debug_lines(bundle: &Bundle) -> Vec<(String, String)> {
    let id = bundle.fresh_id();
    let dir = bundle.dir().to_str().unwrap();
    let log = bundle.path("log");
    let log = log.to_str().unwrap();
    let flags = [
        "--debug",
        "--log",
        log,
        "--log-format",
        "json",
        "run",
        "--bundle",
        dir,
        &id,
    ];
    bundle.orlop(flags).run().ok();
    let text = std::fs::read_to_string(log).unwrap();
    text.lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["level"], "debug");
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("time"), text("msg"))
        })
        .collect()
}

#[test]
fn the_log_has_the_beginning_and_time_of_each_step() {
    let bundle = Bundle::new()
        .args(["true"])
        .with_host_hook("prestart", "sleep 0.02")
        .with_host_hook("poststart", "true");
    let lines = debug_lines(&bundle);
    let said: Vec<&str> = lines.iter().map(|(_, text)| text.as_str()).collect();
    for line in [
        "runtime: bundle",
        "runtime: clone",
        "runtime: network",
        "runtime: device rules",
        "init: mounts",
        "init: mounts[1] \"/dev\"",
        "init: pivot",
        "runtime: hooks.prestart[0] \"/bin/sh\"",
        "runtime: start",
        "runtime: hooks.poststart[0] \"/bin/sh\"",
    ] {
        assert_eq!(
            said.iter().filter(|said| **said == line).count(),
            1,
            "{line}: {said:#?}"
        );
    }
    for total in ["runtime: created after ", "runtime: started after "] {
        assert!(said.iter().any(|line| line.starts_with(total)), "{said:#?}");
    }
    assert!(said.iter().all(|line| !line.contains(": 0 µs")), "{said:#?}");
    // Each line has the time when it was written: the runtime reads init's lines while its hook runs, or later.
    let seconds = |time: &str| {
        let parts = time.trim_end_matches('Z')[11..].split(':');
        parts.fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap())
    };
    let time = |what: &str| seconds(&lines.iter().find(|(_, line)| line == what).unwrap().0);
    assert!(time("init: runtime hooks") < time("runtime: hooks.prestart[0] \"/bin/sh\""));
    assert!(time("runtime: hooks.prestart[0] \"/bin/sh\"") < time("init: pivot"));
    for walker in ["init", "runtime"] {
        let own = lines.iter().filter(|(_, line)| line.starts_with(walker));
        let times: Vec<f64> = own.map(|(time, _)| seconds(time)).collect();
        assert!(times.is_sorted(), "{times:#?}");
    }
}
