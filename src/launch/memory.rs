//! Checks that execve(2) completes under a memory limit. After execve's point of no return the OOM killer may still kill the
//! process; by then the channel has been closed, as on success.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::cgroup::oom;
use crate::error::Result;
use crate::state::record::CgroupState;
use crate::sys::{descriptor, fs};

/// An execve takes a fraction of a millisecond, unless it waits for the disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until init, which has closed its channel, runs its program; an error if it was killed before that.
pub fn wait_for_exec(cgroup: &CgroupState, pid: i32, init: &OwnedFd) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut pause = 0;
    while Instant::now() < end {
        let events = descriptor::poll(&[(init.as_fd(), libc::POLLIN)], pause)?;
        if events.first().is_some_and(|events| *events != 0) {
            // A program that ran and exited is a success, whatever happened to its children.
            return match oom::out_of_memory(cgroup).filter(|_| was_killed(pid)) {
                Some(error) => Err(error),
                None => Ok(()),
            };
        }
        if is_loaded(pid) {
            return Ok(());
        }
        pause = 1;
    }
    Ok(())
}

/// Whether the kernel has written the auxiliary vector of the new program, the last allocation of execve (proc_pid_auxv(5)).
fn is_loaded(pid: i32) -> bool {
    let mut first = [0; 8];
    let path = format!("/proc/{pid}/auxv");
    match fs::open(Path::new(&path), libc::O_RDONLY).and_then(|fd| fs::read(fd.as_fd(), &mut first)) {
        Ok(count) => count > 0 && first != [0; 8],
        // Not permitted to know.
        Err(error) => matches!(error.errno, Errno::EACCES | Errno::EPERM),
    }
}

/// Whether a zombie was killed by SIGKILL. A process that has already been reaped counts as killed.
fn was_killed(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    // The last field is the exit status (proc_pid_stat(5)).
    let status = stat
        .split_ascii_whitespace()
        .next_back()
        .and_then(|field| field.parse().ok());
    status.is_none_or(|status: i32| libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL)
}
