//! Files of a container's directory as they are found: perhaps not ours, not files, or not what was written.
//!
//! Two kinds of failure are kept apart by type. What was read and makes no sense is [`Broken`]: the container can be
//! removed by force with what is still legible. Of a call that failed nothing follows about the container, and what is not
//! ours is not touched.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Error, Result, with_hint};
use crate::sys::{fs, process};

/// A file larger than this is not ours.
const LARGEST: usize = 64 << 20;

/// An error, or its context: this was read, and it is not what this runtime writes.
#[derive(Debug)]
pub struct Broken(pub String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// Whether an error is about what was read, and not about the reading.
pub fn is_broken(error: &Error) -> bool {
    error.downcast_ref::<Broken>().is_some()
}

/// A file of a container's directory, whole; none if there is none. `path` is its full path. It never waits: what is
/// there instead of a file may be a pipe.
pub fn file(directory: BorrowedFd, name: &str, path: &Path) -> Result<Option<Vec<u8>>> {
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let fd = match fs::openat(directory, Path::new(name), flags, 0) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(None),
        // A link, a socket, a device that nothing drives.
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
    if size > LARGEST {
        return Err(Error::new(Broken(format!("it has {} bytes", stat.st_size))));
    }
    // It is replaced as a whole and never written to, so its size is known.
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

/// What another user has put into a state root that is open to all must not be believed: it names processes to kill,
/// directories to remove and hooks to run.
pub fn check_owner(stat: &libc::stat, path: &Path) -> Result<()> {
    let own = process::effective_uid();
    if stat.st_uid == own || stat.st_uid == 0 {
        return Ok(());
    }
    Err(with_hint(
        format!(
            "{path:?} belongs to uid {}, and is not trusted by uid {own}",
            stat.st_uid
        ),
        "call orlop as the owner, or with a --root of your own",
    ))
}
