//! A process between runtime and init, where user namespaces and joined namespaces meet.
//!
//! setns(2) wants CAP_SYS_ADMIN over the namespace that is joined, and in the caller's own user namespace. So
//!
//! * what the container joins beside a *new* user namespace, and is therefore older, must be joined before that is made:
//!   its processes have no power over what was there before them;
//! * what the container makes beside a *joined* user namespace must be made inside that, to belong to it;
//! * what it joins beside a joined user namespace may belong to that or to one above: root joins it before, with the
//!   power over all below; a plain user can only join it afterwards, with the power that the user namespace gives.
//!
//! A user namespace cannot be left again, and a mount namespace takes the root directory away, so the runtime does none of
//! this itself: a child of its does, and makes init as a sibling of its own (`CLONE_PARENT`), which makes it the runtime's
//! child as always. Its user stays the runtime's, to whom the cgroup belongs.
//!
//! It is also the way into a cgroup in which the runtime may not give birth, because a cgroup above both is another's: the
//! process between is moved there by who has that power, and its children are born where it is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::end;
use crate::cgroup::directory;
use crate::child::{self, Child, Spawned};
use crate::error::{Context, Error, Result, Step, bail, call_with_hint};
use crate::init::diagnose;
use crate::plan::{JoinedNamespace, Plan};
use crate::protocol::{Channel, Message, Received};
use crate::sys::process::Cloned;
use crate::sys::{SysError, fs, process};

/// How a process comes into its cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupEntry {
    /// It is born there: no moving of processes, which takes the kernel milliseconds.
    CloneInto,
    /// Its maker moves there before.
    Migrate,
}

/// Moves a process into the cgroup that its children are to be born in.
pub type Attach<'a> = &'a mut dyn FnMut(i32) -> Result<()>;

/// [`process::clone3`] for a plan whose namespaces cannot be entered in one step, or a cgroup that cannot. `attach`: who moves
/// the maker, if it cannot move itself.
pub fn clone(
    plan: &Plan,
    cgroup: Option<BorrowedFd>,
    cgroup_entry: CgroupEntry,
    born_late: bool,
    attach: Option<Attach>,
) -> Result<Cloned> {
    let namespaces = match born_late {
        // Its maker joins what there is to join.
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
            match make_init(plan, &namespaces, cgroup, cgroup_entry) {
                // This is init now, and its channel is another.
                Ok(Cloned::Child) => return Ok(Cloned::Child),
                Ok(Cloned::Parent { pid, pidfd }) => {
                    // An init that the runtime does not hear of is nobody's.
                    if channel.send_with(&Message::Born(pid), Some(pidfd.as_fd())).is_err() {
                        let _ = process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
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
                    bail!("the process that was to make init ended without a word")
                }
            }
        }
    }
}

/// A child that does nothing until it has been moved to where its own children are to be born.
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
                // Nothing tells it to go on, so it ends.
                drop(channel);
                end::of_child(&pidfd, None);
                return Err(error);
            }
            let socket = channel.into_socket();
            Ok(Spawned::Parent(Child { pid, pidfd, socket }))
        }
    }
}

/// All of them before the first is joined, while paths mean what they mean to the runtime.
fn open(plan: &Plan) -> Result<Vec<(&JoinedNamespace, OwnedFd)>> {
    let (user, pid) = (libc::CLONE_NEWUSER as u64, libc::CLONE_NEWPID as u64);
    let all = plan.namespaces.need_a_process_between();
    let wanted = plan
        .namespaces
        .joined
        .iter()
        // Init can join the others itself where it can join any.
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
        // Another user namespace is a change of credentials, see `init::identity`.
        process::set_undumpable()?;
    }
    process::clone3(plan.flags_of_clone() | libc::CLONE_PARENT as u64, cgroup)
        .map_err(|error| diagnose::explain(error, plan))
        .context(Step::Clone)
}

fn join_all(plan: &Plan, namespaces: &[(&JoinedNamespace, OwnedFd)]) -> Result<()> {
    let user = libc::CLONE_NEWUSER as u64;
    let joins_user = plan.namespaces.joins(libc::CLONE_NEWUSER).is_some();
    let mut later = Vec::new();
    for (joined, fd) in namespaces.iter().filter(|(joined, _)| joined.flag != user) {
        match process::setns(fd.as_fd(), joined.flag) {
            Err(error) if error.errno == Errno::EPERM && joins_user => later.push((*joined, fd)),
            other => other.map_err(foreign).with_context(|| joined.at())?,
        }
    }
    for (joined, fd) in namespaces.iter().filter(|(joined, _)| joined.flag == user) {
        process::setns(fd.as_fd(), joined.flag).with_context(|| joined.at())?;
    }
    for (joined, fd) in later {
        process::setns(fd.as_fd(), joined.flag)
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
        "it belongs to a user namespace over which the caller has no power",
        "join the user namespace that it belongs to as well ({\"type\": \"user\", \"path\": …} in linux.namespaces), or \
         run as root",
    )
}
