//! The end of a child process, and of a container that a verb works on. A child may be waiting for the runtime as well, so
//! every wait has a time limit, and a child that could not be reached is killed first.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::start;
use crate::error::{Error, Report, Result, errno};
use crate::state::State;
use crate::state::identity;
use crate::sys::descriptor;
use crate::sys::process::{self, Exit};

/// The joining process was killed, perhaps together with its container.
#[derive(Debug)]
pub struct Killed(pub i32);

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the process was killed by signal {} before it could execute the program",
            self.0
        )
    }
}

impl std::error::Error for Killed {}

/// How a child ended on its own after it closed the channel, or after a message to it failed (`unsent`). In the latter case
/// the child would wait for the message, so it is killed. `None` if it was killed, or if its end is unknown.
pub fn of_child(pidfd: &OwnedFd, unsent: Option<&Error>) -> Option<Exit> {
    if unsent.is_none_or(has_gone) && start::wait_for_end(pidfd).is_ok() {
        return process::wait_pidfd(pidfd.as_fd(), false).ok().flatten();
    }
    // The caller reports another error.
    let _ = kill(pidfd);
    None
}

/// Whether a message could not be sent because the other side has closed its end.
pub fn has_gone(unsent: &Error) -> bool {
    matches!(errno(unsent), Some(Errno::EPIPE | Errno::ECONNRESET))
}

/// Kills a child and reaps it; an error if it is stuck in a system call.
pub fn kill(pidfd: &OwnedFd) -> Result<()> {
    start::end(pidfd)?;
    // It may already have been reaped, to find out how it ended.
    let _ = process::wait_pidfd(pidfd.as_fd(), false);
    Ok(())
}

/// How long a container may take to end when one of its processes has ended already, in milliseconds: a busy machine schedules its
/// init late.
const TIME_TO_END: i32 = 1000;

/// Whether a process ends, or has ended, within a time in milliseconds.
pub fn ends_within(pidfd: BorrowedFd, milliseconds: i32) -> bool {
    // Beside POLLIN there may be POLLHUP: it has already been reaped.
    descriptor::poll(&[(pidfd, libc::POLLIN)], milliseconds)
        .is_ok_and(|events| events.iter().any(|event| event & libc::POLLIN != 0))
}

/// Explains an error that may only mean that the container has ended meanwhile: if it has, the error says so.
pub fn perhaps_ended(error: Error, state: &State) -> Error {
    let about_its_end = match errno(&error) {
        Some(errno) => matches!(
            errno,
            Errno::ESRCH | Errno::EPIPE | Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::ENOENT | Errno::ENODEV
        ),
        // The process could not join the namespaces, or was killed together with the container.
        None => {
            let said = error.downcast_ref::<Report>();
            said.is_some_and(|said| said.errno == Some(Errno::ESRCH)) || error.downcast_ref::<Killed>().is_some()
        }
    };
    if !about_its_end {
        return error;
    }
    let ended = match identity::open_if_alive(&state.init()) {
        // It may be about to end: its namespaces disappear before the process does, and cgroup.kill ends one process after the
        // other.
        Ok(Some(init)) => ends_within(init.as_fd(), TIME_TO_END),
        Ok(None) => true,
        Err(_) => false,
    };
    if ended {
        error.context("container not running: it ended meanwhile")
    } else {
        error
    }
}
