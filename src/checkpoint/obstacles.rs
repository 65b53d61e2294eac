//! What CRIU cannot dump, as far as it is known beforehand: then nothing is stopped, and the error says what it is about.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::config::Config;
use super::namespaces;
use crate::cgroup::members;
use crate::error::{At, Context, Result, Step, with_hint};
use crate::log;
use crate::state::State;
use crate::sys::{directory, fs};

/// Files without a path that only the kernel knows the state of, as the links in /proc/PID/fd show them.
const UNDUMPABLE: [(&str, &str); 7] = [
    ("anon_inode:[io_uring]", "an io_uring"),
    ("anon_inode:seccomp notify", "the listener of a seccomp filter"),
    ("anon_inode:[perf_event]", "a perf event"),
    ("anon_inode:bpf-map", "a BPF map"),
    ("anon_inode:bpf-prog", "a BPF program"),
    ("anon_inode:bpf_link", "a BPF link"),
    ("anon_inode:kvm-vm", "a virtual machine"),
];

/// Names at most this many processes.
const NAMED: usize = 5;

/// Fails if CRIU cannot dump this container.
pub fn check(config: &Config, state: &State) -> Result<()> {
    if config.has_seccomp_listener() {
        return Err(with_hint(
            "a seccomp filter with a listener cannot be dumped: its agent would be lost",
            "checkpoint requires a profile without linux.seccomp.listenerPath",
        ))
        .context(At::new("linux.seccomp.listenerPath"));
    }
    let init = state.pid.to_string();
    let mount = |process: &str| namespaces::inode(process, "mnt").context(Step::Namespaces);
    if state.chroot || mount("self")? == mount(&init)? {
        return Err(with_hint(
            "the container shares the mount namespace of the host, and CRIU would have to restore the host's mounts",
            "create it with a separate mount namespace: {\"type\": \"mount\"} in linux.namespaces",
        ));
    }
    let processes = match &state.cgroup {
        Some(cgroup) => members::processes(cgroup)?,
        None => vec![state.pid],
    };
    let strangers = strangers(&processes, state.pid);
    warn_about(&strangers);
    let dumped = processes.iter().filter(|pid| strangers.binary_search(pid).is_err());
    dumped.copied().try_for_each(check_files)
}

/// CRIU dumps init and its descendants. A process of `exec` is a child of a process outside, so it is not part of the
/// checkpoint; engines execute probes and shells at any time, and none of these is meant to be restored.
fn warn_about(strangers: &[i32]) {
    if strangers.is_empty() {
        return;
    }
    let named: Vec<String> = strangers.iter().take(NAMED).map(|pid| named(*pid)).collect();
    let more = if strangers.len() > NAMED { ", …" } else { "" };
    log::warning(&format!(
        "processes that were started by `exec` are not part of the checkpoint: {}{more}",
        named.join(", ")
    ));
}

/// The processes that are not descendants of init, in the order of their pids.
fn strangers(processes: &[i32], init: i32) -> Vec<i32> {
    let parents: HashMap<i32, i32> = processes.iter().filter_map(|pid| Some((*pid, parent(*pid)?))).collect();
    let mut descendants = HashSet::from([init]);
    let mut strangers = Vec::new();
    for pid in parents.keys() {
        let mut line = vec![*pid];
        while let Some(last) = line.last().filter(|last| !descendants.contains(last))
            && let Some(parent) = parents.get(last).filter(|parent| !line.contains(parent))
        {
            line.push(*parent);
        }
        match line.last().is_some_and(|last| descendants.contains(last)) {
            true => descendants.extend(line),
            false => strangers.push(*pid),
        }
    }
    strangers.sort_unstable();
    strangers
}

/// The parent of a process; none if it has ended.
fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may contain anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn named(pid: i32) -> String {
    match std::fs::read_to_string(format!("/proc/{pid}/comm")) {
        Ok(name) => format!("{pid} ({})", name.trim_end()),
        Err(_) => pid.to_string(),
    }
}

fn check_files(pid: i32) -> Result<()> {
    let path = PathBuf::from(format!("/proc/{pid}/fd"));
    let directory = match fs::open(&path, libc::O_RDONLY | libc::O_DIRECTORY) {
        // It has ended.
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ESRCH) => return Ok(()),
        other => other?,
    };
    let entries = match directory::entries(directory.as_fd()) {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ESRCH) => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let Ok(link) = std::fs::read_link(path.join(&entry.name)) else {
            continue;
        };
        if let Some((_, what)) = UNDUMPABLE.iter().find(|(name, _)| link == Path::new(name)) {
            return Err(with_hint(
                format!(
                    "process {} has {what} open (file descriptor {}), which CRIU cannot dump",
                    named(pid),
                    entry.name.to_string_lossy()
                ),
                "configure the program not to use it, or checkpoint the container while it is closed",
            ));
        }
    }
    Ok(())
}
