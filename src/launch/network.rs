//! A network namespace that the runtime makes while init is at work.
//!
//! The kernel needs about half a millisecond for one, more than for all other namespaces together. The runtime has nothing
//! else to do while init mounts, so it makes the namespace then and passes it to init.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Result, errno};
use crate::init::{diagnose, namespaces};
use crate::own_namespace::OwnNamespace;
use crate::plan::Plan;
use crate::protocol::{Channel, Message};
use crate::sys::{SysResult, process, socket};

const NETWORK: u64 = libc::CLONE_NEWNET as u64;

/// Whether the network namespace of a plan can be created in parallel. It must belong to the runtime's own user namespace, no
/// other process may need it before init sends `Mounted`, and only the host's root can return to its own namespace. Init then
/// starts in the caller's mount namespace, so no process that could trace it may see it: it must be alone in a pid namespace.
pub fn comes_beside(plan: &Plan) -> bool {
    plan.namespaces.makes(libc::CLONE_NEWNET)
        && plan.namespaces.makes(libc::CLONE_NEWPID)
        && !plan.namespaces.need_a_process_between()
        && !plan.needs_help_from_outside()
        && process::is_root_of_host()
}

/// The flags left for the clone.
pub fn flags_of_clone(plan: &Plan) -> u64 {
    plan.flags_of_clone() & !namespaces::left_by_the_clone(plan) & !NETWORK
}

/// Makes a network namespace, and a socket for ioctls about it. Afterwards the calling process is in its own again, in which
/// hooks are to run.
fn make() -> SysResult<(OwnNamespace, OwnedFd)> {
    OwnNamespace::network()?.visit_new(|| Ok((OwnNamespace::network()?, socket::control()?)))
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
