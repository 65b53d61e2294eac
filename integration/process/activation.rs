//! Descriptors for the container's process: `--preserve-fds`, and sockets that systemd hands over.

use std::fs::File;
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::harness::{Bundle, Cmd, Facts};

/// As systemd starts it: LISTEN_PID is the PID of the runtime.
fn activated(bundle: &Bundle, flags: &[&str], count: &str, names: Option<&str>) -> Cmd {
    let cmd = bundle
        .run_cmd(flags)
        .through_shell("export LISTEN_PID=$$")
        .env("LISTEN_FDS", count);
    match names {
        Some(names) => cmd.env("LISTEN_FDNAMES", names),
        None => cmd,
    }
}

fn variables(facts: &Value) -> Vec<String> {
    let entries = facts["env"].as_array().unwrap().iter().filter_map(Value::as_str);
    entries
        .filter(|entry| entry.starts_with("LISTEN_"))
        .map(str::to_owned)
        .collect()
}

fn numbers(facts: &Value) -> Vec<i32> {
    let mut numbers: Vec<i32> = facts["fds"]
        .as_object()
        .unwrap()
        .keys()
        .map(|key| key.parse().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn sockets_of_systemd_reach_the_process() {
    let bundle = Bundle::new();
    let socket = UnixListener::bind(bundle.path("socket")).unwrap();
    let file = File::open("/dev/zero").unwrap();
    let cmd = activated(&bundle, &[], "2", Some("web:zero"))
        .pass_fd(socket, 3)
        .pass_fd(file, 4);
    let facts = cmd.run().ok().json();
    assert_eq!(
        variables(&facts),
        ["LISTEN_FDS=2", "LISTEN_PID=1", "LISTEN_FDNAMES=web:zero"]
    );
    assert_eq!(numbers(&facts), [0, 1, 2, 3, 4]);
    assert!(
        facts["fds"]["3"].as_str().unwrap().starts_with("socket:"),
        "{}",
        facts["fds"]
    );
    assert_eq!(facts["fds"]["4"], "/dev/zero");
}

/// Names are optional, and the config's values of these variables do not apply to these descriptors.
#[test]
fn the_runtimes_variables_for_sockets_override_the_configs() {
    let bundle = Bundle::new().edit(|c| {
        c["process"]["env"] = json!(["PATH=/bin", "LISTEN_FDS=9", "LISTEN_PID=99"]);
    });
    let cmd = activated(&bundle, &[], "1", None).pass_fd(File::open("/dev/zero").unwrap(), 3);
    assert_eq!(variables(&cmd.run().ok().json()), ["LISTEN_FDS=1", "LISTEN_PID=1"]);
}

#[test]
fn listen_pid_is_the_pid_that_the_process_has() {
    let bundle = Bundle::new().without_namespace("pid");
    let cmd = activated(&bundle, &[], "1", None).pass_fd(File::open("/dev/zero").unwrap(), 3);
    let facts = cmd.run().ok().json();
    assert_eq!(
        variables(&facts),
        ["LISTEN_FDS=1".to_owned(), format!("LISTEN_PID={}", facts["pid"])]
    );
}

#[test]
fn preserved_descriptors_come_after_the_sockets() {
    let bundle = Bundle::new();
    let cmd = activated(&bundle, &["--preserve-fds", "1"], "1", None)
        .pass_fd(File::open("/dev/zero").unwrap(), 3)
        .pass_fd(File::open("/dev/full").unwrap(), 4)
        .pass_fd(File::open("/dev/null").unwrap(), 5);
    let facts = cmd.run().ok().json();
    assert_eq!(numbers(&facts), [0, 1, 2, 3, 4]);
    assert_eq!(
        (&facts["fds"]["3"], &facts["fds"]["4"]),
        (&json!("/dev/zero"), &json!("/dev/full"))
    );
}

#[test]
fn preserved_descriptors_alone_are_not_sockets() {
    let bundle = Bundle::new();
    let cmd = bundle.run_cmd(&["--preserve-fds", "2"]);
    let facts = cmd
        .pass_fd(File::open("/dev/zero").unwrap(), 3)
        .pass_fd(File::open("/dev/full").unwrap(), 4)
        .run()
        .ok()
        .json();
    assert_eq!(numbers(&facts), [0, 1, 2, 3, 4]);
    assert!(variables(&facts).is_empty());
}

/// Descriptors of the runtime itself are never taken for those of the caller, whatever their numbers.
#[test]
fn descriptors_that_the_caller_left_closed_are_not_passed() {
    let bundle = Bundle::new();
    let cmd = bundle.run_cmd(&["--preserve-fds", "600"]);
    let facts = cmd.pass_fd(File::open("/dev/zero").unwrap(), 602).run().ok().json();
    assert_eq!(numbers(&facts), [0, 1, 2, 602]);
}

/// sd_listen_fds(3): LISTEN_PID says for which process they are.
#[test]
fn sockets_for_another_process_are_not_passed_on() {
    let bundle = Bundle::new();
    for pid in ["1", "", "x"] {
        let cmd = bundle.run_cmd(&[]).env("LISTEN_FDS", "1").env("LISTEN_PID", pid);
        let facts = cmd.pass_fd(File::open("/dev/zero").unwrap(), 3).run().ok().json();
        assert_eq!(numbers(&facts), [0, 1, 2], "LISTEN_PID={pid}");
        assert!(variables(&facts).is_empty());
    }
    let facts = activated(&bundle, &[], "0", None).run().ok().json();
    assert!(variables(&facts).is_empty());
}

#[test]
fn missing_sockets_are_an_error() {
    let bundle = Bundle::new().args(["true"]);
    activated(&bundle, &[], "2", None)
        .pass_fd(File::open("/dev/zero").unwrap(), 3)
        .run()
        .fails_with("LISTEN_FDS=2: file descriptor 4 is not open");
    for wrong in ["two", "-1", "99999999999", "65537"] {
        activated(&bundle, &[], wrong, None).run().fails_with("LISTEN_FDS");
    }
    activated(&bundle, &["--preserve-fds", "1"], "1", None)
        .pass_fd(File::open("/dev/zero").unwrap(), 3)
        .run()
        .fails_with("--preserve-fds 1: file descriptor 4 is not open");
    bundle.assert_clean();
}

#[test]
fn sockets_wait_for_start() {
    let bundle = Bundle::new().args(["probe", "facts"]);
    let id = bundle.fresh_id();
    let socket = UnixListener::bind(bundle.path("socket")).unwrap();
    let output = bundle.path("output/facts");
    bundle
        .create_cmd(&id, &[])
        .through_shell(&format!("export LISTEN_PID=$$; exec >{}", output.display()))
        .env("LISTEN_FDS", "1")
        .pass_fd(socket, 3)
        .run()
        .ok();
    bundle.orlop(["start", &id]).run().ok();
    let read = || std::fs::read_to_string(&output).unwrap_or_default();
    crate::harness::eventually("the report", || serde_json::from_str::<Value>(&read()).is_ok());
    let facts = Facts(serde_json::from_str(&read()).unwrap());
    assert_eq!(variables(&facts.0), ["LISTEN_FDS=1", "LISTEN_PID=1"]);
    assert_eq!(numbers(&facts.0), [0, 1, 2, 3]);
}
