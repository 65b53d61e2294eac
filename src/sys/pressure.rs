//! Ends the runtime if its own cgroup has too little memory for it.
//!
//! The kernel does not kill such a process: it evicts the pages of the program's file, and the program reads them in again,
//! hundreds of times each. Work of a millisecond takes minutes. So the program counts its page faults once it has used far more
//! processor time than it ever needs.

use std::sync::atomic::{AtomicI32, Ordering};

/// Processor time between two checks, in seconds.
const PERIOD: i32 = 2;

/// The number of major page faults at which the program ends. Its file has some 600 pages, and with enough memory each is read
/// once.
const FAULTS: libc::c_long = 1500;

const MESSAGE: &[u8] = b"orlop: error: not enough memory for the runtime itself: its pages are evicted and read in again endlessly\n\
hint: raise memory.max of the cgroup that orlop is called in, or of one above it, to 2 MiB or more; `orlop delete --force` removes an \
unfinished container\n";

/// The exit code with which the program ends.
static CODE: AtomicI32 = AtomicI32::new(1);

/// Starts the checks. Children are not checked, because timers are not inherited.
pub fn watch() {
    set_timer(PERIOD);
    // SAFETY: the action is plain data, filled before it is used; the handler makes only async-signal-safe calls.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = look as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGPROF, &action, std::ptr::null_mut());
    }
}

/// Stops the checks: from here on the work may need any amount of processor time.
pub fn end() {
    set_timer(0);
}

/// Sets the exit code that the verb has for failures of the runtime.
pub fn exit_with(code: u8) {
    CODE.store(i32::from(code), Ordering::Relaxed);
}

fn set_timer(seconds: i32) {
    let every = libc::timeval {
        tv_sec: seconds.into(),
        tv_usec: 0,
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: the timer outlives the call. It cannot fail for a valid one.
    unsafe { libc::syscall(libc::SYS_setitimer, libc::ITIMER_PROF, &timer, std::ptr::null::<u8>()) };
}

extern "C" fn look(_: libc::c_int) {
    // SAFETY: usage is plain data, filled by the call; write and _exit pass valid memory or none. All are async-signal-safe.
    // errno is restored for the code that was interrupted.
    unsafe {
        let errno = *libc::__errno_location();
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::getrusage(libc::RUSAGE_SELF, &mut usage) == 0 && usage.ru_majflt >= FAULTS {
            libc::write(2, MESSAGE.as_ptr().cast(), MESSAGE.len());
            libc::_exit(CODE.load(Ordering::Relaxed));
        }
        *libc::__errno_location() = errno;
    }
}
