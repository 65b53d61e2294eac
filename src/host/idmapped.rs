//! The file systems at hand whose mounts can map IDs: one of each type is tried with a mount that is attached nowhere.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use nix::errno::Errno;

use super::kernel::Support;
use crate::mountinfo;
use crate::sys::{fs, mount};

/// A type of file system, where one of it is mounted, and whether its mounts can map IDs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    pub kind: String,
    pub point: PathBuf,
    pub support: Support,
}

/// Types that containers have their files on. Others are not tried: a network file system whose server is gone would block.
const KINDS: &[&str] = &[
    "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "iso9660", "ntfs3", "overlay", "ramfs",
    "squashfs", "tmpfs", "vfat", "xfs", "zfs",
];

/// Tries the first mount of each type in `mounts`, the text of mountinfo, with the maps of a user namespace.
pub fn file_systems(mounts: &[u8], user_namespace: BorrowedFd) -> Vec<FileSystem> {
    let first = |kind: &&str| Some((kind.to_string(), mountinfo::point_of(mounts, kind)?));
    let found = KINDS.iter().filter_map(first);
    found
        .map(|(kind, point)| FileSystem {
            support: support(&point, user_namespace),
            kind,
            point,
        })
        .collect()
}

fn support(point: &std::path::Path, user_namespace: BorrowedFd) -> Support {
    let mapped = mount::clone_tree(fs::CWD, point, false)
        .and_then(|tree| mount::map_ids(tree.as_fd(), user_namespace, false))
        .map_err(|error| error.errno);
    match mapped {
        Ok(()) => Support::Present,
        Err(Errno::EINVAL) => Support::Missing,
        Err(errno) => Support::Refused(errno),
    }
}
