//! Why the kernel rejects a mount: the errno alone does not say which flag or file system is at fault.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::Root;
use crate::error::{Error, Hint, call_with_hint, errno};
use crate::sys::{SysError, fs};

/// The flags that a more privileged mount namespace can lock: the name, the option that clears it, MOUNT_ATTR_*, and its bit
/// in `f_flag` of statvfs(3).
const LOCKABLE: &[(&str, &str, u64, u64)] = &[
    ("ro", "rw", libc::MOUNT_ATTR_RDONLY, libc::ST_RDONLY),
    ("nosuid", "suid", libc::MOUNT_ATTR_NOSUID, libc::ST_NOSUID),
    ("nodev", "dev", libc::MOUNT_ATTR_NODEV, libc::ST_NODEV),
    ("noexec", "exec", libc::MOUNT_ATTR_NOEXEC, libc::ST_NOEXEC),
    (
        "nodiratime",
        "diratime",
        libc::MOUNT_ATTR_NODIRATIME,
        libc::ST_NODIRATIME,
    ),
];

/// The error of mount_setattr(2) for a change of flags; `clear` has the flags to clear.
pub fn of_flags(error: SysError, mount: BorrowedFd, clear: u64, recursive: bool) -> Error {
    if error.errno != Errno::EPERM {
        return error.into();
    }
    let found = fs::mount_flags(mount).unwrap_or(0);
    let mut locked = Vec::new();
    let mut words = Vec::new();
    for (name, word, attribute, flag) in LOCKABLE {
        if clear & attribute != 0 && found & flag != 0 {
            locked.push(*name);
            words.push(if recursive {
                format!("r{word}")
            } else {
                (*word).to_string()
            });
        }
    }
    if locked.is_empty() && clear & libc::MOUNT_ATTR__ATIME != 0 {
        locked.push("the access time mode");
        words.push("the atime options".into());
    }
    // With AT_RECURSIVE it may be a mount below; then the general hint has to do.
    if locked.is_empty() {
        return error.into();
    }
    let text = format!("{} is locked on this mount and cannot be cleared", locked.join(", "));
    let cure = format!(
        "it was set by a more privileged mount namespace: remove {}, or change the mount on the host",
        words.join(", ")
    );
    call_with_hint(error, text, cure)
}

/// The error of mount_setattr(MOUNT_ATTR_IDMAP).
pub fn of_id_map(error: SysError, recursive: bool) -> Error {
    let below = if recursive { ", or one mounted below it," } else { "" };
    let (text, cure) = match error.errno {
        Errno::EINVAL => (
            format!("the file system{below} cannot map the owners of its files"),
            "ext4, xfs, btrfs, overlay, tmpfs and others can, each since a certain version of Linux; remove the mapping and \
             change the owners of the files instead",
        ),
        Errno::EPERM => (
            format!("not permitted to map the owners in this file system{below}"),
            "it requires CAP_SYS_ADMIN in the user namespace in which the file system was mounted, and a mount without a mapping",
        ),
        _ => return error.into(),
    };
    call_with_hint(error, text, cure)
}

/// The error of creating something at a path in the container: if there is no space, it names the file system.
pub fn of_space(error: Error, root: &Root, path: &Path) -> Error {
    let (lacks, cure) = match errno(&error) {
        Some(Errno::ENOSPC) => (
            "is full, or has no inodes left",
            "free some space or increase it (for a tmpfs with the options size= and nr_inodes=)",
        ),
        Some(Errno::EDQUOT) => (
            "has no quota left for this user",
            "free some space, or raise the quota: see quota(1)",
        ),
        _ => return error,
    };
    if error.downcast_ref::<Hint>().is_some() {
        return error;
    }
    let text = match mount_of(root, path) {
        Some(point) if point == Path::new("/") => format!("the root file system (root.path) {lacks}"),
        Some(point) => format!("the file system mounted on {point:?} {lacks}"),
        None => format!("the file system {lacks}"),
    };
    error.context(Hint {
        message: text,
        hint: cure.into(),
    })
}

/// The mount point of the file system that contains the path or its nearest existing parent.
fn mount_of(root: &Root, path: &Path) -> Option<PathBuf> {
    let id = |fd: &OwnedFd| fs::mount_id(fd.as_fd()).ok();
    let mut above = path.ancestors().skip(1);
    let (nearest, directory) =
        above.find_map(|place| Some((place, root.open(place, libc::O_PATH | libc::O_DIRECTORY).ok()?)))?;
    let mount = id(&directory)?;
    let is_point = |place: &&Path| {
        let found = root.open(place, libc::O_PATH | libc::O_DIRECTORY);
        found.is_ok_and(|found| id(&found) == Some(mount) && fs::is_mount_root(found.as_fd()).unwrap_or(false))
    };
    nearest.ancestors().find(is_point).map(Path::to_path_buf)
}

/// Whether a new file system was rejected for lack of privilege over what it shows, or because the host's is partly covered.
pub fn is_about_power(error: &Error) -> bool {
    matches!(errno(error), Some(Errno::EPERM | Errno::EBUSY))
}
