//! A cgroup as a directory: opening it, reading its files, and whether it is still the one that belongs to a container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::events::{Condition, Events};
use super::owner;
use crate::error::Result;
use crate::state::record::CgroupState;
use crate::sys::directory::entries;
use crate::sys::{SysError, SysResult, Syscall, fs};

pub fn open_directory(path: &Path) -> SysResult<OwnedFd> {
    fs::open(path, libc::O_RDONLY | libc::O_DIRECTORY)
}

/// Opens a cgroup. `None` if it does not exist any more.
pub fn open_if_there(path: &Path) -> SysResult<Option<OwnedFd>> {
    match open_directory(path) {
        Err(error) if is_absent(&error) => Ok(None),
        other => other.map(Some),
    }
}

/// Whether an error means that the cgroup has been removed, before or after it was opened.
pub fn is_absent(error: &SysError) -> bool {
    matches!(error.errno, Errno::ENOENT | Errno::ENODEV)
}

/// Whether the directory at the leaf's path is still the one that was created for the container: it may have been removed, and
/// another created at the same path.
pub fn is_own(cgroup: &CgroupState) -> SysResult<bool> {
    if cgroup.inode != 0 {
        return match fs::lstatat(fs::CWD, &cgroup.path) {
            Err(error) if is_absent(&error) => Ok(false),
            other => Ok(other?.st_ino == cgroup.inode),
        };
    }
    // Its creator died before it stored the inode number, and perhaps before it marked the directory.
    let Some(fd) = open_if_there(&cgroup.path)? else {
        return Ok(false);
    };
    Ok(match owner::of(fd.as_fd())? {
        Some(owner) => owner == cgroup.owner,
        None => !cgroup.existed && !populated(&cgroup.path)?,
    })
}

/// Opens the container's own directory. `None` if it does not exist any more.
pub fn own_directory(cgroup: &CgroupState) -> SysResult<Option<OwnedFd>> {
    let Some(fd) = open_if_there(&cgroup.path)? else {
        return Ok(None);
    };
    let own = match cgroup.inode {
        0 => owner::of(fd.as_fd())?.as_ref() == Some(&cgroup.owner),
        inode => fs::fstat(fd.as_fd())?.st_ino == inode,
    };
    Ok(own.then_some(fd))
}

/// Opens a container's cgroup or an existing one below it, in which a process is to be created.
pub fn open(cgroup: &CgroupState, below: &Path) -> Result<OwnedFd> {
    let leaf = own_directory(cgroup)?
        .ok_or_else(|| SysError::new(Syscall::ContainerCgroup.of(&*cgroup.path), Errno::ENOENT))?;
    if below.as_os_str().is_empty() {
        return Ok(leaf);
    }
    let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV;
    Ok(fs::openat2(
        leaf.as_fd(),
        below,
        libc::O_RDONLY | libc::O_DIRECTORY,
        0,
        resolve,
    )?)
}

/// Moves the calling process into a cgroup.
pub fn enter(directory: BorrowedFd) -> SysResult<()> {
    let file = fs::openat(directory, Path::new("cgroup.procs"), libc::O_WRONLY, 0)?;
    fs::write(file.as_fd(), b"0").map(drop)
}

/// Whether a cgroup is frozen, by itself or from above. False if it does not exist.
pub fn is_frozen(path: &Path) -> SysResult<bool> {
    Ok(condition(path)?.is_some_and(|now| now.frozen))
}

/// Whether a cgroup or one below it holds a living process. False if it does not exist.
pub fn populated(path: &Path) -> SysResult<bool> {
    Ok(condition(path)?.is_some_and(|now| now.populated))
}

fn condition(path: &Path) -> SysResult<Option<Condition>> {
    match Events::at(path).and_then(|events| events.now()) {
        Err(error) if is_absent(&error) => Ok(None),
        other => other.map(Some),
    }
}

/// A cgroup directory and all directories below it, parents first.
pub fn descendants(path: &Path) -> SysResult<Vec<PathBuf>> {
    let mut all = vec![path.to_path_buf()];
    let mut next = 0;
    while let Some(directory) = all.get(next).cloned() {
        next += 1;
        // One that has been removed meanwhile has nothing below it.
        let Some(fd) = open_if_there(&directory)? else { continue };
        for entry in entries(fd.as_fd())? {
            if entry.is_directory(fd.as_fd()) {
                all.push(directory.join(&entry.name));
            }
        }
    }
    Ok(all)
}

/// Reads a file of a cgroup, by its path.
pub fn read_at(path: &Path) -> SysResult<String> {
    read_from(fs::CWD, path)
}

/// Reads a file of a cgroup directory.
pub fn read(leaf: BorrowedFd, file: &str) -> SysResult<String> {
    read_from(leaf, Path::new(file))
}

fn read_from(directory: BorrowedFd, path: &Path) -> SysResult<String> {
    let fd = fs::openat(directory, path, libc::O_RDONLY, 0)?;
    let text = fs::read_all(fd.as_fd(), 1 << 20)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
