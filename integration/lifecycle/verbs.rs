//! The verbs and the states between them: run, create, start, state, kill, delete, pause, list.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Bundle, alive, eventually};

#[test]
fn run_returns_the_exit_code() {
    for code in [0, 1, 3, 126, 255] {
        let out = Bundle::new().args(["probe", "exit", &code.to_string()]).run();
        assert_eq!(out.code, code, "{out:#?}");
    }
}

#[test]
fn run_returns_128_plus_the_signal() {
    // A fault kills even pid 1 of a pid namespace.
    assert_eq!(Bundle::new().args(["probe", "kill-self", "11"]).run().code, 128 + 11);
    let bundle = Bundle::new()
        .args(["probe", "kill-self", "15"])
        .without_namespace("pid");
    assert_eq!(bundle.run().code, 128 + 15);
}

#[test]
fn run_leaves_nothing_known() {
    let bundle = Bundle::new().args(["true"]);
    bundle.run().ok();
    let id = bundle.fresh_id();
    bundle
        .orlop(["run", "--bundle", bundle.dir().to_str().unwrap(), &id])
        .run()
        .ok();
    bundle.orlop(["state", &id]).run().fails_with("does not exist");
    bundle.assert_clean();
}

#[test]
fn run_passes_stdin_and_stdout() {
    let out = Bundle::new()
        .args(["probe", "read-stdin"])
        .run_cmd(&[])
        .stdin("from the caller\n")
        .run()
        .ok();
    assert_eq!(out.stdout, "from the caller\n<eof>\n");
}

#[test]
fn run_keeps_stderr_apart() {
    let out = Bundle::new().sh("echo out; echo err >&2").run().ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn run_forwards_signals() {
    let bundle = Bundle::new().args(["probe", "signals"]);
    let mut run = bundle.run_cmd(&[]).spawn();
    run.until("ready");
    for (signal, name) in [(libc::SIGUSR1, "USR1"), (libc::SIGHUP, "HUP"), (libc::SIGINT, "INT")] {
        run.signal(signal);
        run.until(name);
    }
    // Of no concern to the container, or none at all, and never the end of the runtime.
    for signal in [libc::SIGWINCH, libc::SIGURG, libc::SIGCHLD, libc::SIGPIPE] {
        run.signal(signal);
    }
    std::thread::sleep(Duration::from_millis(30));
    assert!(!run.has_ended());
    run.signal(libc::SIGTERM);
    let out = run.wait().ok();
    assert!(!out.stdout.contains("URG") && !out.stdout.contains("CHLD"), "{out:#?}");
}

#[test]
fn run_detached_returns_at_once() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let id = bundle.fresh_id();
    let pid_file = bundle.path("pid");
    let dir = bundle.dir().to_str().unwrap();
    let pid_path = pid_file.to_str().unwrap();
    bundle
        .orlop(["run", "--detach", "--bundle", dir, "--pid-file", pid_path, &id])
        .run()
        .ok();
    let state = bundle.orlop(["state", &id]).run().ok().json();
    assert_eq!(state["status"], "running");
    assert_eq!(fs::read_to_string(&pid_file).unwrap().trim(), state["pid"].to_string());
    bundle.orlop(["delete", "--force", &id]).run().ok();
    bundle.orlop(["state", &id]).run().fails_with("does not exist");
}

#[test]
fn run_keep_keeps_the_stopped_container() {
    let bundle = Bundle::new().args(["probe", "exit", "4"]);
    let id = bundle.fresh_id();
    let out = bundle
        .orlop(["run", "--keep", "--bundle", bundle.dir().to_str().unwrap(), &id])
        .run();
    assert_eq!(out.code, 4, "{out:#?}");
    assert_eq!(bundle.orlop(["state", &id]).run().ok().json()["status"], "stopped");
    bundle.orlop(["delete", &id]).run().ok();
}

#[test]
fn run_reports_a_kill_from_outside() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let id = bundle.fresh_id();
    let mut run = bundle
        .orlop(["run", "--bundle", bundle.dir().to_str().unwrap(), &id])
        .spawn();
    run.until("ready");
    bundle.orlop(["kill", &id, "KILL"]).run().ok();
    assert_eq!(run.wait().code, 128 + 9);
}

#[test]
fn a_life_from_create_to_delete() {
    let bundle = Bundle::new().args(["probe", "signals"]);
    let c = bundle.create();
    assert_eq!(c.status(), "created");
    assert!(alive(c.pid()));
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(c.stdout(), "", "the program ran before start");
    c.start();
    c.until("ready");
    assert_eq!(c.status(), "running");
    c.kill("TERM");
    c.until("TERM");
    c.until_stopped();
    c.delete();
    bundle.orlop(["state", &c.id]).run().fails_with("does not exist");
    bundle.assert_clean();
}

#[test]
fn state_has_the_fields_of_the_specification() {
    let bundle = Bundle::new().args(["probe", "sleep"]).edit(|c| {
        c["annotations"] = json!({ "org.example.key": "value", "with=equals": "a=b" });
    });
    let c = bundle.start();
    let state = c.state();
    assert_eq!(state["id"], json!(c.id));
    assert_eq!(state["status"], "running");
    assert_eq!(state["bundle"], json!(bundle.dir()));
    assert_eq!(
        state["annotations"],
        json!({ "org.example.key": "value", "with=equals": "a=b" })
    );
    assert!(alive(state["pid"].as_i64().unwrap() as i32));
    let version = state["ociVersion"].as_str().unwrap();
    assert!(
        version.starts_with("1.") && version.split('.').count() >= 3,
        "{version}"
    );
    let cmdline = fs::read_to_string(format!("/proc/{}/cmdline", state["pid"])).unwrap();
    assert_eq!(cmdline, "probe\0sleep\0");
}

#[test]
fn a_stopped_container_has_no_pid() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.start();
    c.until_stopped();
    let pid = &c.state()["pid"];
    assert!(pid.is_null() || pid == 0, "{pid}");
    c.delete();
}

#[test]
fn bundle_defaults_to_the_current_directory_and_may_be_relative() {
    let bundle = Bundle::new().args(["true"]);
    let id = bundle.fresh_id();
    bundle.orlop(["create", &id]).cwd(bundle.dir()).run().ok();
    assert_eq!(
        bundle.orlop(["state", &id]).run().ok().json()["bundle"],
        json!(bundle.dir())
    );

    let id = bundle.fresh_id();
    let name = bundle.dir().file_name().unwrap().to_str().unwrap();
    bundle
        .orlop(["create", "--bundle", name, &id])
        .cwd(bundle.dir().parent().unwrap())
        .run()
        .ok();
    assert_eq!(
        bundle.orlop(["state", &id]).run().ok().json()["bundle"],
        json!(bundle.dir())
    );
}

#[test]
fn delete_ends_a_created_container() {
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .with_host_hook("poststop", "echo poststop >>$OUT");
    let c = bundle.create();
    let pid = c.pid();
    c.delete();
    assert!(!alive(pid), "delete returned before the process was gone");
    assert_eq!(fs::read_to_string(bundle.path("hooks.log")).unwrap(), "poststop\n");
    bundle.assert_clean();
}

#[test]
fn a_strict_delete_refuses_a_created_container() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.create();
    let pid = c.pid();
    bundle
        .orlop(["--strict", "delete", &c.id])
        .run()
        .fails_with("not stopped: created");
    assert_eq!(c.status(), "created");
    assert_eq!(c.pid(), pid);
    c.start();
    c.until("ready");
}

#[test]
fn delete_refuses_a_running_container() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let pid = c.pid();
    c.try_delete().fails();
    assert_eq!(c.status(), "running");
    assert!(alive(pid));
}

#[test]
fn delete_by_force_ends_created_and_running_containers() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    for started in [false, true] {
        let c = bundle.create();
        if started {
            c.start();
        }
        let pid = c.pid();
        bundle.orlop(["delete", "--force", &c.id]).run().ok();
        assert!(!alive(pid), "delete returned before the process was gone");
        bundle.assert_clean();
    }
}

#[test]
fn delete_by_force_of_an_unknown_container_is_silent() {
    let bundle = Bundle::new();
    let out = bundle.orlop(["delete", "--force", "never-existed"]).run().ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
}

#[test]
fn verbs_name_an_unknown_container() {
    let bundle = Bundle::new();
    for verb in ["state", "start", "kill", "delete"] {
        bundle.orlop([verb, "never-existed"]).run().fails_with("does not exist");
    }
    bundle.orlop(["state"]).run().fails();
}

#[test]
fn a_taken_id_is_refused_and_its_container_untouched() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.create();
    let before = c.state();
    bundle.create_cmd(&c.id, &[]).run().fails_with("exist");
    assert_eq!(c.state(), before);
    c.start();
    c.until("ready");
    bundle.create_cmd(&c.id, &[]).run().fails_with("exist");
    bundle
        .orlop(["run", "--bundle", bundle.dir().to_str().unwrap(), &c.id])
        .run()
        .fails_with("exist");
    assert_eq!(c.status(), "running");
    assert_eq!(c.pid(), before["pid"].as_i64().unwrap() as i32);
}

#[test]
fn of_eight_racing_creates_one_wins() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    for _ in 0..3 {
        let id = bundle.fresh_id();
        let racing: Vec<_> = (0..8).map(|_| bundle.create_cmd(&id, &[]).spawn()).collect();
        let outputs: Vec<_> = racing.into_iter().map(|r| r.wait()).collect();
        let winners = outputs.iter().filter(|o| o.code == 0).count();
        assert_eq!(winners, 1, "{outputs:#?}");
        assert_eq!(bundle.orlop(["state", &id]).run().ok().json()["status"], "created");
        bundle.orlop(["start", &id]).run().ok();
        bundle.orlop(["delete", "--force", &id]).run().ok();
        bundle.assert_clean();
    }
}

#[test]
fn invalid_ids_are_refused_by_every_verb() {
    let bundle = Bundle::new().args(["true"]);
    // What a traversal would hit.
    let victim = bundle.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("state.json"), "{}").unwrap();
    let long = "x".repeat(1025);
    let dir = bundle.dir().to_str().unwrap();
    for id in ["", ".", "..", "../victim", "a/b", "/victim", "a b", "a\nb", "ä", &long] {
        for verb in ["state", "start", "kill", "delete"] {
            bundle.orlop([verb, "--", id]).run().fails();
        }
        bundle.orlop(["create", "--bundle", dir, "--", id]).run().fails();
        bundle.orlop(["run", "--bundle", dir, "--", id]).run().fails();
    }
    assert!(victim.join("state.json").exists());
    bundle.assert_clean();
}

#[test]
fn ids_of_all_allowed_characters_work() {
    let bundle = Bundle::new().args(["true"]);
    let id = format!("{}_A-z+0.9", bundle.fresh_id());
    bundle
        .orlop(["run", "--bundle", bundle.dir().to_str().unwrap(), &id])
        .run()
        .ok();
}

#[test]
fn start_works_once() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    c.until("ready");
    c.try_start().fails();
    assert_eq!(c.status(), "running");
    c.kill("KILL");
    c.until_stopped();
    c.try_start().fails();
    assert_eq!(c.status(), "stopped");
    c.delete();
}

#[test]
fn racing_starts_run_the_program_once() {
    let bundle = Bundle::new().sh("echo started; sleep 100");
    let c = bundle.create();
    let racing: Vec<_> = (0..6).map(|_| bundle.orlop(["start", &c.id]).spawn()).collect();
    let codes: Vec<i32> = racing.into_iter().map(|r| r.wait().code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    c.until("started");
    assert_eq!(c.status(), "running");
}

#[test]
fn kill_takes_names_numbers_and_defaults_to_term() {
    let bundle = Bundle::new().args(["probe", "signals"]);
    let c = bundle.start();
    c.until("ready");
    for (signal, name) in [("USR1", "USR1"), ("SIGUSR2", "USR2"), ("1", "HUP"), ("2", "INT")] {
        c.kill(signal);
        c.until(name);
    }
    assert_eq!(
        c.status(),
        "running",
        "a signal that the program handles does not stop the container"
    );
    for wrong in ["NOPE", "SIGNOPE", "999", "-1", "", "TERM "] {
        c.try_kill(&["--", wrong]).fails();
    }
    assert!(!c.stdout().contains("TERM"));
    c.try_kill(&[]).ok();
    c.until("TERM");
    c.until_stopped();
}

#[test]
fn kill_of_a_created_container_works() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.create();
    c.kill("KILL");
    c.until_stopped();
    c.try_start().fails();
    c.delete();
}

#[test]
fn kill_of_a_stopped_container_is_refused() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.start();
    c.until_stopped();
    c.try_kill(&["TERM"]).fails_with("not running");
    c.try_kill(&["KILL"]).fails_with("not running");
    c.delete();
}

#[test]
fn kill_all_reaches_every_process() {
    let bundle = Bundle::new().args(["probe", "fork-tree", "5"]).without_namespace("pid");
    let c = bundle.start();
    c.until("ready");
    bundle.orlop(["kill", "--all", &c.id, "KILL"]).run().ok();
    c.until_stopped();
    eventually("every process of the container dies", || {
        bundle.leaks().iter().all(|leak| !leak.starts_with("process"))
    });
    c.delete();
}

#[test]
fn without_a_pid_namespace_the_end_of_init_leaves_no_process() {
    let bundle = Bundle::new().args(["probe", "fork-tree", "5"]).without_namespace("pid");
    let c = bundle.start();
    c.until("ready");
    c.kill("KILL");
    c.until_stopped();
    c.delete();
    bundle.assert_clean();
}

#[test]
fn a_killed_init_is_a_stopped_container() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let pid = c.pid();
    unsafe { libc::kill(pid, libc::SIGKILL) };
    c.until_stopped();
    c.try_kill(&["TERM"]).fails_with("not running");
    c.delete();
}

#[test]
fn list_shows_containers_in_three_forms() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let (a, b) = (bundle.create(), bundle.start());
    let table = bundle.orlop(["list"]).run().ok().stdout;
    let mut lines = table.lines();
    let head: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    let line = lines.find(|line| line.contains(&b.id)).unwrap();
    let row: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        row[..4],
        [&b.id, &b.pid().to_string(), "running", bundle.dir().to_str().unwrap()]
    );

    let json = bundle.orlop(["list", "--format", "json"]).run().ok().json();
    let entry = json
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["id"] == a.id.as_str())
        .unwrap()
        .clone();
    assert_eq!(entry["status"], "created");
    assert_eq!(entry["pid"], a.pid());
    assert_eq!(entry["bundle"], json!(bundle.dir()));
    assert_eq!(entry["owner"], "root");
    assert!(entry["created"].as_str().unwrap().contains('T'), "{entry}");

    let quiet = bundle.orlop(["list", "--quiet"]).run().ok().stdout;
    let mut ids: Vec<&str> = quiet.lines().collect();
    ids.sort_unstable();
    assert_eq!(ids, [a.id.as_str(), b.id.as_str()]);
}

#[test]
fn list_of_nothing_is_empty() {
    let bundle = Bundle::new();
    std::fs::create_dir_all(bundle.state_root()).unwrap();
    assert_eq!(bundle.orlop(["list", "--quiet"]).run().ok().stdout, "");
    bundle.orlop(["list", "--format", "json"]).run().ok().json();
}

/// Engines that hear of the end of the first process while they start it do not look for the rest.
#[test]
fn start_leaves_nothing_of_a_first_process_that_ends_at_once() {
    let bundle = Bundle::new().without_namespace("pid").sh("sleep 1000 & exec true");
    let c = bundle.create();
    let procs = format!("/sys/fs/cgroup/{}/cgroup.procs", c.id);
    c.start();
    eventually("nothing is left", || fs::read_to_string(&procs).unwrap().is_empty());
    assert_eq!(c.status(), "stopped");
    // One that stays keeps its children.
    let bundle = Bundle::new().without_namespace("pid").sh("sleep 1000 & sleep 1000");
    let c = bundle.start();
    let procs = format!("/sys/fs/cgroup/{}/cgroup.procs", c.id);
    eventually("both run", || fs::read_to_string(&procs).unwrap().lines().count() >= 2);
    assert_eq!(c.status(), "running");
}
