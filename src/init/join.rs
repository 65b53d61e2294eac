//! A process that joins a container, in two stages.
//!
//! The exec parent is a copy of the runtime, cloned into the container's cgroup. It sets the process's limits while it is
//! still outside, joins all of the container's namespaces in one call, drops everything that the process must not have, and clones
//! one child, which starts inside. Only that child is visible to the container's processes, and those with CAP_SYS_PTRACE may
//! attach to it: so it never has access to the host or a privilege of the host. No root or working directory outside, no
//! descriptor except the channel and those requested, no capability that the container lacks (except the one that a filter
//! without no_new_privs needs, see `security::seccomp::install`); non-dumpable until execve (CVE-2016-9962). It is a child of the
//! runtime, not of the exec parent, and runs the same lists of steps as init.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use super::context::{self, ProcessContext};
use super::fds;
use super::process::{self as steps, ProcessStep, walk};
use super::step::take;
use super::{environment, exec, identity, scheduling, terminal};
use crate::error::{Result, Step, anyhow};
use crate::log;
use crate::plan::{DevConsole, Process};
use crate::progress::{self, Role};
use crate::protocol::{Channel, Message};
use crate::rootfs::Root;
use crate::security::procfs::HostProc;
use crate::sys::{clone, execve, fs, process, signal};
use crate::timings::Peer;

/// What is needed to join a container.
pub struct JoinTarget {
    /// A pidfd of its init.
    pub init: OwnedFd,
    /// `CLONE_NEW*` flags of init's namespaces that are not the runtime's.
    pub namespaces: u64,
    /// Init's root directory, where it has no mount namespace of its own.
    pub root: Option<OwnedFd>,
}

/// Runs the exec parent; never returns to the caller's code.
pub fn run(id: &str, keyring: String, plan: &Process, join_target: Option<JoinTarget>, channel: Channel) -> ! {
    // `--env TOKEN=…` and the caller's environment must not be readable in the container.
    execve::hide_invocation(b"orlop exec");
    signal::reset_all();
    progress::set_role(Role::Exec);
    channel.divert_log();
    let mut context = ProcessContext {
        id,
        channel,
        caller_umask: fs::umask(0),
        user_namespace: join_target.as_ref().map_or(0, |join_target| join_target.namespaces)
            & libc::CLONE_NEWUSER as u64
            != 0,
        keyring,
        by_its_maker: true,
        host_proc: None,
        console: None,
        program: None,
        in_cwd: false,
    };
    let join_target = join_target.ok_or_else(|| anyhow!("the target of exec was used twice"));
    let entered = join_target
        .and_then(|join_target| exec_parent(&mut context, plan, join_target))
        .and_then(|()| enter(&mut context, plan));
    let error = match entered {
        Ok(never) => match never {},
        Err(error) => error,
    };
    context.channel.send_failure(&error);
    process::exit_now(1)
}

/// The exec parent's steps. Returns only in the process that joins.
fn exec_parent(context: &mut ProcessContext, plan: &Process, join_target: JoinTarget) -> Result<()> {
    take(context, Step::Descriptors, |context| {
        let root = join_target.root.as_ref().map(|root| root.as_raw_fd());
        let channel = Some(context.channel.fd().as_raw_fd());
        let own = [channel, Some(join_target.init.as_raw_fd()), root, log::diverted()];
        fds::keep_only(plan.preserve_fds, &own.into_iter().flatten().collect::<Vec<_>>())
    })?;
    if plan.oom_score_adj.is_some() || plan.apparmor_profile.is_some() || plan.selinux_label.is_some() {
        take(context, Step::HostFiles, |context| {
            context.host_proc = Some(HostProc::open()?);
            Ok(())
        })?;
    }
    // Before the user namespace, in which the privilege to lower the score is lost.
    walk(context, plan, steps::LIMITS)?;
    take(context, Step::Namespaces, |_| {
        // The kernel joins the user namespace first, and joins all or none. The pidfd of an ended process joins nothing, even
        // if its pid has been reused.
        match join_target.namespaces {
            0 => Ok(()),
            namespaces => Ok(clone::setns(join_target.init.as_fd(), namespaces)?),
        }
    })?;
    if context.user_namespace {
        take(context, Step::UserNamespace, |_| identity::become_root_of_namespace())?;
    }
    take(context, Step::Root, |_| {
        // Joining the mount namespace also changes the root and the working directory. With --no-pivot the root is the
        // topmost mount, which the kernel follows.
        if let Some(root) = &join_target.root {
            fs::fchdir(root.as_fd())?;
            fs::chroot(Path::new("."))?;
        }
        Ok(())
    })?;
    walk(context, plan, steps::KEYS)?;
    // The container sees the child, which must hold nothing that leads out of the container.
    context.host_proc = None;
    drop(join_target);
    walk(context, plan, SURROUNDINGS)?;
    walk(context, plan, steps::CONFINEMENT)?;
    progress::step(Step::Birth);
    context::bear(context)
}

/// Steps that need privileges.
const SURROUNDINGS: &[(Step, ProcessStep)] = &[
    (Step::Console, |context, plan| {
        if !plan.terminal {
            return Ok(());
        }
        // The container has one /dev/console, which belongs to init.
        terminal::open(context, plan, &root()?, DevConsole::None)
    }),
    (Step::Cwd, |context, plan| {
        // A directory that cannot be entered from here is tried again from inside: /proc/self of the container differs.
        context.in_cwd = environment::enter_cwd(&root()?, plan).unwrap_or(false);
        Ok(())
    }),
];

fn root() -> Result<Root> {
    Ok(Root::new(fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?))
}

fn enter(context: &mut ProcessContext, plan: &Process) -> Result<Infallible> {
    // A new session, so that no signal of the caller's terminal reaches it.
    take(context, Step::Session, |_| Ok(process::setsid()?))?;
    if context.user_namespace {
        // Otherwise the runtime does it.
        take(context, Step::Scheduler, |_| scheduling::own_scheduler(plan))?;
    }
    if !context.in_cwd {
        take(context, Step::Cwd, |context| {
            context.in_cwd = environment::enter_cwd(&root()?, plan)?;
            Ok(())
        })?;
    }
    walk(context, plan, steps::ARRIVAL)?;
    exec::execute(context, plan, |context| {
        context.channel.send(&Message::Ready)?;
        progress::step(Step::Start);
        // The program runs only after the caller has received everything that it requested.
        context.channel.linger(Peer::Start);
        context.channel.expect_from_runtime(&[Message::Start]).map(drop)
    })
}
