//! Signals: dispositions, masks, signalfd(2).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{SysResult, check, own};

/// Sets the dispositions of signals that the program relies on, whatever those of the caller are.
pub fn set_own() {
    // A reader that goes away is an error to be handled, not a reason to end in the middle of creating a container.
    // SAFETY: SIG_IGN installs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    // So is a file that may not grow (RLIMIT_FSIZE, `ulimit -f`): the call fails with EFBIG.
    // SAFETY: SIG_IGN installs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    // If the caller ignores the end of its children, the kernel would do the same with ours, and their exit codes would be lost.
    // SAFETY: SIG_DFL installs no code.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Resets every signal to its default action and unblocks it, for the first process of a container. The runtime ignores SIGPIPE
/// from its start, and a foreground `run` blocks the signals that it forwards; the container must inherit neither. It must not
/// inherit the ignored SIGXFSZ either, but [`reset_last`] resets that.
pub fn reset_all() {
    for signal in (1..=libc::SIGRTMAX()).filter(|signal| *signal != libc::SIGXFSZ) {
        // SAFETY: SIG_DFL installs no code; for SIGKILL, SIGSTOP and the signals of the C library the call fails, which does no harm.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    set_mask(false);
}

/// For a program that the runtime executes: no signal is blocked, and SIGPIPE has its default action, as the program expects.
pub fn reset_inherited() {
    set_mask(false);
    // SAFETY: SIG_DFL installs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Resets SIGXFSZ just before another program is executed. Until then a file that may not grow is an error with a message, and
/// does not end this process.
pub fn reset_last() {
    // SAFETY: SIG_DFL installs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_DFL) };
}

/// Ignores some signals, which a program that is executed next ignores too.
pub fn ignore(signals: &[i32]) {
    for signal in signals {
        // SAFETY: SIG_IGN installs no code.
        unsafe { libc::signal(*signal, libc::SIG_IGN) };
    }
}

/// Makes some signals end this process even if it is the first process of its PID namespace, for which the kernel drops
/// signals without a handler (pid_namespaces(7)). An execve resets this.
pub fn end_at(signals: &[i32]) {
    extern "C" fn end(number: libc::c_int) {
        // SAFETY: _exit is async-signal-safe.
        unsafe { libc::_exit(128 + number) }
    }
    for signal in signals {
        // SAFETY: the handler only ends the process.
        unsafe { libc::signal(*signal, end as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    }
}

/// Blocks (or unblocks) every signal of this thread.
fn set_mask(block: bool) {
    // SAFETY: the set is filled before it is used, and outlives the call.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        if block {
            libc::sigfillset(&mut set);
            // `pressure` uses it while it watches.
            libc::sigdelset(&mut set, libc::SIGPROF);
        } else {
            libc::sigemptyset(&mut set);
        }
        libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
    }
}

/// Blocks the one signal that [`redirect_all`] leaves, so that it is read as well.
pub fn redirect_rest() {
    // SAFETY: the set is filled before it is used, and outlives the call.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGPROF);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
    }
}

/// Blocks every signal but SIGPROF and returns a `signalfd(2)` that reads them instead.
pub fn redirect_all() -> SysResult<OwnedFd> {
    set_mask(true);
    // SAFETY: the set is filled before it is used, and outlives the call.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut set);
        libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    check!(fd, Signalfd).map(own)
}

/// Signals that are blocked until this is dropped; then the mask is again what it was.
pub struct Held(libc::sigset_t);

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the mask is one that the kernel gave.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// Blocks those of some signals that are not ignored and returns a `signalfd(2)` that reads them instead. (A blocked
/// signal is kept by the kernel also where it is ignored, so these are left out.)
pub fn hold(signals: &[i32]) -> SysResult<(OwnedFd, Held)> {
    // SAFETY: the sets and the action are plain data, filled before they are used, and outlive the calls.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(*signal, std::ptr::null(), &mut action) == 0 && action.sa_sigaction != libc::SIG_IGN {
                libc::sigaddset(&mut set, *signal);
            }
        }
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigprocmask(libc::SIG_BLOCK, &set, &mut before);
        let held = Held(before);
        let fd = libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        Ok((check!(fd, Signalfd).map(own)?, held))
    }
}

/// Lets a signal with its default action end this process. Returns if it does not.
pub fn end_by(signal: i32) {
    // SAFETY: SIG_DFL installs no code; the set is filled before it is used.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut());
        libc::raise(signal);
    }
}

/// Who sent a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The kernel, such as for a key of the terminal.
    Kernel,
    Process,
}

/// The next signal of a [`redirect_all`] or [`hold`] descriptor, if one is waiting.
pub fn next(signalfd: BorrowedFd) -> Option<i32> {
    next_with_sender(signalfd).map(|(number, _)| number)
}

/// [`next`], with who sent it.
pub fn next_with_sender(signalfd: BorrowedFd) -> Option<(i32, Sender)> {
    // SAFETY: signalfd_siginfo is plain data; the length is its own.
    unsafe {
        let mut info: libc::signalfd_siginfo = std::mem::zeroed();
        let length = std::mem::size_of::<libc::signalfd_siginfo>();
        let read = libc::read(signalfd.as_raw_fd(), (&raw mut info).cast(), length);
        // The codes of the kernel are positive.
        let sender = if info.ssi_code > 0 {
            Sender::Kernel
        } else {
            Sender::Process
        };
        (read == length as isize).then_some((info.ssi_signo as i32, sender))
    }
}
