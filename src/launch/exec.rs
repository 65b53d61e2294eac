//! The runtime's side of `exec`: finds the way into a container, clones the usher, answers until the program runs.
//! Whatever fails on the way ends what was made.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::between::{Birth, clone_waiting};
use super::{end, foreground, handover, listener, start};
use crate::bundle::plan::Process;
use crate::cgroup::resctrl;
use crate::cgroup::systemd::Systemd;
use crate::cgroup::{mount, tree};
use crate::error::{At, Context, Error, Hint, Result, Step, anyhow, bail, cured, errno};
use crate::init::join::{self, Way};
use crate::init::limits;
use crate::protocol::{Channel, Heard, Message, out_of_order};
use crate::state::record::{CgroupState, ClassState};
use crate::state::status::Document;
use crate::sys::process::{Cloned, Exit, NAMESPACES};
use crate::sys::{descriptor, fs, process, sched, socket};
use crate::{log, progress};

/// What the caller wants to be given, and where the process is to be.
pub struct Manner<'a> {
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
    pub way: Option<Way>,
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
pub fn way(pid: i32, init: OwnedFd, chroot: bool) -> Result<Way> {
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
                return Err(cured(
                    error,
                    "container not running",
                    "its first process is just ending; `orlop state` tells when it has",
                ));
            }
            (Err(error), _) | (_, Err(error)) => return Err(error).context(Step("namespaces")),
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
    Ok(Way { init, namespaces, root })
}

/// Those who are to end if it comes to nothing, and the file that would tell of them.
#[derive(Default)]
struct Made<'a> {
    usher: Option<OwnedFd>,
    process: Option<(i32, OwnedFd)>,
    pid_file: Option<&'a Path>,
    /// The usher was killed before its first word: see `create`.
    killed_at_birth: bool,
    /// The container has one of its own, in which the runtime need not have power over the process.
    in_user_namespace: bool,
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let process = self.process.take().map(|(_, pidfd)| pidfd);
        for pidfd in [self.usher.take(), process].into_iter().flatten() {
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
pub fn exec(mut target: Target, plan: &Process, manner: &Manner) -> Result<Joined> {
    let mut made = Made::default();
    if let Some(processors) = &plan.scheduling.exec_initial {
        sched::set_affinity(processors.words()).context(At::new("process.execCPUAffinity.initial"))?;
    }
    // Born as hidden as it shall stay.
    process::set_undumpable()?;
    let entered = match enter(&mut target, plan, manner, &mut made, Birth::Inside) {
        Err(error) if made.killed_at_birth && is_alive(&target) => {
            log::debug(|| format!("the process goes into its cgroup by another way: {error:#}"));
            made = Made::default();
            enter(&mut target, plan, manner, &mut made, Birth::Moved)
        }
        other => other,
    };
    let (channel, master) = entered?;
    let Some((pid, pidfd)) = &made.process else {
        bail!("nobody has entered the container")
    };
    limits::limits_from_outside(plan, *pid).context(Step("limits"))?;
    if !made.in_user_namespace {
        limits::scheduler_from_outside(plan, *pid).context(Step("scheduler"))?;
    }
    let master = handover::console(manner.console_socket, master)?;
    if let Some(path) = manner.pidfd_socket {
        handover::pidfd(path, pidfd, "setns")?;
    }
    if let Some(path) = manner.pid_file {
        handover::pid_file(path, *pid)?;
        made.pid_file = Some(path);
    }
    if let Some(master) = &master {
        foreground::fit(master)?;
    }
    // Until here a signal has ended us, and with us the process; from here on it is the process's.
    let signals = manner.foreground.then(foreground::catch_signals).transpose()?;
    progress::at(format_args!("start"));
    channel
        .send(&Message::Start)
        .map_err(|error| explain_end(end::of_child(pidfd, Some(&error)), Some(error)))?;
    start::executed(&channel, pidfd.as_fd(), None)?;
    let Some((_, pidfd)) = made.process.take() else {
        bail!("nobody has entered the container")
    };
    made.pid_file = None;
    log::reached("started");
    Ok(Joined { pidfd, master, signals })
}

/// Whether the container is still there to be entered: it may have been killed, with all that was in its cgroup.
fn is_alive(target: &Target) -> bool {
    let init = target.way.as_ref().map(|way| (way.init.as_fd(), libc::POLLIN));
    init.is_some_and(|init| descriptor::poll(&[init], 0).is_ok_and(|events| events == [0]))
}

/// Makes the usher, and answers until the process that it leads in is ready.
fn enter(
    target: &mut Target,
    plan: &Process,
    manner: &Manner,
    made: &mut Made,
    birth: Birth,
) -> Result<(Channel, Option<OwnedFd>)> {
    let namespaces = target.way.as_ref().map_or(0, |way| way.namespaces);
    made.in_user_namespace = namespaces & libc::CLONE_NEWUSER as u64 != 0;
    progress::at(format_args!("clone"));
    let (ours, theirs) = socket::pair()?;
    match clone_usher(target, manner, birth)? {
        Cloned::Child => {
            drop(ours);
            join::run(
                target.id,
                target.keyring.clone(),
                plan,
                target.way.take(),
                Channel::new(theirs),
            )
        }
        Cloned::Parent { pidfd, .. } => made.usher = Some(pidfd),
    }
    drop(theirs);
    let channel = Channel::new(ours);
    let master = converse(made, plan, &target.document, &channel)?;
    Ok((channel, master))
}

/// The usher is born in the cgroup, and its child after it, so there is no moment in which they are unlimited.
fn clone_usher(target: &Target, manner: &Manner, birth: Birth) -> Result<Cloned> {
    let Some(cgroup) = target.cgroup else {
        if manner.cgroup.is_some() {
            bail!("--cgroup: the container has no cgroup of its own");
        }
        return match target.class {
            Some(_) => clone_waiting(|pid| classify(target, pid)),
            None => process::clone3(0, None).context(Step("clone")),
        };
    };
    let below = manner.cgroup.unwrap_or(Path::new(""));
    if let Some(unit) = cgroup.unit.as_ref().filter(|unit| unit.user) {
        // Only systemd moves a process from our part of the tree to the container's.
        let mut systemd = Systemd::open(unit.user, None).context(Step("cgroup"))?;
        return clone_waiting(|pid| {
            systemd.attach(&unit.name, below, pid).context(Step("cgroup"))?;
            classify(target, pid)
        });
    }
    let attempt = || -> Result<Cloned> { clone_into(&tree::open(cgroup, below)?, birth, target) };
    match attempt() {
        // Init has moved into a cgroup below and made ours one that may hold no processes, or left it for good: it is
        // joined where it is.
        Err(error) if manner.cgroup.is_none() && is_moved(&error) => {
            log::debug(|| format!("joining the cgroup that init is in: {error:#}"));
            clone_into(&mount::open_of(target.pid)?, birth, target)
        }
        other => other.map_err(|error| match manner.cgroup {
            Some(below) => about_sub_cgroup(below, error),
            None => error.context(Step("cgroup")),
        }),
    }
}

fn clone_into(directory: &OwnedFd, birth: Birth, target: &Target) -> Result<Cloned> {
    let cloned = match (birth, target.class) {
        (Birth::Inside, None) => return process::clone3(0, Some(directory.as_fd())).context(Step("clone")),
        (Birth::Moved, None) => process::clone3(0, None).context(Step("clone"))?,
        // It is moved anyway.
        (_, Some(_)) => clone_waiting(|pid| classify(target, pid))?,
    };
    if matches!(cloned, Cloned::Child) && tree::enter(directory.as_fd()).is_err() {
        // Said by the end of the channel.
        process::exit_now(1);
    }
    Ok(cloned)
}

/// Into the container's class of service, which children inherit.
fn classify(target: &Target, pid: i32) -> Result<()> {
    match target.class {
        Some(class) => resctrl::assign(class, pid).context(Step("class of service")),
        None => Ok(()),
    }
}

fn about_sub_cgroup(below: &Path, error: Error) -> Error {
    let text = format!(
        "--cgroup \"/{}\": adding pid of the new process to cgroups",
        below.display()
    );
    match errno(&error) {
        Some(Errno::ENOENT) => error.context(Hint(
            "it must exist below the container's cgroup; exec makes none".into(),
            text,
        )),
        Some(Errno::EOPNOTSUPP) => error.context(Hint(
            "it is in a threaded part of the tree and has to be threaded too: write \"threaded\" to its cgroup.type"
                .into(),
            text,
        )),
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
fn converse(made: &mut Made, plan: &Process, state: &Document, channel: &Channel) -> Result<Option<OwnedFd>> {
    let mut master = None;
    let mut notifier = None;
    let mut ready = false;
    // Usher and child speak at the same time.
    while !ready || made.process.is_none() {
        // The usher may be killed between its clone and its word; the process, which waits for ours, then keeps the channel.
        let heard = match made.process.as_ref().map(|(_, pidfd)| pidfd).or(made.usher.as_ref()) {
            Some(pidfd) => channel.next_from(pidfd.as_fd())?,
            None => Heard::End,
        };
        match heard {
            Heard::Message(Message::Entered(pid), Some(pidfd)) if made.process.is_none() => {
                made.process = Some((pid, pidfd));
            }
            Heard::Message(Message::Console, Some(fd)) if plan.terminal && master.is_none() => master = Some(fd),
            Heard::Message(Message::Listener, Some(fd)) if notifier.is_none() => notifier = Some(fd),
            Heard::Message(Message::Ready, _) if !ready => ready = true,
            Heard::Message(other, _) => return Err(out_of_order(&other)),
            Heard::End => {
                let process = made.process.as_ref().map(|(_, pidfd)| pidfd);
                let Some(pidfd) = process.or(made.usher.as_ref()) else {
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
    if let Some(usher) = made.usher.take() {
        end::of_child(&usher, None);
    }
    Ok(master)
}

/// The error for a process that ended without a last word. `unsent`: why it could not be sent what it waits for.
fn explain_end(exit: Option<Exit>, unsent: Option<Error>) -> Error {
    match (exit, unsent) {
        (Some(Exit::Signal(signal)), _) => Error::new(end::Killed(signal)).context(Hint(
            "the memory limit of the container's cgroup may be too low, or it was killed from outside; see `dmesg`"
                .into(),
            "entering the container".into(),
        )),
        (Some(Exit::Code(code)), _) => anyhow!("the process ended with exit status {code} and no message"),
        (None, unsent) => unsent.unwrap_or_else(|| anyhow!("the process closed the channel")),
    }
}
