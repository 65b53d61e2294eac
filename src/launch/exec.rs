//! The runtime's side of `exec`: opens the namespaces of a container, clones the exec parent, and answers its messages until
//! the program runs. A failure kills the processes created so far.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::intermediate::{CgroupEntry, spawn_waiting};
use super::{end, fd_passing, limits, listener, start};
use crate::cgroup::resctrl;
use crate::cgroup::systemd::Systemd;
use crate::cgroup::{directory, mount};
use crate::child::{self, Spawned};
use crate::error::{At, Context, Error, Hint, Report, Result, Step, anyhow, bail, call_with_hint, errno};
use crate::foreground;
use crate::init::join::{self, JoinTarget};
use crate::plan::Process;
use crate::protocol::{Channel, Message, Received, out_of_order};
use crate::state::record::{CgroupState, ClassState};
use crate::status::Document;
use crate::sys::process::{Exit, NAMESPACES};
use crate::sys::{descriptor, fs, process, sched};
use crate::{log, progress, self_protect, timings};

/// What the caller receives, and the cgroup of the process.
pub struct ExecOptions<'a> {
    pub console_socket: Option<&'a Path>,
    pub pidfd_socket: Option<&'a Path>,
    pub pid_file: Option<&'a Path>,
    /// A path below the container's cgroup, or the cgroup itself (empty). Unset: the container's cgroup, or the one that init has
    /// moved to.
    pub cgroup: Option<&'a Path>,
    /// The runtime stays in the foreground.
    pub foreground: bool,
}

/// A container to join.
pub struct Target<'a> {
    pub id: &'a str,
    pub pid: i32,
    pub cgroup: Option<&'a CgroupState>,
    pub class: Option<&'a ClassState>,
    /// The name of the container's session keyring.
    pub keyring: String,
    /// Taken by the process that joins.
    pub join_target: Option<JoinTarget>,
    /// The container's state, for a seccomp agent.
    pub document: Document<'a>,
}

/// A process that runs its program.
pub struct Joined {
    pub pidfd: OwnedFd,
    /// The terminal's master end, if there is one and no console socket took it.
    pub master: Option<OwnedFd>,
    /// In the foreground, the signals to forward.
    pub signals: Option<OwnedFd>,
}

/// Finds the namespaces and the root of the container with this init. `init` must have been verified; `chroot`: its root is
/// not that of its mount namespace.
pub fn join_target(pid: i32, init: OwnedFd, chroot: bool) -> Result<JoinTarget> {
    let open = |process: &str| {
        let path = format!("/proc/{process}/ns");
        fs::open(Path::new(&path), libc::O_PATH | libc::O_DIRECTORY)
    };
    let (theirs, ours) = (open(&pid.to_string())?, open("self")?);
    let mut namespaces = 0;
    for kind in &NAMESPACES {
        // The text of the link names the namespace; following the link would allocate an inode for it.
        let name = |directory: &OwnedFd| fs::readlinkat(directory.as_fd(), kind.file);
        match (name(&theirs), name(&ours)) {
            (Ok(one), Ok(other)) if one == other => {}
            (Ok(_), Ok(_)) => namespaces |= kind.flag,
            // A kind that this kernel does not have.
            (_, Err(error)) if error.errno == Errno::ENOENT => {}
            // It is ending and has left its namespaces. The end is complete when all processes of its pid namespace have ended.
            (Err(error), _) if matches!(error.errno, Errno::ENOENT | Errno::ESRCH) => {
                return Err(call_with_hint(
                    error,
                    "container not running",
                    "its init process is ending; `orlop state` shows when it has ended",
                ));
            }
            (Err(error), _) | (_, Err(error)) => return Err(error).context(Step::Namespaces),
        }
    }
    let root = if chroot || namespaces & libc::CLONE_NEWNS as u64 == 0 {
        let path = format!("/proc/{pid}/root");
        Some(fs::open(Path::new(&path), libc::O_PATH | libc::O_DIRECTORY)?)
    } else {
        None
    };
    // If init is still alive, the data read is init's, not that of a later process with the same pid.
    match process::pidfd_send_signal(init.as_fd(), 0) {
        Err(error) if error.errno == Errno::ESRCH => bail!("container not running"),
        other => other.context(Step::Namespaces)?,
    }
    Ok(JoinTarget { init, namespaces, root })
}

/// Processes to kill on failure, and the pid file to remove.
#[derive(Default)]
struct Rollback<'a> {
    exec_parent: Option<OwnedFd>,
    process: Option<(i32, OwnedFd)>,
    pid_file: Option<&'a Path>,
    /// The exec parent was killed before its first message: see `create`.
    killed_at_birth: bool,
    /// The container has a user namespace, in which the runtime may lack privilege over the process.
    in_user_namespace: bool,
}

impl Drop for Rollback<'_> {
    fn drop(&mut self) {
        let process = self.process.take().map(|(_, pidfd)| pidfd);
        for pidfd in [self.exec_parent.take(), process].into_iter().flatten() {
            // An error here cannot be reported.
            let _ = end::kill(&pidfd);
        }
        if let Some(path) = self.pid_file {
            // It may already be gone.
            let _ = fs::unlinkat(fs::CWD, path, false);
        }
    }
}

/// Runs a process in a container, until it has executed its program.
pub fn exec(mut target: Target, plan: &Process, options: &ExecOptions) -> Result<Joined> {
    let mut made = Rollback::default();
    if let Some(processors) = &plan.scheduling.exec_initial {
        sched::set_affinity(processors.words()).context(At::new("process.execCPUAffinity.initial"))?;
    }
    // Non-dumpable from birth.
    process::set_undumpable()?;
    let entered = match enter(&mut target, plan, options, &mut made, CgroupEntry::CloneInto) {
        Err(error) if made.killed_at_birth && is_alive(&target) => {
            log::debug(|| format!("cannot clone into the cgroup, so the process migrates: {error:#}"));
            made = Rollback::default();
            enter(&mut target, plan, options, &mut made, CgroupEntry::Migrate)
        }
        other => other,
    };
    let (channel, master) = entered?;
    let Some((pid, pidfd)) = &made.process else {
        bail!("no process has joined the container")
    };
    progress::step(Step::Limits);
    limits::set_limits(plan, *pid).context(Step::Limits)?;
    if !made.in_user_namespace {
        limits::set_scheduler(plan, *pid).context(Step::Scheduler)?;
    }
    let master = fd_passing::console(options.console_socket, master)?;
    if let Some(path) = options.pidfd_socket {
        fd_passing::pidfd(path, pidfd, "setns")?;
    }
    if let Some(path) = options.pid_file {
        fd_passing::pid_file(path, *pid)?;
        made.pid_file = Some(path);
    }
    if let Some(master) = &master {
        foreground::fit(master)?;
    }
    // Up to here a signal ends the runtime, and with it the process; from here on signals are forwarded.
    let signals = options.foreground.then(foreground::catch_signals).transpose()?;
    progress::step(Step::Start);
    channel
        .send_to(&Message::Start, pidfd.as_fd())
        .map_err(|error| explain_end(end::of_child(pidfd, Some(&error)), Some(error)))?;
    start::executed(&channel, pidfd.as_fd(), None)?;
    let Some((_, pidfd)) = made.process.take() else {
        bail!("no process has joined the container")
    };
    made.pid_file = None;
    progress::reached("started");
    Ok(Joined { pidfd, master, signals })
}

/// Whether the container is still running: it may have been killed together with everything in its cgroup.
fn is_alive(target: &Target) -> bool {
    let init = target
        .join_target
        .as_ref()
        .map(|join_target| (join_target.init.as_fd(), libc::POLLIN));
    init.is_some_and(|init| descriptor::poll(&[init], 0).is_ok_and(|events| events == [0]))
}

/// Clones the exec parent, and answers messages until the process that it clones is ready.
fn enter(
    target: &mut Target,
    plan: &Process,
    options: &ExecOptions,
    made: &mut Rollback,
    cgroup_entry: CgroupEntry,
) -> Result<(Channel, Option<OwnedFd>)> {
    let namespaces = target
        .join_target
        .as_ref()
        .map_or(0, |join_target| join_target.namespaces);
    made.in_user_namespace = namespaces & libc::CLONE_NEWUSER as u64 != 0;
    progress::step(Step::Clone);
    let channel = match spawn_exec_parent(target, options, cgroup_entry)? {
        Spawned::Child(socket) => join::run(
            target.id,
            target.keyring.clone(),
            plan,
            target.join_target.take(),
            Channel::new(socket),
        ),
        Spawned::Parent(child) => {
            timings::cloned(child.pid);
            made.exec_parent = Some(child.pidfd);
            self_protect::let_go();
            Channel::new(child.socket)
        }
    };
    let master = converse(made, plan, &target.document, &channel)?;
    Ok((channel, master))
}

/// The exec parent starts in the cgroup, and so does its child, so that they are never unlimited.
fn spawn_exec_parent(target: &Target, options: &ExecOptions, cgroup_entry: CgroupEntry) -> Result<Spawned> {
    let Some(cgroup) = target.cgroup else {
        if options.cgroup.is_some() {
            bail!("--cgroup: the container has no cgroup");
        }
        return match target.class {
            Some(_) => spawn_waiting(|pid| classify(target, pid)),
            None => child::spawn(0, None).context(Step::Clone),
        };
    };
    let below = options.cgroup.unwrap_or(Path::new(""));
    if let Some(unit) = cgroup.unit.as_ref().filter(|unit| unit.user) {
        // Only systemd can move a process from our part of the tree to the container's.
        let mut systemd = Systemd::open(unit.user, None).context(Step::Cgroup)?;
        return spawn_waiting(|pid| {
            systemd.attach(&unit.name, below, pid).context(Step::Cgroup)?;
            classify(target, pid)
        });
    }
    let attempt = || -> Result<Spawned> { spawn_into(&directory::open(cgroup, below)?, cgroup_entry, target) };
    match attempt() {
        // Init has moved to a child cgroup and enabled controllers in this one, which can then hold no processes, or has left it
        // for good: join the cgroup that init is in.
        Err(error) if options.cgroup.is_none() && is_moved(&error) => {
            log::debug(|| format!("joining the cgroup that init is in: {error:#}"));
            spawn_into(&mount::open_of(target.pid)?, cgroup_entry, target)
        }
        other => other.map_err(|error| match options.cgroup {
            Some(below) => about_sub_cgroup(below, error),
            None => error.context(Step::Cgroup),
        }),
    }
}

fn spawn_into(directory: &OwnedFd, cgroup_entry: CgroupEntry, target: &Target) -> Result<Spawned> {
    let spawned = match (cgroup_entry, target.class) {
        (CgroupEntry::CloneInto, None) => return child::spawn(0, Some(directory.as_fd())).context(Step::Clone),
        (CgroupEntry::Migrate, None) => child::spawn(0, None).context(Step::Clone)?,
        // The process is moved anyway.
        (_, Some(_)) => spawn_waiting(|pid| classify(target, pid))?,
    };
    if matches!(spawned, Spawned::Child(_)) && directory::enter(directory.as_fd()).is_err() {
        // The runtime sees the channel close.
        process::exit_now(1);
    }
    Ok(spawned)
}

/// Moves a process into the container's class of service, which children inherit.
fn classify(target: &Target, pid: i32) -> Result<()> {
    match target.class {
        Some(class) => resctrl::assign(class, pid).context(Step::ClassOfService),
        None => Ok(()),
    }
}

fn about_sub_cgroup(below: &Path, error: Error) -> Error {
    let text = format!(
        "--cgroup \"/{}\": adding pid of the new process to cgroups",
        below.display()
    );
    match errno(&error) {
        Some(Errno::ENOENT) => error.context(Hint {
            message: text,
            hint: "create it below the container's cgroup first: exec does not create cgroups".into(),
        }),
        Some(Errno::EOPNOTSUPP) => error.context(Hint {
            message: text,
            hint: "it is in a threaded subtree and must be threaded, too: write \"threaded\" to its cgroup.type".into(),
        }),
        _ => error.context(text),
    }
}

fn is_moved(error: &Error) -> bool {
    matches!(
        errno(error),
        Some(Errno::EBUSY | Errno::EOPNOTSUPP | Errno::ENOENT | Errno::ENODEV)
    )
}

/// Answers messages until the process is ready. Returns the terminal's master end, if there is a terminal.
fn converse(made: &mut Rollback, plan: &Process, state: &Document, channel: &Channel) -> Result<Option<OwnedFd>> {
    let mut master = None;
    let mut notifier = None;
    let mut ready = false;
    // The exec parent and its child send messages at the same time.
    while !ready || made.process.is_none() {
        progress::waiting();
        // The exec parent may be killed between its clone and its message; the process, which waits for an answer, then keeps the
        // channel open.
        let heard = match made
            .process
            .as_ref()
            .map(|(_, pidfd)| pidfd)
            .or(made.exec_parent.as_ref())
        {
            Some(pidfd) => channel.next_from(pidfd.as_fd())?,
            None => Received::End,
        };
        match heard {
            Received::Message(Message::Entered(pid), Some(pidfd)) if made.process.is_none() => {
                timings::entered(pid);
                made.process = Some((pid, pidfd));
            }
            Received::Message(Message::Console, Some(fd)) if plan.terminal && master.is_none() => master = Some(fd),
            Received::Message(Message::Listener, Some(fd)) if notifier.is_none() => notifier = Some(fd),
            Received::Message(Message::Ready, _) if !ready => ready = true,
            Received::Message(other, _) => return Err(out_of_order(&other)),
            Received::End => {
                let process = made.process.as_ref().map(|(_, pidfd)| pidfd);
                let Some(pidfd) = process.or(made.exec_parent.as_ref()) else {
                    bail!("the channel was closed")
                };
                let exit = end::of_child(pidfd, None);
                made.killed_at_birth = !ready && process.is_none() && exit == Some(Exit::Signal(libc::SIGKILL));
                return Err(explain_end(exit, None));
            }
        }
        if let Some((pid, pidfd)) = &made.process
            && let Some(fd) = notifier.take()
        {
            listener::hand_over(plan.listener(), *pid, state, fd)?;
            channel
                .send_to(&Message::ListenerTaken, pidfd.as_fd())
                .map_err(|error| explain_end(end::of_child(pidfd, Some(&error)), Some(error)))?;
        }
    }
    if let Some(exec_parent) = made.exec_parent.take() {
        end::of_child(&exec_parent, None);
    }
    Ok(master)
}

/// The error for a process that ended without a message. `unsent`: why a message that it waits for could not be sent.
fn explain_end(exit: Option<Exit>, unsent: Option<Error>) -> Error {
    match (exit, unsent) {
        (_, Some(reported)) if reported.downcast_ref::<Report>().is_some() => reported,
        (Some(Exit::Signal(signal)), _) => Error::new(end::Killed(signal)).context(Hint {
            message: "entering the container".into(),
            hint:
                "the memory limit of the container's cgroup may be too low, or it was killed from outside; see `dmesg`"
                    .into(),
        }),
        (Some(Exit::Code(code)), _) => anyhow!("the process ended with exit status {code} and no message"),
        (None, unsent) => unsent.unwrap_or_else(|| anyhow!("the process closed the channel")),
    }
}
