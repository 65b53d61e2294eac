//! In a container that joins a pid namespace, as in a pod, init is cloned late.
//!
//! Without a user namespace, processes in that pid namespace that have CAP_SYS_PTRACE may attach to any process of the runtime
//! that they see. Therefore the process that sets up the container stays outside of the pid namespace, like the parent process
//! of `exec`, and clones init when everything is set up and confined: what is visible inside has the container's root and
//! capabilities from its first moment.

use crate::plan::{MountKind, Plan, RootMode};
use crate::sys::fs_context;

/// Whether init is cloned late. Hooks that receive init's pid must get the final one, and procfs must be mounted for a pid
/// namespace that the mounting process is not in, which requires Linux 6.17. Otherwise init starts in the pid namespace.
pub fn is_born_late(plan: &Plan) -> bool {
    let hooks = [
        &plan.hooks.prestart,
        &plan.hooks.create_runtime,
        &plan.hooks.create_container,
    ];
    plan.namespaces.joins(libc::CLONE_NEWPID).is_some()
        && plan.namespaces.makes(libc::CLONE_NEWNS)
        && plan.rootfs.root_mode == RootMode::Pivot
        && !plan.namespaces.has(libc::CLONE_NEWUSER)
        && !plan.needs_help_from_outside()
        && plan.process.is_some()
        && hooks.iter().all(|list| list.is_empty())
        && procfs_can_be_made(plan)
}

fn procfs_can_be_made(plan: &Plan) -> bool {
    let is_procfs = |kind: &MountKind| matches!(kind, MountKind::New { kind, .. } if kind == "proc");
    let mut mounts = plan.rootfs.mounts.iter().filter(|mount| is_procfs(&mount.kind));
    match mounts.next() {
        None => true,
        Some(first) => {
            ![first]
                .into_iter()
                .chain(mounts)
                .any(|mount| mount.options.needs_mount2())
                && fs_context::knows_pidns()
        }
    }
}
