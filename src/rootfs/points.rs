//! Mount points: opening or creating the file or directory that a mount is attached on. Run by init, before the root is
//! changed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::Root;
use crate::error::{Error, Result, with_hint};
use crate::plan::{Mount, MountKind};
use crate::sys::fs;

/// The mount point of an entry; created if missing, as a file or as a directory like the source.
pub fn open(root: &Root, entry: &Mount, tree: &OwnedFd) -> Result<OwnedFd> {
    let kind = match &entry.kind {
        MountKind::New { kind, .. } if kind == "proc" || kind == "sysfs" => Some(kind.as_str()),
        MountKind::Bind { .. } if entry.destination == Path::new("/proc") => Some("proc"),
        MountKind::Bind { .. } if entry.destination == Path::new("/sys") => Some("sysfs"),
        _ => None,
    };
    if let Some(kind) = kind {
        // A symbolic link here would redirect the mount, and leave the image's directory at the path that programs trust,
        // for example when they write security labels.
        return match root.open_without_links(&entry.destination, libc::O_PATH | libc::O_DIRECTORY) {
            Err(error) if error.errno == Errno::ENOENT => Ok(root.make_directory(&entry.destination)?),
            Err(error) if matches!(error.errno, Errno::ELOOP | Errno::ENOTDIR) => Err(with_hint(
                format!(
                    "{kind} must be mounted on ordinary directory, but the image has a symbolic link or a file there"
                ),
                "fix the image: /proc and /sys must be directories",
            )),
            other => Ok(other?),
        };
    }
    if entry.nofollow.destination {
        match root.open(&entry.destination, libc::O_PATH | libc::O_NOFOLLOW) {
            // It is created below, as without this option.
            Err(error) if error.errno == Errno::ENOENT => {}
            target => return check_link(target?, tree),
        }
    }
    if !is_directory(tree)? {
        let target = root.make_file(&entry.destination)?;
        if is_directory(&target)? {
            return Err(file_on_directory());
        }
        return Ok(target);
    }
    let (target, is_direct) = root.make_directory_checked(&entry.destination)?;
    if !is_direct && fs::mount_id(target.as_fd())? == fs::mount_id(root.fd())? && fs::is_mount_root(target.as_fd())? {
        return Err(with_hint(
            "the destination resolves to the root of the container, which cannot be mounted over",
            "use root.path for the root file system; for a volume fix the link in the image, or use another destination",
        ));
    }
    Ok(target)
}

/// The error of a file that would be mounted on a directory.
pub fn file_on_directory() -> Error {
    with_hint(
        // Docker adds its own hint to errors that contain "not a directory".
        "the source is not a directory, but the destination is",
        "use a file as the destination, or a directory as the source",
    )
}

/// Checks a mount point that may be a symbolic link, which the kernel treats like a file.
fn check_link(target: OwnedFd, tree: &OwnedFd) -> Result<OwnedFd> {
    if is_directory(&target)? != is_directory(tree)? {
        return Err(with_hint(
            "a directory can only be mounted on a directory, and with dest-nofollow the destination is a symbolic link",
            "remove dest-nofollow, or mount a file or, with src-nofollow, a symbolic link",
        ));
    }
    Ok(target)
}

fn is_directory(fd: &OwnedFd) -> Result<bool> {
    Ok(fs::fstat(fd.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// Files of procfs that may be covered, as lxcfs does.
const COVERABLE: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Checks mounts on /proc and inside it, which could replace the files that set labels and sysctls. /proc itself must be a
/// procfs, and inside it only harmless files may be covered. Whether the target is inside a procfs is determined from its
/// file system, not from its path.
pub fn check_proc(entry: &Mount, target: BorrowedFd, tree: BorrowedFd) -> Result<()> {
    let is_proc = |fd| fs::type_of(fd).map(|kind| kind == fs::FsType::PROC);
    let named_proc = entry.destination == Path::new("/proc");
    if named_proc && !is_proc(tree)? {
        return Err(with_hint("only a procfs can be mounted on /proc", "use type \"proc\""));
    }
    if !named_proc && is_proc(target)? && !COVERABLE.iter().any(|file| entry.destination == Path::new(file)) {
        return Err(with_hint(
            "cannot be mounted because it is inside /proc",
            "only these files may be covered: cpuinfo diskstats loadavg meminfo net/dev slabinfo stat swaps uptime",
        ));
    }
    Ok(())
}
