//! Writing to /proc. Run by init, before the root file system is touched.
//!
//! Files of /proc decide about security, so they are opened where nobody can have put another in their place: below a
//! handle on the host's own procfs, whose type is verified, without following any link or crossing any mount
//! (CVE-2019-16884, CVE-2025-52881).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Result, bail, errno};
use crate::sys::fs_context::FsContext;
use crate::sys::{SysResult, fs};

pub struct HostProc(OwnedFd);

impl HostProc {
    pub fn open() -> Result<Self> {
        let fd = fs::open(Path::new("/proc"), libc::O_PATH | libc::O_DIRECTORY)?;
        if fs::type_of(fd.as_fd())? != fs::FsType::PROC {
            bail!("/proc of the host is not a procfs");
        }
        Ok(HostProc(fd))
    }

    /// Writes a value to a file below /proc/sys, in one call as the kernel wants it.
    pub fn write_sysctl(&self, file: &Path, value: &str) -> Result<()> {
        self.write_below(|_| Ok("sys".into()), file, value)
    }

    /// Writes a value to a file of this process.
    pub fn write_own(&self, file: &Path, value: &str) -> Result<()> {
        // "self" is a link, so the number it leads to is read and taken apart from it.
        let own = |proc: BorrowedFd| Ok(std::str::from_utf8(&fs::readlinkat(proc, c"self")?)?.into());
        self.write_below(own, file, value)
    }

    /// Writes a value to a file of another process, by its pid in the procfs's pid namespace.
    pub fn write_of(&self, pid: i32, file: &Path, value: &str) -> Result<()> {
        let fd = open_below(self.0.as_fd(), &Path::new(&pid.to_string()).join(file))?;
        fs::write(fd.as_fd(), value.as_bytes())?;
        Ok(())
    }

    fn write_below(&self, directory: impl Fn(BorrowedFd) -> Result<PathBuf>, file: &Path, value: &str) -> Result<()> {
        let open = |proc: BorrowedFd| -> Result<OwnedFd> { Ok(open_below(proc, &directory(proc)?.join(file))?) };
        let fd = match open(self.0.as_fd()) {
            // Covered by a mount or read-only, as a container around us has its /proc/sys. A procfs of our own shows the
            // same without; where none can be had, it stays at that.
            Err(error) if matches!(errno(&error), Some(Errno::EXDEV | Errno::EROFS)) => match of_our_own() {
                Ok(proc) => open(proc.as_fd())?,
                Err(_) => return Err(error),
            },
            other => other?,
        };
        fs::write(fd.as_fd(), value.as_bytes())?;
        Ok(())
    }
}

fn open_below(proc: BorrowedFd, path: &Path) -> SysResult<OwnedFd> {
    let resolve =
        libc::RESOLVE_BENEATH | libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    fs::openat2(proc, path, libc::O_WRONLY, 0, resolve)
}

/// A new procfs that is attached nowhere.
fn of_our_own() -> SysResult<OwnedFd> {
    FsContext::new("proc")?.mount(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_NODEV)
}
