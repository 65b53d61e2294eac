//! Namespaces that exist already, and what new ones need to be of use. Run by init with full privilege, before the
//! root file system is touched.

use std::os::fd::AsFd;
use std::path::Path;

use super::{Init, diagnose};
use crate::error::{At, Context, Result, anyhow};
use crate::plan::Plan;
use crate::sys::{fs, process, socket};

/// The namespaces that the clone leaves to init where the runtime makes the network namespace beside it, so that the runtime
/// comes to that sooner. What they take in memory is charged to who makes them, so none where the container's is limited.
pub fn left_by_the_clone(plan: &Plan) -> u64 {
    match plan.cgroup.limits.limit_memory() {
        true => 0,
        false => (libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWCGROUP) as u64,
    }
}

/// Makes what the clone has left to us, and joins the namespaces that the config names by path. (A pid namespace cannot be
/// entered by a process that exists; the runtime joined it before it made us, or else we join it for init, which we make. With user namespaces in play all is done before,
/// see `launch::intermediate`.)
pub fn join(init: &Init) -> Result<()> {
    if init.inputs.network_beside {
        let flags = init.plan.namespaces.new & left_by_the_clone(init.plan);
        if flags != 0 {
            process::unshare(flags).map_err(|error| diagnose::explain(error, init.plan))?;
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
        process::setns(fd.as_fd(), joined.flag).with_context(|| joined.at())?;
    }
    Ok(())
}

/// Makes sure that the network namespace is the container's: enters the one that the runtime makes, or brings up the
/// loopback interface, which is down in a new one.
pub fn network(init: &Init) -> Result<()> {
    if init.made.network.replace(true) {
        return Ok(());
    }
    if init.inputs.network_beside {
        let channel = &init.context.channel;
        channel.linger();
        let (_, namespace) = channel.expect_with_fd(&["Network"])?;
        let namespace = namespace.ok_or_else(|| anyhow!("no network namespace came"))?;
        process::setns(namespace.as_fd(), libc::CLONE_NEWNET as u64)?;
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
            // The file belongs to the host's root, whoever the uts namespace belongs to; the call does the same.
            process::setdomainname(&sysctl.value).map_err(Into::into)
        } else {
            proc.write_sysctl(&sysctl.file, &sysctl.value)
        };
        set.with_context(|| At::new(format!("linux.sysctl[{:?}]", sysctl.key)))?;
    }
    Ok(())
}
