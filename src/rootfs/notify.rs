//! The directory with the socket for sd_notify(3) messages, on /run/notify in the container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::Root;
use crate::error::{Context, Result, call_with_hint};
use crate::sys::{fs, mount};

/// Its path in the container.
pub const PATH: &str = "/run/notify";
/// The environment variable in the container.
pub const SOCKET: &std::ffi::CStr = c"NOTIFY_SOCKET=/run/notify/notify.sock";

/// The directory, before it is attached in the container.
#[derive(Debug)]
pub enum Directory {
    /// A detached mount of it, created by the runtime: the root of another user namespace cannot access its path.
    Mount(OwnedFd),
    /// Its path on the host, for init to create that mount: an unprivileged user can mount only in their user namespace, in
    /// which they can access the path.
    Path(PathBuf),
}

/// A detached mount of the directory, read-only for the container.
pub fn detached(path: &Path) -> Result<OwnedFd> {
    let tree = mount::clone_tree(fs::CWD, path, false)?;
    let attributes =
        libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    mount::set_attributes(tree.as_fd(), attributes, 0, libc::MS_PRIVATE, false)?;
    Ok(tree)
}

/// Attaches the directory inside the root. Run by init, after the config's mounts.
pub fn attach(root: &Root, directory: Directory) -> Result<()> {
    let attach = || -> Result<()> {
        let tree = match directory {
            Directory::Mount(tree) => tree,
            Directory::Path(path) => detached(&path)?,
        };
        let target = root.make_directory(Path::new(PATH)).map_err(|error| {
            let hint = format!("create the directory {PATH} in the image, or unset NOTIFY_SOCKET");
            call_with_hint(error, "cannot create the mount point in the container", hint)
        })?;
        Ok(mount::attach(tree.as_fd(), target.as_fd())?)
    };
    attach().with_context(|| format!("the directory of NOTIFY_SOCKET, {PATH:?}"))
}
