//! Timers of every kind: those that are far away show how much time has passed, those that are near are counted.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{Part, sys};

/// Seconds until the timers that never go off.
const FAR: i64 = 5000;

/// The signal of the timer that is near.
pub fn signal() -> i32 {
    libc::SIGRTMIN() + 9
}

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

pub struct Timers {
    posix: libc::timer_t,
    far: OwnedFd,
    /// Goes off once and is set again: CRIU stops one with an interval that has gone off unread.
    near: OwnedFd,
    ticks: u64,
}

const fn time(seconds: i64, milliseconds: i64) -> libc::timespec {
    libc::timespec {
        tv_sec: seconds,
        tv_nsec: milliseconds * 1_000_000,
    }
}

const ONCE: libc::itimerspec = libc::itimerspec {
    it_interval: time(0, 0),
    it_value: time(0, 10),
};

impl Timers {
    pub fn new() -> Self {
        let far = libc::itimerval {
            it_interval: libc::timeval { tv_sec: 77, tv_usec: 0 },
            it_value: libc::timeval {
                tv_sec: FAR,
                tv_usec: 0,
            },
        };
        // SAFETY: the kernel reads one struct, which outlives the call.
        sys::done(unsafe { libc::setitimer(libc::ITIMER_REAL, &far, std::ptr::null_mut()) });
        let far = libc::itimerspec {
            it_interval: time(78, 0),
            it_value: time(FAR, 0),
        };
        let posix = |signal: i32, spec: &libc::itimerspec| {
            // SAFETY: plain data for which zeroes are valid.
            let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
            event.sigev_notify = libc::SIGEV_SIGNAL;
            event.sigev_signo = signal;
            let mut timer: libc::timer_t = std::ptr::null_mut();
            // SAFETY: the kernel reads one struct and writes one id, which outlive the call.
            sys::done(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer) });
            // SAFETY: the kernel reads one struct, which outlives the call.
            sys::done(unsafe { libc::timer_settime(timer, 0, spec, std::ptr::null_mut()) });
            timer
        };
        // SAFETY: the handler only adds to an atomic number.
        unsafe { libc::signal(signal(), count as *const () as libc::sighandler_t) };
        let often = libc::itimerspec {
            it_interval: time(0, 10),
            it_value: time(0, 10),
        };
        posix(signal(), &often);
        let timer = |spec: &libc::itimerspec| {
            // SAFETY: the call takes no pointer.
            let fd = sys::owned(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK) });
            // SAFETY: the kernel reads one struct, which outlives the call.
            sys::done(unsafe { libc::timerfd_settime(fd.as_raw_fd(), 0, spec, std::ptr::null_mut()) });
            fd
        };
        Timers {
            posix: posix(libc::SIGURG, &far),
            far: timer(&far),
            near: timer(&ONCE),
            ticks: 0,
        }
    }

    /// Milliseconds left and the interval's seconds of each timer that is far away.
    fn left(&self) -> [(i64, i64); 3] {
        // SAFETY: plain data for which zeroes are valid.
        let mut real: libc::itimerval = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one struct, which outlives the call.
        sys::done(unsafe { libc::getitimer(libc::ITIMER_REAL, &mut real) });
        // SAFETY: plain data for which zeroes are valid.
        let mut posix: libc::itimerspec = unsafe { std::mem::zeroed() };
        let mut far = posix;
        // SAFETY: the kernel writes one struct, which outlives the call.
        sys::done(unsafe { libc::timer_gettime(self.posix, &mut posix) });
        // SAFETY: the kernel writes one struct, which outlives the call.
        sys::done(unsafe { libc::timerfd_gettime(self.far.as_raw_fd(), &mut far) });
        let of = |spec: &libc::itimerspec| {
            let left = spec.it_value.tv_sec * 1000 + spec.it_value.tv_nsec / 1_000_000;
            (left, spec.it_interval.tv_sec)
        };
        let left = real.it_value.tv_sec * 1000 + real.it_value.tv_usec / 1000;
        [(left, real.it_interval.tv_sec), of(&posix), of(&far)]
    }
}

impl Part for Timers {
    fn check(&mut self) -> Result<(), String> {
        let mut count = [0; 8];
        if sys::read(self.near.as_raw_fd(), &mut count) == 8 {
            self.ticks += u64::from_ne_bytes(count);
            // SAFETY: the kernel reads one struct, which outlives the call.
            sys::done(unsafe { libc::timerfd_settime(self.near.as_raw_fd(), 0, &ONCE, std::ptr::null_mut()) });
        }
        for (left, _) in self.left() {
            if !(1..=FAR * 1000).contains(&left) {
                return Err(format!("{left} ms are left"));
            }
        }
        Ok(())
    }

    fn same(&mut self) -> Value {
        json!({ "intervals": self.left().map(|(_, interval)| interval) })
    }

    /// The milliseconds that have passed.
    fn grows(&mut self) -> Value {
        let [real, posix, far] = self.left().map(|(left, _)| FAR * 1000 - left);
        json!({ "real": real, "posix": posix, "timerfd": far, "ticks": self.ticks, "signals": SIGNALS.load(Ordering::Relaxed) })
    }
}
