//! Init of a container that joins a pid namespace, as in a pod, is born late.
//!
//! Where there is no user namespace, processes in there that have CAP_SYS_PTRACE may attach to whatever of ours they see. So
//! the process that makes the container stays outside of the pid namespace, like the usher of `exec`, and makes init when all
//! is made and confined: what is seen inside has the container's root and capabilities from its first moment.

use crate::plan::{MountKind, Plan, RootMode};
use crate::sys::fs_context;

/// Whether init comes so. Hooks that are told init's pid must be told the one that it keeps, and a procfs must be mounted for
/// a pid namespace that its maker is not in, which takes Linux 6.17. Elsewhere init begins in the pid namespace.
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
