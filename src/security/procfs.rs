//! Files in /proc that are written or read for a container. Written by init, before it accesses the root file system.
//!
//! Files in /proc are relevant for security, so it must be impossible to replace them with others: they are opened below a
//! handle on the host's procfs, whose type is verified, without following symbolic links or crossing mounts (CVE-2019-16884,
//! CVE-2025-52881).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Result, bail, errno};
use crate::sys::fs_context::FsContext;
use crate::sys::{SysResult, fs};

/// More than any value of a kernel parameter.
const LONGEST_VALUE: usize = 64 << 10;

pub struct HostProc(OwnedFd);

impl HostProc {
    pub fn open() -> Result<Self> {
        let fd = fs::open(Path::new("/proc"), libc::O_PATH | libc::O_DIRECTORY)?;
        if fs::type_of(fd.as_fd())? != fs::FsType::PROC {
            bail!("/proc of the host is not a procfs");
        }
        Ok(HostProc(fd))
    }

    /// Writes a value to a file below /proc/sys, with a single write(2) as the kernel requires.
    pub fn write_sysctl(&self, file: &Path, value: &str) -> Result<()> {
        self.write_below(|_| Ok("sys".into()), file, value)
    }

    /// Reads a file below /proc/sys, without the last newline. What it contains depends on the namespaces of this process.
    pub fn read_sysctl(&self, file: &Path) -> SysResult<String> {
        let fd = open_below(self.0.as_fd(), &Path::new("sys").join(file), libc::O_RDONLY)?;
        let value = fs::read_all(fd.as_fd(), LONGEST_VALUE)?;
        Ok(String::from_utf8_lossy(&value).trim_end_matches('\n').to_string())
    }

    /// Writes a value to a file of this process.
    pub fn write_self(&self, file: &Path, value: &str) -> Result<()> {
        // "self" is a symbolic link and cannot be followed, so its target is used instead.
        let own_directory = |proc: BorrowedFd| Ok(std::str::from_utf8(&fs::readlinkat(proc, c"self")?)?.into());
        self.write_below(own_directory, file, value)
    }

    /// Writes a value to a file of another process, given by its pid in the procfs's PID namespace.
    pub fn write_pid(&self, pid: i32, file: &Path, value: &str) -> Result<()> {
        let fd = open_below(self.0.as_fd(), &Path::new(&pid.to_string()).join(file), libc::O_WRONLY)?;
        fs::write(fd.as_fd(), value.as_bytes())?;
        Ok(())
    }

    fn write_below(&self, directory: impl Fn(BorrowedFd) -> Result<PathBuf>, file: &Path, value: &str) -> Result<()> {
        let open = |proc: BorrowedFd| -> Result<OwnedFd> {
            Ok(open_below(proc, &directory(proc)?.join(file), libc::O_WRONLY)?)
        };
        let fd = match open(self.0.as_fd()) {
            // Covered by a mount, or read-only, like /proc/sys if the runtime itself runs in a container. A new procfs
            // instance is not; if it cannot be mounted, the error remains.
            Err(error) if matches!(errno(&error), Some(Errno::EXDEV | Errno::EROFS)) => match new_instance() {
                Ok(proc) => open(proc.as_fd())?,
                Err(_) => return Err(error),
            },
            other => other?,
        };
        fs::write(fd.as_fd(), value.as_bytes())?;
        Ok(())
    }
}

fn open_below(proc: BorrowedFd, path: &Path, flags: i32) -> SysResult<OwnedFd> {
    let resolve =
        libc::RESOLVE_BENEATH | libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
    fs::openat2(proc, path, flags, 0, resolve)
}

/// A new, detached procfs.
fn new_instance() -> SysResult<OwnedFd> {
    FsContext::new("proc")?.mount(libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_NODEV)
}
