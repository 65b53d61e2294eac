//! A file system on its way to a mount: fsopen(2), fsconfig(2), fsmount(2). Numbers are those of linux/mount.h.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{Arg, SysError, SysResult, c_string, check, own};

const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSPICK_CLOEXEC: u32 = 1;
const FSPICK_EMPTY_PATH: u32 = 8;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;

/// A file-system context: the configuration of a file system, closed when dropped. Errors contain what the file system has
/// written into the message log of its context.
pub struct FsContext(OwnedFd);

impl FsContext {
    /// `fsopen(2)`: a new file system of a type.
    pub fn new(kind: &str) -> SysResult<Self> {
        let name = c_string(kind)?;
        check!(
            // SAFETY: the name outlives the call.
            unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) },
            Fsopen,
            kind
        )
        .map(|fd| FsContext(own(fd)))
    }

    /// `fspick(2)`: the existing file system of a mount, to reconfigure it.
    pub fn of_mount(mount: BorrowedFd) -> SysResult<Self> {
        check!(
            // SAFETY: the path is a static empty C string.
            unsafe {
                libc::syscall(
                    libc::SYS_fspick,
                    mount.as_raw_fd(),
                    c"".as_ptr(),
                    FSPICK_CLOEXEC | FSPICK_EMPTY_PATH,
                )
            },
            Fspick
        )
        .map(|fd| FsContext(own(fd)))
    }

    /// `fsconfig(2)` of an option with a value.
    pub fn set(&self, key: &str, value: &str) -> SysResult<()> {
        let (name, text) = (c_string(key)?, c_string(value)?);
        check!(
            self.fsconfig(FSCONFIG_SET_STRING, Some(&name), Some(&text)),
            FsconfigSet,
            Arg::Option(key.into(), Some(value.into()))
        )
        .map(drop)
        .map_err(|error| self.with_messages(error))
    }

    /// `fsconfig(2)` of an option without a value.
    pub fn set_flag(&self, key: &str) -> SysResult<()> {
        let name = c_string(key)?;
        check!(
            self.fsconfig(FSCONFIG_SET_FLAG, Some(&name), None),
            FsconfigSet,
            Arg::Option(key.into(), None)
        )
        .map(drop)
        .map_err(|error| self.with_messages(error))
    }

    /// Makes a procfs show the PID namespace of the caller's future children instead of the caller's (Linux 6.17).
    pub fn show_pid_namespace_for_children(&self) -> SysResult<()> {
        self.set("pidns", "/proc/self/ns/pid_for_children")
    }

    /// Creates the superblock and a detached mount of it with these attributes (`MOUNT_ATTR_*`).
    pub fn mount(self, attributes: u64) -> SysResult<OwnedFd> {
        check!(
            self.fsconfig(FSCONFIG_CMD_CREATE, None, None),
            FsconfigCreate,
            Arg::word("FSCONFIG_CMD_CREATE")
        )
        .map_err(|error| self.with_messages(error))?;
        check!(
            // SAFETY: no memory is passed.
            unsafe { libc::syscall(libc::SYS_fsmount, self.0.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) },
            Fsmount,
            Arg::MountAttributes(attributes)
        )
        .map(own)
    }

    /// Applies the options to the existing file system.
    pub fn reconfigure(self) -> SysResult<()> {
        check!(
            self.fsconfig(FSCONFIG_CMD_RECONFIGURE, None, None),
            FsconfigReconfigure,
            Arg::word("FSCONFIG_CMD_RECONFIGURE")
        )
        .map(drop)
        .map_err(|error| self.with_messages(error))
    }

    fn fsconfig(&self, command: u32, key: Option<&CStr>, value: Option<&CStr>) -> libc::c_long {
        let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: key and value outlive the call. A flag has no value, and the other commands have no key either.
        unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                self.0.as_raw_fd(),
                command,
                pointer(key),
                pointer(value),
                0,
            )
        }
    }

    fn with_messages(&self, mut error: SysError) -> SysError {
        let mut messages = Vec::new();
        let mut buffer = [0u8; 1024];
        // SAFETY: the buffer is valid for its length.
        while let length @ 1.. = unsafe { libc::read(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) } {
            let text = String::from_utf8_lossy(buffer.get(..length as usize).unwrap_or_default())
                .trim()
                .to_string();
            messages.push(text.trim_start_matches(['e', 'w', 'i']).trim().to_string());
            if messages.len() == 8 {
                break;
            }
        }
        error.call.said = messages.join("; ");
        error
    }
}

/// Whether the kernel can do [`FsContext::show_pid_namespace_for_children`].
pub fn knows_pidns() -> bool {
    FsContext::new("proc").is_ok_and(|context| context.show_pid_namespace_for_children().is_ok())
}
