//! `maskedPaths` and `readonlyPaths`. Run by init, before the root is changed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::Root;
use crate::error::{At, Context, Result, bail};
use crate::sys::fs_context::FsContext;
use crate::sys::mount::MOUNT_ATTR_RDONLY;
use crate::sys::{fs, mount};

/// The host's /dev/null, taken before the image is touched and verified: what masks a file must be this device and
/// nothing that an image or another container put in its place.
pub fn host_null() -> Result<OwnedFd> {
    let fd = fs::open(Path::new("/dev/null"), libc::O_PATH | libc::O_NOFOLLOW)?;
    let stat = fs::fstat(fd.as_fd())?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFCHR || stat.st_rdev != libc::makedev(1, 3) {
        bail!("/dev/null of the host is not the null device");
    }
    Ok(fd)
}

/// Covers files with the null device, and directories with one empty read-only tmpfs that all of them share.
pub fn hide(root: &Root, paths: &[PathBuf], null: &OwnedFd) -> Result<()> {
    let mut empty: Option<OwnedFd> = None;
    for (index, path) in paths.iter().enumerate() {
        let at = || At::object(format!("linux.maskedPaths[{index}]"), path.display());
        let Some(target) = existing(root, path).with_context(at)? else {
            continue;
        };
        let mut mask = || -> Result<()> {
            if fs::fstat(target.as_fd())?.st_mode & libc::S_IFMT != libc::S_IFDIR {
                let cover = mount::clone_tree(null.as_fd(), Path::new(""), false)?;
                return Ok(mount::attach(cover.as_fd(), target.as_fd())?);
            }
            match empty.take() {
                Some(first) => {
                    let cover = mount::clone_tree(first.as_fd(), Path::new(""), false)?;
                    empty = Some(first);
                    Ok(mount::attach(cover.as_fd(), target.as_fd())?)
                }
                None => {
                    let cover = empty_directory()?;
                    mount::attach(cover.as_fd(), target.as_fd())?;
                    empty = Some(cover);
                    Ok(())
                }
            }
        };
        mask().with_context(at)?;
    }
    Ok(())
}

/// A tmpfs that holds one inode, its own root, and can never hold more.
pub fn empty_directory() -> Result<OwnedFd> {
    let tmpfs = FsContext::new("tmpfs")?;
    for (key, value) in [
        ("source", "tmpfs"),
        ("nr_inodes", "1"),
        ("size", "4k"),
        ("mode", "0555"),
    ] {
        tmpfs.set(key, value)?;
    }
    Ok(tmpfs.mount(MOUNT_ATTR_RDONLY)?)
}

/// Covers each path with a read-only copy of itself, mounts below it included.
pub fn protect(root: &Root, paths: &[PathBuf]) -> Result<()> {
    if paths.len() <= FEW {
        return cover(root, paths, |_, _| Ok(None));
    }
    let untouched = Untouched::attach(root)?;
    let covered = cover(root, paths, |path, target| untouched.same(path, target));
    // In a mount namespace of others it would stay, whatever came of the rest.
    let detached = untouched.detach();
    covered.and(detached)
}

/// `other` finds what may be copied in the place of what is covered.
fn cover(root: &Root, paths: &[PathBuf], other: impl Fn(&Path, &OwnedFd) -> Result<Option<OwnedFd>>) -> Result<()> {
    for (index, path) in paths.iter().enumerate() {
        let at = || At::object(format!("linux.readonlyPaths[{index}]"), path.display());
        let Some(target) = existing(root, path).with_context(at)? else {
            continue;
        };
        let protect = || -> Result<()> {
            let other = other(path, &target)?;
            let source = other.as_ref().unwrap_or(&target);
            let copy = mount::clone_tree(source.as_fd(), Path::new(""), true)?;
            mount::set_attributes(copy.as_fd(), MOUNT_ATTR_RDONLY, 0, 0, true)?;
            Ok(mount::attach(copy.as_fd(), target.as_fd())?)
        };
        protect().with_context(at)?;
    }
    Ok(())
}

/// So many covers are made from what they cover.
const FEW: usize = 64;

/// A copy of the whole root file system that gets no covers, to copy from in its place. For a copy the kernel looks at all
/// mounts on the mount that is copied from (copy_tree in fs/namespace.c), so each cover would make the next one slower.
struct Untouched(Root);

impl Untouched {
    /// It is attached over the root, because only what is attached can be copied from (before Linux 6.15); our handle on
    /// the root stands below.
    fn attach(root: &Root) -> Result<Self> {
        let copy = mount::clone_tree(root.fd(), Path::new(""), true)?;
        mount::attach(copy.as_fd(), root.fd())?;
        Ok(Untouched(Root::new(copy)))
    }

    /// The same file or directory in the copy. None for what is not there, such as in an unbindable mount, or is another by
    /// now: links of the image may change at any time.
    fn same(&self, path: &Path, target: &OwnedFd) -> Result<Option<OwnedFd>> {
        let Some(found) = existing(&self.0, path)? else {
            return Ok(None);
        };
        let (found_stat, target) = (fs::fstat(found.as_fd())?, fs::fstat(target.as_fd())?);
        let same = (found_stat.st_dev, found_stat.st_ino) == (target.st_dev, target.st_ino);
        Ok(same.then_some(found))
    }

    fn detach(self) -> Result<()> {
        Ok(mount::detach_behind(self.0.fd())?)
    }
}

/// A path that the container does not have needs no cover.
fn existing(root: &Root, path: &Path) -> Result<Option<OwnedFd>> {
    match root.open(path, libc::O_PATH) {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        other => Ok(Some(other?)),
    }
}
