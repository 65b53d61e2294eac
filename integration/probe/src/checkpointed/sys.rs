//! Thin wrappers of the calls that the parts make. A call that fails while a part is made ends the probe.

use std::ffi::c_void;
use std::fs;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The result of a call that may not fail.
#[track_caller]
pub fn done(result: impl Into<i64>) -> i64 {
    let result = result.into();
    assert!(result >= 0, "{}", std::io::Error::last_os_error());
    result
}

/// A new descriptor, owned.
#[track_caller]
pub fn owned(fd: impl Into<i64>) -> OwnedFd {
    // SAFETY: the descriptor is new, so nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(done(fd) as RawFd) }
}

/// Runs `child` in a new process, which never returns.
pub fn fork(child: impl FnOnce()) -> libc::pid_t {
    // SAFETY: there is only one thread when parts fork, so the child may do everything.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        child();
        // SAFETY: the call does not return.
        unsafe { libc::_exit(0) }
    }
    done(pid) as libc::pid_t
}

/// Waits for signals, for ever.
pub fn pause() -> ! {
    loop {
        // SAFETY: the call takes no pointer.
        unsafe { libc::pause() };
    }
}

pub fn pipe(flags: i32) -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors, to what outlives the call.
    done(unsafe { libc::pipe2(ends.as_mut_ptr(), flags) });
    (owned(ends[0]), owned(ends[1]))
}

/// Bytes of an own mapping. It stays until the end of the process.
pub fn map(size: usize, protection: i32, flags: i32, fd: RawFd) -> &'static mut [u8] {
    // SAFETY: a new mapping, which nothing else refers to.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), size, protection, flags, fd, 0) };
    assert_ne!(start, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    // SAFETY: the mapping has this size and stays.
    unsafe { std::slice::from_raw_parts_mut(start.cast(), size) }
}

/// Bytes that depend on their position, so that none is at a wrong place unnoticed.
pub fn pattern(size: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..size).map(|_| next()).collect()
}

/// FNV-1a.
pub fn hash(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{} bytes {hash:016x}", bytes.len())
}

/// CLOCK_MONOTONIC, in milliseconds.
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one struct, which outlives the call.
    done(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) });
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// The lines of /proc/self/fdinfo that have one of these keys.
pub fn fdinfo(fd: RawFd, keys: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    text.lines()
        .filter(|line| keys.iter().any(|key| line.starts_with(key)))
        .map(str::to_owned)
        .collect()
}

/// The errno of a call as a word, "ok" if it did not fail.
pub fn outcome(result: impl Into<i64>) -> String {
    if result.into() < 0 {
        crate::errno::last()
    } else {
        "ok".into()
    }
}

/// Bytes in a pipe or socket that stay in it.
pub fn unread(fd: RawFd) -> i32 {
    let mut count = 0;
    // SAFETY: the kernel writes one int, which outlives the call.
    done(unsafe { libc::ioctl(fd, libc::FIONREAD, &mut count) });
    count
}

/// The next message of a socket, which stays in it.
pub fn peek(fd: RawFd, buffer: &mut [u8]) -> usize {
    let start = buffer.as_mut_ptr().cast::<c_void>();
    // SAFETY: a buffer with its length.
    done(unsafe { libc::recv(fd, start, buffer.len(), libc::MSG_PEEK | libc::MSG_DONTWAIT) } as i64) as usize
}

pub fn write(fd: RawFd, bytes: &[u8]) -> isize {
    // SAFETY: a buffer with its length.
    unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) }
}

pub fn read(fd: RawFd, bytes: &mut [u8]) -> isize {
    // SAFETY: a buffer with its length.
    unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) }
}
