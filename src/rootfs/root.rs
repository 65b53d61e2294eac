//! The [`Root`] handle: the one way to touch a path inside the container's root file system.
//!
//! The image is hostile: any part of a path may be a symbolic link to the host, and with a shared volume it may become
//! one between two of our calls. So nothing here is ever resolved twice, and never by the plain calls: every path goes
//! through `openat2(RESOLVE_IN_ROOT)`, which takes `/` and `..` to mean the container's root, and what it found is then
//! used as a descriptor.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use crate::sys::{SysError, SysResult, fs};

/// Links such as /proc/self/fd/3 or /proc/1/root lead anywhere, whatever the scope; no path of ours may use them.
const SCOPED: u64 = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;

/// So many links to missing things are followed, as the kernel follows links (path_resolution(7)).
const LINKS: u32 = 40;

pub struct Root {
    fd: OwnedFd,
}

impl Root {
    /// The handle on a directory that is already known to be the right one.
    pub fn new(fd: OwnedFd) -> Self {
        Root { fd }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Opens what a path inside the container names, links followed within the root.
    pub fn open(&self, path: &Path, flags: i32) -> SysResult<OwnedFd> {
        self.open_with(path, flags, SCOPED)
    }

    /// As [`Root::open`], but a symbolic link anywhere in the path is an error (`ELOOP`).
    pub fn open_without_links(&self, path: &Path, flags: i32) -> SysResult<OwnedFd> {
        self.open_with(path, flags, SCOPED | libc::RESOLVE_NO_SYMLINKS)
    }

    fn open_with(&self, path: &Path, flags: i32, resolve: u64) -> SysResult<OwnedFd> {
        // The kernel answers EAGAIN when a rename elsewhere made a ".." uncertain; openat2(2) says to try again.
        for _ in 0..128 {
            match fs::openat2(self.fd(), path, flags, 0, resolve) {
                Err(error) if error.errno == Errno::EAGAIN => continue,
                other => return other,
            }
        }
        Err(SysError::new(format!("openat2({path:?})"), Errno::EAGAIN))
    }

    /// Opens a directory (`O_PATH`), making what is missing of it, mode 0755. A link to what is missing is followed, and
    /// that made.
    pub fn make_directory(&self, path: &Path) -> SysResult<OwnedFd> {
        self.make_directory_past(path, LINKS)
    }

    fn make_directory_past(&self, path: &Path, links: u32) -> SysResult<OwnedFd> {
        match self.open(path, libc::O_PATH | libc::O_DIRECTORY) {
            Err(error) if error.errno == Errno::ENOENT => self.make_missing_directory(path, links),
            other => other,
        }
    }

    /// As [`Root::make_directory`], and whether the path led straight down, by no link and no "..".
    pub fn make_directory_or_follow(&self, path: &Path) -> SysResult<(OwnedFd, bool)> {
        let down = !path.components().any(|part| part == Component::ParentDir);
        match self.open_without_links(path, libc::O_PATH | libc::O_DIRECTORY) {
            Err(error) if error.errno == Errno::ENOENT => Ok((self.make_missing_directory(path, LINKS)?, down)),
            Err(error) if error.errno == Errno::ELOOP => Ok((self.make_directory(path)?, false)),
            other => Ok((other?, down)),
        }
    }

    fn make_missing_directory(&self, path: &Path, links: u32) -> SysResult<OwnedFd> {
        let Some(above) = path.parent() else {
            return Err(SysError::new(format!("openat2({path:?})"), Errno::ENOENT));
        };
        let parent = self.make_directory_past(above, links)?;
        // What ends in ".." has no name to be made by, only one to be found by.
        let Some(name) = path.file_name() else {
            return self.open(path, libc::O_PATH | libc::O_DIRECTORY);
        };
        // The parent is held by descriptor: whatever it is renamed to, this is where the name goes.
        match fs::mkdirat(parent.as_fd(), Path::new(name), 0o755) {
            Ok(()) => return self.below(&parent, name, libc::O_PATH | libc::O_DIRECTORY),
            Err(error) if error.errno != Errno::EEXIST => return Err(error),
            Err(_) => {}
        }
        match self.target_of_link(&parent, name, above, links)? {
            Some(target) => self.make_directory_past(&target, links - 1),
            None => self.below(&parent, name, libc::O_PATH | libc::O_DIRECTORY),
        }
    }

    /// Opens a file (`O_PATH`), making it empty and the directories to it, where they are missing. A link to what is
    /// missing is followed, and that made.
    pub fn make_file(&self, path: &Path) -> SysResult<OwnedFd> {
        self.make_file_past(path, LINKS)
    }

    fn make_file_past(&self, path: &Path, links: u32) -> SysResult<OwnedFd> {
        match self.open(path, libc::O_PATH) {
            Err(error) if error.errno == Errno::ENOENT => {}
            other => return other,
        }
        let (parent, name) = self.make_parent(path)?;
        // O_EXCL does not follow a link that may have appeared.
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_WRONLY;
        match fs::openat(parent.as_fd(), Path::new(&name), flags, 0o644) {
            Ok(_) => return self.below(&parent, &name, libc::O_PATH | libc::O_NOFOLLOW),
            Err(error) if error.errno != Errno::EEXIST => return Err(error),
            Err(_) => {}
        }
        let above = path.parent().unwrap_or(Path::new("/"));
        match self.target_of_link(&parent, &name, above, links)? {
            Some(target) => self.make_file_past(&target, links - 1),
            None => self.below(&parent, &name, libc::O_PATH | libc::O_NOFOLLOW),
        }
    }

    /// Where a link points that was found in a directory of which `above` is the path: a path inside the container again,
    /// to be resolved within the root like any other. None for what is no link.
    fn target_of_link(&self, parent: &OwnedFd, name: &OsStr, above: &Path, links: u32) -> SysResult<Option<PathBuf>> {
        let found = fs::openat(parent.as_fd(), Path::new(name), libc::O_PATH | libc::O_NOFOLLOW, 0)?;
        if fs::fstat(found.as_fd())?.st_mode & libc::S_IFMT != libc::S_IFLNK {
            return Ok(None);
        }
        // Those of procfs are in no sense paths.
        if links == 0 || fs::type_of(parent.as_fd())? == fs::FsType::PROC {
            return Err(SysError::new(format!("openat2({:?})", above.join(name)), Errno::ELOOP));
        }
        let target = fs::readlinkat(found.as_fd(), c"")?;
        Ok(Some(above.join(OsStr::from_bytes(&target))))
    }

    /// The directory that holds a path's last part (made where missing), and that part.
    pub fn make_parent(&self, path: &Path) -> SysResult<(OwnedFd, std::ffi::OsString)> {
        let invalid = || SysError::new(format!("path {path:?} has no last part"), Errno::EINVAL);
        let name = path.file_name().ok_or_else(invalid)?.to_os_string();
        let parent = self.make_directory(path.parent().ok_or_else(invalid)?)?;
        Ok((parent, name))
    }

    /// Opens one name below a directory that this handle gave, following nothing.
    fn below(&self, directory: &OwnedFd, name: &OsStr, flags: i32) -> SysResult<OwnedFd> {
        let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS;
        fs::openat2(directory.as_fd(), Path::new(name), flags, 0, resolve)
    }
}
