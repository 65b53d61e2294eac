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
