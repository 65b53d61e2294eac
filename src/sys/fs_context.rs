//! A file system on its way to a mount: fsopen(2), fsconfig(2), fsmount(2).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{SysResult, mount};

/// A file-system context: the configuration of a file system, closed when dropped.
pub struct FsContext(OwnedFd);

impl FsContext {
    /// `fsopen(2)`: a new file system of a type.
    pub fn new(kind: &str) -> SysResult<Self> {
        mount::fsopen(kind).map(FsContext)
    }

    /// `fspick(2)`: the existing file system of a mount, to reconfigure it.
    pub fn of_mount(mount: BorrowedFd) -> SysResult<Self> {
        mount::fspick(mount).map(FsContext)
    }

    /// `fsconfig(2)` of an option with a value.
    pub fn set(&self, key: &str, value: &str) -> SysResult<()> {
        mount::fsconfig(self.0.as_fd(), key, Some(value))
    }

    /// `fsconfig(2)` of an option without a value.
    pub fn set_flag(&self, key: &str) -> SysResult<()> {
        mount::fsconfig(self.0.as_fd(), key, None)
    }

    /// Makes a procfs show the PID namespace of the caller's future children instead of the caller's (Linux 6.17).
    pub fn show_pid_namespace_for_children(&self) -> SysResult<()> {
        self.set("pidns", "/proc/self/ns/pid_for_children")
    }

    /// Creates the superblock and a detached mount of it with these attributes (`MOUNT_ATTR_*`).
    pub fn mount(self, attributes: u64) -> SysResult<OwnedFd> {
        mount::fsconfig_create(self.0.as_fd())?;
        mount::fsmount(self.0.as_fd(), attributes)
    }

    /// Applies the options to the existing file system.
    pub fn reconfigure(self) -> SysResult<()> {
        mount::fsconfig_reconfigure(self.0.as_fd())
    }
}

/// Whether the kernel can do [`FsContext::show_pid_namespace_for_children`].
pub fn knows_pidns() -> bool {
    FsContext::new("proc").is_ok_and(|context| context.show_pid_namespace_for_children().is_ok())
}
