//! A process that joins a container, in two parts.
//!
//! The usher is a copy of the runtime, born in the container's cgroup. It takes the process's limits while it is still
//! outside, joins all of the container's namespaces in one call, gives up all that the process is not to have, and makes one
//! child, which is born inside. Only that child can be seen by the container's processes, and those with CAP_SYS_PTRACE may
//! take hold of it: so it never has a way to the host or a power of the host's. No root or working directory outside, no
//! descriptor besides the channel and what was asked for, no capability that the container lacks (but for the one that a
//! filter without no_new_privs costs, see `security::seccomp::install`); undumpable until execve (CVE-2016-9962). It is the
//! runtime's child, not the usher's, and goes through the same lists as init.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use super::context::{self, ProcessContext};
use super::fds;
use super::process::{self as steps, ProcessStep, walk};
use super::{environment, exec, identity, scheduling, take, terminal};
use crate::error::{Result, Step, anyhow};
use crate::log;
use crate::plan::{DevConsole, Process};
use crate::progress::{self, Walker};
use crate::protocol::{Channel, Message};
use crate::rootfs::Root;
use crate::security::procfs::HostProc;
use crate::sys::{fs, process, signal};

/// The way into a container.
pub struct JoinTarget {
    /// A pidfd of its init.
    pub init: OwnedFd,
    /// `CLONE_NEW*` flags of init's namespaces that are not the runtime's.
    pub namespaces: u64,
    /// Init's root directory, where it has no mount namespace of its own.
    pub root: Option<OwnedFd>,
}

/// Runs the usher; never returns to the caller's code.
pub fn run(id: &str, keyring: String, plan: &Process, join_target: Option<JoinTarget>, channel: Channel) -> ! {
    // `--env TOKEN=…`, and the caller's own: nothing for the container to read.
    process::hide_invocation(b"orlop exec");
    signal::reset_all();
    progress::become_walker(Walker::Exec);
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

/// Leads the process in. Returns in that alone.
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
    // Before the user namespace, in which the right to lower the score is lost.
    walk(context, plan, steps::LIMITS)?;
    take(context, Step::Namespaces, |_| {
        // The kernel takes the user namespace first, and takes all or none. A pidfd of a process that has ended joins
        // nothing, whoever has its number now.
        match join_target.namespaces {
            0 => Ok(()),
            namespaces => Ok(process::setns(join_target.init.as_fd(), namespaces)?),
        }
    })?;
    if context.user_namespace {
        take(context, Step::UserNamespace, |_| identity::become_root_of_namespace())?;
    }
    take(context, Step::Root, |_| {
        // With the mount namespace came its root, and the working directory in it. A --no-pivot container's is the
        // mount on top, which the kernel follows to.
        if let Some(root) = &join_target.root {
            fs::fchdir(root.as_fd())?;
            fs::chroot(Path::new("."))?;
        }
        Ok(())
    })?;
    walk(context, plan, steps::KEYS)?;
    // The child is seen by the container, and must have nothing that leads out of it.
    context.host_proc = None;
    drop(join_target);
    walk(context, plan, SURROUNDINGS)?;
    walk(context, plan, steps::CONFINEMENT)?;
    context::bear(context)
}

/// What it takes power to reach, or to make.
const SURROUNDINGS: &[(Step, ProcessStep)] = &[
    (Step::Console, |context, plan| {
        if !plan.terminal {
            return Ok(());
        }
        // The container has one /dev/console, and that is init's.
        terminal::open(context, plan, &root()?, DevConsole::Left)
    }),
    (Step::Cwd, |context, plan| {
        // What cannot be found from here is looked for once more from inside: the container's /proc/self is none of ours.
        context.in_cwd = environment::enter_cwd(&root()?, plan).unwrap_or(false);
        Ok(())
    }),
];

fn root() -> Result<Root> {
    Ok(Root::new(fs::open(Path::new("/"), libc::O_PATH | libc::O_DIRECTORY)?))
}

fn enter(context: &mut ProcessContext, plan: &Process) -> Result<Infallible> {
    // A session of its own, so that no signal of the caller's terminal reaches it.
    take(context, Step::Session, |_| Ok(process::setsid()?))?;
    if context.user_namespace {
        // Elsewhere the runtime does it.
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
        // Only when the caller has all that it asked for does the program run.
        context.channel.expect_from_runtime(&[Message::Start]).map(drop)
    })
}
