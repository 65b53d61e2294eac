//! What cgroup directories are marked with, in extended attributes: whose a leaf is, and what we have made.
//!
//! Of each mark there are two names. An attribute in `trusted.` can be set by nobody inside a container; the one in `user.`
//! is for callers without privilege.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::errno::Errno;

use crate::state::Container;
use crate::sys::{SysResult, attributes, fs};

/// Whose a leaf is: the moment of the container's creation and its state directory.
const OWNER: [&CStr; 2] = [c"trusted.orlop.owner", c"user.orlop.owner"];

/// That a directory was made by us and goes with the last container that needs it. The value says nothing.
const MADE: [&CStr; 2] = [c"trusted.orlop.made", c"user.orlop.made"];

/// What a container's leaf is marked with.
pub fn mark_of(container: &Container, created: &str) -> String {
    format!("{created} {}", container.path.display())
}

/// The state directory that a mark names.
pub fn directory_of(owner: &str) -> &Path {
    Path::new(owner.split_once(' ').map_or("", |(_, directory)| directory))
}

/// Marks a leaf as a container's. `EEXIST` if it is one's already: of several that try at once one wins.
pub fn claim(fd: BorrowedFd, owner: &str) -> SysResult<()> {
    add(fd, OWNER, owner)
}

/// What a leaf is marked with.
pub fn of(fd: BorrowedFd) -> SysResult<Option<String>> {
    get(fd, OWNER)
}

/// Takes the mark off.
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
        if fs::has_attribute(fd, name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn add(fd: BorrowedFd, [trusted, user]: [&CStr; 2], value: &str) -> SysResult<()> {
    match fs::add_attribute(fd, trusted, value.as_bytes()) {
        Err(error) if error.errno == Errno::EPERM => fs::add_attribute(fd, user, value.as_bytes()),
        other => other,
    }
}

fn get(fd: BorrowedFd, names: [&CStr; 2]) -> SysResult<Option<String>> {
    for name in names {
        if let Some(value) = fs::attribute(fd, name)? {
            return Ok(Some(String::from_utf8_lossy(&value).into_owned()));
        }
    }
    Ok(None)
}
