//! Executing a program: execve(2), execveat(2), and what /proc shows of the invocation.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::{Arg, SysError, SysResult, Syscall};

/// A program with its arguments and environment, ready to be executed without another allocation.
pub struct Image {
    program: CString,
    _strings: (Vec<CString>, Vec<CString>),
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
}

// SAFETY: the pointers point to the strings of the same value, which are never changed.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

impl Image {
    pub fn new(program: CString, arguments: Vec<CString>, environment: Vec<CString>) -> Self {
        let (argv, envp) = (pointers(&arguments), pointers(&environment));
        Image {
            program,
            _strings: (arguments, environment),
            argv,
            envp,
        }
    }

    /// `execve(2)`, and no other call. Returns only if it fails.
    pub fn execute(&self) -> Errno {
        // SAFETY: both lists end with a null pointer; their strings, which are on the heap, live as long as this value.
        unsafe { libc::execve(self.program.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        Errno::last()
    }

    /// The path of the program.
    pub fn program(&self) -> &CStr {
        &self.program
    }
}

/// A list of strings in the form that execve(2) expects.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
}

/// `execve(2)`. Returns only on failure.
pub fn execve(program: &CStr, arguments: &[CString], environment: &[CString]) -> SysResult<Infallible> {
    let (argv, envp) = (pointers(arguments), pointers(environment));
    // SAFETY: both lists end with a null pointer and, with their strings, outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    let errno = Errno::last();
    Err(SysError::new(Syscall::Execve.of(program), errno))
}

/// `execveat(2)` of the program behind a descriptor, with this process's own arguments and environment.
pub fn execve_fd(program: BorrowedFd, arguments: &[CString]) -> SysResult<Infallible> {
    let argv = pointers(arguments);
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    // SAFETY: argv ends with a null pointer and outlives the call; environ is the C library's own list.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            environ,
            libc::AT_EMPTY_PATH,
        )
    };
    let errno = Errno::last();
    Err(SysError::new(
        Syscall::Execveat.of(Arg::word("the runtime's binary")),
        errno,
    ))
}

/// The number of the descriptor by which this program was executed (`execveat(2)` with an empty path), if it was: the kernel gives such a
/// program the name `/dev/fd/NUMBER`, see `AT_EXECFN` in getauxval(3). A caller may have executed a file of this name instead.
pub fn program_descriptor() -> Option<i32> {
    // SAFETY: the kernel's string lies on the stack for the life of the process.
    let name = unsafe {
        let name = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        if name.is_null() {
            return None;
        }
        CStr::from_ptr(name)
    };
    name.to_str().ok()?.strip_prefix("/dev/fd/")?.parse().ok()
}

/// Overwrites the arguments and the environment of this process, as /proc/PID/cmdline and /proc/PID/environ show them, with a
/// title. `std::env` does not find them any more.
pub fn hide_invocation(title: &[u8]) {
    unsafe extern "C" {
        static environ: *const *mut u8;
    }
    // SAFETY: nothing in this program changes its environment, so `environ` is what the kernel has laid out: before the
    // first variable a null, before that the arguments, before these their number, which no pointer equals. All strings
    // are at the end of the stack, writable, and not borrowed: std makes copies. The process has one thread.
    unsafe {
        if environ.is_null() {
            return;
        }
        let mut count = 0;
        let mut at = environ.sub(2);
        while at.read() as usize != count {
            count += 1;
            at = at.sub(1);
        }
        if count == 0 {
            return;
        }
        let length = |string: *mut u8| libc::strlen(string.cast());
        let (first, last) = (at.add(1).read(), at.add(count).read());
        let room = (last as usize - first as usize) + length(last);
        for list in [at.add(1), environ] {
            let mut entry = list;
            while !entry.read().is_null() {
                std::ptr::write_bytes(entry.read(), 0, length(entry.read()));
                entry = entry.add(1);
            }
        }
        std::ptr::copy_nonoverlapping(title.as_ptr(), first, title.len().min(room));
    }
}
