//! A process that does nothing but be there, so that a scope exists before its container's first process.

use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Context, Result, Step};
use crate::sys::process::{self, Cloned};
use crate::sys::{fs, socket};

/// Ends when it is dropped, or when the runtime dies.
pub struct Placeholder {
    pid: i32,
    pidfd: OwnedFd,
    /// Closed by the runtime's end, whatever that is.
    _life: OwnedFd,
}

impl Placeholder {
    pub fn new() -> Result<Self> {
        let (ours, theirs) = socket::pair()?;
        match process::clone3(0, None).context(Step("clone"))? {
            Cloned::Child => {
                drop(ours);
                // Until the other end is closed; nobody writes.
                let _ = fs::read(theirs.as_fd(), &mut [0]);
                process::exit_now(0)
            }
            Cloned::Parent { pid, pidfd } => Ok(Placeholder {
                pid,
                pidfd,
                _life: ours,
            }),
        }
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        // Ended before it is waited for, whoever else has the other end.
        let _ = process::pidfd_send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = process::wait_pidfd(self.pidfd.as_fd(), true);
    }
}
