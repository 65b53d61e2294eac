//! A runtime whose own cgroup has too little memory for it.
//!
//! The kernel does not end such a process: it takes the pages of the program's file away to make room, and the program reads them
//! in again, hundreds of times each. What takes a millisecond elsewhere takes minutes. So the program looks at itself once it
//! has used far more of a processor than it ever needs.

use std::sync::atomic::{AtomicI32, Ordering};

/// Processor time between two looks, in seconds.
const PERIOD: i32 = 2;

/// Page faults that had to read from a file. The program's has some 600 pages, and each is read once where there is room for it.
const FAULTS: libc::c_long = 1500;

const MESSAGE: &[u8] = b"orlop: error: not enough memory for the runtime itself: its pages are taken away and read in again without end\n\
hint: raise memory.max of the cgroup that orlop is called in, or of one above it, to 2 MiB or more; what was being made is removed by \
`orlop delete --force`\n";

/// The exit code of such an end.
static CODE: AtomicI32 = AtomicI32::new(1);

/// Begins to look. Children are not looked at, for timers are not inherited.
pub fn watch() {
    set_timer(PERIOD);
    // SAFETY: the action is plain data, filled before it is used; the handler makes nothing but async-signal-safe calls.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = look as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGPROF, &action, std::ptr::null_mut());
    }
}

/// No more: from here on the program may use as much of a processor as it is given work for.
pub fn end() {
    set_timer(0);
}

/// The exit code that the verb has for failures of our own.
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
    // SAFETY: usage is plain data, filled by the call; write and _exit pass valid memory or none. All are async-signal-safe, and
    // Restores errno for the code that was interrupted.
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
