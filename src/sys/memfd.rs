//! Files in memory: memfd_create(2) and its seals.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{Arg, SysResult, check, own};

/// `memfd_create(2)`, close-on-exec. `sealable` permits `F_ADD_SEALS`; `executable` asks for an executable file if the kernel
/// knows the flag (6.3).
pub fn create(name: &CStr, sealable: bool, executable: bool) -> SysResult<OwnedFd> {
    /// linux/memfd.h
    const MFD_EXEC: u32 = 0x10;
    let flags = libc::MFD_CLOEXEC | if sealable { libc::MFD_ALLOW_SEALING } else { 0 };
    let wanted = flags | if executable { MFD_EXEC } else { 0 };
    // SAFETY: the name outlives the call.
    let mut fd = unsafe { libc::memfd_create(name.as_ptr(), wanted) };
    if fd < 0 && executable && Errno::last() == Errno::EINVAL {
        // SAFETY: as above; kernels before 6.3 refuse the flag and make every memfd executable.
        fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    }
    check!(fd, MemfdCreate, name).map(own)
}

/// `fcntl(F_ADD_SEALS)` with every seal: no write, no growth, no shrinking, no further seals.
pub fn seal(fd: BorrowedFd) -> SysResult<()> {
    let seals = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) },
        Fcntl,
        Arg::word("F_ADD_SEALS")
    )
    .map(drop)
}

/// Whether a file is a memfd sealed against writing (`fcntl(F_GET_SEALS)`).
pub fn is_sealed(fd: BorrowedFd) -> bool {
    // SAFETY: no memory is passed; files that know no seals answer EINVAL.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & libc::F_SEAL_WRITE != 0
}
