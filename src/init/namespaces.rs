//! Joins existing namespaces and sets up new ones. Runs in init with full privilege, before the root file system is
//! touched.

use std::os::fd::AsFd;
use std::path::Path;

use super::diagnose;
use super::state::Init;
use crate::error::{At, Context, Result, anyhow};
use crate::plan::Plan;
use crate::protocol::Message;
use crate::sys::{clone, fs, process, socket};
use crate::timings::Peer;

/// The namespaces that init unshares itself while the runtime creates the network namespace in parallel, so that the
/// runtime gets to that sooner. Their memory is charged to the cgroup of the process that creates them, so there are none if the
/// container's memory is limited.
pub fn left_by_the_clone(plan: &Plan) -> u64 {
    match plan.cgroup.limits.limit_memory() {
        true => 0,
        false => (libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWCGROUP) as u64,
    }
}

/// Unshares the namespaces left to init, and joins those that the config names by path. (An existing process cannot enter a
/// pid namespace: either the runtime joined it before the clone, or this process joins it for init, which it then clones. With
/// user namespaces all of this is done earlier, see `launch::intermediate`.)
pub fn join(init: &Init) -> Result<()> {
    if init.inputs.network_beside {
        let left = init.plan.namespaces.new & left_by_the_clone(init.plan);
        let flags = init.inputs.mount_namespace.left_to_clone(left);
        if flags != 0 {
            clone::unshare(flags).map_err(|error| diagnose::explain(error, init.plan))?;
        }
    }
    if init.plan.namespaces.need_a_process_between() {
        return Ok(());
    }
    for joined in &init.plan.namespaces.joined {
        if joined.flag == libc::CLONE_NEWPID as u64 && !init.inputs.born_late {
            continue;
        }
        if joined.is_callers && joined.flag == libc::CLONE_NEWUSER as u64 {
            continue;
        }
        let fd = fs::open_namespace(&joined.path).with_context(|| joined.at())?;
        clone::setns(fd.as_fd(), joined.flag).with_context(|| joined.at())?;
    }
    Ok(())
}

/// Completes the network namespace: enters the one that the runtime created, or brings up the loopback interface, which is
/// down in a new namespace.
pub fn network(init: &Init) -> Result<()> {
    if init.made.network.replace(true) {
        return Ok(());
    }
    if init.inputs.network_beside {
        let channel = &init.context.channel;
        channel.linger(Peer::Runtime);
        let (_, namespace) = channel.expect_with_fd(&[Message::Network])?;
        let namespace = namespace.ok_or_else(|| anyhow!("the runtime sent no network namespace"))?;
        clone::setns(namespace.as_fd(), libc::CLONE_NEWNET as u64)?;
    } else if init.plan.namespaces.makes(libc::CLONE_NEWNET) {
        socket::loopback_up(socket::control()?.as_fd())?;
    }
    Ok(())
}

pub fn names(init: &Init) -> Result<()> {
    if let Some(name) = &init.plan.hostname {
        process::sethostname(name).context(At::object("hostname", name))?;
    }
    if let Some(name) = &init.plan.domainname {
        process::setdomainname(name).context(At::object("domainname", name))?;
    }
    Ok(())
}

pub fn sysctls(init: &Init) -> Result<()> {
    let Some(proc) = &init.context.host_proc else {
        return Ok(());
    };
    for sysctl in &init.plan.sysctls {
        let set = if sysctl.file == Path::new("kernel/domainname") {
            // The file belongs to the host's root, regardless of the owner of the UTS namespace; the call has the same effect.
            process::setdomainname(&sysctl.value).map_err(Into::into)
        } else {
            proc.write_sysctl(&sysctl.file, &sysctl.value)
        };
        set.with_context(|| At::new(format!("linux.sysctl[{:?}]", sysctl.key)))?;
    }
    Ok(())
}
