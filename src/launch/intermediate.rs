//! The intermediate process between runtime and init, for user namespaces combined with joined namespaces.
//!
//! setns(2) requires CAP_SYS_ADMIN over the namespace that is joined, and in the caller's own user namespace. Therefore
//!
//! * with a *new* user namespace, the older namespaces must be joined before it is created: its processes have no capability
//!   over older namespaces;
//! * with a *joined* user namespace, new namespaces must be created inside it, to belong to it;
//! * with a joined user namespace, other joined namespaces may belong to it or to an ancestor: root joins them first, with its
//!   capabilities over all descendants; an unprivileged user can only join them afterwards, with the capabilities that the user
//!   namespace gives.
//!
//! A process cannot leave a user namespace, and joining a mount namespace changes the root directory, so the runtime does none
//! of this itself: a child does, and clones init as its sibling (`CLONE_PARENT`), so that init is the runtime's child as usual.
//! The child keeps the user of the runtime, who owns the cgroup.
//!
//! It is also used if the runtime may not clone into the cgroup, because an ancestor of both cgroups belongs to another user: a
//! process with the privilege (systemd) moves the intermediate process there, and its children start in the same cgroup.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::end;
use crate::cgroup::directory;
use crate::child::{self, Child, Spawned};
use crate::error::{Context, Error, Result, Step, bail, call_with_hint};
use crate::init::diagnose;
use crate::plan::{JoinedNamespace, Plan};
use crate::protocol::{Channel, Message, Received};
use crate::sys::clone::{self, Cloned, Relation};
use crate::sys::{SysError, fs, process};

/// How a process enters its cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupEntry {
    /// By CLONE_INTO_CGROUP: moving a process takes the kernel milliseconds.
    CloneInto,
    /// Its parent migrates there before the clone.
    Migrate,
}

/// Moves a process into the cgroup in which its children are to start.
pub type Attach<'a> = &'a mut dyn FnMut(i32) -> Result<()>;

/// [`clone::clone3`] for a plan whose namespaces or cgroup cannot be entered in one step. `made`: the namespaces that the clone
/// creates. `attach` moves the intermediate process, if it cannot migrate on its own.
pub fn clone(
    plan: &Plan,
    made: u64,
    cgroup: Option<BorrowedFd>,
    cgroup_entry: CgroupEntry,
    born_late: bool,
    attach: Option<Attach>,
) -> Result<Cloned> {
    let namespaces = match born_late {
        // The late-born init's parent joins the namespaces.
        true => Vec::new(),
        false => open(plan).context(Step::Namespaces)?,
    };
    let spawned = match attach {
        Some(attach) => spawn_waiting(attach)?,
        None => child::spawn(0, None).context(Step::Clone)?,
    };
    match spawned {
        Spawned::Child(socket) => {
            let channel = Channel::new(socket);
            match make_init(plan, made, &namespaces, cgroup, cgroup_entry) {
                // This is init now, and its channel is another.
                Ok(Cloned::Child) => return Ok(Cloned::Child),
                Ok(Cloned::Parent { pid, pidfd }) => {
                    // The runtime would not know of this init.
                    if let Err(error) = channel.send_with(&Message::Born(pid), Some(pidfd.as_fd())) {
                        let _ = process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
                        channel.send_failure(&error);
                    }
                }
                Err(error) => channel.send_failure(&error),
            }
            process::exit_now(0)
        }
        Spawned::Parent(Child { pidfd, socket, .. }) => {
            let channel = Channel::new(socket);
            let heard = channel.next_from(pidfd.as_fd());
            drop(channel);
            end::of_child(&pidfd, None);
            match heard? {
                Received::Message(Message::Born(pid), Some(pidfd)) => Ok(Cloned::Parent { pid, pidfd }),
                Received::Message(..) | Received::End => {
                    bail!("the process that was to clone init ended without a message")
                }
            }
        }
    }
}

/// Clones a child that does nothing until it has been moved to where its own children are to start.
pub fn spawn_waiting(moved: impl FnOnce(i32) -> Result<()>) -> Result<Spawned> {
    match child::spawn(0, None).context(Step::Clone)? {
        Spawned::Child(socket) => {
            let channel = Channel::new(socket);
            match channel.expect_from_runtime(&[Message::Helped]) {
                Ok(_) => Ok(Spawned::Child(channel.into_socket())),
                Err(_) => process::exit_now(0),
            }
        }
        Spawned::Parent(Child { pid, pidfd, socket }) => {
            let channel = Channel::new(socket);
            if let Err(error) = moved(pid).and_then(|()| channel.send(&Message::Helped)) {
                // Its channel is closed, so it exits.
                drop(channel);
                end::of_child(&pidfd, None);
                return Err(error);
            }
            let socket = channel.into_socket();
            Ok(Spawned::Parent(Child { pid, pidfd, socket }))
        }
    }
}

/// Opens all namespaces before the first is joined, while paths still resolve as in the runtime.
fn open(plan: &Plan) -> Result<Vec<(&JoinedNamespace, OwnedFd)>> {
    let (user, pid) = (libc::CLONE_NEWUSER as u64, libc::CLONE_NEWPID as u64);
    let all = plan.namespaces.need_a_process_between();
    let wanted = plan
        .namespaces
        .joined
        .iter()
        // Init joins the others itself, if it can join any.
        .filter(|joined| all || joined.flag == pid)
        .filter(|joined| joined.flag != user || !joined.is_callers);
    wanted
        .map(|joined| {
            let fd = fs::open_namespace(&joined.path).with_context(|| joined.at())?;
            Ok((joined, fd))
        })
        .collect()
}

fn make_init(
    plan: &Plan,
    made: u64,
    namespaces: &[(&JoinedNamespace, OwnedFd)],
    mut cgroup: Option<BorrowedFd>,
    cgroup_entry: CgroupEntry,
) -> Result<Cloned> {
    if cgroup_entry == CgroupEntry::Migrate
        && let Some(directory) = cgroup.take()
    {
        directory::enter(directory).context(Step::Cgroup)?;
    }
    join_all(plan, namespaces).context(Step::Namespaces)?;
    if !plan.needs_help_from_outside() {
        // Entering a user namespace changes credentials, see `init::identity`.
        process::set_undumpable()?;
    }
    clone::clone3(made, Relation::Sibling, cgroup)
        .map_err(|error| diagnose::explain(error, plan))
        .context(Step::Clone)
}

fn join_all(plan: &Plan, namespaces: &[(&JoinedNamespace, OwnedFd)]) -> Result<()> {
    let user = libc::CLONE_NEWUSER as u64;
    let joins_user = plan.namespaces.joins(libc::CLONE_NEWUSER).is_some();
    let mut later = Vec::new();
    for (joined, fd) in namespaces.iter().filter(|(joined, _)| joined.flag != user) {
        match clone::setns(fd.as_fd(), joined.flag) {
            Err(error) if error.errno == Errno::EPERM && joins_user => later.push((*joined, fd)),
            other => other.map_err(foreign).with_context(|| joined.at())?,
        }
    }
    for (joined, fd) in namespaces.iter().filter(|(joined, _)| joined.flag == user) {
        clone::setns(fd.as_fd(), joined.flag).with_context(|| joined.at())?;
    }
    for (joined, fd) in later {
        clone::setns(fd.as_fd(), joined.flag)
            .map_err(foreign)
            .with_context(|| joined.at())?;
    }
    Ok(())
}

fn foreign(error: SysError) -> Error {
    if error.errno != Errno::EPERM {
        return error.into();
    }
    call_with_hint(
        error,
        "it belongs to a user namespace in which the caller has no capabilities",
        "join the user namespace that it belongs to as well ({\"type\": \"user\", \"path\": …} in linux.namespaces), or \
         run as root",
    )
}
