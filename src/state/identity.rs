//! Which process a container's init is, and whether it still lives.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use procfs::FromRead;
use procfs::process::Stat;

use crate::error::{Context, Result, anyhow, errno};
use crate::sys::{descriptor, fs, process};

/// A process, as it is remembered: a pid alone may be another's by now.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    pub pid: i32,
    /// In clock ticks since boot (proc_pid_stat(5), field 22).
    pub start_time: u64,
    /// Where the kernel has such numbers, see [`process::pidfd_inode`]. Then it alone decides.
    pub pidfd_inode: Option<u64>,
}

/// A pidfd for this process, if it lives (a zombie does not). That it cannot be told is an error, not an end.
pub fn living(of: &Identity) -> Result<Option<OwnedFd>> {
    // The pidfd first: what is read of /proc afterwards is either about the same process, or about a later one whose
    // start time gives it away.
    let pidfd = match process::pidfd_open(of.pid) {
        // The number is nobody's, or a thread's (two errnos, by kernel), or none.
        Err(error) if matches!(error.errno, Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => return Ok(None),
        other => other?,
    };
    if let Some(inode) = of.pidfd_inode {
        let lives = fs::fstat(pidfd.as_fd())?.st_ino == inode && !all_have_ended(&pidfd)?;
        return Ok(lives.then_some(pidfd));
    }
    let read = stat(of.pid);
    if let Ok(stat) = &read
        && !matches!(stat.state, 'Z' | 'X' | 'x')
    {
        return Ok((stat.starttime == of.start_time).then_some(pidfd));
    }
    // Unreadable, or the first thread is a zombie, which others may outlive.
    if all_have_ended(&pidfd)? {
        return Ok(None);
    }
    Ok((read?.starttime == of.start_time).then_some(pidfd))
}

/// Whether all threads of a process have ended.
fn all_have_ended(pidfd: &OwnedFd) -> Result<bool> {
    let events = descriptor::poll(&[(pidfd.as_fd(), libc::POLLIN)], 0)?;
    Ok(events.first().is_some_and(|events| *events != 0))
}

/// Whether this process lives; none where that takes more to tell than [`living`] does.
pub fn lives(process: &Identity) -> Option<bool> {
    if process.pid <= 0 {
        return Some(false);
    }
    if process.pidfd_inode.is_some() {
        return living(process).ok().map(|pidfd| pidfd.is_some());
    }
    match stat(process.pid) {
        Ok(stat) if stat.starttime != process.start_time => Some(false),
        // The first thread is a zombie, which others may outlive.
        Ok(stat) => (!matches!(stat.state, 'Z' | 'X' | 'x')).then_some(true),
        Err(error) => matches!(errno(&error), Some(Errno::ENOENT | Errno::ESRCH)).then_some(false),
    }
}

/// /proc/PID/stat of a process (proc_pid_stat(5)).
fn stat(pid: i32) -> Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    let file = fs::open(Path::new(&path), libc::O_RDONLY)?;
    // 52 numbers and a name of up to 64 bytes. Through the process's own type procfs would look at four more files.
    let mut text = [0u8; 2048];
    let length = fs::pread(file.as_fd(), &mut text)?;
    Stat::from_read(text.get(..length).unwrap_or_default()).context(path)
}

/// The start time of a process that certainly lives, because it is our child.
pub fn start_time(pid: i32) -> Result<u64> {
    Ok(stat(pid)?.starttime)
}

/// Whether the process behind a pidfd has ended, where poll(2) cannot tell: by what procfs says of the descriptor.
pub fn has_ended(pidfd: &OwnedFd) -> Result<bool> {
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let file = fs::open(Path::new(&path), libc::O_RDONLY)?;
    let text = fs::read_all(file.as_fd(), 1 << 20)?;
    let text = String::from_utf8_lossy(&text);
    let pid = text
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    Ok(match pid {
        Some(pid @ 1..) => match stat(pid) {
            Err(error) if matches!(errno(&error), Some(Errno::ENOENT | Errno::ESRCH)) => true,
            other => matches!(other?.state, 'Z' | 'X' | 'x'),
        },
        // Reaped.
        Some(_) => true,
        None => return Err(anyhow!("{path} has no pid")),
    })
}

/// Whether a process has executed a program since it was cloned. The pid must be known to be still its own.
pub fn has_executed(pid: i32) -> Result<bool> {
    /// Forked, but did not exec.
    const PF_FORKNOEXEC: u32 = 0x40;
    Ok(stat(pid)?.flags & PF_FORKNOEXEC == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_executed_is_told_from_a_copy_of_us() {
        assert!(has_executed(process::pid()).unwrap());
        assert!(!has_ended(&process::pidfd_open(process::pid()).unwrap()).unwrap());
        match process::clone3(0, None).unwrap() {
            process::Cloned::Child => process::exit_now(0),
            process::Cloned::Parent { pid, pidfd } => {
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
