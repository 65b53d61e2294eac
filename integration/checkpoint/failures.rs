//! A checkpoint that fails leaves the container as it was: running, not frozen, with everything that it had.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::mount::MsFlags;

use super::{dying_after, instead_of_criu, networked, private_tmp};
use crate::harness::checkpoint::{
    CRIU, Image, Workload, another, bundle, checkpoint, checkpoint_cmd, has_criu, restore, silent, start_with,
    with_criu, with_parts,
};
use crate::harness::exec::detached;
use crate::harness::golden::own_texts;
use crate::harness::seccomp::{Agent, notifying};
use crate::harness::users::{as_user, rootless};
use crate::harness::{Bundle, Cmd, HostMount, Output, alive, cgroup_of};
use crate::need;

/// A checkpoint of the workload that fails.
#[track_caller]
fn refused(work: &Workload, change: impl FnOnce(Cmd) -> Cmd) -> Output {
    refused_at(work, &Image::new(work.container.bundle), change)
}

#[track_caller]
fn refused_at(work: &Workload, image: &Image, change: impl FnOnce(Cmd) -> Cmd) -> Output {
    let c = &work.container;
    let (before, state) = (work.report(), c.state());
    let output = change(checkpoint_cmd(c, image, &[])).run().fails();
    assert_eq!(c.state(), state, "{output:#?}");
    let frozen = fs::read_to_string(cgroup_of(c.pid()).join("cgroup.freeze")).unwrap();
    assert_eq!(frozen, "0\n", "{output:#?}");
    work.assert_continues(&before);
    output
}

/// Starts the parts, lets a checkpoint fail, and makes one that does not.
#[track_caller]
fn refused_without(bundle: &Bundle, flags: &[&str]) -> Output {
    let work = Workload::start(bundle);
    let output = refused(&work, |cmd| cmd);
    let before = work.report();
    let image = checkpoint(&work.container, flags);
    restore(&work.container, &image, flags);
    work.assert_continues(&before);
    output
}

#[test]
fn locks_without_the_option() {
    need!(has_criu(), CRIU);
    let output = refused_without(&with_parts(bundle(), &["files"]), &["--file-locks"]);
    if own_texts() {
        assert!(output.stderr.contains("--file-locks"), "{output:#?}");
    }
}

#[test]
fn connections_without_the_option() {
    need!(has_criu(), CRIU);
    let (bundle, _holder) = networked(with_parts(bundle(), &["tcp"]));
    let output = refused_without(&bundle, &["--tcp-established"]);
    if own_texts() {
        assert!(output.stderr.contains("--tcp-established"), "{output:#?}");
    }
}

/// A connection to a server of the host, as to a database's or a display's socket.
#[test]
fn sockets_of_the_host_without_the_option() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["outside"]);
    let listener = UnixListener::bind(bundle.inside("/tmp/outside")).unwrap();
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut bytes = [0; 4];
        while client.read_exact(&mut bytes).is_ok() && client.write_all(&bytes).is_ok() {}
    });
    let work = Workload::start(&bundle);
    let output = refused(&work, |cmd| cmd);
    if own_texts() {
        assert!(output.stderr.contains("--ext-unix-sk"), "{output:#?}");
    }
    bundle.orlop(["delete", "--force", &work.container.id]).run().ok();
    server.join().unwrap();
}

/// CRIU follows the children of init, and a process of `exec` is not one of them.
#[test]
fn a_process_of_exec_is_left_out() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let process = detached(&work.container, &[]);
    let image = Image::new(&bundle);
    let output = checkpoint_cmd(&work.container, &image, &["--leave-running"]).run().ok();
    if own_texts() {
        assert!(output.stderr.contains(&format!("{process} (")), "{output:#?}");
    }
    assert!(alive(process));
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    crate::harness::eventually("it has ended with the container", || {
        !Path::new(&format!("/proc/{process}")).exists()
    });
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
}

fn has_io_uring() -> bool {
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    disabled.trim() == "0"
}

#[test]
fn io_uring() {
    need!(has_criu(), CRIU);
    need!(has_io_uring(), "io_uring");
    let bundle = with_parts(bundle(), &["memory", "io_uring"]);
    let work = Workload::start(&bundle);
    let output = refused(&work, |cmd| cmd);
    if own_texts() {
        assert!(output.stderr.contains("io_uring"), "{output:#?}");
    }
}

/// The agent would never hear of the restored container's calls.
#[test]
fn a_seccomp_agent() {
    need!(has_criu(), CRIU);
    need!(
        own_texts(),
        "a runtime that refuses to checkpoint a container with a seccomp agent"
    );
    let bundle = with_parts(bundle(), &["memory"]);
    let agent = Agent::listen(&bundle);
    let bundle = notifying(bundle, &agent, &["munlockall"]);
    let work = Workload::start(&bundle);
    agent.next();
    let output = refused(&work, |cmd| cmd);
    assert!(output.stderr.contains("seccomp"), "{output:#?}");
}

#[test]
fn no_criu() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let empty = bundle.path("empty");
    fs::create_dir(&empty).unwrap();
    let output = refused(&work, |cmd| cmd.env("PATH", empty.to_str().unwrap()));
    assert!(output.stderr.contains("criu"), "{output:#?}");
}

#[test]
fn an_image_directory_that_cannot_be_written() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let read_only = HostMount::tmpfs(&bundle.path("read-only"), libc::MS_RDONLY);
    fs::write(bundle.path("file"), "").unwrap();
    for dir in [
        read_only.path.clone(),
        read_only.path.join("new"),
        bundle.path("file/new"),
    ] {
        let image = Image {
            work: bundle.path("work"),
            dir,
        };
        let output = refused_at(&work, &image, |cmd| cmd);
        if own_texts() {
            assert!(output.stderr.contains(image.dir.to_str().unwrap()), "{output:#?}");
        }
    }
}

#[test]
fn a_full_image_directory() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let small = HostMount::at(&bundle.path("small"));
    fs::create_dir(&small.path).unwrap();
    let options = Some("size=256k");
    nix::mount::mount(Some("tmpfs"), &small.path, Some("tmpfs"), MsFlags::empty(), options).unwrap();
    let image = Image {
        dir: small.path.join("image"),
        work: bundle.path("work"),
    };
    refused_at(&work, &image, |cmd| cmd);
}

#[test]
fn a_criu_that_ends_at_once() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    for script in ["exit 3", "kill -KILL $$", "exec cat", "echo noise >&\"$3\"; exit 0"] {
        let dir = instead_of_criu(&bundle, script);
        // `cat` stays until its input ends.
        refused(&work, |cmd| with_criu(cmd, &[&dir]));
    }
}

/// It is killed at some moment, perhaps while the container is frozen and its processes run CRIU's code.
#[test]
fn a_criu_that_is_killed() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that survives the death of CRIU");
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    for seconds in [0.01, 0.02, 0.03, 0.04] {
        let dir = instead_of_criu(&bundle, &dying_after(seconds));
        refused(&work, |cmd| private_tmp(with_criu(cmd, &[&dir])));
    }
}

#[test]
fn a_container_that_does_not_run() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    bundle.tolerate_leaks.set(!own_texts());
    let missing = another(&bundle);
    let image = Image::new(&bundle);
    checkpoint_cmd(&missing, &image, &[]).run().fails_with("exist");
    let created = bundle.create();
    checkpoint_cmd(&created, &image, &[]).run().fails_for("created");
    assert_eq!(created.status(), "created");
    created.kill("KILL");
    created.until_stopped();
    checkpoint_cmd(&created, &image, &[]).run().fails_for("stopped");
    assert_eq!(created.status(), "stopped");
}

/// Its mounts are in the middle of the caller's.
#[test]
fn a_container_without_a_mount_namespace() {
    need!(has_criu(), CRIU);
    need!(
        own_texts(),
        "a runtime that refuses to save a container in the mount namespace of the host"
    );
    let bundle = with_parts(bundle(), &["memory"]).without_namespace("mount");
    let work = Workload::start(&bundle);
    let output = refused(&work, |cmd| cmd);
    assert!(output.stderr.contains("mount namespace"), "{output:#?}");
}

#[test]
fn an_unprivileged_user() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that says what an unprivileged user lacks");
    let bundle = rootless(with_parts(bundle(), &["memory"]));
    fs::set_permissions(bundle.inside("/tmp"), PermissionsExt::from_mode(0o777)).unwrap();
    fs::set_permissions(bundle.dir(), PermissionsExt::from_mode(0o777)).unwrap();
    let c = start_with(&bundle, &[], |cmd| as_user(silent(cmd)));
    let work = Workload::of(c);
    let before = work.report();
    let image = Image::new(&bundle);
    let output = as_user(checkpoint_cmd(&work.container, &image, &[])).run().fails();
    assert!(output.stderr.contains("root"), "{output:#?}");
    work.assert_continues(&before);
}
