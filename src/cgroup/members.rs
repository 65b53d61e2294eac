//! Listing and killing the processes in a cgroup and below it.
//!
//! In a threaded cgroup cgroup.procs cannot be read and cgroup.kill cannot be written (EOPNOTSUPP). There the processes are
//! found through cgroup.threads and killed one by one.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::directory;
use crate::error::Result;
use crate::state::record::CgroupState;
use crate::sys::{SysResult, fs, process};

/// The pids of all processes in a container's cgroup and below it, each once.
pub fn processes(cgroup: &CgroupState) -> Result<Vec<i32>> {
    if !directory::is_own(cgroup)? {
        return Ok(Vec::new());
    }
    Ok(below(&cgroup.path)?)
}

/// The pids of all processes in a cgroup and below it, each once.
pub fn below(path: &Path) -> SysResult<Vec<i32>> {
    let mut pids = Vec::new();
    let mut known = HashSet::new();
    for directory in directory::descendants(path)? {
        let found = match list(&directory, "cgroup.procs") {
            Err(error) if error.errno == Errno::EOPNOTSUPP => {
                let threads = list(&directory, "cgroup.threads");
                threads.map(|threads| threads.into_iter().filter_map(process_of).collect())
            }
            found => found,
        };
        match found {
            Err(error) if directory::is_absent(&error) => {}
            found => pids.extend(found?.into_iter().filter(|pid| known.insert(*pid))),
        }
    }
    Ok(pids)
}

/// The ids in a file. Processes outside this pid namespace are listed as 0 and left out.
fn list(directory: &Path, file: &str) -> SysResult<Vec<i32>> {
    let file = fs::open(&directory.join(file), libc::O_RDONLY)?;
    let text = fs::read_all(file.as_fd(), 64 << 20)?;
    Ok(String::from_utf8_lossy(&text)
        .lines()
        .filter_map(|line| line.parse::<i32>().ok())
        .filter(|number| *number > 0)
        .collect())
}

/// The process that a thread belongs to (`Tgid` in proc_pid_status(5)); none if it has ended.
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
    let Some(directory) = directory::own_directory(cgroup)? else {
        return Ok(());
    };
    let kill = || fs::write(open(directory.as_fd(), "cgroup.kill")?.as_fd(), b"1").map(drop);
    match kill() {
        Err(error) if error.errno == Errno::EOPNOTSUPP => kill_one_by_one(directory.as_fd(), &cgroup.path),
        // The cgroup was removed, perhaps after it was opened.
        Err(error) if directory::is_absent(&error) => Ok(()),
        other => other,
    }
}

fn open(directory: BorrowedFd, file: &str) -> SysResult<OwnedFd> {
    fs::openat(directory, Path::new(file), libc::O_WRONLY, 0)
}

/// Kills the processes of a threaded cgroup. They are frozen meanwhile so that none escapes by forking; SIGKILL works on frozen
/// processes too.
fn kill_one_by_one(directory: BorrowedFd, path: &Path) -> SysResult<()> {
    let frozen = directory::read(directory, "cgroup.freeze")?;
    let freeze = |value: &[u8]| fs::write(open(directory, "cgroup.freeze")?.as_fd(), value).map(drop);
    freeze(b"1")?;
    let killed = kill_until_none_is_new(path);
    // A cgroup that has been removed does not need to be thawed.
    let thawed = freeze(frozen.trim().as_bytes()).or_else(|error| {
        if directory::is_absent(&error) {
            Ok(())
        } else {
            Err(error)
        }
    });
    killed.and(thawed)
}

/// A fork(2) that was under way when the cgroup was frozen still completes, so listing once is not enough.
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
        // A pid that is still listed while we hold a pidfd for it has not been reused.
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
