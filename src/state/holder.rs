//! The processes that are working on a container: those that hold the lock on its directory.
//!
//! They are read from the kernel's lists, not from a stored pid, which may belong to another process by now. A child has a
//! copy of the descriptor until it executes another program, and with it the lock, so children count too.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use crate::sys::{SysResult, directory, fs, process};

/// A process that holds the lock, or did a moment ago. A pidfd never refers to another process.
pub struct Holder {
    pub pid: i32,
    pub pidfd: OwnedFd,
}

/// The processes that hold a flock(2) lock on an open directory and are visible in this pid namespace. `creator`: the
/// process that took the lock first, in case the kernel's list is hidden; 0 if it is not known.
pub fn holders(locked: BorrowedFd, creator: i32) -> SysResult<Vec<Holder>> {
    let inode = fs::fstat(locked)?.st_ino;
    // /proc/locks has the device number too, but on some file systems it differs from the one that fstat(2) returns.
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut candidates: Vec<i32> = locks.lines().filter_map(|line| owner(line, inode)).collect();
    candidates.extend((creator > 0).then_some(creator));
    let mut holders: Vec<Holder> = Vec::new();
    while let Some(pid) = candidates.pop() {
        if holders.iter().any(|holder| holder.pid == pid) {
            continue;
        }
        candidates.extend(children(pid));
        let Ok(pidfd) = process::pidfd_open(pid) else { continue };
        // Checked while the pidfd is open: if its process still exists afterwards, the files in /proc are about it.
        if holds_lock(pid, inode) && process::pidfd_send_signal(pidfd.as_fd(), 0).is_ok() {
            holders.push(Holder { pid, pidfd });
        }
    }
    Ok(holders)
}

/// The pid in a line of /proc/locks (proc_locks(5)), if the line describes a flock(2) lock on this inode.
fn owner(line: &str, inode: u64) -> Option<i32> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    match fields.as_slice() {
        [_, "FLOCK", _, _, pid, file, ..] if file.rsplit(':').next()?.parse() == Ok(inode) => pid.parse().ok(),
        _ => None,
    }
}

/// Whether one of the descriptors of a process has such a lock (proc_pid_fdinfo(5)).
fn holds_lock(pid: i32, inode: u64) -> bool {
    let path = PathBuf::from(format!("/proc/{pid}/fdinfo"));
    let entries = fs::open(&path, libc::O_RDONLY | libc::O_DIRECTORY)
        .and_then(|fd| directory::entries(fd.as_fd()))
        .unwrap_or_default();
    entries.iter().any(|entry| {
        let text = std::fs::read_to_string(path.join(&entry.name)).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.strip_prefix("lock:"))
            .any(|lock| owner(lock, inode).is_some())
    })
}

fn children(pid: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_identified_by_its_inode() {
        let table = [
            ("1: FLOCK  ADVISORY  WRITE 4711 00:1a:815 0 EOF", Some(4711)),
            ("\t1: FLOCK  ADVISORY  WRITE 4711 08:01:815 0 EOF", Some(4711)),
            ("1: FLOCK  ADVISORY  WRITE 4711 00:1a:8150 0 EOF", None),
            ("1: POSIX  ADVISORY  WRITE 4711 00:1a:815 0 EOF", None),
            ("1: -> FLOCK  ADVISORY  WRITE 4711 00:1a:815 0 EOF", None),
            ("1: FLOCK  ADVISORY  WRITE -1 00:1a:815", Some(-1)),
            ("", None),
        ];
        for (line, expected) in table {
            assert_eq!(owner(line, 815), expected, "{line:?}");
        }
    }

    #[test]
    fn the_holder_of_a_lock_is_found() {
        let path = std::env::temp_dir().join(format!("orlop-holder-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let open = || fs::open(&path, libc::O_RDONLY | libc::O_DIRECTORY).unwrap();
        let (locked, other) = (open(), open());
        assert!(holders(other.as_fd(), 0).unwrap().is_empty());
        fs::flock(locked.as_fd()).unwrap();
        let pids: Vec<i32> = holders(other.as_fd(), 0)
            .unwrap()
            .iter()
            .map(|holder| holder.pid)
            .collect();
        std::fs::remove_dir(&path).unwrap();
        assert_eq!(pids, [process::pid()]);
    }
}
