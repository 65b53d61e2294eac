//! What the steps about one process share.

use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::error::Result;
use crate::protocol::{Channel, Message};
use crate::rootfs::console::Console;
use crate::security::procfs::HostProc;
use crate::sys::process::{self, Cloned};

/// A process on its way into the container, be it init or one that joins.
pub struct ProcessContext<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The runtime listens at its other end.
    pub channel: Channel,
    pub caller_umask: u32,
    /// The name of its session keyring.
    pub keyring: String,
    /// Whether the container has a user namespace of its own.
    pub user_namespace: bool,
    /// Its maker goes the way for it, and it is born in the end.
    pub by_its_maker: bool,
    /// The host's /proc, while it may be used.
    pub host_proc: Option<HostProc>,
    /// The terminal, between its opening and its taking.
    pub console: Option<Console>,
    /// The program as it was found, while nothing can have changed since.
    pub program: Option<PathBuf>,
    /// The working directory has been entered.
    pub in_cwd: bool,
}

impl<'a> AsMut<ProcessContext<'a>> for ProcessContext<'a> {
    fn as_mut(&mut self) -> &mut ProcessContext<'a> {
        self
    }
}

/// Makes the process for which all is made and confined, and goes on as that: inside the pid namespace that was joined, as a
/// child of the runtime's. Its maker tells the runtime, and ends.
pub fn bear(context: &ProcessContext) -> Result<()> {
    match process::clone3(libc::CLONE_PARENT as u64, None)? {
        Cloned::Child => Ok(()),
        Cloned::Parent { pid, pidfd } => {
            context.channel.send_with(&Message::Entered(pid), Some(pidfd.as_fd()))?;
            process::exit_now(0)
        }
    }
}
