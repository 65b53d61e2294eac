//! A network namespace made beside init.
//!
//! For one the kernel needs about half a millisecond, more than for all other namespaces together. The runtime has nothing
//! else to do while init mounts, so it makes this one then, and hands it over.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::error::{Result, errno};
use crate::init::{diagnose, namespaces};
use crate::plan::Plan;
use crate::protocol::{Channel, Message};
use crate::sys::{SysResult, fs, process, socket};

const NETWORK: u64 = libc::CLONE_NEWNET as u64;

/// Whether a plan's network namespace can be made like this. It has to belong to the runtime's own user namespace, nobody
/// else may need it before init says `Mounted`, and only the host's root finds the way back into its own. Init begins in the
/// caller's mount namespace then, so nobody may see it who could trace it: it is alone in a pid namespace.
pub fn comes_beside(plan: &Plan) -> bool {
    plan.namespaces.makes(libc::CLONE_NEWNET)
        && plan.namespaces.makes(libc::CLONE_NEWPID)
        && !plan.namespaces.need_a_process_between()
        && !plan.needs_help_from_outside()
        && process::is_root_of_host()
}

/// What is left for the clone.
pub fn flags_of_clone(plan: &Plan) -> u64 {
    plan.flags_of_clone() & !namespaces::left_by_the_clone(plan) & !NETWORK
}

/// Makes a network namespace; the socket is for ioctls about it. The calling process is in its own again afterwards: hooks
/// would run in the wrong one otherwise, so a failure in that is the end.
fn make() -> SysResult<(OwnedFd, OwnedFd)> {
    let current = Path::new("/proc/self/ns/net");
    let own = fs::open(current, libc::O_RDONLY)?;
    process::unshare(NETWORK)?;
    let made = || Ok((fs::open(current, libc::O_RDONLY)?, socket::control()?));
    let made = made();
    process::setns(own.as_fd(), NETWORK)?;
    made
}

/// Makes the network namespace, sends it to init, and brings its loopback interface up.
pub fn hand_over(plan: &Plan, channel: &Channel) -> Result<()> {
    let (namespace, socket) = make().map_err(|error| diagnose::explain(error, plan))?;
    // Init waits by now, and the interface is up before it can be started. Only hooks of init's come sooner.
    let hooks = !plan.hooks.create_container.is_empty();
    if hooks {
        socket::loopback_up(socket.as_fd())?;
    }
    match channel.send_with(&Message::Network, Some(namespace.as_fd())) {
        // Init has gone; its last word is still to be read.
        Err(error) if errno(&error) == Some(Errno::EPIPE) => return Ok(()),
        other => other?,
    }
    if !hooks {
        socket::loopback_up(socket.as_fd())?;
    }
    Ok(())
}
