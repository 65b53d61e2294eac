//! `maskedPaths` and `readonlyPaths`. Run by init, before the root is changed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::Root;
use crate::error::{At, Context, Result, bail};
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
    let context = mount::fsopen("tmpfs")?;
    for (key, value) in [
        ("source", "tmpfs"),
        ("nr_inodes", "1"),
        ("size", "4k"),
        ("mode", "0555"),
    ] {
        mount::fsconfig(context.as_fd(), key, Some(value))?;
    }
    mount::fsconfig_create(context.as_fd())?;
    Ok(mount::fsmount(context.as_fd(), MOUNT_ATTR_RDONLY)?)
}

/// Covers each path with a read-only copy of itself, mounts below it included.
pub fn protect(root: &Root, paths: &[PathBuf]) -> Result<()> {
    for (index, path) in paths.iter().enumerate() {
        let at = || At::object(format!("linux.readonlyPaths[{index}]"), path.display());
        let Some(target) = existing(root, path).with_context(at)? else {
            continue;
        };
        let protect = || -> Result<()> {
            let copy = mount::clone_tree(target.as_fd(), Path::new(""), true)?;
            mount::set_attributes(copy.as_fd(), MOUNT_ATTR_RDONLY, 0, 0, true)?;
            Ok(mount::attach(copy.as_fd(), target.as_fd())?)
        };
        protect().with_context(at)?;
    }
    Ok(())
}

/// A path that the container does not have needs no cover.
fn existing(root: &Root, path: &Path) -> Result<Option<OwnedFd>> {
    match root.open(path, libc::O_PATH) {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        other => Ok(Some(other?)),
    }
}
