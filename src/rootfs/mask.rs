//! `maskedPaths` and `readonlyPaths`. Run by init, before the root is changed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::Root;
use super::place::{HostMounts, Place};
use crate::error::{At, Context, Result, bail};
use crate::sys::fs_context::FsContext;
use crate::sys::mount::MOUNT_ATTR_RDONLY;
use crate::sys::{fs, mount};

/// The host's /dev/null, opened and checked before the image is accessed. A file must be masked with this device, not with a
/// file that an image or another container has put at this path.
pub fn host_null(host: HostMounts) -> Result<OwnedFd> {
    let fd = fs::open(Path::new("/dev/null"), libc::O_PATH | libc::O_NOFOLLOW)?;
    let stat = fs::fstat(fd.as_fd())?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFCHR || stat.st_rdev != libc::makedev(1, 3) {
        bail!("/dev/null of the host is not the null device");
    }
    match host {
        HostMounts::Inherited => Ok(fd),
        // Its copies in the container are copied from this one.
        HostMounts::Live(_) => Ok(host.clone_tree(fd.as_fd(), Path::new(""), false)?),
    }
}

/// Covers files with the null device, and directories with a shared, empty, read-only tmpfs.
pub fn mask(root: &Root, paths: &[PathBuf], null: &OwnedFd) -> Result<()> {
    let mut empty: Option<OwnedFd> = None;
    for (index, path) in paths.iter().enumerate() {
        let at = || At::object(format!("linux.maskedPaths[{index}]"), path.display());
        let Some(target) = open_existing(root, path).with_context(at)? else {
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

/// A tmpfs whose only inode is its root, and which cannot have more.
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

/// Covers each path with a read-only copy of itself, including mounts below it.
pub fn make_readonly(root: Place, paths: &[PathBuf]) -> Result<()> {
    if paths.len() <= FEW {
        return cover(&root, paths, |_, _| Ok(None));
    }
    let pristine = PristineCopy::new(root)?;
    let covered = cover(&root, paths, |path, target| pristine.find(path, target));
    // Even after an error: in a shared mount namespace it would remain.
    let detached = pristine.detach();
    covered.and(detached)
}

/// `find_source` returns a file or directory to copy instead of the one that is covered.
fn cover(
    root: &Root,
    paths: &[PathBuf],
    find_source: impl Fn(&Path, &OwnedFd) -> Result<Option<OwnedFd>>,
) -> Result<()> {
    for (index, path) in paths.iter().enumerate() {
        let at = || At::object(format!("linux.readonlyPaths[{index}]"), path.display());
        let Some(target) = open_existing(root, path).with_context(at)? else {
            continue;
        };
        let cover = || -> Result<()> {
            let found = find_source(path, &target)?;
            let source = found.as_ref().unwrap_or(&target);
            let copy = mount::clone_tree(source.as_fd(), Path::new(""), true)?;
            mount::set_attributes(copy.as_fd(), MOUNT_ATTR_RDONLY, 0, 0, true)?;
            Ok(mount::attach(copy.as_fd(), target.as_fd())?)
        };
        cover().with_context(at)?;
    }
    Ok(())
}

/// Up to this number of paths are copied from the root file system itself.
const FEW: usize = 64;

/// A copy of the whole root file system that is never covered, as the source of many read-only copies. For each copy the
/// kernel walks all mounts on the source mount (copy_tree in fs/namespace.c), so without it each cover would make the next
/// one slower.
struct PristineCopy {
    root: Root,
    attached: bool,
}

impl PristineCopy {
    /// It is attached over an attached root, because parts of a detached tree cannot be cloned before Linux 6.15. The handle
    /// on the root refers to the mount below.
    fn new(root: Place) -> Result<Self> {
        let copy = mount::clone_tree(root.fd(), Path::new(""), true)?;
        let attached = matches!(root, Place::Attached(_));
        if attached {
            mount::attach(copy.as_fd(), root.fd())?;
        }
        Ok(PristineCopy {
            root: Root::new(copy),
            attached,
        })
    }

    /// The same file or directory in the copy. None if it is missing there, for example because it is in an unbindable
    /// mount, or if it is another one by now: symbolic links in the image may change at any time.
    fn find(&self, path: &Path, target: &OwnedFd) -> Result<Option<OwnedFd>> {
        let Some(found) = open_existing(&self.root, path)? else {
            return Ok(None);
        };
        let (found_stat, target) = (fs::fstat(found.as_fd())?, fs::fstat(target.as_fd())?);
        let same = (found_stat.st_dev, found_stat.st_ino) == (target.st_dev, target.st_ino);
        Ok(same.then_some(found))
    }

    fn detach(self) -> Result<()> {
        match self.attached {
            true => Ok(mount::detach_behind(self.root.fd())?),
            false => Ok(()),
        }
    }
}

/// Opens a path; none if it does not exist in the container, and so needs no cover.
fn open_existing(root: &Root, path: &Path) -> Result<Option<OwnedFd>> {
    match root.open(path, libc::O_PATH) {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        other => Ok(Some(other?)),
    }
}
