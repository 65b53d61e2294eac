//! A process that only exists, so that there can be a scope before its container's first process.

use std::os::fd::AsFd;

use crate::child::{self, Child, Spawned};
use crate::error::{Context, Result, Step};
use crate::sys::{fs, process, socket};

/// Ends when it is dropped, or when the runtime dies.
pub struct Placeholder(Child);

impl Placeholder {
    pub fn new() -> Result<Self> {
        match child::spawn(0, None).context(Step::Clone)? {
            Spawned::Child(socket) => {
                // Returns when the other end is closed; nothing is sent.
                let _ = fs::read(socket.as_fd(), &mut [0]);
                process::exit_now(0)
            }
            Spawned::Parent(child) => Ok(Placeholder(child)),
        }
    }

    pub fn pid(&self) -> i32 {
        self.0.pid
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        // Killed before the wait: another process may have a copy of this end of the socket.
        let pidfd = self.0.pidfd.as_fd();
        let killed = process::pidfd_send_signal(pidfd, libc::SIGKILL);
        if killed.or_else(|_| socket::shutdown(self.0.socket.as_fd())).is_ok() {
            let _ = process::wait_pidfd(pidfd, true);
        }
    }
}
