//! Changing the root. Run by init after all mounts; afterwards the host's files are inaccessible.

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;

use super::place::AttachedRoot;
use super::{Root, mask};
use crate::error::Result;
use crate::mountinfo;
use crate::plan::{RootMode, Rootfs};
use crate::sys::mount::MOUNT_ATTR_RDONLY;
use crate::sys::{fs, mount};

pub fn change_root(root: &AttachedRoot, plan: &Rootfs) -> Result<()> {
    if plan.root_mode == RootMode::Chroot {
        fs::fchdir(root.fd())?;
        fs::chroot(Path::new("."))?;
        return Ok(fs::chdir(Path::new("/"))?);
    }
    if plan.no_pivot {
        // For a root on the initial ramfs, where pivot_root(2) fails. The old root stays mounted below, and is inaccessible
        // only for processes that cannot leave a chroot, so this is not the default.
        hide_host_instances(&plan.path)?;
        let slash = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
        match mount::attach(root.fd(), slash.as_fd()) {
            // It is already attached there, because init cannot access its path.
            Err(error) if error.errno == Errno::ELOOP => {}
            other => other?,
        }
        fs::fchdir(root.fd())?;
        fs::chroot(Path::new("."))?;
    } else {
        let old = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
        fs::fchdir(root.fd())?;
        mount::pivot_root_here()?;
        // The old root is now mounted over the new one at ".". Unmounting it must not propagate to the host.
        mount::set_attributes(old.as_fd(), 0, 0, libc::MS_SLAVE, true)?;
        mount::detach(Path::new("."))?;
    }
    Ok(fs::chdir(Path::new("/"))?)
}

/// Unmounts the host's procfs and sysfs from a mount namespace in which the old root stays. In a user namespace the kernel
/// permits mounting a new instance of these only if another one is fully visible. If that were the host's, below the new
/// root, a process could mount an instance without the container's masks.
fn hide_host_instances(root: &Path) -> Result<()> {
    let text = mountinfo::read()?;
    let is_instance = |mount: &mountinfo::Mount| mount.is_whole() && (mount.is("proc") || mount.is("sysfs"));
    for mount in mountinfo::mounts(&text).filter(is_instance) {
        let place = mount.point();
        if place.starts_with(root) {
            continue;
        }
        let target = match fs::open(&place, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW) {
            // The mount that contained it has already been unmounted.
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => continue,
            other => other?,
        };
        match mount::set_attributes(target.as_fd(), 0, 0, libc::MS_SLAVE, true).and_then(|()| mount::detach(&place)) {
            // Locked, because it comes from a more privileged mount namespace: covered instead.
            Err(error) if matches!(error.errno, Errno::EINVAL | Errno::EPERM) => {
                mount::attach(mask::empty_directory()?.as_fd(), target.as_fd())?;
            }
            other => other?,
        }
    }
    Ok(())
}

/// Sets the final propagation of the root mount, and makes it read-only if configured.
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
