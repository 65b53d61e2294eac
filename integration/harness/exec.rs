//! Processes that `exec` starts in a container.

use std::fs::{self};

use serde_json::Value;

use crate::harness::{Bundle, Cmd, Container, Facts};

/// A bundle whose process waits until it is killed.
pub fn idle() -> Bundle {
    Bundle::new().args(["probe", "sleep"])
}

/// `exec` with flags in a container.
pub fn exec_cmd(c: &Container, flags: &[&str], command: &[&str]) -> Cmd {
    c.bundle.orlop([&["exec"], flags, &[&c.id], command].concat())
}

#[track_caller]
pub fn exec_facts(c: &Container, flags: &[&str]) -> Facts {
    Facts(exec_cmd(c, flags, &["probe", "facts"]).run().ok().json())
}

/// A file with a process object.
pub fn process_file(bundle: &Bundle, process: &Value) -> String {
    let path = bundle.path("process.json");
    fs::write(&path, process.to_string()).expect("write process.json");
    path.to_str().expect("a UTF-8 path").to_owned()
}

pub fn link(pid: impl std::fmt::Display, name: &str) -> String {
    let target = fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("a namespace");
    target.to_string_lossy().into_owned()
}

/// Starts a process that stays, and returns its pid on the host.
pub fn detached(c: &Container, flags: &[&str]) -> i32 {
    let file = c.bundle.path("exec.pid");
    let _ = fs::remove_file(&file);
    let flags = [&["--detach", "--pid-file", file.to_str().unwrap()], flags].concat();
    exec_cmd(c, &flags, &["sleep", "1000"]).run().ok();
    fs::read_to_string(&file)
        .unwrap()
        .parse()
        .expect("a pid and nothing else")
}
