//! Set-up that the runtime does for init from outside while init waits: everything that needs privileges, files or devices of
//! the runtime's namespaces.

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;

use super::rollback::{InitProcess, Rollback, init_died};
use crate::cgroup::resctrl;
use crate::error::{At, Context, Result, Step, call_with_hint};
use crate::idmap;
use crate::init::diagnose;
use crate::net::devices;
use crate::plan::{Plan, TimeOffset};
use crate::protocol::{Channel, Message, Received, out_of_order};
use crate::sys::fs;

pub fn help(made: &mut Rollback, init: &InitProcess, plan: &Plan, channel: &Channel) -> Result<()> {
    let InitProcess { pid, pidfd } = init;
    let pid = *pid;
    if !plan.time_offsets.is_empty() {
        match channel.next_from(pidfd.as_fd())? {
            Received::Message(Message::Unshared, _) => made.heard = true,
            Received::Message(other, _) => return Err(out_of_order(&other)),
            Received::End => return Err(init_died(made, pidfd, None)),
        }
        move_clocks(pid, &plan.time_offsets).context(Step::Clocks)?;
    }
    if let Some(maps) = plan
        .id_maps
        .as_ref()
        .filter(|_| plan.namespaces.makes(libc::CLONE_NEWUSER))
    {
        idmap::write(pid, maps).map_err(|error| diagnose::explain_step(error, plan))?;
    }
    if let Some(class) = &made.class {
        resctrl::assign(&class.state, pid).context(Step::ClassOfService)?;
    }
    if !plan.net_devices.is_empty() {
        let target = match plan.namespaces.joins(libc::CLONE_NEWNET) {
            Some(joined) => joined.path.clone(),
            None => format!("/proc/{pid}/ns/net").into(),
        };
        made.net_devices = Some(devices::take(&plan.net_devices, &target).context(Step::NetworkDevices)?);
    }
    channel
        .send(&Message::Helped)
        .map_err(|error| init_died(made, pidfd, Some(error)))
}

/// Sets the clock offsets of the time namespace that init has created for its children, see time_namespaces(7).
fn move_clocks(pid: i32, offsets: &[TimeOffset]) -> Result<()> {
    let file = fs::open(Path::new(&format!("/proc/{pid}/timens_offsets")), libc::O_WRONLY)?;
    for offset in offsets {
        let line = format!("{} {} {}\n", offset.clock, offset.seconds, offset.nanoseconds);
        fs::write(file.as_fd(), line.as_bytes())
            .map_err(|error| match error.errno {
                Errno::ERANGE => call_with_hint(
                    error,
                    "the offset is out of range",
                    "in the container the clock must be neither negative nor beyond 146 years: the offset is added to \
                     the host's clock (/proc/uptime)",
                ),
                Errno::EPERM => call_with_hint(
                    error,
                    "not permitted to set the clock offset",
                    "it requires CAP_SYS_TIME: remove the offsets, or add a user namespace",
                ),
                _ => error.into(),
            })
            .with_context(|| At::new(format!("linux.timeOffsets.{}", offset.clock)))?;
    }
    Ok(())
}
