//! The runtime's side of creating a container: claims the id, creates the cgroup, clones init, and answers its messages until
//! it is ready. A failure undoes everything.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use super::intermediate::CgroupEntry;
use super::rollback::{InitProcess, Rollback, init_died, reported_by_init, take_back};
use super::{
    clone_init, commit, fd_passing, late, limits, listener, mount_namespace, network, parent_setup, surroundings,
};
use crate::cgroup::{apply, oom};
use crate::error::{Context, Result, Step, anyhow, with_cleanup};
use crate::hooks;
use crate::init::{InitInputs, diagnose};
use crate::interrupt::Interrupts;
use crate::plan::{Plan, Process};
use crate::protocol::{Channel, Message, Received, out_of_order};
use crate::rootfs::notify;
use crate::rootfs::sources::{self, Sources};
use crate::state::{Container, State};
use crate::status::Document;
use crate::sys::process::Exit;
use crate::sys::{descriptor, process, socket};
use crate::{log, progress, self_protect, timings};

/// How the container is started, and what the caller receives.
pub struct CreateOptions<'a> {
    /// Init waits on start.sock for a later `start`; otherwise it is started over the channel.
    pub start_later: bool,
    pub console_socket: Option<&'a Path>,
    pub pidfd_socket: Option<&'a Path>,
    pub pid_file: Option<&'a Path>,
    /// Caught since before the id was claimed.
    pub interrupts: Rc<Interrupts>,
}

/// A container that is ready to start.
pub struct Ready {
    pub container: Container,
    pub state: State,
    pub channel: Channel,
    pub init: Rc<InitProcess>,
    /// The terminal's master end, if the config asks for one and no console socket took it.
    pub master: Option<OwnedFd>,
}

/// Creates the container, up to the point where it can be started.
pub fn create(container: Container, plan: &Plan, options: &CreateOptions) -> Result<Ready> {
    for warning in &plan.warnings {
        log::warning(&warning.text);
    }
    for remark in &plan.remarks {
        log::debug(|| remark.clone());
    }
    let state = surroundings::new_state(&container.id, plan)
        .map_err(|error| with_cleanup(error, container.remove(false).context(Step::State)))?;
    let mut made = Rollback::new(container, state);
    match build(&mut made, plan, options) {
        Ok((channel, init, master)) => {
            progress::reached("created");
            Ok(Ready {
                container: made.container,
                state: made.state,
                channel,
                init,
                master,
            })
        }
        Err(error) => {
            timings::failed();
            progress::step(Step::Rollback);
            // A signal to the whole process group may have ended init before the runtime noticed it.
            let _ = options.interrupts.check();
            let error = match made.container.is_deleted() {
                // This is the reason, whatever failed.
                true => anyhow!("the container was deleted while it was being created"),
                false => error,
            };
            let cleanup = take_back(made, plan);
            Err(with_cleanup(error, cleanup))
        }
    }
}

/// The channel to init, init, and the terminal's master end unless a console socket took it.
type Launched = (Channel, Rc<InitProcess>, Option<OwnedFd>);

fn build(made: &mut Rollback, plan: &Plan, options: &CreateOptions) -> Result<Launched> {
    options.interrupts.check()?;
    surroundings::make(made, plan, &options.interrupts)?;
    // A scope would end with an init that is killed at birth.
    let cgroup_entry = if made.systemd.is_some() {
        CgroupEntry::Migrate
    } else {
        CgroupEntry::CloneInto
    };
    if rules_first(plan, cgroup_entry) {
        surroundings::restrict(made, plan)?;
    }
    match launch(made, plan, options, cgroup_entry) {
        Err(error) if cgroup_entry == CgroupEntry::CloneInto && killed_at_birth(made) => {
            log::debug(|| format!("cannot clone into the cgroup, so init migrates: {error:#}"));
            if let Some(taken) = made.net_devices.take() {
                taken.give_back()?;
            }
            made.container.remove_start_socket()?;
            made.init = None;
            launch(made, plan, options, CgroupEntry::Migrate)
        }
        other => other,
    }
}

/// Whether the device rules are set before the clone: createContainer hooks are untrusted programs inside the cgroup, and init
/// runs them without asking the runtime.
fn rules_first(plan: &Plan, cgroup_entry: CgroupEntry) -> bool {
    !plan.hooks.create_container.is_empty() || cgroup_entry == CgroupEntry::Migrate
}

/// Whether the kernel killed init before its first message. Linux since 6.14 kills every child that is cloned into a cgroup
/// other than the caller's, if cgroup.kill was used on one of the two more often than on the other.
fn killed_at_birth(made: &Rollback) -> bool {
    let Some(init) = &made.init else { return false };
    if made.leaf.is_none() || made.heard || made.container.is_deleted() {
        return false;
    }
    let exit = made.exit.get().or_else(|| {
        // The failed call may have been about a process that is just ending.
        descriptor::poll(&[(init.pidfd.as_fd(), libc::POLLIN)], 100).ok()?;
        process::wait_pidfd(init.pidfd.as_fd(), false).ok()?
    });
    made.exit.set(exit);
    let cgroup = made.leaf.as_ref().map(|leaf| &leaf.place);
    exit == Some(Exit::Signal(libc::SIGKILL)) && cgroup.and_then(oom::ran_out_of_memory).is_none()
}

/// From the clone to the created container.
fn launch(made: &mut Rollback, plan: &Plan, options: &CreateOptions, cgroup_entry: CgroupEntry) -> Result<Launched> {
    progress::step(Step::MountSources);
    let (ours, theirs) = socket::pair()?;
    let start_socket = options.start_later.then(|| listen(&made.container)).transpose()?;
    let notify = notify_directory(&made.container, plan)?;
    let network_beside = cgroup_entry == CgroupEntry::CloneInto && network::comes_beside(plan);
    let born_late = late::is_born_late(plan);
    let inputs = InitInputs {
        start_socket,
        cgroup: made.leaf.as_ref().map(|leaf| leaf.place.path.clone()),
        notify,
        sources: Sources::prepare(plan)?,
        network_beside,
        keyring: made.state.keyring_name(),
        born_late,
        mount_namespace: mount_namespace::choose(plan, born_late),
        hook_output: match plan.hooks.create_container.is_empty() && plan.hooks.start_container.is_empty() {
            true => hooks::Files::default(),
            false => hooks::Files::open(&plan.annotations, &plan.bundle)?,
        },
    };
    progress::step(Step::Clone);
    let init = clone_init::clone(made, plan, theirs, inputs, cgroup_entry)?;
    timings::cloned(init.pid);
    let channel = Channel::interruptible(ours, options.interrupts.clone());
    let birth = Birth {
        cgroup_entry,
        network_beside,
        born_late,
    };
    match attend(made, init.clone(), plan, options, &channel, birth) {
        Ok((init, master)) => Ok((channel, init, master)),
        Err(error) => Err(reported_by_init(error, &channel, &init.pidfd)),
    }
}

/// How init was cloned.
struct Birth {
    cgroup_entry: CgroupEntry,
    /// See [`InitInputs`].
    network_beside: bool,
    /// See [`InitInputs`].
    born_late: bool,
}

/// From the cloned init to the created container.
fn attend(
    made: &mut Rollback,
    init: Rc<InitProcess>,
    plan: &Plan,
    options: &CreateOptions,
    channel: &Channel,
    birth: Birth,
) -> Result<(Rc<InitProcess>, Option<OwnedFd>)> {
    // First, because init may be waiting for it.
    set_up_from_outside(made, &init, plan, channel)?;
    if birth.network_beside {
        progress::step(Step::Network);
        network::hand_over(plan, channel).context(Step::Network)?;
    }
    if let Some(leaf) = &made.leaf {
        progress::step(Step::Cgroup);
        apply::close(leaf, &plan.cgroup, made.systemd.as_mut())?;
    }
    // Init works in parallel; what it does not need until it is ready is done meanwhile.
    if !rules_first(plan, birth.cgroup_entry) {
        surroundings::restrict(made, plan)?;
    }
    progress::step(Step::State);
    made.container.write_config(&plan.config_text).context(Step::State)?;
    commit::prepare(made, &init)?;
    self_protect::let_go();
    let (init, master) = converse(made, init, plan, options, channel, birth.born_late)?;
    commit::publish(made, &init, options.pid_file)?;
    // The last chance to cancel: the container cannot have been started, because the runtime holds the lock.
    options.interrupts.check()?;
    if options.start_later {
        channel.send(&Message::Commit)?;
    }
    Ok((init, master))
}

fn listen(container: &Container) -> Result<OwnedFd> {
    let socket = socket::unix(libc::SOCK_SEQPACKET)?;
    socket::listen(socket.as_fd(), &container.start_socket()).context("start.sock")?;
    Ok(socket)
}

/// The directory for the socket to which the container sends sd_notify(3) messages.
fn notify_directory(container: &Container, plan: &Plan) -> Result<Option<notify::Directory>> {
    if !plan.process.as_ref().is_some_and(|process| process.notify) {
        return Ok(None);
    }
    let path = container.make_notify_directory()?;
    Ok(Some(if process::effective_uid() == 0 {
        notify::Directory::Mount(notify::detached(&path)?)
    } else {
        notify::Directory::Path(path)
    }))
}

fn set_up_from_outside(made: &mut Rollback, init: &InitProcess, plan: &Plan, channel: &Channel) -> Result<()> {
    if let Some(process) = &plan.process {
        progress::step(Step::OomScore);
        limits::set_oom_score(process, init.pid).context(Step::OomScore)?;
    }
    if plan.needs_help_from_outside() {
        progress::step(Step::HelpFromOutside);
        parent_setup::help(made, init, plan, channel)?;
    }
    Ok(())
}

/// Answers init's messages until it is ready. Returns the terminal's master end, unless it was sent to a console socket.
fn converse(
    made: &mut Rollback,
    mut init: Rc<InitProcess>,
    plan: &Plan,
    options: &CreateOptions,
    channel: &Channel,
    born_late: bool,
) -> Result<(Rc<InitProcess>, Option<OwnedFd>)> {
    let mut master = None;
    let mut hooks_run = false;
    let mut notifier = None;
    let mut ready = false;
    // A late-born init and its parent send messages at the same time, in any order.
    let mut entered = !born_late;
    while !ready || !entered {
        progress::waiting();
        let heard = channel.next_from(init.pidfd.as_fd());
        made.heard |= !matches!(heard, Ok(Received::End));
        match heard.map_err(|error| diagnose::explain_step(error, plan))? {
            Received::Message(Message::Mounted, _) if !hooks_run => {
                hooks_run = true;
                surroundings::run_hooks(&made.state, &init, plan, &options.interrupts)?;
                channel
                    .send(&Message::HooksDone)
                    .map_err(|error| init_died(made, &init.pidfd, Some(error)))?;
            }
            Received::Message(Message::MapOwners(index), Some(tree)) if !hooks_run => {
                sources::map_for_init(plan, index, &tree).context(Step::Mounts)?;
                channel
                    .send(&Message::OwnersMapped)
                    .map_err(|error| init_died(made, &init.pidfd, Some(error)))?;
            }
            Received::Message(Message::Hooks, _) => {}
            Received::Message(Message::Entered(pid), Some(pidfd)) if !entered => {
                entered = true;
                timings::entered(pid);
                // The process taken for init so far was its parent, and exits.
                process::wait_pidfd(init.pidfd.as_fd(), true)?;
                init = Rc::new(InitProcess { pid, pidfd });
                made.init = Some(init.clone());
                commit::prepare(made, &init)?;
            }
            Received::Message(Message::Listener, Some(fd)) if notifier.is_none() => notifier = Some(fd),
            Received::Message(Message::Console, Some(fd)) if master.is_none() => master = Some(fd),
            Received::Message(Message::Ready, _) if !ready => ready = true,
            Received::Message(other, _) => return Err(out_of_order(&other)),
            Received::End => return Err(init_died(made, &init.pidfd, None)),
        }
        if entered && let Some(fd) = notifier.take() {
            hand_over_listener(made, &init, plan, channel, fd)?;
        }
    }
    if let Some(process) = &plan.process {
        progress::step(Step::Limits);
        limits::set_limits(process, init.pid).context(Step::Limits)?;
        if born_late {
            limits::set_scheduler(process, init.pid).context(Step::Scheduler)?;
        }
    }
    if let Some(path) = options.pidfd_socket {
        fd_passing::pidfd(path, &init.pidfd, "standard")?;
    }
    let master = fd_passing::console(options.console_socket, master)?;
    Ok((init, master))
}

/// Sends the descriptor of init's filter to the seccomp agent, and tells init, which waits for that.
fn hand_over_listener(
    made: &Rollback,
    init: &InitProcess,
    plan: &Plan,
    channel: &Channel,
    listener: OwnedFd,
) -> Result<()> {
    let process = plan.process.as_ref();
    let state = Document::for_hook(&made.state, init.pid, "creating");
    listener::hand_over(process.and_then(Process::listener), init.pid, &state, listener)?;
    channel
        .send(&Message::ListenerTaken)
        .map_err(|error| init_died(made, &init.pidfd, Some(error)))
}
