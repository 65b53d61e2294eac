//! State shared by the steps that prepare one process.

use std::os::fd::AsFd;
use std::path::PathBuf;

use crate::error::Result;
use crate::protocol::{Channel, Message};
use crate::rootfs::console::Console;
use crate::security::procfs::HostProc;
use crate::sys::clone::{self, Cloned, Relation};
use crate::sys::process;
use crate::timings;

/// The state of a process that enters the container: init, or a process that joins it.
pub struct ProcessContext<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The runtime has the other end.
    pub channel: Channel,
    pub caller_umask: u32,
    /// The name of the container's session keyring.
    pub keyring: String,
    /// Whether the container has its own user namespace.
    pub user_namespace: bool,
    /// Whether the steps run in a parent, which clones the process at the end.
    pub by_its_maker: bool,
    /// The host's /proc, as long as it may be used.
    pub host_proc: Option<HostProc>,
    /// The terminal, from when it is opened until it becomes the controlling terminal.
    pub console: Option<Console>,
    /// The path of the program, as long as nothing can have changed since it was looked up.
    pub program: Option<PathBuf>,
    /// Whether the working directory has been entered.
    pub in_cwd: bool,
}

impl<'a> AsMut<ProcessContext<'a>> for ProcessContext<'a> {
    fn as_mut(&mut self) -> &mut ProcessContext<'a> {
        self
    }
}

/// Clones the prepared and confined process, and returns in it: inside the joined pid namespace, as a child of the runtime.
/// The parent sends the pidfd to the runtime and exits.
pub fn bear(context: &ProcessContext) -> Result<()> {
    match clone::clone3(0, Relation::Sibling, None)? {
        Cloned::Child => {
            timings::set_born();
            Ok(())
        }
        Cloned::Parent { pid, pidfd } => {
            // Before the next message, after which the runtime may no longer be listening.
            context.channel.send_timings();
            context.channel.send_with(&Message::Entered(pid), Some(pidfd.as_fd()))?;
            process::exit_now(0)
        }
    }
}
