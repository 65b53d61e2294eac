//! New processes and namespaces: clone3(2), setns(2), unshare(2).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::names::CLONE_INTO_CGROUP;
use super::namespace::NAMESPACES;
use super::{Arg, SysResult, check, heap, own};

/// The two returns of [`clone3`]: in the parent with the child's PID and a pidfd for it, in the child with nothing.
pub enum Cloned {
    Parent { pid: i32, pidfd: OwnedFd },
    Child,
}

/// Whose child a new process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The caller's.
    Child,
    /// The child of the caller's parent, which waits for it (`CLONE_PARENT`).
    Sibling,
}

/// struct clone_args of linux/sched.h, version 2 (with `cgroup`).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// `clone3(2)`, used like fork(2): the child continues with a copy of this process, in the new namespaces of `namespaces`
/// (`CLONE_NEW*`) and, if given, inside the cgroup.
///
/// Other flags cannot be passed: bits that are not of namespaces are ignored. With CLONE_VM or CLONE_FILES parent and child would
/// share memory or descriptors that each of them believes to own.
///
/// The caller must be single-threaded: the copy only has the calling thread, and a lock that another thread holds would never be
/// released in it.
pub fn clone3(namespaces: u64, relation: Relation, cgroup: Option<BorrowedFd>) -> SysResult<Cloned> {
    let mut pidfd: RawFd = -1;
    let (relation, exit_signal) = match relation {
        Relation::Child => (0, libc::SIGCHLD),
        // The kernel uses the exit signal of the caller.
        Relation::Sibling => (libc::CLONE_PARENT, 0),
    };
    let mut args = CloneArgs {
        flags: only_namespaces(namespaces) | (relation | libc::CLONE_PIDFD) as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: exit_signal as u64,
        ..CloneArgs::default()
    };
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = fd.as_raw_fd() as u64;
    }
    let pid = check!(
        // SAFETY: without CLONE_VM this is fork: the child has its own copy of all memory. args and pidfd outlive the call.
        unsafe { libc::syscall(libc::SYS_clone3, &args, std::mem::size_of::<CloneArgs>()) },
        Clone3,
        Arg::CloneFlags(args.flags)
    )?;
    if pid == 0 {
        heap::begin_anew();
        Ok(Cloned::Child)
    } else {
        Ok(Cloned::Parent {
            pid: pid as i32,
            pidfd: own(pidfd),
        })
    }
}

/// `setns(2)` into the namespace behind `fd`; `kind` is its `CLONE_NEW*` flag and must match. Behind a pidfd are all namespaces of
/// a process, and `kind` names those to join (Linux 5.8).
pub fn setns(fd: BorrowedFd, kind: u64) -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::setns(fd.as_raw_fd(), kind as i32) },
        Setns,
        Arg::CloneFlags(kind)
    )
    .map(drop)
}

/// `unshare(2)` of namespaces (`CLONE_NEW*`); other bits are ignored.
pub fn unshare(namespaces: u64) -> SysResult<()> {
    let flags = only_namespaces(namespaces);
    // SAFETY: no memory is passed; the flags are those of namespaces, which only concern this process.
    check!(unsafe { libc::unshare(flags as i32) }, Unshare, Arg::CloneFlags(flags)).map(drop)
}

fn only_namespaces(flags: u64) -> u64 {
    let all = NAMESPACES.iter().fold(0, |all, kind| all | kind.flag);
    flags & all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_share_memory_or_descriptors_are_never_passed() {
        let shared = libc::CLONE_VM | libc::CLONE_FILES | libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VFORK;
        assert_eq!(only_namespaces(shared as u64), 0);
        let wanted = (libc::CLONE_NEWNS | libc::CLONE_NEWUSER | libc::CLONE_NEWTIME) as u64;
        assert_eq!(only_namespaces(wanted | shared as u64), wanted);
    }
}
