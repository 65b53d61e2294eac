//! The [`Root`] handle: the only way to access a path inside the container's root file system.
//!
//! The image is not trusted: any component of a path may be a symbolic link to the host, and in a shared volume it may
//! become one between two system calls. So no path is ever resolved twice, and never with the traditional system calls:
//! every path goes through `openat2(RESOLVE_IN_ROOT)`, for which `/` and `..` cannot lead outside of the container's root,
//! and the result is used as a descriptor.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use crate::sys::{SysError, SysResult, Syscall, descriptor, fs};

/// Magic links such as /proc/self/fd/3 or /proc/1/root ignore the scope, so no path may use them.
const SCOPED: u64 = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;

/// The maximum number of links to missing files that are followed, the same as the kernel's limit (path_resolution(7)).
const MAX_LINKS: u32 = 40;

pub struct Root {
    fd: OwnedFd,
}

impl Root {
    /// A handle on a directory that the caller has opened safely.
    pub fn new(fd: OwnedFd) -> Self {
        Root { fd }
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Another descriptor of the root itself.
    pub fn open_itself(&self) -> SysResult<OwnedFd> {
        descriptor::copy(self.fd.as_raw_fd())
    }

    /// Opens a path inside the container. Symbolic links are followed within the root.
    pub fn open(&self, path: &Path, flags: i32) -> SysResult<OwnedFd> {
        self.open_with(path, flags, SCOPED)
    }

    /// Like [`Root::open`], but a symbolic link anywhere in the path is an error (`ELOOP`).
    pub fn open_without_links(&self, path: &Path, flags: i32) -> SysResult<OwnedFd> {
        self.open_with(path, flags, SCOPED | libc::RESOLVE_NO_SYMLINKS)
    }

    fn open_with(&self, path: &Path, flags: i32, resolve: u64) -> SysResult<OwnedFd> {
        // EAGAIN means that a concurrent rename may have affected a "..". openat2(2) recommends a retry.
        for _ in 0..128 {
            match fs::openat2(self.fd(), path, flags, 0, resolve) {
                Err(error) if error.errno == Errno::EAGAIN => continue,
                other => return other,
            }
        }
        Err(SysError::new(Syscall::Openat2.of(path), Errno::EAGAIN))
    }

    /// Opens a directory (`O_PATH`) and creates missing directories in its path, with mode 0755. A symbolic link to a
    /// missing directory is followed, and that directory is created.
    pub fn make_directory(&self, path: &Path) -> SysResult<OwnedFd> {
        self.make_directory_with(path, MAX_LINKS)
    }

    /// `links`: how many more symbolic links to missing files may be followed.
    fn make_directory_with(&self, path: &Path, links: u32) -> SysResult<OwnedFd> {
        match self.open(path, libc::O_PATH | libc::O_DIRECTORY) {
            Err(error) if error.errno == Errno::ENOENT => self.make_missing_directory(path, links),
            other => other,
        }
    }

    /// Like [`Root::make_directory`]. Also returns whether the path is direct, without symbolic links and "..".
    pub fn make_directory_checked(&self, path: &Path) -> SysResult<(OwnedFd, bool)> {
        let is_direct = !path.components().any(|part| part == Component::ParentDir);
        match self.open_without_links(path, libc::O_PATH | libc::O_DIRECTORY) {
            Err(error) if error.errno == Errno::ENOENT => {
                Ok((self.make_missing_directory(path, MAX_LINKS)?, is_direct))
            }
            Err(error) if error.errno == Errno::ELOOP => Ok((self.make_directory(path)?, false)),
            other => Ok((other?, is_direct)),
        }
    }

    fn make_missing_directory(&self, path: &Path, links: u32) -> SysResult<OwnedFd> {
        let Some(parent_path) = path.parent() else {
            return Err(SysError::new(Syscall::Openat2.of(path), Errno::ENOENT));
        };
        let parent = self.make_directory_with(parent_path, links)?;
        // A path that ends in ".." has no name to create, so it can only be opened.
        let Some(name) = path.file_name() else {
            return self.open(path, libc::O_PATH | libc::O_DIRECTORY);
        };
        // The parent is open, so renaming it does not change where the directory is created.
        match fs::mkdirat(parent.as_fd(), Path::new(name), 0o755) {
            Ok(()) => return self.open_entry(&parent, name, libc::O_PATH | libc::O_DIRECTORY),
            Err(error) if error.errno != Errno::EEXIST => return Err(error),
            Err(_) => {}
        }
        match self.link_target(&parent, name, parent_path, links)? {
            Some(target) => self.make_directory_with(&target, links - 1),
            None => self.open_entry(&parent, name, libc::O_PATH | libc::O_DIRECTORY),
        }
    }

    /// Opens a file (`O_PATH`) and creates it, empty, and its directories if they are missing. A symbolic link to a missing
    /// file is followed, and that file is created.
    pub fn make_file(&self, path: &Path) -> SysResult<OwnedFd> {
        self.make_file_with(path, MAX_LINKS)
    }

    fn make_file_with(&self, path: &Path, links: u32) -> SysResult<OwnedFd> {
        match self.open(path, libc::O_PATH) {
            Err(error) if error.errno == Errno::ENOENT => {}
            other => return other,
        }
        let (parent, name) = self.make_parent(path)?;
        // O_EXCL does not follow a symbolic link that may have been created meanwhile.
        let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_WRONLY;
        match fs::openat(parent.as_fd(), Path::new(&name), flags, 0o644) {
            Ok(_) => return self.open_entry(&parent, &name, libc::O_PATH | libc::O_NOFOLLOW),
            Err(error) if error.errno != Errno::EEXIST => return Err(error),
            Err(_) => {}
        }
        let parent_path = path.parent().unwrap_or(Path::new("/"));
        match self.link_target(&parent, &name, parent_path, links)? {
            Some(target) => self.make_file_with(&target, links - 1),
            None => self.open_entry(&parent, &name, libc::O_PATH | libc::O_NOFOLLOW),
        }
    }

    /// The target of a symbolic link in the directory with the path `parent_path`: again a path inside the container, to be
    /// resolved within the root like any other. None if the file is not a symbolic link.
    fn link_target(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        parent_path: &Path,
        links: u32,
    ) -> SysResult<Option<PathBuf>> {
        let found = fs::openat(parent.as_fd(), Path::new(name), libc::O_PATH | libc::O_NOFOLLOW, 0)?;
        if fs::fstat(found.as_fd())?.st_mode & libc::S_IFMT != libc::S_IFLNK {
            return Ok(None);
        }
        // The targets of procfs's magic links are not always paths.
        if links == 0 || fs::type_of(parent.as_fd())? == fs::FsType::PROC {
            return Err(SysError::new(
                Syscall::Openat2.of(&*parent_path.join(name)),
                Errno::ELOOP,
            ));
        }
        let target = fs::readlinkat(found.as_fd(), c"")?;
        Ok(Some(parent_path.join(OsStr::from_bytes(&target))))
    }

    /// The parent directory of a path (created if missing), and the last component of the path.
    pub fn make_parent(&self, path: &Path) -> SysResult<(OwnedFd, std::ffi::OsString)> {
        let invalid = || SysError::new(Syscall::LastPart.of(path), Errno::EINVAL);
        let name = path.file_name().ok_or_else(invalid)?.to_os_string();
        let parent = self.make_directory(path.parent().ok_or_else(invalid)?)?;
        Ok((parent, name))
    }

    /// Opens an entry of a directory that this handle has opened, without following symbolic links.
    fn open_entry(&self, directory: &OwnedFd, name: &OsStr, flags: i32) -> SysResult<OwnedFd> {
        let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS;
        fs::openat2(directory.as_fd(), Path::new(name), flags, 0, resolve)
    }
}
