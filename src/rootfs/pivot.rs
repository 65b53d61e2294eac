//! The change of the root. Run by init when all mounts stand; afterwards the host's files are out of reach.

use std::os::fd::AsFd;
use std::path::Path;

use super::Root;
use crate::bundle::plan::Rootfs;
use crate::error::Result;
use crate::sys::mount::MOUNT_ATTR_RDONLY;
use crate::sys::{fs, mount};

pub fn change_root(root: &Root, plan: &Rootfs) -> Result<()> {
    let old = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
    fs::fchdir(root.fd())?;
    if plan.no_pivot {
        // For a root on the initial ramfs, which pivot_root(2) refuses. The old root stays mounted below, out of reach
        // only for processes that cannot leave a chroot: hence no default.
        let slash = fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?;
        mount::attach(root.fd(), slash.as_fd())?;
        fs::chroot(Path::new("."))?;
    } else {
        mount::pivot_root_here()?;
        // The old root now lies over the new one at ".". What is unmounted here must not be unmounted on the host.
        mount::set_attributes(old.as_fd(), 0, 0, libc::MS_SLAVE, true)?;
        mount::detach(Path::new("."))?;
    }
    Ok(fs::chdir(Path::new("/"))?)
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
