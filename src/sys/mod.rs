//! The unsafe fence: every system call that has no safe wrapper elsewhere lives below this module, one thin function
//! a call. Nothing here decides anything; each function does its one call and, on failure, tells what strace would
//! show: the call with its arguments and the errno.
#![allow(unsafe_code)]

pub mod attributes;
pub mod audit;
pub mod bpf;
pub mod capabilities;
pub mod datagram;
pub mod descriptor;
pub mod directory;
pub mod fs;
pub mod fs_context;
pub mod memory;
pub mod mount;
pub mod pressure;
pub mod process;
#[cfg(not(test))]
mod random;
pub mod regex;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod terminal;
pub mod thread;

use std::ffi::CString;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

/// A system call that failed: the call with its arguments as text, and the errno it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysError {
    /// The call as strace would print it, shortened to the arguments that matter.
    pub call: String,
    /// Why the kernel refused.
    pub errno: Errno,
}

impl std::fmt::Display for SysError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {:?} ({})", self.call, self.errno, self.errno.desc())
    }
}

impl std::error::Error for SysError {}

pub type SysResult<T> = Result<T, SysError>;

impl SysError {
    /// The error of a call that has just failed.
    pub fn last(call: String) -> Self {
        SysError {
            call,
            errno: Errno::last(),
        }
    }

    /// An error with a given errno, for checks that stand in for the kernel's.
    pub fn new(call: impl Into<String>, errno: Errno) -> Self {
        SysError {
            call: call.into(),
            errno,
        }
    }

    /// The error of a call that went through std.
    pub fn from_io(call: impl Into<String>, error: &std::io::Error) -> Self {
        let call = call.into();
        match error.raw_os_error() {
            Some(errno) => SysError::new(call, Errno::from_raw(errno)),
            // No call was made: the path holds a NUL byte.
            None if error.kind() == std::io::ErrorKind::InvalidInput => {
                SysError::new(format!("{call} [{error}]"), Errno::EINVAL)
            }
            None => SysError::new(format!("{call} [{error}]"), Errno::EIO),
        }
    }
}

/// Runs a raw call and turns a negative result into a [`SysError`]; the text is only built on failure.
macro_rules! check {
    ($call:expr, $($text:tt)*) => {{
        let result = $call;
        if result < 0 { Err($crate::sys::SysError::last(format!($($text)*))) } else { Ok(result) }
    }};
}
pub(crate) use check;

/// Makes a call again as long as a signal interrupts it (signal(7), EINTR).
fn uninterrupted<T>(mut call: impl FnMut() -> SysResult<T>) -> SysResult<T> {
    loop {
        match call() {
            Err(error) if error.errno == Errno::EINTR => {}
            other => return other,
        }
    }
}

/// A path as the kernel takes it. A NUL inside is the caller's mistake, told as EINVAL.
pub fn c_path(path: &Path) -> SysResult<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| SysError::new(format!("path {path:?} holds a NUL byte"), Errno::EINVAL))
}

/// A string as the kernel takes it. A NUL inside is the caller's mistake, told as EINVAL.
pub fn c_string(text: &str) -> SysResult<CString> {
    CString::new(text).map_err(|_| SysError::new(format!("string {text:?} holds a NUL byte"), Errno::EINVAL))
}

/// Takes ownership of a descriptor that a system call has just returned.
fn own(fd: impl Into<i64>) -> OwnedFd {
    // SAFETY: callers pass the fresh, valid result of a call that creates a descriptor, owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(fd.into() as RawFd) }
}
