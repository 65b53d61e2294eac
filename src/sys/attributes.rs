//! What a file has besides its content: mode, times, extended attributes, further names. By descriptor.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::{Arg, SysResult, c_path, c_string, check, fs};

/// The path that leads to the very object behind a descriptor, `O_PATH` included, for calls that take no such one.
fn itself(fd: BorrowedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Opens the object behind an `O_PATH` descriptor once more, with these flags.
pub fn reopen(fd: BorrowedFd, flags: i32) -> SysResult<OwnedFd> {
    fs::open(Path::new(&itself(fd)), flags)
}

/// `fchmodat(2)` of a name below `dir`; it follows a link there, so it is only for directories that no other process can reach.
pub fn chmodat(dir: BorrowedFd, name: &Path, mode: u32) -> SysResult<()> {
    let c = c_path(name)?;
    check!(
        // SAFETY: the path outlives the call.
        unsafe { libc::fchmodat(dir.as_raw_fd(), c.as_ptr(), mode, 0) },
        Fchmodat,
        name,
        Arg::Mode(mode)
    )
    .map(drop)
}

/// `chmod(2)` of the very object behind a descriptor, `O_PATH` included.
pub fn chmod(fd: BorrowedFd, mode: u32) -> SysResult<()> {
    chmodat(fs::CWD, Path::new(&itself(fd)), mode)
}

/// `fchownat(2)` of a name below `dir`, not followed if it is a link.
pub fn chownat(dir: BorrowedFd, name: &Path, uid: u32, gid: u32) -> SysResult<()> {
    let c = c_path(name)?;
    check!(
        // SAFETY: the path outlives the call.
        unsafe { libc::fchownat(dir.as_raw_fd(), c.as_ptr(), uid, gid, libc::AT_SYMLINK_NOFOLLOW) },
        Fchownat,
        name,
        Arg::Owner(uid, gid)
    )
    .map(drop)
}

/// `utimensat(2)` of a name below `dir`, not followed if it is a link: the access and modification time of `stat`.
pub fn copy_times(dir: BorrowedFd, name: &Path, stat: &libc::stat) -> SysResult<()> {
    let c = c_path(name)?;
    let times = [
        libc::timespec {
            tv_sec: stat.st_atime,
            tv_nsec: stat.st_atime_nsec,
        },
        libc::timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec,
        },
    ];
    check!(
        // SAFETY: the path and the two times outlive the call.
        unsafe { libc::utimensat(dir.as_raw_fd(), c.as_ptr(), times.as_ptr(), libc::AT_SYMLINK_NOFOLLOW) },
        Utimensat,
        name
    )
    .map(drop)
}

/// `linkat(2)` of an object below `old` under a name below `new`.
pub fn linkat(old: BorrowedFd, path: &Path, new: BorrowedFd, name: &Path) -> SysResult<()> {
    let (o, n) = (c_path(path)?, c_path(name)?);
    check!(
        // SAFETY: both paths outlive the call.
        unsafe { libc::linkat(old.as_raw_fd(), o.as_ptr(), new.as_raw_fd(), n.as_ptr(), 0) },
        Linkat,
        path,
        name
    )
    .map(drop)
}

/// `listxattr(2)`: the names of the extended attributes; none where the file system has no such thing.
pub fn attribute_names(fd: BorrowedFd) -> SysResult<Vec<CString>> {
    let path = c_string(&itself(fd))?;
    let bytes = match grow(|buffer| {
        check!(
            // SAFETY: path and buffer outlive the call; the length is the buffer's.
            unsafe { libc::listxattr(path.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) },
            Listxattr,
            fd
        )
    }) {
        Err(error) if error.errno == Errno::EOPNOTSUPP => return Ok(Vec::new()),
        other => other?,
    };
    let names = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

/// `getxattr(2)`.
pub fn attribute(fd: BorrowedFd, name: &CStr) -> SysResult<Vec<u8>> {
    let path = c_string(&itself(fd))?;
    grow(|buffer| {
        check!(
            // SAFETY: path, name and buffer outlive the call; the length is the buffer's.
            unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) },
            Getxattr,
            name
        )
    })
}

/// `setxattr(2)`.
pub fn set_attribute(fd: BorrowedFd, name: &CStr, value: &[u8]) -> SysResult<()> {
    let path = c_string(&itself(fd))?;
    check!(
        // SAFETY: path, name and value outlive the call; the length is the value's.
        unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) },
        Setxattr,
        name
    )
    .map(drop)
}

/// Calls with a buffer that suffices nearly always, and else with one of the greatest size there is (`XATTR_SIZE_MAX`).
fn grow(call: impl Fn(&mut [u8]) -> SysResult<isize>) -> SysResult<Vec<u8>> {
    let mut buffer = vec![0u8; 512];
    let length = match call(&mut buffer) {
        Err(error) if error.errno == Errno::ERANGE => {
            buffer.resize(1 << 16, 0);
            call(&mut buffer)?
        }
        other => other?,
    };
    buffer.truncate(length as usize);
    Ok(buffer)
}

/// `fremovexattr(2)`.
pub fn remove_attribute(fd: BorrowedFd, name: &CStr) -> SysResult<()> {
    check!(
        // SAFETY: the name outlives the call.
        unsafe { libc::fremovexattr(fd.as_raw_fd(), name.as_ptr()) },
        Fremovexattr,
        name
    )
    .map(drop)
}
