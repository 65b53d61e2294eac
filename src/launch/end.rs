//! The end of a child that the runtime talks with, and of a container that it works on. It may wait for us as well, so none is waited for without a limit, and none
//! that we could not reach is waited for alive.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::start;
use crate::error::{Error, Report, Result, errno};
use crate::state::State;
use crate::state::identity;
use crate::sys::descriptor;
use crate::sys::process::{self, Exit};

/// The process that enters was killed: with its container, perhaps.
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

/// How a child ended by itself that has closed the channel, or that could not be sent a message (`unsent`). Such a one would
/// wait for the message, so it is killed. `None` if it had to be, or if its end cannot be told.
pub fn of_child(pidfd: &OwnedFd, unsent: Option<&Error>) -> Option<Exit> {
    if unsent.is_none_or(has_gone) && start::wait_for_end(pidfd).is_ok() {
        return process::wait_pidfd(pidfd.as_fd(), false).ok().flatten();
    }
    // Its end is not what this is about.
    let _ = kill(pidfd);
    None
}

/// Whether a message could not be sent because the other side has closed its end.
pub fn has_gone(unsent: &Error) -> bool {
    matches!(errno(unsent), Some(Errno::EPIPE | Errno::ECONNRESET))
}

/// Kills a child and reaps it; an error if it is in a call that does not end.
pub fn kill(pidfd: &OwnedFd) -> Result<()> {
    start::end(pidfd)?;
    // It may have been reaped already, when its end was explained.
    let _ = process::wait_pidfd(pidfd.as_fd(), false);
    Ok(())
}

/// An error of a call that may have failed only because the container has ended since it was looked at: told as that if it has.
pub fn perhaps_ended(error: Error, state: &State) -> Error {
    let about_its_end = match errno(&error) {
        Some(errno) => matches!(
            errno,
            Errno::ESRCH | Errno::EPIPE | Errno::ECONNREFUSED | Errno::ECONNRESET | Errno::ENOENT | Errno::ENODEV
        ),
        // The process that was to join its namespaces could not, or was killed with the container.
        None => {
            let said = error.downcast_ref::<Report>();
            said.is_some_and(|said| said.errno.as_deref() == Some("ESRCH")) || error.downcast_ref::<Killed>().is_some()
        }
    };
    if !about_its_end {
        return error;
    }
    let ended = match identity::open_if_alive(&state.init()) {
        // It may be about to: its namespaces go before the rest of it.
        Ok(Some(init)) => descriptor::poll(&[(init.as_fd(), libc::POLLIN)], 200) == Ok(vec![libc::POLLIN]),
        Ok(None) => true,
        Err(_) => false,
    };
    if ended {
        error.context("container not running: it has ended meanwhile")
    } else {
        error
    }
}
