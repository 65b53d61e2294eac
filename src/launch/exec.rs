//! The runtime's side of `exec`: finds the way into a container, clones the usher, answers until the program runs.
//! Whatever fails on the way ends what was made.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::intermediate::{CgroupEntry, spawn_waiting};
use super::{end, fd_passing, listener, start};
use crate::cgroup::resctrl;
use crate::cgroup::systemd::Systemd;
use crate::cgroup::{directory, mount};
use crate::child::{self, Spawned};
use crate::error::{At, Context, Error, Hint, Result, Step, anyhow, bail, call_with_hint, errno};
use crate::foreground;
use crate::init::join::{self, JoinTarget};
use crate::init::limits;
use crate::plan::Process;
use crate::protocol::{Channel, Message, Received, out_of_order};
use crate::state::record::{CgroupState, ClassState};
use crate::status::Document;
use crate::sys::process::{Exit, NAMESPACES};
use crate::sys::{descriptor, fs, process, sched};
use crate::{log, progress};

/// What the caller wants to be given, and where the process is to be.
pub struct ExecOptions<'a> {
    pub console_socket: Option<&'a Path>,
    pub pidfd_socket: Option<&'a Path>,
    pub pid_file: Option<&'a Path>,
    /// Below the container's cgroup, or that itself (empty); unset, the container's or wherever init has moved to.
    pub cgroup: Option<&'a Path>,
    /// We stay with the process.
    pub foreground: bool,
}

/// A container to be joined.
pub struct Target<'a> {
    pub id: &'a str,
    pub pid: i32,
    pub cgroup: Option<&'a CgroupState>,
    pub class: Option<&'a ClassState>,
    /// The name of its session keyring.
    pub keyring: String,
    /// Taken by who goes it.
    pub join_target: Option<JoinTarget>,
    /// What an agent of seccomp is told about the container.
    pub document: Document<'a>,
}

/// A process that runs its program.
pub struct Joined {
    pub pidfd: OwnedFd,
    /// The terminal's master end, if there is one and no console socket took it.
    pub master: Option<OwnedFd>,
    /// In the foreground, the signals to pass on.
    pub signals: Option<OwnedFd>,
}

/// Looks for the way into the container whose init this is. `init` must have been verified to be that; `chroot`: its root is
/// not that of its mount namespace.
pub fn join_target(pid: i32, init: OwnedFd, chroot: bool) -> Result<JoinTarget> {
    let open = |process: &str| {
        let path = format!("/proc/{process}/ns");
        fs::open(Path::new(&path), libc::O_PATH | libc::O_DIRECTORY)
    };
    let (theirs, ours) = (open(&pid.to_string())?, open("self")?);
    let mut namespaces = 0;
    for kind in &NAMESPACES {
        // The link's text names the namespace; following it would make an inode for it first.
        let name = |directory: &OwnedFd| fs::readlinkat(directory.as_fd(), kind.file);
        match (name(&theirs), name(&ours)) {
            (Ok(one), Ok(other)) if one == other => {}
            (Ok(_), Ok(_)) => namespaces |= kind.flag,
            // A kind that this kernel does not have.
            (_, Err(error)) if error.errno == Errno::ENOENT => {}
            // It is ending, and has left its namespaces; for good only when all of its pid namespace have ended.
            (Err(error), _) if matches!(error.errno, Errno::ENOENT | Errno::ESRCH) => {
                return Err(call_with_hint(
                    error,
                    "container not running",
                    "its first process is just ending; `orlop state` tells when it has",
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
    // What was read is init's, and not of a later process with its number, if init still lives.
    process::pidfd_send_signal(init.as_fd(), 0).map_err(|_| anyhow!("container not running"))?;
    Ok(JoinTarget { init, namespaces, root })
}

/// Those who are to end if it comes to nothing, and the file that would tell of them.
#[derive(Default)]
struct Rollback<'a> {
    exec_parent: Option<OwnedFd>,
    process: Option<(i32, OwnedFd)>,
    pid_file: Option<&'a Path>,
    /// The usher was killed before its first word: see `create`.
    killed_at_birth: bool,
    /// The container has one of its own, in which the runtime need not have power over the process.
    in_user_namespace: bool,
}

impl Drop for Rollback<'_> {
    fn drop(&mut self) {
        let process = self.process.take().map(|(_, pidfd)| pidfd);
        for pidfd in [self.exec_parent.take(), process].into_iter().flatten() {
            // Nobody is there to be told of one that does not end.
            let _ = end::kill(&pidfd);
        }
        if let Some(path) = self.pid_file {
            // One that is gone already is as good.
            let _ = fs::unlinkat(fs::CWD, path, false);
        }
    }
}

/// Puts a process into a container, up to where it has executed its program.
pub fn exec(mut target: Target, plan: &Process, options: &ExecOptions) -> Result<Joined> {
    let mut made = Rollback::default();
    if let Some(processors) = &plan.scheduling.exec_initial {
        sched::set_affinity(processors.words()).context(At::new("process.execCPUAffinity.initial"))?;
    }
    // Born as hidden as it shall stay.
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
        bail!("nobody has entered the container")
    };
    limits::limits_from_outside(plan, *pid).context(Step::Limits)?;
    if !made.in_user_namespace {
        limits::scheduler_from_outside(plan, *pid).context(Step::Scheduler)?;
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
    // Until here a signal has ended us, and with us the process; from here on it is the process's.
    let signals = options.foreground.then(foreground::catch_signals).transpose()?;
    progress::step(Step::Start);
    channel
        .send(&Message::Start)
        .map_err(|error| explain_end(end::of_child(pidfd, Some(&error)), Some(error)))?;
    start::executed(&channel, pidfd.as_fd(), None)?;
    let Some((_, pidfd)) = made.process.take() else {
        bail!("nobody has entered the container")
    };
    made.pid_file = None;
    progress::reached("started");
    Ok(Joined { pidfd, master, signals })
}

/// Whether the container is still there to be entered: it may have been killed, with all that was in its cgroup.
fn is_alive(target: &Target) -> bool {
    let init = target
        .join_target
        .as_ref()
        .map(|join_target| (join_target.init.as_fd(), libc::POLLIN));
    init.is_some_and(|init| descriptor::poll(&[init], 0).is_ok_and(|events| events == [0]))
}

/// Makes the usher, and answers until the process that it leads in is ready.
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
            made.exec_parent = Some(child.pidfd);
            Channel::new(child.socket)
        }
    };
    let master = converse(made, plan, &target.document, &channel)?;
    Ok((channel, master))
}

/// The usher is born in the cgroup, and its child after it, so there is no moment in which they are unlimited.
fn spawn_exec_parent(target: &Target, options: &ExecOptions, cgroup_entry: CgroupEntry) -> Result<Spawned> {
    let Some(cgroup) = target.cgroup else {
        if options.cgroup.is_some() {
            bail!("--cgroup: the container has no cgroup of its own");
        }
        return match target.class {
            Some(_) => spawn_waiting(|pid| classify(target, pid)),
            None => child::spawn(0, None).context(Step::Clone),
        };
    };
    let below = options.cgroup.unwrap_or(Path::new(""));
    if let Some(unit) = cgroup.unit.as_ref().filter(|unit| unit.user) {
        // Only systemd moves a process from our part of the tree to the container's.
        let mut systemd = Systemd::open(unit.user, None).context(Step::Cgroup)?;
        return spawn_waiting(|pid| {
            systemd.attach(&unit.name, below, pid).context(Step::Cgroup)?;
            classify(target, pid)
        });
    }
    let attempt = || -> Result<Spawned> { spawn_into(&directory::open(cgroup, below)?, cgroup_entry, target) };
    match attempt() {
        // Init has moved into a cgroup below and made ours one that may hold no processes, or left it for good: it is
        // joined where it is.
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
        // It is moved anyway.
        (_, Some(_)) => spawn_waiting(|pid| classify(target, pid))?,
    };
    if matches!(spawned, Spawned::Child(_)) && directory::enter(directory.as_fd()).is_err() {
        // Said by the end of the channel.
        process::exit_now(1);
    }
    Ok(spawned)
}

/// Into the container's class of service, which children inherit.
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
            hint: "it must exist below the container's cgroup; exec makes none".into(),
        }),
        Some(Errno::EOPNOTSUPP) => error.context(Hint {
            message: text,
            hint:
                "it is in a threaded part of the tree and has to be threaded too: write \"threaded\" to its cgroup.type"
                    .into(),
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

/// Answers until the process waits for the word. Returns the terminal's master end, if there is to be a terminal.
fn converse(made: &mut Rollback, plan: &Process, state: &Document, channel: &Channel) -> Result<Option<OwnedFd>> {
    let mut master = None;
    let mut notifier = None;
    let mut ready = false;
    // Usher and child speak at the same time.
    while !ready || made.process.is_none() {
        // The usher may be killed between its clone and its word; the process, which waits for ours, then keeps the channel.
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
                .send(&Message::ListenerTaken)
                .map_err(|error| explain_end(end::of_child(pidfd, Some(&error)), Some(error)))?;
        }
    }
    if let Some(exec_parent) = made.exec_parent.take() {
        end::of_child(&exec_parent, None);
    }
    Ok(master)
}

/// The error for a process that ended without a last word. `unsent`: why it could not be sent what it waits for.
fn explain_end(exit: Option<Exit>, unsent: Option<Error>) -> Error {
    match (exit, unsent) {
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
