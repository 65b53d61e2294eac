//! `tmpcopyup`: a tmpfs that starts with a copy of the directory it covers. Run by init, before the root is changed.
//!
//! The image is not trusted and may change while it is copied, so every object is opened once, without following symbolic
//! links, and then read through that descriptor. The tmpfs is not attached yet, so no other process can reach it or change
//! names in it. Other mounts below the directory are not copied, only their mount points.

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Context, Result, with_hint};
use crate::sys::{attributes, directory, fs};

/// The maximum nesting of directories: each level keeps three descriptors open, and RLIMIT_NOFILE may be low.
const MAX_DEPTH: usize = 200;

/// The properties of the tmpfs's root directory that the options set, and that are therefore not copied.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExplicitOptions {
    pub mode: bool,
    pub uid: bool,
    pub gid: bool,
}

/// Copies everything below the directory `from` to the detached tmpfs `to`, and the directory's owner, mode, times and
/// attributes to its root.
pub fn copy(from: BorrowedFd, to: &OwnedFd, explicit: ExplicitOptions) -> Result<()> {
    let top = attributes::reopen(to.as_fd(), libc::O_RDONLY | libc::O_DIRECTORY)?;
    let stat = fs::fstat(from)?;
    let mut copier = Copier {
        top: top.as_fd(),
        hard_links: HashMap::new(),
    };
    copier.directory(from, top.as_fd(), Path::new(""), 0)?;
    // u32::MAX leaves an owner unchanged.
    let owner = |is_explicit: bool, id: u32| if is_explicit { u32::MAX } else { id };
    let (uid, gid) = (owner(explicit.uid, stat.st_uid), owner(explicit.gid, stat.st_gid));
    fs::fchown(top.as_fd(), uid, gid)?;
    copy_attributes(from, top.as_fd())?;
    if !explicit.mode {
        attributes::chmodat(top.as_fd(), Path::new("."), stat.st_mode & 0o7777)?;
    }
    Ok(attributes::copy_times(top.as_fd(), Path::new("."), &stat)?)
}

struct Copier<'a> {
    /// The root of the tmpfs.
    top: BorrowedFd<'a>,
    /// Files with several names, by device and inode, and the path of the first copy in the tmpfs.
    hard_links: HashMap<(u64, u64), PathBuf>,
}

impl Copier<'_> {
    /// Copies the entries of the directory `from`, whose path is `path`, to `to`.
    fn directory(&mut self, from: BorrowedFd, to: BorrowedFd, path: &Path, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(with_hint(
                format!("{path:?} is more than {MAX_DEPTH} directories deep"),
                "tmpcopyup is meant for small directories, such as those with configuration; use an overlay or a volume instead",
            ));
        }
        // Reopened by descriptor, so that no path of the image is resolved again.
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
            if let Some(first) = self.hard_links.get(&(stat.st_dev, stat.st_ino)) {
                return Ok(attributes::linkat(self.top, first, to, name)?);
            }
            self.hard_links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        let mut copy = None;
        match kind {
            libc::S_IFDIR => {
                fs::mkdirat(to, name, 0o700)?;
                let fd = fs::openat(to, name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?;
                if !mounted {
                    self.directory(object, fd.as_fd(), path, depth + 1)?;
                    copy = Some(fd);
                }
            }
            libc::S_IFREG => {
                let flags = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_WRONLY;
                let fd = fs::openat(to, name, flags, 0o600)?;
                if !mounted {
                    copy_content(object, fd.as_fd())?;
                    copy = Some(fd);
                }
            }
            libc::S_IFLNK => {
                let target = fs::readlinkat(object, c"")?;
                let target: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(target.as_slice());
                fs::symlinkat(Path::new(target), to, name)?;
            }
            _ => fs::mknodat(to, name, stat.st_mode, stat.st_rdev)?,
        }
        // The owner comes first: changing it clears the set-user-ID bit and the file capabilities.
        attributes::chownat(to, name, stat.st_uid, stat.st_gid)?;
        if let Some(copy) = copy {
            copy_attributes(object, copy.as_fd())?;
        }
        if kind != libc::S_IFLNK {
            attributes::chmodat(to, name, stat.st_mode & 0o7777)?;
        }
        Ok(attributes::copy_times(to, name, &stat)?)
    }
}

fn copy_content(from: BorrowedFd, to: BorrowedFd) -> Result<()> {
    // The descriptor is known to refer to a regular file, so opening it has no other effects.
    let from = attributes::reopen(from, libc::O_RDONLY | libc::O_NOATIME).or_else(|error| match error.errno {
        Errno::EPERM => attributes::reopen(from, libc::O_RDONLY),
        _ => Err(error),
    })?;
    while fs::sendfile(to, from.as_fd(), 1 << 20)? > 0 {}
    Ok(())
}

/// Copies extended attributes: file capabilities, access control lists, and any others that tmpfs supports.
fn copy_attributes(from: BorrowedFd, to: BorrowedFd) -> Result<()> {
    for name in attributes::attribute_names(from)? {
        let value = match attributes::attribute(from, &name) {
            Err(error) if error.errno == Errno::ENODATA => continue,
            other => other?,
        };
        match attributes::set_attribute(to, &name, &value) {
            // tmpfs supports user attributes only since Linux 6.6, and never those specific to other file systems.
            Err(error) if error.errno == Errno::EOPNOTSUPP => {}
            // If the mount itself has a label, the policy determines the labels of its files.
            Err(error) if error.errno == Errno::EPERM && is_label(&name) => {}
            other => other?,
        }
    }
    Ok(())
}

fn is_label(name: &CStr) -> bool {
    name == c"security.selinux"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel lists no such name; the file system may be a server of the container's owner.
    #[test]
    #[allow(clippy::disallowed_methods)]
    fn no_name_leads_out_of_the_directory() {
        let place = tempfile::tempdir().expect("a directory");
        for name in ["from", "to"] {
            std::fs::create_dir(place.path().join(name)).expect("make a directory");
        }
        std::fs::write(place.path().join("secret"), "of the host").expect("write a file");
        let open = |name: &str| fs::open(&place.path().join(name), libc::O_RDONLY | libc::O_DIRECTORY).expect("open");
        let (from, to) = (open("from"), open("to"));
        let mut copier = Copier {
            top: to.as_fd(),
            hard_links: HashMap::new(),
        };
        let name = Path::new("../secret");
        let error = copier.entry(from.as_fd(), to.as_fd(), name, Path::new("secret"), 0);
        assert!(format!("{:#}", error.expect_err("refused")).contains("EXDEV"));
    }
}
