//! How the mount namespace of a new container is created.
//!
//! A copy of the host's mounts, which init then removes, takes as long as the host has mounts, under a lock that all mount
//! namespaces share. Since Linux 7.0 the namespace can be made of the container's own mounts: see `rootfs::place`.

use crate::host::kernel::{self, Feature, Support};
use crate::init::MountNamespace;
use crate::log;
use crate::plan::{MountKind, Plan, PropagationKind, RootMode};
use crate::sys::{capabilities, process};

/// The first release with `OPEN_TREE_NAMESPACE`. Older ones are not asked.
const FIRST: kernel::Release = (7, 0);

/// Chooses by the plan, and then by the kernel.
pub fn choose(plan: &Plan, born_late: bool) -> MountNamespace {
    let reason = match obstacle(plan, born_late) {
        Some(reason) => reason,
        None if kernel::number(&kernel::version().0).is_none_or(|release| release < FIRST) => {
            return MountNamespace::Copied;
        }
        None => match missing() {
            Some(reason) => reason,
            None => {
                log::debug(|| "the mount namespace is made of the container's mounts".into());
                return MountNamespace::OfTree;
            }
        },
    };
    log::debug(|| format!("the mount namespace is a copy of the host's: {reason}"));
    MountNamespace::Copied
}

/// What this process or the kernel lacks.
fn missing() -> Option<&'static str> {
    const CHROOT: u64 = 1 << 18;
    if !process::is_root_of_host() {
        return Some("in a user namespace proc and sysfs can be mounted only next to instances of the same namespace");
    }
    // setns(2) requires it for a mount namespace, clone3(2) does not.
    if !capabilities::capget().is_ok_and(|sets| sets.effective & CHROOT != 0) {
        return Some("entering it requires CAP_SYS_CHROOT");
    }
    match Feature::OpenTreeNamespace.support() {
        Support::Present => None,
        Support::Missing => Some("the kernel has no OPEN_TREE_NAMESPACE"),
        Support::Refused(_) => Some("OPEN_TREE_NAMESPACE is refused here"),
    }
}

/// What the plan contains that a detached tree does not allow.
fn obstacle(plan: &Plan, born_late: bool) -> Option<&'static str> {
    let rootfs = &plan.rootfs;
    let hooks = [
        &plan.hooks.prestart,
        &plan.hooks.create_runtime,
        &plan.hooks.create_container,
    ];
    if !plan.namespaces.makes(libc::CLONE_NEWNS) || rootfs.root_mode != RootMode::Pivot {
        return Some("it is not a new one");
    }
    // Its root has no privilege over the host's mount namespace.
    if plan.namespaces.has(libc::CLONE_NEWUSER) {
        return Some("the container has a user namespace");
    }
    // The processes in it could trace init while that is in the host's mount namespace.
    if plan.namespaces.joins(libc::CLONE_NEWPID).is_some() && !born_late {
        return Some("init starts in a pid namespace with other processes");
    }
    if rootfs.no_pivot {
        return Some("--no-pivot");
    }
    // They run when the mounts are complete and the root is not changed yet, and may change the mounts by path.
    if hooks.iter().any(|list| !list.is_empty()) {
        return Some("there are hooks before the root is changed");
    }
    // mount(2) needs a path.
    if rootfs.mounts.iter().any(|mount| mount.options.needs_mount2()) {
        return Some("an option of a mount needs mount(2)");
    }
    // The mounts in a detached tree cannot be changed.
    if rootfs
        .mounts
        .iter()
        .any(|mount| mount.kind == MountKind::Remount || mount.is_made_read_only_later())
    {
        return Some("a mount is to be changed after it is attached");
    }
    if !propagates_only_by_default(plan) {
        return Some("the config asks for propagation");
    }
    None
}

/// The kernel propagates nothing into a detached tree. So what is mounted on the host while the container is being created
/// would be missing in it. A config that asks for propagation gets a namespace that is connected with the host's all the time.
fn propagates_only_by_default(plan: &Plan) -> bool {
    let rootfs = &plan.rootfs;
    let separate = [libc::MS_SLAVE | libc::MS_REC, libc::MS_PRIVATE | libc::MS_REC].contains(&rootfs.propagation);
    let mut each = rootfs.mounts.iter().flat_map(|mount| &mount.options.propagation);
    separate && rootfs.final_propagation.is_none() && each.all(|one| one.kind == PropagationKind::Private)
}
