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

/// The listener of a filter: a new descriptor, close-on-exec, that no value owns yet. It is not closed when dropped, because the
/// filter may not permit the thread under it to close anything.
#[derive(Debug)]
pub struct Listener(i32);

impl Listener {
    /// Takes ownership of the descriptor.
    pub fn into_fd(self) -> OwnedFd {
        own(self.0)
    }
}

/// The flag of [`set_filter`] that asks for a listener.
const NEW_LISTENER: u32 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;

/// `seccomp(SECCOMP_SET_MODE_FILTER)`. Returns a listener if the flags contain `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
pub fn set_filter(flags: u32, program: &[sock_filter]) -> SysResult<Option<Listener>> {
    let filter = Program {
        length: u16::try_from(program.len()).unwrap_or(u16::MAX),
        filter: program.as_ptr(),
    };
    check!(
        // SAFETY: the program is valid for its length; sock_filter has the layout of the kernel's.
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
    .map(|fd| (flags & NEW_LISTENER != 0).then_some(Listener(fd as i32)))
}

/// No kernel has a system call with this number or one of the 65535 after it.
pub const FIRST_UNKNOWN_CALL: u32 = 0x2000_0000;

/// Makes a system call that does not exist, [`FIRST_UNKNOWN_CALL`] and `offset`, so that a filter sees it.
pub fn make_unknown_call(offset: u16) {
    let number = FIRST_UNKNOWN_CALL + u32::from(offset);
    // SAFETY: no memory is passed, and the call fails with ENOSYS.
    unsafe { libc::syscall(number as libc::c_long) };
}

/// Whether the kernel knows these flags: it checks them before the program, which is missing here.
pub fn knows_flags(flags: u32) -> bool {
    let none: *const Program = std::ptr::null();
    // SAFETY: the kernel refuses the null pointer.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, libc::c_ulong::from(flags), none) };
    result < 0 && Errno::last() == Errno::EFAULT
}
