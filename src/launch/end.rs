//! The end of a child that the runtime talks with. It may wait for us as well, so none is waited for without a limit, and none
//! that we could not reach is waited for alive.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::start;
use crate::error::{Error, Result, errno};
use crate::sys::process::{self, Exit};

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
