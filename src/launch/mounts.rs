//! Mounts of a running container, for `mounts add` and `mounts remove`.
//!
//! A helper, which is a child of the runtime and outside the container's pid namespace, joins the namespaces that a mount
//! depends on. The sources of bind mounts have been opened before, as detached trees with their attributes set; the helper only
//! moves them below the handle on the container's root. So no host path is ever resolved inside, and no container path outside.

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use super::end;
use crate::child::{self, Spawned};
use crate::error::{Context, Result, Step, anyhow};
use crate::init::join::JoinTarget;
use crate::init::{fds, identity};
use crate::plan::Plan;
use crate::protocol::{Channel, Received, out_of_order};
use crate::rootfs::mounts::{self, MountContext};
use crate::rootfs::place::{AttachedRoot, HostMounts};
use crate::rootfs::sources::Sources;
use crate::rootfs::unmount;
use crate::sys::{clone, descriptor, fs, process, signal};

/// What to do.
pub enum Task {
    /// All mounts of the plan, or none of them.
    Add,
    /// The mounts at these paths, the last one first.
    Remove(Vec<PathBuf>),
}

/// The namespaces that a file system may expose, and those needed for mounting. Not the pid namespace: the container's
/// processes must not see the helper.
const JOINED: u64 = (libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC) as u64;

/// Runs the helper. `plan`: that of the container, with the mounts to be added.
pub fn change(plan: &Plan, join_target: JoinTarget, task: &Task) -> Result<()> {
    let sources = match task {
        // An unprivileged user cannot open mount sources here; the helper can, as root of the user namespace.
        Task::Add if process::effective_uid() == 0 => Sources::for_running(plan).context(Step::Mounts)?,
        _ => Sources::default(),
    };
    process::set_undumpable()?;
    let child = match child::spawn(0, None).context(Step::Clone)? {
        Spawned::Child(socket) => help(plan, join_target, task, sources, Channel::new(socket)),
        Spawned::Parent(child) => child,
    };
    drop((join_target, sources));
    let heard = Channel::new(child.socket).next_from(child.pidfd.as_fd());
    let exit = end::of_child(&child.pidfd, None);
    match heard? {
        Received::Message(other, _) => Err(out_of_order(&other)),
        Received::End if exit == Some(process::Exit::Code(0)) => Ok(()),
        Received::End => Err(anyhow!(
            "the process that was to change the mounts ended before it had done it"
        )),
    }
}

/// Runs in the helper, which exits here.
fn help(plan: &Plan, join_target: JoinTarget, task: &Task, sources: Sources, channel: Channel) -> ! {
    signal::reset_all();
    fs::umask(0);
    let done = || -> Result<()> {
        let root = join_target.root.as_ref().map(|root| root.as_raw_fd());
        let own = [Some(channel.fd().as_raw_fd()), Some(join_target.init.as_raw_fd()), root];
        let own: Vec<_> = own.into_iter().flatten().chain(sources.raw_fds()).collect();
        fds::keep_only(0, &own).context(Step::Descriptors)?;
        // The container may have another procfs or none, and it does not show this process.
        let descriptors = fs::open(Path::new("/proc/self/fd"), libc::O_PATH | libc::O_DIRECTORY)?;
        let (root, mut sources) = enter(plan, &join_target, task, sources).context(Step::Namespaces)?;
        match task {
            Task::Add => {
                let around = MountContext {
                    own_cgroup_namespace: false,
                    whole_cgroup_tree: false,
                    cgroup: None,
                    pid_namespace_of_children: false,
                    network: &|| Ok(()),
                    runtime: None,
                    host: HostMounts::Inherited,
                };
                mounts::add(&root, &plan.rootfs, &around, &mut sources, descriptors.as_fd())
            }
            Task::Remove(places) => unmount::remove(&root, &plan.rootfs, places, descriptors.as_fd()),
        }
        .context(Step::Mounts)
    };
    match done() {
        Ok(()) => process::exit_now(0),
        Err(error) => {
            channel.send_failure(&error);
            process::exit_now(1)
        }
    }
}

/// Joins the container. Returns the handle on its root, and the sources.
fn enter(plan: &Plan, join_target: &JoinTarget, task: &Task, mut sources: Sources) -> Result<(AttachedRoot, Sources)> {
    let user = join_target.namespaces & libc::CLONE_NEWUSER as u64;
    if user != 0 {
        let privileged = process::effective_uid() == 0;
        clone::setns(join_target.init.as_fd(), user)?;
        identity::become_root_of_namespace()?;
        if !privileged && matches!(task, Task::Add) {
            // A copy of the host's mounts, in which the root of the user namespace may open mount sources.
            clone::unshare(libc::CLONE_NEWNS as u64)?;
            sources = Sources::for_running(plan)?;
        }
    }
    clone::setns(join_target.init.as_fd(), join_target.namespaces & JOINED)?;
    let root = match &join_target.root {
        Some(root) => descriptor::copy(root.as_raw_fd())?,
        None => fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?,
    };
    Ok((AttachedRoot::new(root), sources))
}
