//! Writing to /proc. Run by init, before the root file system is touched.
//!
//! Files of /proc decide about security, so they are opened where nobody can have put another in their place: below a
//! handle on the host's own procfs, whose type is verified, without following any link or crossing any mount
//! (CVE-2019-16884, CVE-2025-52881).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::error::{Result, bail};
use crate::sys::fs;

pub struct HostProc(OwnedFd);

impl HostProc {
    pub fn open() -> Result<Self> {
        let fd = fs::open(Path::new("/proc"), libc::O_PATH | libc::O_DIRECTORY)?;
        if fs::fstatfs(fd.as_fd())?.f_type != libc::PROC_SUPER_MAGIC {
            bail!("/proc of the host is not a procfs");
        }
        Ok(HostProc(fd))
    }

    /// Writes a value to a file below /proc/sys, in one call as the kernel wants it.
    pub fn write_sysctl(&self, file: &Path, value: &str) -> Result<()> {
        self.write_below(Path::new("sys"), file, value)
    }

    /// Writes a value to a file of this process.
    pub fn write_own(&self, file: &Path, value: &str) -> Result<()> {
        // "self" is a link, so the number it leads to is read and taken apart from it.
        let own = fs::readlinkat(self.0.as_fd(), c"self")?;
        self.write_below(Path::new(std::str::from_utf8(&own)?), file, value)
    }

    /// Writes a value to a file of another process, by its pid in the procfs's pid namespace.
    pub fn write_of(&self, pid: i32, file: &Path, value: &str) -> Result<()> {
        self.write_below(Path::new(&pid.to_string()), file, value)
    }

    fn write_below(&self, directory: &Path, file: &Path, value: &str) -> Result<()> {
        let resolve =
            libc::RESOLVE_BENEATH | libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_MAGICLINKS;
        let path = directory.join(file);
        let fd = fs::openat2(self.0.as_fd(), &path, libc::O_WRONLY, 0, resolve)?;
        fs::write(fd.as_fd(), value.as_bytes())?;
        Ok(())
    }
}
