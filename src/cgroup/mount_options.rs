//! The options of the cgroup file system, such as `nsdelegate`, which all of its mounts share. See cgroups(7).
//!
//! CRIU mounts it without options, which the kernel takes for a change of them if it happens in the initial cgroup namespace:
//! the whole host would lose them.

use std::os::fd::AsFd;

use super::mount::mount_point;
use crate::error::{Context, Result};
use crate::log;
use crate::mountinfo;
use crate::sys::fs;
use crate::sys::fs_context::FsContext;

/// The options at one moment. They are set again when this is dropped, if some are missing then.
pub struct MountOptions(Vec<String>);

impl MountOptions {
    pub fn keep() -> Result<Self> {
        Ok(MountOptions(options()?))
    }

    fn restore(&self) -> Result<()> {
        let now = options()?;
        if self.0.iter().all(|option| now.contains(option)) {
            return Ok(());
        }
        let top = fs::open(&mount_point()?, libc::O_PATH | libc::O_DIRECTORY)?;
        let context = FsContext::of_mount(top.as_fd())?;
        for option in &self.0 {
            context.set_flag(option)?;
        }
        Ok(context.reconfigure()?)
    }
}

impl Drop for MountOptions {
    fn drop(&mut self) {
        if let Err(error) = self.restore().context("the mount options of the cgroup file system") {
            log::warning(&format!("CRIU has changed them for the whole host: {error}"));
        }
    }
}

/// Of all mounts of cgroup2, besides `rw` and `ro`.
fn options() -> Result<Vec<String>> {
    let text = mountinfo::read()?;
    let options = mountinfo::mounts(&text)
        .find(|mount| mount.is("cgroup2"))
        .map(|mount| mount.options().map(String::from).collect::<Vec<_>>());
    Ok(options
        .unwrap_or_default()
        .into_iter()
        .filter(|option| option != "rw" && option != "ro")
        .collect())
}
