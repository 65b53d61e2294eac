//! seccomp(2).

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::{Arg, SysResult, check, own};

/// One instruction of classic BPF (seccomp(2)). seccompiler has nothing for big-endian machines.
#[cfg(target_endian = "big")]
pub use libc::sock_filter;
#[cfg(target_endian = "little")]
pub use seccompiler::sock_filter;

const SET_MODE_FILTER: libc::c_ulong = 1;

/// struct sock_fprog.
#[repr(C)]
struct Program {
    length: u16,
    filter: *const sock_filter,
}

/// `seccomp(SECCOMP_SET_MODE_FILTER)`. With `SECCOMP_FILTER_FLAG_NEW_LISTENER` the result is the number of a new,
/// close-on-exec descriptor, as a bare number because this process may not even be able to close it any more.
pub fn set_filter(flags: u32, program: &[sock_filter]) -> SysResult<i32> {
    let filter = Program {
        length: u16::try_from(program.len()).unwrap_or(u16::MAX),
        filter: program.as_ptr(),
    };
    // SAFETY: the program is valid for its length; sock_filter has the layout of the kernel's.
    check!(
        unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                SET_MODE_FILTER,
                libc::c_ulong::from(flags),
                &raw const filter,
            )
        },
        Seccomp,
        Arg::word("SECCOMP_SET_MODE_FILTER"),
        Arg::FilterFlags(flags),
        Arg::Count(program.len(), "instructions")
    )
    .map(|fd| fd as i32)
}

/// Makes a call that there is not, to be seen by a filter and nobody else.
pub fn make_call(number: u32) {
    // SAFETY: no memory is passed; the caller's number is none that a kernel knows, so that the call fails with ENOSYS.
    unsafe { libc::syscall(number as libc::c_long) };
}

/// Takes the listener whose number [`set_filter`] has returned.
pub fn own_listener(number: i32) -> OwnedFd {
    own(number)
}

/// Whether the kernel knows flags: it looks at them before the program, and there is none.
pub fn knows_flags(flags: u32) -> bool {
    let none: *const Program = std::ptr::null();
    // SAFETY: the kernel refuses the null pointer.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, libc::c_ulong::from(flags), none) };
    result < 0 && Errno::last() == Errno::EFAULT
}
