//! The clone of init: directly, or by an intermediate process.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use super::intermediate::{self, CgroupEntry};
use super::network;
use super::rollback::{InitProcess, Rollback};
use crate::cgroup::tree::Leaf;
use crate::error::{Context, Result, Step};
use crate::init::{self, InitInputs, diagnose};
use crate::log;
use crate::own_namespace::OwnNamespace;
use crate::plan::Plan;
use crate::protocol::Channel;
use crate::sys::clone::{self, Cloned, Relation};
use crate::sys::{fs, process};

/// The one fork. The child becomes init and never returns from here.
pub fn clone(
    made: &mut Rollback,
    plan: &Plan,
    theirs: OwnedFd,
    inputs: InitInputs,
    cgroup_entry: CgroupEntry,
) -> Result<Rc<InitProcess>> {
    // Non-dumpable from birth. For an unprivileged user this must wait: they cannot write the id maps of a non-dumpable
    // process.
    let privileged = process::effective_uid() == 0;
    if privileged || !plan.needs_help_from_outside() {
        process::set_undumpable()?;
    }
    let leaf = made.leaf.as_ref().map(Leaf::fd);
    let between = plan.namespaces.need_a_process_between() || cgroup_entry == CgroupEntry::Migrate;
    // Until the end of this function, which init never reaches: only the runtime must return to its namespace.
    let _own_pid_namespace = if between || inputs.born_late {
        None
    } else {
        enter_pid_namespace_for_children(plan)?
    };
    // The user's part of the tree may be separate from ours, and only systemd can move a process between them.
    let unit = made.state.cgroup.as_ref().and_then(|cgroup| cgroup.unit.as_ref());
    let flags = inputs.mount_namespace.left_to_clone(match inputs.network_beside {
        true => network::flags_of_clone(plan),
        false => plan.flags_of_clone(),
    });
    let cloned = if let (Some(unit), Some(systemd)) = (unit.filter(|unit| unit.user), &mut made.systemd) {
        let mut attach = |pid| systemd.attach(&unit.name, Path::new(""), pid).context(Step::Cgroup);
        intermediate::clone(plan, flags, None, cgroup_entry, inputs.born_late, Some(&mut attach))?
    } else if between {
        intermediate::clone(plan, flags, leaf, cgroup_entry, inputs.born_late, None)?
    } else {
        clone::clone3(flags, Relation::Child, leaf)
            .map_err(|error| diagnose::explain(error, plan))
            .context(Step::Clone)?
    };
    match cloned {
        Cloned::Child => {
            // The runtime's end of the channel is closed with all descriptors that init does not need.
            let channel = Channel::new(theirs);
            init::run(&made.container.id, plan, channel, inputs)
        }
        Cloned::Parent { pid, pidfd } => {
            let init = Rc::new(InitProcess { pid, pidfd });
            made.init = Some(init.clone());
            // Init keeps the unit alive now.
            made.placeholder = None;
            Ok(init)
        }
    }
}

/// Joining a PID namespace only affects a process's children. So the runtime joins it for the time of the clone, and the guard
/// comes back from it, because hooks are to run in the runtime's PID namespace.
fn enter_pid_namespace_for_children(plan: &Plan) -> Result<Option<PidNamespaceGuard>> {
    let pid = libc::CLONE_NEWPID as u64;
    let Some(joined) = plan.namespaces.joined.iter().find(|joined| joined.flag == pid) else {
        return Ok(None);
    };
    let own = OwnNamespace::pid()?;
    let join = || -> Result<()> {
        let wanted = fs::open_namespace(&joined.path).with_context(|| joined.at())?;
        clone::setns(wanted.as_fd(), pid).with_context(|| joined.at())
    };
    join().context(Step::Namespaces)?;
    Ok(Some(PidNamespaceGuard(own)))
}

struct PidNamespaceGuard(OwnNamespace);

impl Drop for PidNamespaceGuard {
    fn drop(&mut self) {
        if let Err(error) = self.0.come_back() {
            log::warning(&format!("hooks will run in the container's pid namespace: {error}"));
        }
    }
}
