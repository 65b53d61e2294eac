//! The container's terminal: no name that the container or another process may change decides which file is opened or covered.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;

use super::containment::replace_with_link;
use crate::harness::host::{has_strace, traced};
use crate::harness::{Bundle, Canary, ConsoleSocket, HostMount, eventually};
use crate::need;

/// CVE-2026-88264: the link leads to a file inside, so that only the check for a link can refuse it.
#[test]
fn a_link_at_dev_console_is_refused() {
    for target in ["/tmp/target", "/no/such/target", "console"] {
        let bundle = Bundle::new()
            .args(["true"])
            .without_mount("/dev")
            .edit(|c| c["process"]["terminal"] = json!(true));
        fs::write(bundle.inside("/tmp/target"), "untouched").unwrap();
        replace_with_link(&bundle, "/dev/console", target);
        fs::create_dir(bundle.inside("/dev/pts")).unwrap();
        let socket = ConsoleSocket::new(&bundle);
        bundle
            .create_cmd(&bundle.fresh_id(), &["--console-socket", socket.path()])
            .run()
            .fails_for("the image has a symbolic link at /dev/console");
        bundle.assert_clean();
    }
}

/// CVE-2025-52565: another process that shares the devpts covers the new terminal's name before it is opened.
#[test]
fn the_terminal_is_not_opened_by_its_name() {
    need!(has_strace(), "strace");
    let canary = Canary::file();
    let bundle = Bundle::new().sh("test -t 0 && echo a terminal || echo another file");
    let shared = HostMount::tmpfs(&bundle.path("pts"), 0);
    let options = Some("newinstance,ptmxmode=0666");
    mount(Some("devpts"), &shared.path, Some("devpts"), MsFlags::empty(), options).expect("mount a devpts");
    shared.propagation(libc::MS_SHARED);
    let bundle = bundle.without_mount("/dev/pts").edit(|c| {
        c["process"]["terminal"] = json!(true);
        let entry = json!({ "destination": "/dev/pts", "type": "bind", "source": shared.as_str(), "options": ["bind", "rslave"] });
        c["mounts"].as_array_mut().unwrap().insert(2, entry);
    });
    // It pauses after it has unlocked the terminal, and the name exists.
    let run = traced(bundle.run_cmd(&[]), true, "-e inject=ioctl:delay_exit=400000");
    let running = run.within(Duration::from_secs(60)).spawn();
    let name = shared.path.join("0");
    eventually("the terminal has a name", || name.exists());
    let covered = Command::new("mount")
        .arg("--bind")
        .arg(&canary.path)
        .arg(&name)
        .status();
    assert!(covered.expect("mount").success());
    let out = running.wait().ok();
    assert_eq!(out.stdout.trim_end(), "a terminal");
    // What is mounted on the name goes with it.
    umount2(&shared.path, MntFlags::MNT_DETACH).expect("unmount the devpts");
}
