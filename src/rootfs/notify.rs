//! The directory with the socket for sd_notify(3) messages, on /run/notify in the container.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::Root;
use crate::error::{Context, Result, call_with_hint};
use crate::sys::{fs, mount};

/// Where the container finds it.
const PLACE: &str = "/run/notify";
/// What the container's NOTIFY_SOCKET says.
pub const SOCKET: &std::ffi::CStr = c"NOTIFY_SOCKET=/run/notify/notify.sock";

/// The directory on its way into the container.
#[derive(Debug)]
pub enum Directory {
    /// A detached mount of it, made by the runtime: the way to it is closed to the root of another user namespace.
    Mount(OwnedFd),
    /// Its path on the host, for init to make that mount: a plain user may mount only in the own user namespace, and
    /// is its root there.
    Path(PathBuf),
}

/// A detached mount of the directory, with nothing in it for the container to change.
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
        let place = root.make_directory(Path::new(PLACE)).map_err(|error| {
            let cure = format!("make the directory {PLACE} in the image, or unset NOTIFY_SOCKET");
            call_with_hint(error, "there is no place for it in the container", cure)
        })?;
        Ok(mount::attach(tree.as_fd(), place.as_fd())?)
    };
    attach().with_context(|| format!("the directory of NOTIFY_SOCKET, {PLACE:?}"))
}
