//! The only home of unsafe code besides the entry: every system call that has no safe wrapper elsewhere, one thin function for
//! each call. Nothing here decides anything. Each function makes its one call and, if that fails, returns what strace(1)
//! would show, as a value: the call, its arguments and the errno.
#![allow(unsafe_code)]

pub mod attributes;
pub mod audit;
pub mod bpf;
pub(crate) mod call;
pub mod capabilities;
pub mod clock;
pub mod clone;
pub mod datagram;
pub mod descriptor;
pub mod directory;
pub mod execve;
pub mod fs;
pub mod fs_context;
pub mod heap;
pub mod memfd;
pub mod memory;
pub mod mount;
mod names;
mod namespace;
pub mod pressure;
pub mod probe;
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
pub mod xattr;

use std::ffi::CString;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

pub(crate) use call::{Arg, Call, Syscall};

/// A system call that failed. It becomes text when it is printed and not before: decisions look at the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysError {
    /// The call with the arguments that matter. Boxed, because most calls succeed and their results are moved around.
    pub(crate) call: Box<Call>,
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
    #[cold]
    pub(crate) fn new(call: impl Into<Call>, errno: Errno) -> Self {
        SysError {
            call: Box::new(call.into()),
            errno,
        }
    }

    /// The same failure of a call that means something special.
    pub(crate) fn renamed(mut self, name: Syscall) -> Self {
        self.call.name = name;
        self
    }

    /// The error of a call made by the standard library.
    pub(crate) fn from_io(call: impl Into<Call>, error: &std::io::Error) -> Self {
        let call = call.into();
        match error.raw_os_error() {
            Some(errno) => SysError::new(call, Errno::from_raw(errno)),
            // No call was made: the path contains a NUL byte.
            None if error.kind() == std::io::ErrorKind::InvalidInput => {
                SysError::new(call.with(error.to_string()), Errno::EINVAL)
            }
            None => SysError::new(call.with(error.to_string()), Errno::EIO),
        }
    }
}

/// Runs a raw call and turns a negative result into a [`SysError`] of the named call. The arguments are only looked at
/// after a failure.
macro_rules! check {
    ($call:expr, $name:ident $(, $arg:expr)* $(,)?) => {
        $crate::sys::check!($call, $name => vec![$($crate::sys::Arg::from($arg)),*])
    };
    ($call:expr, $name:ident => $args:expr) => {{
        let result = $call;
        if result < 0 {
            // First of all, because memory is allocated for the arguments.
            let errno = nix::errno::Errno::last();
            Err($crate::sys::SysError::new($crate::sys::Call::new($crate::sys::Syscall::$name, $args), errno))
        } else {
            Ok(result)
        }
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

/// A path in the form that the kernel expects. A NUL byte inside is the caller's mistake and fails with EINVAL.
pub fn c_path(path: &Path) -> SysResult<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| SysError::new(Syscall::NulInPath.of(path), Errno::EINVAL))
}

/// A string in the form that the kernel expects. A NUL byte inside is the caller's mistake and fails with EINVAL.
pub fn c_string(text: &str) -> SysResult<CString> {
    CString::new(text).map_err(|_| SysError::new(Syscall::NulInText.of(text), Errno::EINVAL))
}

/// Takes ownership of a descriptor that a system call has just returned.
fn own(fd: impl Into<i64>) -> OwnedFd {
    // SAFETY: callers pass the result of a successful call that creates a descriptor, which no other value owns.
    unsafe { OwnedFd::from_raw_fd(fd.into() as RawFd) }
}
