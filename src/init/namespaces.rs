//! Namespaces that exist already, and what new ones need to be of use. Run by init with full privilege, before the
//! root file system is touched.

use std::os::fd::AsFd;

use super::Init;
use crate::error::{At, Context, Result};
use crate::sys::{fs, process, socket};

/// Joins the namespaces that the config names by path. (A pid namespace cannot be entered by a process that exists;
/// the runtime joined it before it made us. With user namespaces in play all is done before, see `launch::between`.)
pub fn join(init: &Init) -> Result<()> {
    if init.plan.namespaces.need_a_process_between() {
        return Ok(());
    }
    for joined in &init.plan.namespaces.joined {
        if joined.flag == libc::CLONE_NEWPID as u64 {
            continue;
        }
        if joined.is_callers && joined.flag == libc::CLONE_NEWUSER as u64 {
            continue;
        }
        let fd = fs::open(&joined.path, libc::O_RDONLY).with_context(|| joined.at())?;
        process::setns(fd.as_fd(), joined.flag).with_context(|| joined.at())?;
    }
    Ok(())
}

/// A new network namespace starts with its loopback interface down.
pub fn loopback(init: &Init) -> Result<()> {
    if init.plan.namespaces.makes(libc::CLONE_NEWNET) {
        socket::loopback_up()?;
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
