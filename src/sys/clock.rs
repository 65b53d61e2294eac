//! Clocks: clock_gettime(2), as nanoseconds.

/// Reads a clock. A clock that cannot be read is 0.
fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: time is valid for writes during the call.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return 0;
    }
    (time.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec as u64)
}

/// In seconds: how long the timer runs that the entry of the program starts, and the interval by which it is told from others. It
/// must never expire: a `--timings` among the arguments may be that of the program, and nothing stops the timer then.
pub const BEGIN_TIMER: i64 = 10 * 365 * 86_400;
pub const BEGIN_MARK: i64 = 7919;

/// How long ago the entry of the program started that timer, and how long the process had been on a processor by then. Stops the
/// timer; none if there is no such timer.
pub fn since_entry() -> Option<(u64, u64)> {
    // SAFETY: itimerval is plain data for which zeroes are valid.
    let (mut timer, none): (libc::itimerval, libc::itimerval) = unsafe { std::mem::zeroed() };
    // SAFETY: timer is valid for writes during the call.
    if unsafe { libc::getitimer(libc::ITIMER_REAL, &mut timer) } != 0 || timer.it_interval.tv_sec != BEGIN_MARK {
        return None;
    }
    // SAFETY: none outlives the call.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &none, std::ptr::null_mut()) };
    let left = (timer.it_value.tv_sec as u64 * 1_000_000).saturating_add(timer.it_value.tv_usec as u64);
    let elapsed = (BEGIN_TIMER as u64 * 1_000_000).checked_sub(left)?;
    Some((elapsed * 1_000, timer.it_interval.tv_usec as u64 * 1_000))
}

/// Since an arbitrary moment, mostly that of the boot. A time namespace may shift it.
pub fn monotonic() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Since 1970. No namespace shifts it, but it may be set.
pub fn real() -> u64 {
    read(libc::CLOCK_REALTIME)
}

/// How long this process has been on a processor since it was forked, whatever it has executed since then.
pub fn processor() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}
