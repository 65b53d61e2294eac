//! The change of the root. Run by init when all mounts stand; afterwards the host's files are out of reach.

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;

use super::{Root, mask};
use crate::error::Result;
use crate::mountinfo;
use crate::plan::{RootMode, Rootfs};
use crate::sys::mount::MOUNT_ATTR_RDONLY;
use crate::sys::{fs, mount};

pub fn change_root(root: &Root, plan: &Rootfs) -> Result<()> {
    if plan.root_mode == RootMode::Chroot {
        fs::fchdir(root.fd())?;
        fs::chroot(Path::new("."))?;
        return Ok(fs::chdir(Path::new("/"))?);
    }
    if plan.no_pivot {
        // For a root on the initial ramfs, which pivot_root(2) refuses. The old root stays mounted below, out of reach
        // only for processes that cannot leave a chroot: hence no default.
        hide_host_instances(&plan.path)?;
        let slash = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
        match mount::attach(root.fd(), slash.as_fd()) {
            // It lies there already, because the way to its own place is closed.
            Err(error) if error.errno == Errno::ELOOP => {}
            other => other?,
        }
        fs::fchdir(root.fd())?;
        fs::chroot(Path::new("."))?;
    } else {
        let old = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
        fs::fchdir(root.fd())?;
        mount::pivot_root_here()?;
        // The old root now lies over the new one at ".". What is unmounted here must not be unmounted on the host.
        mount::set_attributes(old.as_fd(), 0, 0, libc::MS_SLAVE, true)?;
        mount::detach(Path::new("."))?;
    }
    Ok(fs::chdir(Path::new("/"))?)
}

/// Takes the host's procfs and sysfs out of a mount namespace in which the old root stays. In a user namespace the kernel
/// allows a new instance of these only where another is to be seen in full, and the masks of a container would count
/// for nothing if that were the host's, lying below.
fn hide_host_instances(root: &Path) -> Result<()> {
    let text = mountinfo::read()?;
    let is_instance = |mount: &mountinfo::Mount| mount.is_whole() && (mount.is("proc") || mount.is("sysfs"));
    for mount in mountinfo::mounts(&text).filter(is_instance) {
        let place = mount.point();
        if place.starts_with(root) {
            continue;
        }
        let target = match fs::open(&place, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW) {
            // What it was mounted in has gone already.
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => continue,
            other => other?,
        };
        match mount::set_attributes(target.as_fd(), 0, 0, libc::MS_SLAVE, true).and_then(|()| mount::detach(&place)) {
            // Locked, by a mount namespace with more privilege: covered instead.
            Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EPERM) => {
                mount::attach(mask::empty_directory()?.as_fd(), target.as_fd())?;
            }
            other => other?,
        }
    }
    Ok(())
}

/// The root mount's own last flags.
pub fn finish(root: &Root, plan: &Rootfs) -> Result<()> {
    if let Some(propagation) = plan.final_propagation {
        let recursive = propagation & libc::MS_REC != 0;
        mount::set_attributes(root.fd(), 0, 0, propagation & !libc::MS_REC, recursive)?;
    }
    if plan.readonly {
        mount::set_attributes(root.fd(), MOUNT_ATTR_RDONLY, 0, 0, false)?;
    }
    Ok(())
}
