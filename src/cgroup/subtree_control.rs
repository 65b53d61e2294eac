//! The controllers of a cgroup (cgroup.controllers) and those that it enables in its children (cgroup.subtree_control). See
//! cgroups(7), "Cgroups v2 controllers".

use std::os::fd::AsFd;
use std::path::Path;

use crate::sys::{SysResult, fs};

const FILE: &str = "cgroup.subtree_control";

/// The controllers that the cgroup has.
pub fn available(directory: &Path) -> SysResult<Vec<String>> {
    words(directory, "cgroup.controllers")
}

/// The controllers that the cgroup enables in its children.
pub fn enabled(directory: &Path) -> SysResult<Vec<String>> {
    words(directory, FILE)
}

/// Writes one change: `+` or `-` and the name of a controller.
pub fn change(directory: &Path, change: &str) -> SysResult<()> {
    let file = fs::open(&directory.join(FILE), libc::O_WRONLY)?;
    fs::write(file.as_fd(), change.as_bytes()).map(drop)
}

/// Whether this process may make such a change.
pub fn may_change(directory: &Path) -> SysResult<()> {
    fs::open(&directory.join(FILE), libc::O_WRONLY).map(drop)
}

/// Enables all controllers that the cgroup has, as far as the kernel permits.
pub fn enable_all(directory: &Path) {
    let controllers = available(directory).unwrap_or_default();
    let Ok(file) = fs::open(&directory.join(FILE), libc::O_WRONLY) else {
        return;
    };
    for controller in controllers {
        // One at a time: if one is refused, the others must still be enabled.
        let _ = fs::write(file.as_fd(), format!("+{controller}").as_bytes());
    }
}

fn words(directory: &Path, file: &str) -> SysResult<Vec<String>> {
    let fd = fs::open(&directory.join(file), libc::O_RDONLY)?;
    let text = fs::read_all(fd.as_fd(), 64 << 10)?;
    Ok(String::from_utf8_lossy(&text)
        .split_ascii_whitespace()
        .map(str::to_string)
        .collect())
}
