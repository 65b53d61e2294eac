//! What the container must not get: the descriptor of the file.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::json;

use super::{added, assert_has, option, spans, steps};
use crate::harness::exec::{exec_cmd, exec_facts, idle};
use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Bundle, Canary, HOOK_POINTS};

#[test]
fn the_program_has_no_other_descriptor() {
    let bundle = Bundle::new();
    let (flag, path) = option(&bundle);
    let facts = bundle.run_cmd(&[&flag]).run().ok().json();
    assert_eq!(
        facts["fds"].as_object().map(|fds| fds.len()),
        Some(3),
        "{}",
        facts["fds"]
    );
    assert_has(&spans(&path), "init", &["execve"]);
    let idle = idle();
    let c = idle.start();
    let facts = exec_facts(&c, &[&flag]);
    assert_eq!(
        facts["fds"].as_object().map(|fds| fds.len()),
        Some(3),
        "{}",
        facts["fds"]
    );
    assert_has(&spans(&path), "exec", &["execve"]);
}

/// Only the runtime has the file open: an init that waits has sent its timings, and holds no descriptor of the host.
#[test]
fn a_waiting_init_does_not_hold_the_file() {
    let bundle = idle();
    let (flag, path) = option(&bundle);
    let id = bundle.fresh_id();
    let created = added(&path, bundle.create_cmd(&id, &[&flag]));
    assert_has(&created, "init", &["mounts", "program"]);
    let pid = bundle.orlop(["state", &id]).run().ok().json()["pid"].clone();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let link = entry.unwrap().path();
        let target = fs::read_link(&link).unwrap();
        assert_ne!(target, path, "{}", link.display());
    }
    bundle.orlop(["delete", "--force", &id]).run().ok();
}

/// The hooks of both processes list their descriptors: the three standard streams, and the directory that is being listed.
#[test]
fn no_hook_gets_the_file() {
    let mut bundle = Bundle::new().args(["true"]);
    let out = bundle.path("listed");
    fs::create_dir(&out).unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).unwrap();
    bundle = bundle.mount("/listed", "bind", out.to_str().unwrap(), &["bind", "rw"]);
    for point in HOOK_POINTS {
        let (program, place) = match point {
            "startContainer" => ("/bin/busybox", "/listed".to_owned()),
            _ => ("/bin/sh", out.to_str().unwrap().to_owned()),
        };
        let script = format!("ls -l /proc/self/fd/ >{place}/{point}");
        let hook = json!({ "path": program, "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] });
        bundle = bundle.with_hook(point, hook);
    }
    let (flag, path) = option(&bundle);
    added(&path, bundle.run_cmd(&[&flag]));
    for point in HOOK_POINTS {
        let listed = fs::read_to_string(out.join(point)).unwrap();
        assert!(listed.contains(" 2 -> "), "{listed}");
        assert!(!listed.contains("timings.jsonl"), "{point}: {listed}");
    }
}

/// The path is one of the host, also where the image has the same path or a link there.
#[test]
fn the_path_does_not_lead_into_the_image() {
    let canary = Canary::dir();
    let bundle = Bundle::new().args(["true"]).writable();
    let (flag, path) = option(&bundle);
    let inside = bundle.inside(path.to_str().unwrap());
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(canary.as_str(), &inside).unwrap();
    let spans = added(&path, bundle.run_cmd(&[&flag]));
    assert_has(&spans, "init", &["pivot", "execve"]);
    assert!(fs::symlink_metadata(&inside).unwrap().is_symlink());
    assert_eq!(
        fs::read_dir(canary.as_str()).unwrap().count(),
        1,
        "the canary's own file"
    );
}

#[test]
fn in_a_user_namespace_the_timings_of_init_arrive() {
    let bundle = remapped(Bundle::new());
    let (flag, path) = option(&bundle);
    let facts = bundle.run_cmd(&[&flag]).run().ok().json();
    assert_eq!(facts["fds"].as_object().map(|fds| fds.len()), Some(3));
    let run = spans(&path);
    assert_has(&run, "init", &["user namespace", "mounts", "execve"]);
    assert!(
        steps(&run, "init", "help from outside")
            .iter()
            .any(|span| span["waitsFor"] == "runtime"),
        "{run:#?}"
    );
    assert_has(&run, "runtime", &["help from outside"]);
    let idle = remapped(idle());
    let c = idle.start();
    let joined = added(&path, exec_cmd(&c, &[&flag], &["true"]));
    assert_has(&joined, "exec", &["user namespace", "execve"]);
}

#[test]
fn an_unprivileged_user_gets_timings_too() {
    let bundle = rootless(Bundle::new().args(["true"]));
    let directory = bundle.path("of-the-user");
    fs::create_dir(&directory).unwrap();
    chown(&directory, Some(1000), Some(1000)).unwrap();
    let file = directory.join("timings.jsonl");
    let flag = format!("--timings={}", file.display());
    as_user(bundle.run_cmd(&["--no-new-keyring", &flag])).run().ok();
    assert_has(&spans(&file), "init", &["user namespace", "mounts", "execve"]);
    // A file that the user may not open is an error.
    let foreign = bundle.path("foreign");
    fs::write(&foreign, "").unwrap();
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o600)).unwrap();
    let flag = format!("--timings={}", foreign.display());
    as_user(bundle.run_cmd(&[&flag])).run().fails_with("EACCES");
}
