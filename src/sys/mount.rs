//! Mounts by descriptor: open_tree(2), mount_setattr(2), move_mount(2), pivot_root(2), umount2(2). Numbers are those of
//! linux/mount.h.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::names::{OPEN_TREE_CLONE, OPEN_TREE_NAMESPACE};
use super::{Arg, Call, SysError, SysResult, Syscall, c_path, c_string, check, own};

pub const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;

const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;

/// struct mount_attr of linux/mount.h.
#[repr(C)]
#[derive(Default)]
pub struct MountAttr {
    pub attr_set: u64,
    pub attr_clr: u64,
    pub propagation: u64,
    pub userns_fd: u64,
}

/// `open_tree(OPEN_TREE_CLONE)`: a detached copy of the mount at `path` below `dir` (an empty path means `dir` itself).
pub fn clone_tree(dir: BorrowedFd, path: &Path, recursive: bool) -> SysResult<OwnedFd> {
    open_tree(dir, path, if recursive { libc::AT_RECURSIVE } else { 0 })
}

/// The same of a symbolic link itself, if `path` ends in one.
pub fn clone_tree_of_link(path: &Path, recursive: bool) -> SysResult<OwnedFd> {
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    open_tree(super::fs::CWD, path, libc::AT_SYMLINK_NOFOLLOW | recursive)
}

/// The error of [`clone_tree`] or [`clone_tree_of_link`] for a path that cannot be opened, in advance.
pub fn clone_error(path: &Path, recursive: bool, of_link: bool, errno: Errno) -> SysError {
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    let link = if of_link { libc::AT_SYMLINK_NOFOLLOW } else { 0 };
    let flags = Arg::AtFlags(OPEN_TREE_CLONE as i32 | link | recursive);
    SysError::new(Call::new(Syscall::OpenTree, vec![path.into(), flags]), errno)
}

/// `open_tree(OPEN_TREE_NAMESPACE)`, Linux 7.0: a new mount namespace, which setns(2) accepts, with a copy of the tree behind
/// `tree` as its root. Mounts that are unbindable or of mount namespaces are left out of the copy.
pub fn namespace_of_tree(tree: BorrowedFd) -> SysResult<OwnedFd> {
    open_tree_with(OPEN_TREE_NAMESPACE, tree, Path::new(""), libc::AT_RECURSIVE)
}

fn open_tree(dir: BorrowedFd, path: &Path, flags: i32) -> SysResult<OwnedFd> {
    open_tree_with(OPEN_TREE_CLONE, dir, path, flags)
}

fn open_tree_with(kind: u32, dir: BorrowedFd, path: &Path, flags: i32) -> SysResult<OwnedFd> {
    let c = c_path(path)?;
    let all = kind | (libc::O_CLOEXEC | libc::AT_EMPTY_PATH | flags) as u32;
    check!(
        // SAFETY: the path outlives the call.
        unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), c.as_ptr(), all) },
        OpenTree,
        path,
        Arg::AtFlags(kind as i32 | flags)
    )
    .map(own)
}

/// `mount_setattr(2)` on the mount behind `fd`: attributes to set and clear (`MOUNT_ATTR_*`), propagation (`MS_*`).
pub fn set_attributes(fd: BorrowedFd, set: u64, clear: u64, propagation: u64, recursive: bool) -> SysResult<()> {
    let attr = MountAttr {
        attr_set: set,
        attr_clr: clear,
        propagation,
        userns_fd: 0,
    };
    mount_setattr(fd, &attr, recursive)
}

/// `mount_setattr(MOUNT_ATTR_IDMAP)` on a mount that is not attached yet: its files' owners are seen through the id
/// mappings of the user namespace behind `user_namespace`.
pub fn map_ids(fd: BorrowedFd, user_namespace: BorrowedFd, recursive: bool) -> SysResult<()> {
    let attr = MountAttr {
        attr_set: MOUNT_ATTR_IDMAP,
        userns_fd: user_namespace.as_raw_fd() as u64,
        ..MountAttr::default()
    };
    mount_setattr(fd, &attr, recursive)
}

fn mount_setattr(fd: BorrowedFd, attr: &MountAttr, recursive: bool) -> SysResult<()> {
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    check!(
        // SAFETY: attr outlives the call and the size is its own.
        unsafe {
            libc::syscall(
                libc::SYS_mount_setattr,
                fd.as_raw_fd(),
                c"".as_ptr(),
                libc::AT_EMPTY_PATH | flags,
                attr as *const MountAttr,
                std::mem::size_of::<MountAttr>(),
            )
        },
        MountSetattr,
        Arg::MountAttributes(attr.attr_set),
        Arg::named("clear", Arg::MountAttributes(attr.attr_clr)),
        Arg::MountFlags(attr.propagation),
        Arg::AtFlags(flags)
    )
    .map(drop)
}

/// `move_mount(2)`: attaches a detached mount on the object behind `target`.
pub fn attach(mount: BorrowedFd, target: BorrowedFd) -> SysResult<()> {
    check!(
        // SAFETY: both paths are static empty C strings.
        unsafe {
            libc::syscall(
                libc::SYS_move_mount,
                mount.as_raw_fd(),
                c"".as_ptr(),
                target.as_raw_fd(),
                c"".as_ptr(),
                MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
            )
        },
        MoveMount
    )
    .map(drop)
}

/// The error of [`attach`], in advance.
pub fn attach_error(errno: Errno) -> SysError {
    SysError::new(Call::new(Syscall::MoveMount, Vec::new()), errno)
}

/// `mount(2)` of a new file system on `name` below `directory`, with `MS_*` flags; `data` is what it is told.
pub fn mount2(source: &str, directory: BorrowedFd, name: &Path, kind: &str, flags: u64, data: &str) -> SysResult<()> {
    let target = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    let (from, to, of, told) = (c_string(source)?, c_path(&target)?, c_string(kind)?, c_string(data)?);
    check!(
        // SAFETY: all four strings outlive the call; the kernel copies them.
        unsafe { libc::mount(from.as_ptr(), to.as_ptr(), of.as_ptr(), flags, told.as_ptr().cast()) },
        Mount,
        source,
        kind,
        Arg::MountFlags(flags),
        data
    )
    .map(drop)
}

/// `pivot_root(".", ".")`: stacks the old root over the new one at the working directory, see pivot_root(2), NOTES.
pub fn pivot_root_here() -> SysResult<()> {
    check!(
        // SAFETY: both paths are static C strings.
        unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) },
        PivotRoot,
        ".",
        "."
    )
    .map(drop)
}

/// `umount2(path, MNT_DETACH)` without following a link.
pub fn detach(path: &Path) -> SysResult<()> {
    let c = c_path(path)?;
    check!(
        // SAFETY: the path outlives the call.
        unsafe { libc::umount2(c.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) },
        Umount2,
        path,
        Arg::word("MNT_DETACH")
    )
    .map(drop)
}

/// `umount2(MNT_DETACH)` of the mount whose root is behind `fd`, wherever that is attached.
pub fn detach_behind(fd: BorrowedFd) -> SysResult<()> {
    let c = c_string(&format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    check!(
        // SAFETY: the path outlives the call.
        unsafe { libc::umount2(c.as_ptr(), libc::MNT_DETACH) },
        Umount2,
        fd,
        Arg::word("MNT_DETACH")
    )
    .map(drop)
}

/// The same where no procfs of ours can be named: `descriptors` is `/proc/self/fd` of one.
pub fn detach_at(descriptors: BorrowedFd, fd: BorrowedFd) -> SysResult<()> {
    super::fs::fchdir(descriptors)?;
    let c = c_string(&fd.as_raw_fd().to_string())?;
    check!(
        // SAFETY: the path outlives the call.
        unsafe { libc::umount2(c.as_ptr(), libc::MNT_DETACH) },
        Umount2,
        fd,
        Arg::word("MNT_DETACH")
    )
    .map(drop)
}
