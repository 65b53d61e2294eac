//! Where a program is looked for: the files that this process sees, or those that a process in a container will see.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::sys::{SysResult, fs};

/// The files of a process, and what it may do with them.
pub trait Files {
    /// Opens a file. Symbolic links are followed.
    fn open(&self, path: &Path, flags: i32) -> SysResult<OwnedFd>;
    /// Whether the process may execute the file.
    fn may_execute(&self, path: &Path) -> SysResult<()>;
    /// Whether there is anything at the path, be it a symbolic link whose target does not exist.
    fn has_entry(&self, path: &Path) -> bool;
    /// The noexec mount that a file is on, if any.
    fn noexec(&self, path: &Path) -> Option<PathBuf>;
}

/// The files that this process sees.
pub struct Own;

impl Files for Own {
    fn open(&self, path: &Path, flags: i32) -> SysResult<OwnedFd> {
        fs::open(path, flags)
    }

    fn may_execute(&self, path: &Path) -> SysResult<()> {
        fs::access(path, libc::X_OK)
    }

    fn has_entry(&self, path: &Path) -> bool {
        fs::lstatat(fs::CWD, path).is_ok()
    }

    /// If symbolic links lead there, the mount point is not known by name here.
    fn noexec(&self, path: &Path) -> Option<PathBuf> {
        let file = fs::open(path, libc::O_PATH).ok()?;
        if fs::mount_flags(file.as_fd()).ok()? & libc::ST_NOEXEC == 0 {
            return None;
        }
        let mount = fs::mount_id(file.as_fd()).ok()?;
        let is_point = |place: &&Path| {
            let found = fs::open(place, libc::O_PATH);
            found.is_ok_and(|found| {
                fs::mount_id(found.as_fd()).is_ok_and(|id| id == mount)
                    && fs::is_mount_root(found.as_fd()).unwrap_or(false)
            })
        };
        let point = path.ancestors().find(is_point);
        Some(point.unwrap_or(path).to_path_buf())
    }
}
