//! `tmpcopyup`: a tmpfs that starts with what the directory below it contains. Run by init, before the root is changed.
//!
//! The image is hostile and may change while it is copied, so every object is opened once, without following a link, and
//! then read by that descriptor. The tmpfs is not attached yet: nobody else can reach it, and names in it stay what they
//! are. Other mounts below the directory are not copied; their mount points are.

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Context, Result, with_hint};
use crate::sys::{attributes, directory, fs};

/// How deep directories may lie in each other: each level holds three descriptors open, and RLIMIT_NOFILE may be low.
const DEEPEST: usize = 200;

/// Which of the tmpfs's own root's properties were asked for by options, and so are not the covered directory's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    pub mode: bool,
    pub uid: bool,
    pub gid: bool,
}

/// Copies all below the directory `from` to the detached tmpfs `to`, and the directory's own owner, mode, times and
/// attributes to its root.
pub fn copy(from: BorrowedFd, to: &OwnedFd, asked: Asked) -> Result<()> {
    let top = attributes::reopen(to.as_fd(), libc::O_RDONLY | libc::O_DIRECTORY)?;
    let stat = fs::fstat(from)?;
    let mut copier = Copier {
        top: top.as_fd(),
        linked: HashMap::new(),
    };
    copier.directory(from, top.as_fd(), Path::new(""), 0)?;
    let keep = |asked: bool, id: u32| if asked { u32::MAX } else { id };
    fs::fchown(top.as_fd(), keep(asked.uid, stat.st_uid), keep(asked.gid, stat.st_gid))?;
    copy_attributes(from, top.as_fd())?;
    if !asked.mode {
        attributes::chmodat(top.as_fd(), Path::new("."), stat.st_mode & 0o7777)?;
    }
    Ok(attributes::copy_times(top.as_fd(), Path::new("."), &stat)?)
}

struct Copier<'a> {
    /// The root of the tmpfs.
    top: BorrowedFd<'a>,
    /// Files with several names by device and inode, and where in the tmpfs the first of these is.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl Copier<'_> {
    /// Copies the entries of `from`, which is at `path`, to `to`.
    fn directory(&mut self, from: BorrowedFd, to: BorrowedFd, path: &Path, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(with_hint(
                format!("{path:?} lies more than {DEEPEST} directories deep"),
                "tmpcopyup is for directories of configuration and the like; use an overlay or a volume for more",
            ));
        }
        // The very directory: no path of the image is resolved again.
        let listing = attributes::reopen(from, libc::O_RDONLY | libc::O_DIRECTORY)?;
        for entry in directory::entries(listing.as_fd()).with_context(|| format!("{path:?}"))? {
            let path = path.join(&entry.name);
            self.entry(from, to, Path::new(&entry.name), &path, depth)
                .with_context(|| format!("tmpcopyup of {path:?}"))?;
        }
        Ok(())
    }

    fn entry(&mut self, from: BorrowedFd, to: BorrowedFd, name: &Path, path: &Path, depth: usize) -> Result<()> {
        let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
        let open = |crossing: u64| fs::openat2(from, name, libc::O_PATH | libc::O_NOFOLLOW, 0, resolve | crossing);
        let (object, mounted) = match open(libc::RESOLVE_NO_XDEV) {
            Err(error) if error.errno == Errno::EXDEV => (open(0)?, true),
            // Removed since the directory was read.
            Err(error) if error.errno == Errno::ENOENT => return Ok(()),
            other => (other?, false),
        };
        let object = object.as_fd();
        let stat = fs::fstat(object)?;
        let kind = stat.st_mode & libc::S_IFMT;
        if kind != libc::S_IFDIR && stat.st_nlink > 1 && !mounted {
            if let Some(first) = self.linked.get(&(stat.st_dev, stat.st_ino)) {
                return Ok(attributes::linkat(self.top, first, to, name)?);
            }
            self.linked.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        let mut made = None;
        match kind {
            libc::S_IFDIR => {
                fs::mkdirat(to, name, 0o700)?;
                let fd = fs::openat(to, name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?;
                if !mounted {
                    self.directory(object, fd.as_fd(), path, depth + 1)?;
                    made = Some(fd);
                }
            }
            libc::S_IFREG => {
                let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_WRONLY;
                let fd = fs::openat(to, name, flags, 0o600)?;
                if !mounted {
                    content(object, fd.as_fd())?;
                    made = Some(fd);
                }
            }
            libc::S_IFLNK => {
                let target = fs::readlinkat(object, c"")?;
                let target: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(target.as_slice());
                fs::symlinkat(Path::new(target), to, name)?;
            }
            _ => fs::mknodat(to, name, stat.st_mode, stat.st_rdev)?,
        }
        // In this order: a change of the owner takes set-user-id and the file's capabilities away.
        attributes::chownat(to, name, stat.st_uid, stat.st_gid)?;
        if let Some(made) = made {
            copy_attributes(object, made.as_fd())?;
        }
        if kind != libc::S_IFLNK {
            attributes::chmodat(to, name, stat.st_mode & 0o7777)?;
        }
        Ok(attributes::copy_times(to, name, &stat)?)
    }
}

fn content(from: BorrowedFd, to: BorrowedFd) -> Result<()> {
    // What is opened here was seen to be a regular file, so opening it does nothing else.
    let from = attributes::reopen(from, libc::O_RDONLY | libc::O_NOATIME).or_else(|error| match error.errno {
        Errno::EPERM => attributes::reopen(from, libc::O_RDONLY),
        _ => Err(error),
    })?;
    while fs::sendfile(to, from.as_fd(), 1 << 20)? > 0 {}
    Ok(())
}

/// Extended attributes: capabilities of files, access control lists, and what else the tmpfs can hold.
fn copy_attributes(from: BorrowedFd, to: BorrowedFd) -> Result<()> {
    for name in attributes::attribute_names(from)? {
        let value = match attributes::attribute(from, &name) {
            Err(error) if error.errno == Errno::ENODATA => continue,
            other => other?,
        };
        match attributes::set_attribute(to, &name, &value) {
            // A tmpfs before Linux 6.6 has no attributes of users; none has those that belong to another file system.
            Err(error) if error.errno == Errno::EOPNOTSUPP => {}
            // A label is the policy's to give, where the mount itself was labelled.
            Err(error) if error.errno == Errno::EPERM && is_label(&name) => {}
            other => other?,
        }
    }
    Ok(())
}

fn is_label(name: &CStr) -> bool {
    name == c"security.selinux"
}
