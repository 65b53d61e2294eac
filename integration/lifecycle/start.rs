//! `start`, and programs that cannot be executed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Bundle, eventually};

#[test]
fn start_works_once() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    c.until("ready");
    c.try_start().fails_for("cannot start an already running container");
    assert_eq!(c.status(), "running");
    c.kill("KILL");
    c.until_stopped();
    c.try_start().fails_for("cannot start a container that has stopped");
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

/// Engines that see the end of the first process during start do not look for the others.
#[test]
fn start_leaves_no_process_when_the_first_ends_at_once() {
    let bundle = Bundle::new().without_namespace("pid").sh("sleep 1000 & exec true");
    let c = bundle.create();
    let procs = format!("/sys/fs/cgroup/{}/cgroup.procs", c.id);
    c.start();
    eventually("nothing is left", || fs::read_to_string(&procs).unwrap().is_empty());
    assert_eq!(c.status(), "stopped");
    // A first process that keeps running keeps its children.
    let bundle = Bundle::new().without_namespace("pid").sh("sleep 1000 & sleep 1000");
    let c = bundle.start();
    let procs = format!("/sys/fs/cgroup/{}/cgroup.procs", c.id);
    eventually("both run", || fs::read_to_string(&procs).unwrap().lines().count() >= 2);
    assert_eq!(c.status(), "running");
}

#[test]
fn a_missing_program_is_reported() {
    let cases = [
        ("no-such-program", "executable file not found in $PATH"),
        ("/no/such/program", "no such file or directory"),
        // Engines match both texts; the second says more.
        ("/etc", "permission denied|is a directory"),
        ("/etc/plain", "permission denied"),
        ("/etc/garbage", "exec format error"),
    ];
    for (program, message) in cases {
        let bundle = Bundle::new().args([program]);
        fs::write(bundle.inside("/etc/plain"), "not executable").unwrap();
        fs::write(bundle.inside("/etc/garbage"), "not a program").unwrap();
        fs::set_permissions(bundle.inside("/etc/garbage"), fs::Permissions::from_mode(0o755)).unwrap();
        let out = bundle.run().fails();
        let said = out.stderr.to_lowercase();
        assert!(
            message.to_lowercase().split('|').any(|text| said.contains(text)),
            "no `{message}`: {out:#?}"
        );
        assert!(out.stderr.contains(program), "the program is not named: {out:#?}");
        bundle.assert_clean();
    }
}

#[test]
fn start_reports_a_program_that_cannot_be_executed() {
    // Whatever create checked: only execve(2) decides, and start has to wait for its result.
    type Spoil = fn(&std::path::Path);
    let cases: [(&str, Spoil, &str); 3] = [
        (
            "spoiled",
            |p| fs::remove_file(p).unwrap(),
            "executable file not found in $PATH",
        ),
        (
            "/bin/spoiled",
            |p| fs::set_permissions(p, fs::Permissions::from_mode(0o644)).unwrap(),
            "permission denied",
        ),
        (
            "/bin/spoiled",
            |p| fs::write(p, "garbage").unwrap(),
            "exec format error",
        ),
    ];
    for (program, spoil, message) in cases {
        let bundle = Bundle::new().args([program]);
        let path = bundle.inside("/bin/spoiled");
        fs::copy(bundle.inside("/bin/probe"), &path).unwrap();
        let c = bundle.create();
        spoil(&path);
        c.try_start().fails_with(message);
        assert_eq!(c.status(), "stopped");
        c.delete();
        bundle.assert_clean();
    }
}
