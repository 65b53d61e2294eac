//! `checkpoint` and `restore`: what a container is made of comes back, and a failure of either loses nothing. Every test needs
//! CRIU, which fixtures/criu fetches.

mod confined;
mod failures;
mod hooks;
mod interchange;
mod interrupted;
mod mounts;
mod namespaces;
mod notify;
mod options;
mod place;
mod processes;
mod restore_failures;
mod streams;
mod verbs;

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::harness::checkpoint::{Report, Workload, checkpoint, criu_dir, restore};
use crate::harness::namespaces::joining;
use crate::harness::{Bundle, Cmd, Holder, runtime};

/// Flags that the workload `all` needs.
const KEEP: [&str; 2] = ["--tcp-established", "--file-locks"];

/// Starts the workload of the bundle, saves it, brings it back, and returns what it says then.
#[track_caller]
fn round_trip(bundle: &Bundle, flags: &[&str]) -> Report {
    let work = Workload::start(bundle);
    let before = work.report();
    let image = checkpoint(&work.container, flags);
    restore(&work.container, &image, flags);
    work.assert_continues(&before)
}

/// A bundle that joins a network namespace whose loopback device is up. A connection needs it before any process is back.
fn networked(bundle: Bundle) -> (Bundle, Holder) {
    let holder = Holder::new(libc::CLONE_NEWNET);
    let mut up = Command::new("nsenter");
    up.arg(format!("--net={}", holder.path("network")));
    let status = up.args(["ip", "link", "set", "lo", "up"]).status();
    assert!(status.expect("nsenter").success());
    (joining(bundle, &holder, &["network"]), holder)
}

/// A program in the place of CRIU: a directory to put before the others in PATH.
fn instead_of_criu(bundle: &Bundle, script: &str) -> PathBuf {
    let dir = bundle.path("programs");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("criu"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(dir.join("criu"), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// The real one, which is killed after so many seconds.
fn dying_after(seconds: f32) -> String {
    format!("PATH=${{PATH#*:}}\n(sleep {seconds}; kill -KILL $$) >/dev/null 2>&1 </dev/null &\nexec criu \"$@\"")
}

/// With a /tmp of its own, where a CRIU that is killed leaves its directories.
fn private_tmp(cmd: Cmd) -> Cmd {
    // What the command needs below the old one stays visible.
    let top = |path: &Path| {
        path.strip_prefix("/tmp")
            .ok()?
            .iter()
            .next()
            .map(|name| Path::new("/tmp").join(name))
    };
    let needed: Vec<PathBuf> = criu_dir().into_iter().chain([runtime()]).filter_map(top).collect();
    cmd.before_exec(move || {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let kept = needed.iter().map(|path| Ok((path, File::open(path)?)));
        let kept = kept.collect::<std::io::Result<Vec<_>>>()?;
        mount(Some("tmpfs"), "/tmp", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
        for (path, directory) in kept {
            fs::create_dir_all(path)?;
            let source = format!("/proc/self/fd/{}", directory.as_raw_fd());
            mount(
                Some(source.as_str()),
                path,
                None::<&str>,
                MsFlags::MS_BIND,
                None::<&str>,
            )?;
        }
        Ok(())
    })
}
