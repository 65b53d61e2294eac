//! How a process of `exec` ends or fails to start: exit codes, failures, signals, streams.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::harness::exec::{detached, exec_cmd, idle, link};
use crate::harness::{alive, eventually};

#[test]
fn the_exit_code_is_the_programs() {
    let bundle = idle();
    let c = bundle.start();
    for (command, code) in [
        (&["probe", "exit", "0"], 0),
        (&["probe", "exit", "7"], 7),
        (&["probe", "exit", "255"], 255),
        (&["probe", "kill-self", "9"], 137),
        (&["probe", "kill-self", "15"], 143),
    ] {
        assert_eq!(exec_cmd(&c, &[], command).run().code, code, "{command:?}");
    }
}

#[test]
fn a_failure_of_the_runtime_is_255() {
    let bundle = idle();
    fs::write(bundle.inside("/etc/data"), "no program").unwrap();
    let c = bundle.start();
    let of = |words: &[&str], text: &str| {
        let out = bundle.orlop(words).run().fails_with(text);
        assert_eq!(out.code, 255, "{out:#?}");
        assert_eq!(out.stdout, "", "{out:#?}");
    };
    of(&["exec", "nobody", "true"], "container does not exist");
    of(&["exec", &c.id], "exec args cannot be empty");
    of(&["exec", &c.id, "--"], "exec args cannot be empty");
    of(&["exec", &c.id, ""], "must not be empty");
    of(&["exec"], "ID");
    of(&["exec", "--nonsense", &c.id, "true"], "--nonsense");
    of(&["exec", &c.id, "nosuch"], "executable file not found in $PATH");
    of(&["exec", &c.id, "/no/such"], "no such file or directory");
    of(&["exec", &c.id, "/etc/data"], "permission denied");
    of(&["exec", &c.id, "/etc"], "is a directory: permission denied");
    of(
        &["exec", "--detach", &c.id, "nosuch"],
        "executable file not found in $PATH",
    );
    of(&["exec", "--cwd", "/no/such", &c.id, "true"], "/no/such");
    of(&["exec", "--cwd", "/etc/data", &c.id, "true"], "ENOTDIR");
    of(&["exec", "--cwd", "tmp", &c.id, "true"], "absolute");
    of(&["exec", "--env", "NOVALUE", &c.id, "true"], "NOVALUE");
    of(&["exec", "--env", "=x", &c.id, "true"], "NAME=VALUE");
    of(&["exec", "--cap", "CAP_NONSENSE", &c.id, "true"], "CAP_NONSENSE");
    of(&["exec", "--apparmor", "nonsense", &c.id, "true"], "apparmor");
    of(
        &["exec", "--pid-file", "/no/such/dir/pid", &c.id, "sleep", "1000"],
        "pid file",
    );
    of(
        &["exec", "--pidfd-socket", "/no/such/socket", &c.id, "sleep", "1000"],
        "pidfd socket",
    );
    assert!(!bundle.inside("/no").exists());
    c.kill("KILL");
    c.until_stopped();
    of(&["exec", &c.id, "true"], "cannot exec in a stopped container");
    c.delete();
    of(&["exec", &c.id, "true"], "container does not exist");
}

/// If the caller cannot get a requested descriptor or file, the program does not run.
#[test]
fn when_a_descriptor_cannot_be_sent_the_program_does_not_run() {
    let bundle = idle().edit(|c| c["root"]["readonly"] = json!(false));
    let c = bundle.start();
    for (flag, reason) in [
        ("--pid-file", "pid file: \"/no/such/place\""),
        ("--pidfd-socket", "pidfd socket: connect("),
    ] {
        let out = exec_cmd(&c, &["--detach", flag, "/no/such/place"], &["touch", "/ran"])
            .run()
            .fails_for(reason);
        assert_eq!(out.code, 255);
    }
    let out = exec_cmd(
        &c,
        &["-t", "--detach", "--console-socket", "/no/such/place"],
        &["touch", "/ran"],
    )
    .run()
    .fails_for("console socket: connect(");
    assert_eq!(out.code, 255);
    // Errors of execve(2) come after the pid file is written; it is removed again.
    fs::write(bundle.inside("/bin/garbage"), "garbage").unwrap();
    fs::set_permissions(bundle.inside("/bin/garbage"), fs::Permissions::from_mode(0o755)).unwrap();
    let file = bundle.path("pid");
    let out = exec_cmd(&c, &["--detach", "--pid-file", file.to_str().unwrap()], &["garbage"])
        .run()
        .fails_with("exec format error");
    assert_eq!(out.code, 255);
    assert!(!file.exists());
    assert!(!bundle.inside("/ran").exists());
    exec_cmd(&c, &[], &["touch", "/ran"]).run().ok();
    assert!(bundle.inside("/ran").exists(), "the test proves nothing");
}

#[test]
fn a_detached_process_outlives_the_runtime() {
    let bundle = idle();
    let c = bundle.start();
    let pid = detached(&c, &[]);
    assert!(alive(pid));
    assert_eq!(link(pid, "pid"), link(c.pid(), "pid"));
    assert_eq!(
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(),
        "sleep\n",
        "execve has happened"
    );
    let leftover = bundle.path(".exec.pid");
    assert!(!leftover.exists(), "the file was renamed into place");
}

#[test]
fn signals_are_passed_on() {
    let bundle = idle();
    let c = bundle.start();
    let mut running = exec_cmd(&c, &[], &["probe", "signals"]).spawn();
    running.until("ready");
    for (signal, name) in [(libc::SIGUSR1, "USR1"), (libc::SIGINT, "INT"), (libc::SIGHUP, "HUP")] {
        running.signal(signal);
        running.until(name);
    }
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code, 0);
}

#[test]
fn standard_streams_are_the_callers() {
    let bundle = idle();
    let c = bundle.start();
    let out = exec_cmd(&c, &[], &["probe", "read-stdin"])
        .stdin("some text")
        .run()
        .ok();
    assert_eq!(out.stdout, "some text<eof>\n");
}

/// Init ends only after all processes of its PID namespace have been reaped, and is in no namespace any more then.
#[test]
fn a_container_that_is_ending_is_reported_as_not_running() {
    let bundle = idle();
    let c = bundle.start();
    let mut waiting = exec_cmd(&c, &[], &["probe", "sleep"]).spawn();
    waiting.until("ready");
    // A parent that does not wait for its child.
    waiting.signal(libc::SIGSTOP);
    let pid = c.pid();
    c.kill("KILL");
    let namespace = format!("/proc/{pid}/ns/net");
    eventually("init has left its namespaces", || fs::read_link(&namespace).is_err());
    let refused = exec_cmd(&c, &[], &["true"]).run().fails_with("container not running");
    assert_eq!(refused.code, 255);
    waiting.signal(libc::SIGCONT);
    assert_eq!(waiting.wait().code, 137);
    c.until_stopped();
}
