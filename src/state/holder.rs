//! Who works on a container: the processes that hold the lock of its directory.
//!
//! The kernel's own lists tell, and not what somebody has noted: a number that was noted may be another process's by now. A
//! child has a copy of the descriptor until it executes another program, and with it the lock, so children count too.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use crate::sys::{SysResult, directory, fs, process};

/// A process that holds the lock, or did a moment ago: a pidfd cannot come to mean another.
pub struct Holder {
    pub pid: i32,
    pub pidfd: OwnedFd,
}

/// The processes that hold a lock by flock(2) on an open directory, as far as this pid namespace shows them. `creator`: who took
/// it at first, for where the kernel's list is hidden; 0 if that is not known.
pub fn holders(locked: BorrowedFd, creator: i32) -> SysResult<Vec<Holder>> {
    let inode = fs::fstat(locked)?.st_ino;
    // The device's number stands there too, but on some file systems it is not the one that fstat(2) gives.
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut candidates: Vec<i32> = locks.lines().filter_map(|line| owner(line, inode)).collect();
    candidates.extend((creator > 0).then_some(creator));
    let mut found: Vec<Holder> = Vec::new();
    while let Some(pid) = candidates.pop() {
        if found.iter().any(|holder| holder.pid == pid) {
            continue;
        }
        candidates.extend(children(pid));
        let Ok(pidfd) = process::pidfd_open(pid) else { continue };
        // Looked at while the pidfd is open: what is read is either about its process, or about none.
        if holds(pid, inode) && process::pidfd_send_signal(pidfd.as_fd(), 0).is_ok() {
            found.push(Holder { pid, pidfd });
        }
    }
    Ok(found)
}

/// The pid in a line of /proc/locks (proc_locks(5)) about a flock(2) on this inode.
fn owner(line: &str, inode: u64) -> Option<i32> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    match fields.as_slice() {
        [_, "FLOCK", _, _, pid, file, ..] if file.rsplit(':').next()?.parse() == Ok(inode) => pid.parse().ok(),
        _ => None,
    }
}

/// Whether one of a process's descriptors has such a lock (proc_pid_fdinfo(5)).
fn holds(pid: i32, inode: u64) -> bool {
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
    fn a_lock_is_known_by_its_inode() {
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
        let (one, other) = (open(), open());
        assert!(holders(other.as_fd(), 0).unwrap().is_empty());
        fs::flock(one.as_fd()).unwrap();
        let found: Vec<i32> = holders(other.as_fd(), 0)
            .unwrap()
            .iter()
            .map(|holder| holder.pid)
            .collect();
        std::fs::remove_dir(&path).unwrap();
        assert_eq!(found, [process::pid()]);
    }
}
