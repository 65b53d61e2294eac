//! Error messages of verbs other than `run`, of files that the command line names, and of an unprivileged runtime, word by
//! word (`tests/golden/errors/`); and mistakes that are only warned about.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use super::errors::{as_nobody, program, root_only, run};
use crate::harness::golden::{OWN_TEXTS, own_texts, run as run_with, said, verb};
use crate::harness::{Bundle, HostMount};
use crate::need;

#[test]
fn start_program_gone() {
    let bundle = program(b"#!/bin/sh\n");
    let c = bundle.create();
    fs::remove_file(bundle.inside("/bin/tool")).expect("remove the program");
    verb(&bundle, "start_program_gone", &["start", &c.id], &c.id);
    c.delete();
}

#[test]
fn start_without_process() {
    need!(own_texts(), OWN_TEXTS);
    let bundle = Bundle::new().edit(|c| {
        c.as_object_mut().expect("an object").remove("process");
    });
    let c = bundle.create();
    verb(&bundle, "start_without_process", &["start", &c.id], &c.id);
    c.delete();
}

#[test]
fn verbs_on_a_running_container() {
    let bundle = Bundle::new().args(["sleep", "100"]);
    let c = bundle.start();
    let dir = bundle.dir().to_str().expect("a UTF-8 path");
    verb(&bundle, "start_twice", &["start", &c.id], &c.id);
    verb(&bundle, "delete_running", &["delete", &c.id], &c.id);
    verb(&bundle, "id_taken", &["create", "--bundle", dir, &c.id], &c.id);
    assert_eq!(c.status(), "running");
}

#[test]
fn verbs_on_a_stopped_container() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.start();
    c.until_stopped();
    verb(&bundle, "start_stopped", &["start", &c.id], &c.id);
    verb(&bundle, "kill_stopped", &["kill", &c.id, "TERM"], &c.id);
    c.delete();
}

#[test]
fn delete_created() {
    need!(own_texts(), OWN_TEXTS);
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.create();
    verb(&bundle, "delete_created", &["--strict", "delete", &c.id], &c.id);
    assert_eq!(c.status(), "created");
}

#[test]
fn cgroup_of_another_container() {
    let bundle = Bundle::new().args(["true"]);
    let name = format!("/{}-leaf", bundle.fresh_id());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(name));
    let c = bundle.start();
    c.until_stopped();
    let dir = bundle.dir().to_str().expect("a UTF-8 path").to_owned();
    // The names in this run differ only in their last part.
    let mark = c.id.rsplit_once('-').expect("an id").0.to_owned();
    verb(
        &bundle,
        "cgroup_of_another_container",
        &["create", "--bundle", &dir, &format!("{mark}-later")],
        &mark,
    );
    c.delete();
}

#[test]
fn interrupted() {
    need!(own_texts(), OWN_TEXTS);
    let bundle = Bundle::new().with_host_hook("createRuntime", "kill -TERM $PPID; exec sleep 100");
    run(&bundle, "interrupted");
}

#[test]
fn delete_broken() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.start();
    c.until_stopped();
    let file = bundle.state_root().join(&c.id).join("state.json");
    fs::write(&file, "").expect("spoil state.json");
    verb(&bundle, "delete_broken", &["delete", &c.id], &c.id);
    verb(&bundle, "delete_broken_by_force", &["delete", "--force", &c.id], &c.id);
}

#[test]
fn state_file_broken() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.start();
    c.until_stopped();
    let file = bundle.state_root().join(&c.id).join("state.json");
    let before = fs::read(&file).expect("read state.json");
    fs::write(&file, "{").expect("spoil state.json");
    verb(&bundle, "state_file_broken", &["state", &c.id], &c.id);
    fs::write(&file, before).expect("mend state.json");
}

#[test]
fn console_socket_missing() {
    let bundle = Bundle::new().edit(|c| c["process"]["terminal"] = json!(true));
    let socket = bundle.path("console.sock");
    run_with(
        &bundle,
        "console_socket_missing",
        &["--detach", "--console-socket", socket.to_str().unwrap()],
        |cmd| cmd,
    );
}

#[test]
fn console_socket_deaf() {
    let bundle = Bundle::new().edit(|c| c["process"]["terminal"] = json!(true));
    let socket = bundle.path("console.sock");
    // Closed at once; its path stays.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("bind"));
    run_with(
        &bundle,
        "console_socket_deaf",
        &["--detach", "--console-socket", socket.to_str().unwrap()],
        |cmd| cmd,
    );
}

#[test]
fn pid_file_directory_missing() {
    let bundle = Bundle::new();
    let file = bundle.path("elsewhere/pid");
    run_with(
        &bundle,
        "pid_file_directory_missing",
        &["--pid-file", file.to_str().unwrap()],
        |cmd| cmd,
    );
}

#[test]
fn config_unreadable() {
    let bundle = Bundle::new();
    fs::set_permissions(bundle.path("config.json"), fs::Permissions::from_mode(0o000)).expect("chmod");
    run_with(&bundle, "config_unreadable", &[], as_nobody);
}

#[test]
fn bundle_not_searchable() {
    let bundle = Bundle::new();
    let (closed, inner) = (bundle.path("closed"), bundle.path("closed/bundle"));
    fs::create_dir_all(&inner).expect("make the bundle");
    fs::write(inner.join("config.json"), "{}").expect("write config.json");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("chmod");
    let inner = inner.to_str().expect("a UTF-8 path");
    let words = ["run", "--bundle", inner, "box"];
    said(&bundle, "bundle_not_searchable", &words, "box", as_nobody);
}

#[test]
fn state_root_full() {
    let bundle = Bundle::new();
    let state = HostMount::tmpfs(&bundle.state_root(), 0);
    let remounted = Command::new("mount")
        .args(["-o", "remount,size=4k", state.as_str()])
        .status();
    assert!(remounted.expect("run mount").success());
    run(&bundle, "state_root_full");
}

#[test]
fn state_root_not_writable() {
    let bundle = root_only(Bundle::new());
    fs::create_dir(bundle.state_root()).expect("make the state root");
    run_with(&bundle, "state_root_not_writable", &[], as_nobody);
}

#[test]
fn state_root_not_readable() {
    let bundle = Bundle::new();
    fs::create_dir(bundle.state_root()).expect("make the state root");
    fs::set_permissions(bundle.state_root(), fs::Permissions::from_mode(0o700)).expect("chmod");
    said(&bundle, "state_root_not_readable", &["state", "box"], "box", as_nobody);
    said(&bundle, "state_root_not_listable", &["list"], "box", as_nobody);
}

#[test]
fn namespaces_not_permitted() {
    let bundle = Bundle::new();
    fs::create_dir(bundle.state_root()).expect("make the state root");
    std::os::unix::fs::chown(bundle.state_root(), Some(65534), Some(65534)).expect("chown");
    run_with(&bundle, "namespaces_not_permitted", &[], as_nobody);
}

#[test]
fn rlimit_above_the_callers() {
    let bundle = Bundle::new().edit(|c| c["process"]["rlimits"][0]["hard"] = json!(u64::MAX));
    run(&bundle, "rlimit_above_the_kernels");
}

#[test]
fn oom_score_below_the_callers() {
    let privileged = fs::write("/proc/thread-self/oom_score_adj", "-1").is_ok();
    let _ = fs::write("/proc/thread-self/oom_score_adj", "0");
    need!(!privileged, "a machine without CAP_SYS_RESOURCE");
    run(
        &Bundle::new().edit(|c| c["process"]["oomScoreAdj"] = json!(-1)),
        "oom_score_below_the_callers",
    );
}

#[test]
fn capability_unknown() {
    let bundle = Bundle::new().args(["true"]).with_caps(&["CAP_EVERYTHING"]);
    let output = run(&bundle, "capability_unknown");
    assert_eq!(output.code, 0);
}

#[test]
fn capability_without_its_prefix() {
    let bundle = Bundle::new().args(["true"]).with_caps(&["NET_RAW"]);
    assert_eq!(run(&bundle, "capability_without_its_prefix").code, 0);
}

#[test]
fn keys_misspelt() {
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        c["root"]["readOnly"] = json!(true);
        c["linux"]["maskedPath"] = json!(["/proc/keys"]);
        c["process"]["user"]["username"] = json!("www-data");
        c["linux"]["noNewPrivileges"] = json!(true);
    });
    assert_eq!(run(&bundle, "keys_misspelt").code, 0);
}

#[test]
fn destination_relative() {
    let bundle = Bundle::new().args(["true"]).mount("data", "tmpfs", "tmpfs", &[]);
    fs::create_dir(bundle.inside("/data")).expect("make the mount point");
    assert_eq!(run(&bundle, "destination_relative").code, 0);
}

#[test]
fn hook_fails_after_the_end() {
    let bundle = Bundle::new()
        .args(["true"])
        .with_host_hook("poststop", "echo still busy; exit 6");
    assert_eq!(run(&bundle, "hook_fails_after_the_end").code, 0);
}
