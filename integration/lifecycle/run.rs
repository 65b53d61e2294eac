//! `run`: exit codes, streams, signals, and what is left when it ends.

use std::fs::{self};

use crate::harness::{Bundle, eventually};

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
fn run_leaves_no_state() {
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
    // They are not for the container, or not signals of others at all, and never end the runtime.
    for signal in [libc::SIGWINCH, libc::SIGURG, libc::SIGCHLD, libc::SIGPIPE] {
        run.signal(signal);
    }
    // The runtime takes pending signals in the order of their numbers, and this is the highest: it has handled the others.
    run.signal(libc::SIGPWR);
    run.until(&libc::SIGPWR.to_string());
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

/// Without a separate PID namespace the runtime is the reaper of a container's orphans.
#[test]
fn orphans_are_reaped_by_a_run_in_the_foreground() {
    let script = "sh -c 'sleep 0.05 & echo orphan $!'; echo ready; exec sleep 100";
    for subreaper in [true, false] {
        let bundle = Bundle::new().sh(script).without_namespace("pid");
        let flags: &[&str] = if subreaper { &[] } else { &["--no-subreaper"] };
        let mut run = bundle.run_cmd(flags).spawn();
        run.until("ready");
        let said = run.stdout();
        let orphan = said.lines().find_map(|line| line.strip_prefix("orphan ")).unwrap();
        let stat = || fs::read_to_string(format!("/proc/{orphan}/stat")).unwrap_or_default();
        if subreaper {
            let parent: Vec<String> = stat().split(' ').map(String::from).collect();
            assert!(parent.len() < 4 || parent[3] == run.pid().to_string(), "{parent:?}");
        }
        eventually("the orphan is no zombie", || stat().is_empty());
        assert!(!run.has_ended());
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait().code, 128 + libc::SIGTERM);
    }
}
