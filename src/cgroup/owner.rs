//! Marks on cgroup directories, in extended attributes: which container a leaf belongs to, and which directories orlop has
//! created.
//!
//! Each mark has two names. The attribute in `trusted.` cannot be set from inside a container; the one in `user.` is for
//! unprivileged callers.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::errno::Errno;

use crate::state::Container;
use crate::sys::{SysResult, attributes, xattr};

/// The owner of a leaf: the container's creation time and its state directory.
const OWNER: [&CStr; 2] = [c"trusted.orlop.owner", c"user.orlop.owner"];

/// Marks a directory that orlop has created, and that is removed with the last container that uses it. The value has no meaning.
const MADE: [&CStr; 2] = [c"trusted.orlop.made", c"user.orlop.made"];

/// The value with which a container's leaf is marked.
pub fn mark_of(container: &Container, created: &str) -> String {
    format!("{created} {}", container.path.display())
}

/// The state directory in a mark.
pub fn directory_of(owner: &str) -> &Path {
    Path::new(owner.split_once(' ').map_or("", |(_, directory)| directory))
}

/// Marks a leaf as a container's. `EEXIST` if it has an owner already: of several concurrent callers, one succeeds.
pub fn claim(fd: BorrowedFd, owner: &str) -> SysResult<()> {
    add(fd, OWNER, owner)
}

/// The owner's mark of a leaf.
pub fn of(fd: BorrowedFd) -> SysResult<Option<String>> {
    get(fd, OWNER)
}

/// Removes the owner's mark.
pub fn release(fd: BorrowedFd) -> SysResult<()> {
    for name in OWNER {
        match attributes::remove_attribute(fd, name) {
            Err(error) if !matches!(error.errno, Errno::ENODATA | Errno::EPERM) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

pub fn set_made(fd: BorrowedFd) -> SysResult<()> {
    match add(fd, MADE, "1") {
        Err(error) if error.errno == Errno::EEXIST => Ok(()),
        other => other,
    }
}

pub fn is_made(fd: BorrowedFd) -> SysResult<bool> {
    for name in MADE {
        if xattr::has(fd, name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn add(fd: BorrowedFd, [trusted, user]: [&CStr; 2], value: &str) -> SysResult<()> {
    match xattr::add(fd, trusted, value.as_bytes()) {
        Err(error) if error.errno == Errno::EPERM => xattr::add(fd, user, value.as_bytes()),
        other => other,
    }
}

fn get(fd: BorrowedFd, names: [&CStr; 2]) -> SysResult<Option<String>> {
    for name in names {
        if let Some(value) = xattr::get(fd, name)? {
            return Ok(Some(String::from_utf8_lossy(&value).into_owned()));
        }
    }
    Ok(None)
}
