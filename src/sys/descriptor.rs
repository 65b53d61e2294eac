//! Descriptors whatever they are of: waiting for them, their numbers, and who inherits them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::{Arg, Call, SysError, SysResult, Syscall, check, own};

/// The number of the first descriptor after the standard streams.
const FIRST_INHERITED: i32 = 3;

/// Whether a descriptor number is open (`fcntl(F_GETFD)`).
pub fn is_open(fd: i32) -> bool {
    // SAFETY: F_GETFD only asks.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Takes over a descriptor that the caller of the program has passed by number, if it is open for writing (`EBADF` if not).
pub fn take_for_writing(fd: i32) -> SysResult<OwnedFd> {
    let flags = check!(
        // SAFETY: F_GETFL only asks.
        unsafe { libc::fcntl(fd, libc::F_GETFL) },
        Fcntl,
        fd,
        Arg::word("F_GETFL")
    )?;
    if flags & libc::O_ACCMODE == libc::O_RDONLY {
        let call = Call::new(Syscall::Fcntl, vec![fd.into(), Arg::word("F_GETFL")]);
        return Err(SysError::new(
            call.with("it is not open for writing".into()),
            Errno::EBADF,
        ));
    }
    Ok(own(fd))
}

/// A close-on-exec copy, above the standard streams, of a descriptor that is known by its number.
pub fn copy(fd: i32) -> SysResult<OwnedFd> {
    copy_from(fd, FIRST_INHERITED)
}

/// The same with a number of at least `least`.
fn copy_from(fd: i32, least: i32) -> SysResult<OwnedFd> {
    check!(
        // SAFETY: no memory is passed; the descriptor is a new one.
        unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, least) },
        Fcntl,
        fd,
        Arg::word("F_DUPFD_CLOEXEC")
    )
    .map(own)
}

/// Moves a descriptor that the program has inherited and no value owns to a number of at least `least`, close-on-exec. In any case
/// it is no longer open under its old number.
pub fn move_up(fd: i32, least: i32) -> SysResult<OwnedFd> {
    let copy = copy_from(fd, least);
    drop(own(fd));
    copy
}

/// A close-on-exec pipe: the end to read from and the end to write to (`pipe2(2)`).
pub fn pipe() -> SysResult<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    check!(
        // SAFETY: the array has room for two descriptors.
        unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) },
        Pipe2,
        Arg::word("O_CLOEXEC")
    )?;
    let [reader, writer] = fds;
    Ok((own(reader), own(writer)))
}

/// Puts a copy of another descriptor in the place of one, under the same number, which programs inherit (`dup2(2)`).
pub fn replace(old: BorrowedFd, new: BorrowedFd) -> SysResult<()> {
    // SAFETY: no memory is passed; the number stays open for the value that owns it.
    check!(unsafe { libc::dup2(new.as_raw_fd(), old.as_raw_fd()) }, Dup2, new, old).map(drop)
}

/// `fstat(2)` of a descriptor that is known by its number.
pub fn stat(fd: i32) -> SysResult<libc::stat> {
    // SAFETY: stat is plain data, filled by the call.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: stat is valid for writes during the call.
    check!(unsafe { libc::fstat(fd, &mut stat) }, Fstat, fd)?;
    Ok(stat)
}

/// A standard stream. These three descriptors are always open, see `inherited::fill_standard_streams`, and never owned by a
/// value, so they can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Stream {
    Input = 0,
    Output = 1,
    Error = 2,
}

impl Stream {
    pub const ALL: [Stream; 3] = [Stream::Input, Stream::Output, Stream::Error];

    /// Replaces the stream by a copy of this descriptor, which programs inherit (`dup2(2)`).
    pub fn replace(self, fd: BorrowedFd) -> SysResult<()> {
        let number = self as i32;
        // SAFETY: no memory is passed; no value owns the descriptor that is closed.
        check!(unsafe { libc::dup2(fd.as_raw_fd(), number) }, Dup2, fd, number).map(drop)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'static> {
        // SAFETY: the standard streams are open for the life of the process.
        unsafe { BorrowedFd::borrow_raw(*self as i32) }
    }
}

/// Replaces the standard streams by copies of these descriptors, which programs inherit.
pub fn set_standard_streams(streams: [BorrowedFd; 3]) -> SysResult<()> {
    let mut copies = Vec::with_capacity(streams.len());
    for stream in streams {
        // Away from the numbers that are about to be replaced.
        copies.push(copy(stream.as_raw_fd())?);
    }
    for (stream, copy) in Stream::ALL.into_iter().zip(&copies) {
        stream.replace(copy.as_fd())?;
    }
    Ok(())
}

/// Marks every descriptor from `first` on close-on-exec (`close_range(2)`, Linux 5.11).
pub fn close_on_exec_from(first: u32) -> SysResult<()> {
    check!(
        // SAFETY: only flags of descriptors change.
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
    let result = check!(
        // SAFETY: the set is valid for its length.
        unsafe { libc::poll(set.as_mut_ptr(), set.len() as libc::nfds_t, timeout) },
        Poll
    );
    match result {
        Err(error) if error.errno == Errno::EINTR => Ok(vec![0; fds.len()]),
        Err(error) => Err(error),
        Ok(_) => Ok(set.iter().map(|entry| entry.revents).collect()),
    }
}

/// `O_NONBLOCK` on an open file description.
pub fn set_nonblocking(fd: impl AsFd) -> SysResult<()> {
    change_flags(fd.as_fd(), |flags| flags | libc::O_NONBLOCK)
}

/// Clears `O_NONBLOCK`.
pub fn set_blocking(fd: impl AsFd) -> SysResult<()> {
    change_flags(fd.as_fd(), |flags| flags & !libc::O_NONBLOCK)
}

fn change_flags(fd: BorrowedFd, change: impl Fn(i32) -> i32) -> SysResult<()> {
    let raw = fd.as_raw_fd();
    // SAFETY: only flags of the open file change.
    let flags = check!(unsafe { libc::fcntl(raw, libc::F_GETFL) }, Fcntl, Arg::word("F_GETFL"))?;
    check!(
        // SAFETY: as above.
        unsafe { libc::fcntl(raw, libc::F_SETFL, change(flags)) },
        Fcntl,
        Arg::word("F_SETFL")
    )
    .map(drop)
}

/// Closes all descriptors but the standard streams, the `preserved` ones after them, and the numbers in `kept` (`close_range(2)`).
///
/// For a process that ends by execve(2) or _exit(2): the values that owned the closed descriptors, which it has copied from its
/// parent, must not be used or dropped any more.
pub fn close_all_but(preserved: u32, kept: &[RawFd]) -> SysResult<()> {
    let mut next = FIRST_INHERITED as u32 + preserved;
    let mut kept: Vec<u32> = kept.iter().copied().filter_map(|fd| u32::try_from(fd).ok()).collect();
    kept.sort_unstable();
    for fd in kept {
        if fd >= next {
            if fd > next {
                close_range(next, fd - 1)?;
            }
            next = fd + 1;
        }
    }
    close_range(next, u32::MAX)
}

fn close_range(first: u32, last: u32) -> SysResult<()> {
    check!(
        // SAFETY: no memory is passed; the caller does not use the descriptors any more.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) },
        CloseRange,
        first,
        last
    )
    .map(drop)
}

/// Clears close-on-exec on a descriptor that a program is to inherit (`fcntl(F_SETFD)`).
pub fn keep_on_exec(fd: BorrowedFd) -> SysResult<()> {
    check!(
        // SAFETY: only a flag of the descriptor changes.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, 0) },
        Fcntl,
        fd,
        Arg::word("F_SETFD"),
        0
    )
    .map(drop)
}

/// Clears close-on-exec on the first descriptors after the standard streams, which the caller of the runtime has left open,
/// `but` not on these, which are sorted.
pub fn keep_inherited_on_exec(count: u32, but: &[RawFd]) -> SysResult<()> {
    for fd in FIRST_INHERITED..FIRST_INHERITED + count as i32 {
        if but.binary_search(&fd).is_err() {
            // SAFETY: these descriptors were open at the start, and no value owns them.
            keep_on_exec(unsafe { BorrowedFd::borrow_raw(fd) })?;
        }
    }
    Ok(())
}
