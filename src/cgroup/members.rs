//! The processes in a cgroup and below it: which they are, and the end of all.
//!
//! A threaded cgroup has threads and no processes, so neither cgroup.procs can be read there nor cgroup.kill be written; both
//! are made of the threads' processes.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::{apply, tree};
use crate::error::Result;
use crate::state::store::CgroupState;
use crate::sys::{SysResult, fs, process};

/// The pids of all processes in a container's cgroup and below it, each once.
pub fn processes(cgroup: &CgroupState) -> Result<Vec<i32>> {
    if !tree::is_own(cgroup)? {
        return Ok(Vec::new());
    }
    Ok(below(&cgroup.path)?)
}

/// The pids of all processes in a cgroup and below it, each once.
pub fn below(path: &Path) -> SysResult<Vec<i32>> {
    let mut pids = Vec::new();
    let mut known = HashSet::new();
    for directory in tree::descendants(path)? {
        let found = match list(&directory, "cgroup.procs") {
            Err(error) if error.errno == Errno::EOPNOTSUPP => {
                let threads = list(&directory, "cgroup.threads");
                threads.map(|threads| threads.into_iter().filter_map(process_of).collect())
            }
            found => found,
        };
        match found {
            Err(error) if tree::is_absent(&error) => {}
            found => pids.extend(found?.into_iter().filter(|pid| known.insert(*pid))),
        }
    }
    Ok(pids)
}

/// The numbers in a file; those of processes that this pid namespace does not have are left out.
fn list(directory: &Path, file: &str) -> SysResult<Vec<i32>> {
    let file = fs::open(&directory.join(file), libc::O_RDONLY)?;
    let text = fs::read_all(file.as_fd(), 64 << 20)?;
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| line.parse::<i32>().ok())
        .filter(|number| *number > 0)
        .collect())
}

/// The process of a thread, by proc_pid_status(5); none if it has ended.
fn process_of(thread: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Tgid:"))?
        .trim()
        .parse()
        .ok()
}

/// Kills every process in a container's cgroup and below it (cgroup.kill, Linux 5.14).
pub fn kill_all(cgroup: &CgroupState) -> SysResult<()> {
    let Some(directory) = tree::own_directory(cgroup)? else {
        return Ok(());
    };
    let kill = || fs::write(open(directory.as_fd(), "cgroup.kill")?.as_fd(), b"1").map(drop);
    match kill() {
        Err(error) if error.errno == Errno::EOPNOTSUPP => kill_one_by_one(directory.as_fd(), &cgroup.path),
        // Removed, perhaps since it was opened.
        Err(error) if tree::is_absent(&error) => Ok(()),
        other => other,
    }
}

fn open(directory: BorrowedFd, file: &str) -> SysResult<OwnedFd> {
    fs::openat(directory, Path::new(file), libc::O_WRONLY, 0)
}

/// Kills the processes of a threaded cgroup. They are frozen meanwhile, so that none gets away by a fork; the kernel kills
/// frozen ones too.
fn kill_one_by_one(directory: BorrowedFd, path: &Path) -> SysResult<()> {
    let frozen = apply::read(directory, "cgroup.freeze")?;
    let freeze = |value: &[u8]| fs::write(open(directory, "cgroup.freeze")?.as_fd(), value).map(drop);
    freeze(b"1")?;
    let killed = kill_until_none_is_new(path);
    // One that is gone needs no thaw.
    let thawed =
        freeze(frozen.trim().as_bytes()).or_else(|error| if tree::is_absent(&error) { Ok(()) } else { Err(error) });
    killed.and(thawed)
}

/// A fork that had begun when its cgroup was frozen still ends, so one look is not enough.
fn kill_until_none_is_new(path: &Path) -> SysResult<()> {
    let mut known = HashSet::new();
    loop {
        let held: Vec<_> = below(path)?
            .into_iter()
            .filter(|pid| known.insert(*pid))
            .filter_map(|pid| Some((pid, process::pidfd_open(pid).ok()?)))
            .collect();
        if held.is_empty() {
            return Ok(());
        }
        // A number that is listed while we hold its process is that process's.
        let listed: HashSet<i32> = below(path)?.into_iter().collect();
        for (pid, pidfd) in &held {
            if !listed.contains(pid) {
                continue;
            }
            match process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL) {
                Err(error) if error.errno != Errno::ESRCH => return Err(error),
                _ => {}
            }
        }
    }
}
