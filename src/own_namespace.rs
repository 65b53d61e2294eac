//! A stay in another namespace of a kind that a process can come back from: a network namespace, or a PID namespace for
//! children.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::sys::{SysResult, clone, fs};

/// The caller's own namespace of one kind, to come back to.
pub struct OwnNamespace {
    fd: OwnedFd,
    /// `CLONE_NEW*`.
    flag: u64,
}

impl OwnNamespace {
    pub fn network() -> SysResult<Self> {
        Self::open("net", libc::CLONE_NEWNET as u64)
    }

    pub fn pid() -> SysResult<Self> {
        Self::open("pid", libc::CLONE_NEWPID as u64)
    }

    fn open(file: &str, flag: u64) -> SysResult<Self> {
        let fd = fs::open(&Path::new("/proc/self/ns").join(file), libc::O_RDONLY)?;
        Ok(OwnNamespace { fd, flag })
    }

    /// Does `work` in the namespace behind a descriptor.
    pub fn visit<T>(&self, namespace: BorrowedFd, work: impl FnOnce() -> SysResult<T>) -> SysResult<T> {
        clone::setns(namespace, self.flag)?;
        self.come_back_after(work)
    }

    /// Does `work` in a new namespace.
    pub fn visit_new<T>(&self, work: impl FnOnce() -> SysResult<T>) -> SysResult<T> {
        clone::unshare(self.flag)?;
        self.come_back_after(work)
    }

    /// The failure to come back takes precedence: whatever runs next would run in the wrong namespace.
    fn come_back_after<T>(&self, work: impl FnOnce() -> SysResult<T>) -> SysResult<T> {
        let done = work();
        self.come_back()?;
        done
    }

    pub fn come_back(&self) -> SysResult<()> {
        clone::setns(self.fd.as_fd(), self.flag)
    }
}

impl AsFd for OwnNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
