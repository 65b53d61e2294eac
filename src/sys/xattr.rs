//! Extended attributes of open files.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::{Arg, SysError, SysResult, check};

/// `fsetxattr(2)` of an attribute that must not exist yet (`XATTR_CREATE`).
pub fn add(fd: BorrowedFd, name: &CStr, value: &[u8]) -> SysResult<()> {
    check!(
        // SAFETY: name and value outlive the call; the length is the value's.
        unsafe {
            libc::fsetxattr(
                fd.as_raw_fd(),
                name.as_ptr(),
                value.as_ptr().cast(),
                value.len(),
                libc::XATTR_CREATE,
            )
        },
        Fsetxattr,
        name,
        Arg::word("XATTR_CREATE")
    )
    .map(drop)
}

/// `fgetxattr(2)`, up to 8 KiB; `None` if there is no such attribute that the caller may read.
pub fn get(fd: BorrowedFd, name: &CStr) -> SysResult<Option<Vec<u8>>> {
    let mut value = vec![0u8; 8192];
    let length = check!(
        // SAFETY: name and value outlive the call; the length is the buffer's.
        unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) },
        Fgetxattr,
        name
    );
    match length {
        Ok(length) => {
            value.truncate(length as usize);
            Ok(Some(value))
        }
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is such an attribute that the caller may read (`fgetxattr(2)` without a buffer).
pub fn has(fd: BorrowedFd, name: &CStr) -> SysResult<bool> {
    let length = check!(
        // SAFETY: the name outlives the call; a size of 0 means that the kernel writes nothing to the null pointer.
        unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), std::ptr::null_mut(), 0) },
        Fgetxattr,
        name
    );
    match length {
        Ok(_) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &SysError) -> bool {
    matches!(error.errno, Errno::ENODATA | Errno::EOPNOTSUPP)
}
