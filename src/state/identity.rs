//! Identifies the init process of a container, and determines whether it is still alive.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use procfs::FromRead;
use procfs::process::Stat;

use crate::error::{Context, Result, anyhow, errno};
use crate::sys::{descriptor, fs, process};

/// Identifies a process. A pid alone may belong to another process by now.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    pub pid: i32,
    /// In clock ticks since boot (proc_pid_stat(5), field 22).
    pub start_time: u64,
    /// Only on kernels with unique numbers, see [`process::pidfd_inode`]. If set, it alone decides.
    pub pidfd_inode: Option<u64>,
}

/// A pidfd for this process, if it is alive (a zombie is not). It is an error if this cannot be determined.
pub fn open_if_alive(identity: &Identity) -> Result<Option<OwnedFd>> {
    // The pidfd is opened first: what is read from /proc afterwards is either about the same process, or about a later one,
    // which has another start time.
    let pidfd = match process::pidfd_open(identity.pid) {
        // There is no process with this pid, or it is the ID of a thread (two errnos, depending on the kernel), or invalid.
        Err(error) if matches!(error.errno, Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => return Ok(None),
        other => other?,
    };
    if let Some(inode) = identity.pidfd_inode {
        let alive = fs::fstat(pidfd.as_fd())?.st_ino == inode && !all_threads_ended(&pidfd)?;
        return Ok(alive.then_some(pidfd));
    }
    let stat = read_stat(identity.pid);
    if let Ok(stat) = &stat
        && !matches!(stat.state, 'Z' | 'X' | 'x')
    {
        return Ok((stat.starttime == identity.start_time).then_some(pidfd));
    }
    // Unreadable, or the first thread is a zombie, while others may still run.
    if all_threads_ended(&pidfd)? {
        return Ok(None);
    }
    Ok((stat?.starttime == identity.start_time).then_some(pidfd))
}

/// Whether all threads of a process have ended.
fn all_threads_ended(pidfd: &OwnedFd) -> Result<bool> {
    let events = descriptor::poll(&[(pidfd.as_fd(), libc::POLLIN)], 0)?;
    Ok(events.first().is_some_and(|events| *events != 0))
}

/// Whether this process is alive; none if only [`open_if_alive`] can tell.
pub fn is_alive(identity: &Identity) -> Option<bool> {
    if identity.pid <= 0 {
        return Some(false);
    }
    if identity.pidfd_inode.is_some() {
        return open_if_alive(identity).ok().map(|pidfd| pidfd.is_some());
    }
    match read_stat(identity.pid) {
        Ok(stat) if stat.starttime != identity.start_time => Some(false),
        // The first thread is a zombie, while others may still run.
        Ok(stat) => (!matches!(stat.state, 'Z' | 'X' | 'x')).then_some(true),
        Err(error) => matches!(errno(&error), Some(Errno::ENOENT | Errno::ESRCH)).then_some(false),
    }
}

/// /proc/PID/stat of a process (proc_pid_stat(5)).
fn read_stat(pid: i32) -> Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    let file = fs::open(Path::new(&path), libc::O_RDONLY)?;
    // 52 numbers and a name of up to 64 bytes. The procfs crate's Process type would read four more files.
    let mut text = [0u8; 2048];
    let length = fs::pread(file.as_fd(), &mut text)?;
    Stat::from_read(text.get(..length).unwrap_or_default()).context(path)
}

/// The start time of a child of this process that has not been waited for, so its pid cannot be reused.
pub fn start_time(pid: i32) -> Result<u64> {
    Ok(read_stat(pid)?.starttime)
}

/// Whether the process of a pidfd has ended, for cases in which poll(2) cannot tell: reads the descriptor's fdinfo.
pub fn has_ended(pidfd: &OwnedFd) -> Result<bool> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let file = fs::open(Path::new(&path), libc::O_RDONLY)?;
    let text = fs::read_all(file.as_fd(), 1 << 20)?;
    let text = String::from_utf8_lossy(&text);
    let pid = text
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    Ok(match pid {
        Some(pid @ 1..) => match read_stat(pid) {
            Err(error) if matches!(errno(&error), Some(Errno::ENOENT | Errno::ESRCH)) => true,
            other => matches!(other?.state, 'Z' | 'X' | 'x'),
        },
        // Reaped.
        Some(_) => true,
        None => return Err(anyhow!("{path} has no pid")),
    })
}

/// Whether a process has executed a program since it was cloned. The caller must know that the pid has not been reused.
pub fn has_executed(pid: i32) -> Result<bool> {
    /// Forked, but did not exec.
    const PF_FORKNOEXEC: u32 = 0x40;
    Ok(read_stat(pid)?.flags & PF_FORKNOEXEC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone;

    #[test]
    fn an_executed_program_is_distinguished_from_a_forked_copy() {
        assert!(has_executed(process::pid()).unwrap());
        assert!(!has_ended(&process::pidfd_open(process::pid()).unwrap()).unwrap());
        match clone::clone3(0, clone::Relation::Child, None).unwrap() {
            clone::Cloned::Child => process::exit_now(0),
            clone::Cloned::Parent { pid, pidfd } => {
                assert!(!has_executed(pid).unwrap());
                while !has_ended(&pidfd).unwrap() {
                    std::thread::yield_now();
                }
                process::wait_pidfd(pidfd.as_fd(), true).unwrap();
                assert!(has_ended(&pidfd).unwrap());
            }
        }
    }
}
