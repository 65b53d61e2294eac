//! Descriptors whatever they are of: waiting for them, their numbers, and who inherits them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use super::{Arg, SysResult, check, own};

/// Whether a descriptor number is open (`fcntl(F_GETFD)`).
pub fn is_open(fd: i32) -> bool {
    // SAFETY: F_GETFD only asks.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// `dup2(2)` onto a fixed number; the copy is not close-on-exec.
pub fn dup2(fd: BorrowedFd, number: i32) -> SysResult<()> {
    // SAFETY: no memory is passed; the caller owns the target number (standard streams).
    check!(unsafe { libc::dup2(fd.as_raw_fd(), number) }, Dup2, fd, number).map(drop)
}

/// Replaces the standard streams by copies of these descriptors, which programs inherit.
pub fn set_standard_streams(streams: [BorrowedFd; 3]) -> SysResult<()> {
    let mut copies = Vec::with_capacity(streams.len());
    for stream in streams {
        // Away from the numbers that are about to be replaced.
        // SAFETY: no memory is passed; the descriptor is a new one.
        copies.push(own(check!(
            unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) },
            Fcntl,
            Arg::word("F_DUPFD_CLOEXEC")
        )?));
    }
    for (number, copy) in (0..).zip(&copies) {
        dup2(copy.as_fd(), number)?;
    }
    Ok(())
}

/// A standard stream (0, 1 or 2) as a descriptor; it may be closed, which the call on it will then tell.
pub fn standard_stream(number: i32) -> BorrowedFd<'static> {
    // SAFETY: the numbers 0 to 2 stay what the caller gave us for the life of the process.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Marks every descriptor from `first` on close-on-exec (`close_range(2)`, Linux 5.11).
pub fn close_on_exec_from(first: u32) -> SysResult<()> {
    // SAFETY: only flags of descriptors change.
    check!(
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) },
        CloseRange,
        first,
        Arg::word("~0"),
        Arg::word("CLOSE_RANGE_CLOEXEC")
    )
    .map(drop)
}

/// `poll(2)` for input on some descriptors; `timeout` in milliseconds, -1 for ever. The answer has, for each, its
/// `revents`. An interruption by a signal is told as no events at all.
pub fn poll(fds: &[(BorrowedFd, i16)], timeout: i32) -> SysResult<Vec<i16>> {
    let mut set: Vec<libc::pollfd> = fds
        .iter()
        .map(|(fd, events)| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: *events,
            revents: 0,
        })
        .collect();
    // SAFETY: the set is valid for its length.
    let result = check!(
        unsafe { libc::poll(set.as_mut_ptr(), set.len() as libc::nfds_t, timeout) },
        Poll
    );
    match result {
        Err(error) if error.errno == nix::errno::Errno::EINTR => Ok(vec![0; fds.len()]),
        Err(error) => Err(error),
        Ok(_) => Ok(set.iter().map(|entry| entry.revents).collect()),
    }
}

/// `O_NONBLOCK` on an open file description.
pub fn set_nonblocking(fd: impl AsFd) -> SysResult<()> {
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: only flags of the open file change.
    let flags = check!(unsafe { libc::fcntl(raw, libc::F_GETFL) }, Fcntl, Arg::word("F_GETFL"))?;
    // SAFETY: as above.
    check!(
        unsafe { libc::fcntl(raw, libc::F_SETFL, flags | libc::O_NONBLOCK) },
        Fcntl,
        Arg::word("F_SETFL")
    )
    .map(drop)
}

/// Closes every descriptor from `first` to `last`, both included (`close_range(2)`). Whoever still holds one of them as
/// an `OwnedFd` must never drop it: this is for a process that ends by execve(2) or _exit(2).
pub fn close_range(first: u32, last: u32) -> SysResult<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: no memory is passed; see above for what callers promise.
    check!(
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) },
        CloseRange,
        first,
        last
    )
    .map(drop)
}

/// Clears close-on-exec on a descriptor that a program shall inherit (`fcntl(F_SETFD)`).
pub fn keep_on_exec(fd: i32) -> SysResult<()> {
    // SAFETY: only a flag of the descriptor changes.
    check!(
        unsafe { libc::fcntl(fd, libc::F_SETFD, 0) },
        Fcntl,
        fd,
        Arg::word("F_SETFD"),
        0
    )
    .map(drop)
}
