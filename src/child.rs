//! A child process of the runtime with a socket to it.
//!
//! The child continues as a copy of this process, so [`spawn`] returns twice, as fork(2) does. (Init is not made like this: its
//! two sockets are made earlier, because a process in between may make it.)

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::clone::{self, Cloned, Relation};
use crate::sys::process;
use crate::sys::{SysResult, socket};

pub struct Child {
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// This end of the socket. The child sees an end of file when it is closed, or when this process dies.
    pub socket: OwnedFd,
}

/// The two returns of [`spawn`].
pub enum Spawned {
    Parent(Child),
    /// In the child, with its end of the socket.
    Child(OwnedFd),
}

/// Makes a child in the new namespaces of `namespaces` (`CLONE_NEW*`) and, if given, inside the cgroup.
pub fn spawn(namespaces: u64, cgroup: Option<BorrowedFd>) -> SysResult<Spawned> {
    let (ours, theirs) = socket::pair()?;
    Ok(match clone::clone3(namespaces, Relation::Child, cgroup)? {
        Cloned::Child => {
            drop(ours);
            Spawned::Child(theirs)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            Spawned::Parent(Child {
                pid,
                pidfd,
                socket: ours,
            })
        }
    })
}

impl Child {
    /// Closes the socket and waits for the child, which ends when it sees that.
    pub fn end(self) -> SysResult<()> {
        drop(self.socket);
        process::wait_pidfd(self.pidfd.as_fd(), true).map(drop)
    }
}
