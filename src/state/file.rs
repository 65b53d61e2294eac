//! Reading files in a container's directory. They may belong to another user, may not be regular files, or may have been
//! changed since they were written.
//!
//! Two kinds of failure have different types. [`Broken`] means that the file was read and its content is invalid: the
//! container can be removed by force, using the fields that are still readable. A failed system call says nothing about the
//! container, and a file of another user is not touched.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Error, Result, with_hint};
use crate::sys::{fs, process};

/// This runtime writes no file that is larger.
const MAX_SIZE: usize = 64 << 20;

/// An error, or its context: the file was read, and this runtime did not write its content.
#[derive(Debug)]
pub struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// Whether an error is about the content of a file, as opposed to a failure to read it.
pub fn is_broken(error: &Error) -> bool {
    error.downcast_ref::<Broken>().is_some()
}

/// Reads a whole file in a container's directory; none if it does not exist. `path` is its full path. It never blocks, even
/// if there is a pipe instead of a file.
pub fn read(directory: BorrowedFd, name: &str, path: &Path) -> Result<Option<Vec<u8>>> {
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let fd = match fs::openat(directory, Path::new(name), flags, 0) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(None),
        // A symbolic link, a socket, a device without a driver.
        Err(error) if matches!(error.errno, Errno::ELOOP | Errno::ENXIO | Errno::ENODEV) => {
            return Err(Error::new(error).context(Broken("not a regular file".into())));
        }
        other => other?,
    };
    let stat = fs::fstat(fd.as_fd())?;
    let kind = match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => None,
        libc::S_IFDIR => Some("a directory"),
        libc::S_IFIFO => Some("a pipe"),
        _ => Some("a device"),
    };
    if let Some(kind) = kind {
        return Err(Error::new(Broken(format!("not a regular file but {kind}"))));
    }
    check_owner(&stat, path)?;
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if size > MAX_SIZE {
        return Err(Error::new(Broken(format!("it has {} bytes", stat.st_size))));
    }
    // The file is always replaced as a whole and never written in place, so its size does not change.
    let mut text = vec![0; size];
    let mut filled = 0;
    while let Some(rest) = text.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match fs::read(fd.as_fd(), rest)? {
            0 => break,
            length => filled += length,
        }
    }
    text.truncate(filled);
    Ok(Some(text))
}

/// In a state root that is writable for everyone, files of another user must not be trusted: they name processes to kill,
/// directories to remove and hooks to run.
pub fn check_owner(stat: &libc::stat, path: &Path) -> Result<()> {
    let own = process::effective_uid();
    if stat.st_uid == own || stat.st_uid == 0 {
        return Ok(());
    }
    Err(with_hint(
        format!(
            "{path:?} belongs to uid {}, which uid {own} does not trust",
            stat.st_uid
        ),
        "run orlop as the owner, or with another --root",
    ))
}
