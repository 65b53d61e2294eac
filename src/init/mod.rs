//! Chapters 6 to 9, in init: the process that becomes the container's first process.
//!
//! It is a copy of the runtime made by clone3(2), already inside its cgroup and its new namespaces, with the [`Plan`] in
//! its memory; it never parses anything. It takes the steps that are listed here in their order, sends `Ready`, waits for
//! `start`, and executes the container's program. A failure is reported over the channel, and init exits.

mod context;
pub mod diagnose;
mod elf;
pub mod environment;
mod exec;
pub mod fds;
pub mod files;
mod hook_points;
pub mod identity;
pub mod join;
pub mod limits;
pub mod lookup;
pub mod namespaces;
pub mod obstacle;
mod process;
pub mod scheduling;
mod state;
mod step;
mod terminal;

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use crate::error::{Context, Result, Step, bail};
use crate::hooks;
use crate::log;
use crate::plan::{Plan, RootMode};
use crate::progress::{self, Role};
use crate::protocol::{Channel, Message};
use crate::rootfs::mounts::MountContext;
use crate::rootfs::place::{AttachedRoot, DetachedRoot, HostMounts, Place, PreparedRoot};
use crate::rootfs::sources::Sources;
use crate::rootfs::{self, Root, notify};
use crate::security::procfs::HostProc;
use crate::sys::{self, fs, mount, signal, socket};
use crate::timings::{self, Clocks, Peer};

use context::ProcessContext;
use process::{ARRIVAL, CONFINEMENT, KEYS, LIMITS};
use state::{Init, InitState};
use step::take;

pub use state::{InitInputs, MountNamespace};

type StepFn = fn(&mut Init) -> Result<()>;
type RootStepFn = fn(&mut Init, Place) -> Result<()>;
type AttachedStepFn = fn(&mut Init, &AttachedRoot) -> Result<()>;
type DetachedStepFn = fn(&mut Init, &DetachedRoot) -> Result<()>;

/// The steps of init in their order. Their names are those in errors, `--debug` and the timings. Between the steps about init
/// itself and the container come the steps about the process, which every process that joins the container takes too.
///
/// First what does not need the new root.
const BEFORE_ROOT: &[Stage<StepFn>] = &[
    Stage::Own(PREPARE),
    Stage::Process(LIMITS),
    Stage::Own(&[(Step::Hostname, |init| namespaces::names(init))]),
];

/// Then `Step::Root` prepares the root file system. If it is attached in a new mount namespace, these steps work on it:
/// `CONTENT`, these, `DEVPTS`, and those of `CHANGE_ROOT`.
const HOOKS: &[Stage<AttachedStepFn>] = &[Stage::Own(&[
    // After the mounts and before the pivot, as runtime.md requires for createRuntime.
    (Step::RuntimeHooks, |init, _| init.runtime_hooks()),
    (Step::CreateContainerHooks, |init, root| {
        init.create_container_hooks(root)
    }),
])];

const CHANGE_ROOT: &[Stage<AttachedStepFn>] = &[
    Stage::Own(&[
        (Step::Pivot, |init, root| {
            rootfs::pivot::change_root(root, &init.plan.rootfs)
        }),
        // It is created if missing, so before the root becomes read-only.
        (Step::Cwd, |init, root| init.cwd(root)),
    ]),
    Stage::Process(KEYS),
    Stage::Own(&[(Step::ReadOnly, |init, root| init.read_only(root))]),
];

/// If it is detached: `CONTENT`, `DEVPTS`, and these.
const ENTER_TREE: &[Stage<DetachedStepFn>] = &[
    Stage::Process(KEYS),
    Stage::Own(&[
        (Step::Cwd, |init, root| init.cwd(root)),
        (Step::ReadOnly, |init, root| init.read_only(root)),
        // Last, because the namespace gets a copy of the mounts as they are now.
        (Step::Pivot, |init, root| init.enter_tree(root)),
    ]),
];

/// Then nothing of the host is open any more.
const AFTER_ROOT: &[Stage<StepFn>] = &[
    // After all changes to the mounts, because the copy of them cannot be changed any more.
    Stage::Own(&[(Step::SharedMountNamespace, |init| {
        init.return_to_shared_mount_namespace()
    })]),
    Stage::Process(CONFINEMENT),
    Stage::Birth,
    Stage::Process(ARRIVAL),
];

/// Some steps in a row.
enum Stage<F: 'static> {
    Own(&'static [(Step, F)]),
    /// Left out if the config has no process.
    Process(&'static [(Step, process::ProcessStep)]),
    /// The clone of an init that another process has prepared, see `launch::late`.
    Birth,
}

const PREPARE: &[(Step, StepFn)] = &[
    // No descriptor of the runtime may stay open in init: its lock, its directories, its log.
    (Step::Descriptors, |init| {
        fds::keep_only(init.preserved(), &init.own_descriptors())
    }),
    // Before any ID is changed, because the runtime may write to init's files in /proc only while they belong to its user.
    (Step::HelpFromOutside, |init| identity::wait_for_help(init)),
    // First, because it gives privilege over the other namespaces. Until the maps are written nothing else would work.
    (Step::UserNamespace, |init| identity::enter_user_namespace(init)),
    // Before init enters shared namespaces, so that no process there can ptrace it or read its descriptors (CVE-2016-9962).
    (Step::Undumpable, |_| Ok(sys::process::set_undumpable()?)),
    // By path, while paths still lead to the host's files.
    (Step::Namespaces, |init| namespaces::join(init)),
    // Before files of the host are opened that are then mounted.
    (Step::MountNamespace, |init| init.leave_shared_mount_namespace()),
    // A separate session, so that no signal of the caller's terminal reaches the container.
    (Step::Session, |init| init.begin_session()),
    // Before the image is touched: the host's procfs and null device, verified, for the steps that write to /proc or mask.
    (Step::HostFiles, |init| init.take_host_files()),
];

/// What the container sees in its root.
const CONTENT: &[Stage<RootStepFn>] = &[Stage::Own(&[
    (Step::Mounts, |init, root| init.mounts(root)),
    // As late as possible, because it may have to be waited for. A step that needs it earlier calls it earlier.
    (Step::Network, |init, _| namespaces::network(init)),
    (Step::NotifySocket, |init, root| match init.inputs.notify.take() {
        Some(directory) => notify::attach(&root, directory),
        None => Ok(()),
    }),
    (Step::Devices, |init, root| init.devices(&root)),
    // After the mounts, because a config may mount below a path that it masks; before the pivot, because /dev/null is
    // the host's.
    (Step::Masks, |init, root| init.masks(root)),
])];

const DEVPTS: &[Stage<RootStepFn>] = &[Stage::Own(&[
    // After the hooks, because a hook may bring what has the parameters: Docker up to 25 adds eth0 by a hook.
    (Step::Sysctl, |init, _| namespaces::sysctls(init)),
    // In the container's devpts, but before the pivot, because the same descriptors are used before and after it.
    (Step::Console, |init, root| init.console(&root)),
])];

/// Runs init; never returns to the caller's code.
pub fn run(id: &str, plan: &Plan, channel: Channel, mut inputs: InitInputs) -> ! {
    // The container could read the caller's arguments and environment until the program is executed.
    sys::execve::hide_invocation(b"orlop init");
    signal::reset_all();
    progress::set_role(Role::Init);
    channel.divert_log();
    let mut init = Init {
        plan,
        context: ProcessContext {
            id,
            channel,
            caller_umask: fs::umask(0),
            user_namespace: plan.id_maps.is_some(),
            keyring: std::mem::take(&mut inputs.keyring),
            by_its_maker: inputs.born_late,
            host_proc: None,
            console: None,
            program: None,
            in_cwd: false,
        },
        inputs,
        made: InitState::default(),
    };
    let error = match init.walk() {
        Ok(never) => match never {},
        Err(error) => error,
    };
    init.context.channel.send_failure(&error);
    sys::process::exit_now(1)
}

impl Init<'_> {
    fn walk(&mut self) -> Result<Infallible> {
        self.pass(BEFORE_ROOT, |init, step| step(init))?;
        let root = take(self, Step::Root, Init::prepare_root)?;
        let done = match &root {
            PreparedRoot::Attached(root) => self.in_namespace(root),
            PreparedRoot::Detached(root) => self.in_tree(root),
        };
        // No descriptor of the host may be open when the container's own paths are used from here on (CVE-2024-21626).
        drop(root);
        if done.is_err() {
            self.leave_joined_mount_namespace();
        }
        done?;
        self.pass(AFTER_ROOT, |init, step| step(init))?;
        match &self.plan.process {
            Some(process) => exec::execute(self, process, Init::start),
            // A container without a process can be created, but not started.
            None => {
                self.be_ready()?;
                take(self, Step::Start, |init| {
                    init.wait_for_start()?;
                    bail!("the config has no process to start")
                })
            }
        }
    }

    fn in_namespace(&mut self, root: &AttachedRoot) -> Result<()> {
        let place = Place::Attached(root);
        self.pass(CONTENT, |init, step| step(init, place))?;
        self.pass(HOOKS, |init, step| step(init, root))?;
        self.pass(DEVPTS, |init, step| step(init, place))?;
        self.pass(CHANGE_ROOT, |init, step| step(init, root))
    }

    fn in_tree(&mut self, root: &DetachedRoot) -> Result<()> {
        let place = Place::Detached(root);
        self.pass(CONTENT, |init, step| step(init, place))?;
        self.pass(DEVPTS, |init, step| step(init, place))?;
        self.pass(ENTER_TREE, |init, step| step(init, root))
    }

    fn pass<F>(&mut self, stages: &[Stage<F>], call: impl Fn(&mut Self, &F) -> Result<()>) -> Result<()> {
        for stage in stages {
            match (stage, &self.plan.process) {
                (Stage::Own(steps), _) => {
                    for (name, step) in *steps {
                        take(self, *name, |init| call(init, step))?;
                    }
                }
                (Stage::Process(steps), Some(process)) => process::walk(&mut self.context, process, steps)?,
                (Stage::Birth, Some(_)) if self.context.by_its_maker => take(self, Step::Birth, Init::be_born)?,
                (Stage::Process(_), None) | (Stage::Birth, _) => {}
            }
        }
        Ok(())
    }

    /// Continues as init. The parent, which prepared everything, exits (see `launch::late`).
    fn be_born(&mut self) -> Result<()> {
        context::bear(&self.context)?;
        Ok(sys::process::setsid()?)
    }

    /// Only the container's process begins a session: it takes the kernel a millisecond where it schedules by session.
    fn begin_session(&mut self) -> Result<()> {
        match self.context.by_its_maker {
            true => Ok(()),
            false => Ok(sys::process::setsid()?),
        }
    }

    /// Tells the runtime that the container is created.
    fn be_ready(&mut self) -> Result<()> {
        if self.inputs.start_socket.is_some() {
            // It may be hours until `start`, and `kill` must end a created container like any other.
            signal::end_at(&[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM]);
        }
        self.context.channel.send_timings();
        self.context.channel.send(&Message::Ready)?;
        progress::end();
        Ok(())
    }

    /// What comes before the program: `start`, and its hooks.
    fn start(&mut self) -> Result<()> {
        self.be_ready()?;
        take(self, Step::Start, Init::wait_for_start)?;
        take(self, Step::StartContainerHooks, Init::start_container_hooks)
    }

    /// How many descriptors besides the standard three the process keeps.
    fn preserved(&self) -> u32 {
        self.plan.process.as_ref().map_or(0, |process| process.preserve_fds)
    }

    fn take_host_files(&mut self) -> Result<()> {
        self.context.host_proc = Some(HostProc::open()?);
        if !self.plan.rootfs.masked.is_empty() {
            self.made.null = Some(rootfs::mask::host_null(self.host_mounts())?);
        }
        Ok(())
    }

    fn host_mounts(&self) -> HostMounts {
        match self.inputs.mount_namespace {
            MountNamespace::Copied => HostMounts::Inherited,
            MountNamespace::OfTree => HostMounts::Live(self.plan.rootfs.propagation),
        }
    }

    fn prepare_root(&mut self) -> Result<PreparedRoot> {
        let plan = &self.plan.rootfs;
        Ok(match self.inputs.mount_namespace {
            MountNamespace::Copied => {
                PreparedRoot::Attached(rootfs::mounts::prepare(plan, self.inputs.sources.root.take())?)
            }
            MountNamespace::OfTree => {
                PreparedRoot::Detached(rootfs::mounts::prepare_detached(plan, self.host_mounts())?)
            }
        })
    }

    /// Enters the mount namespace that is made of the tree, with its working directory and its terminal.
    fn enter_tree(&mut self, root: &DetachedRoot) -> Result<()> {
        let root = root.enter().map_err(|error| diagnose::explain(error, self.plan))?;
        terminal::follow(&mut self.context, &root)?;
        if let Some(process) = &self.plan.process {
            self.context.in_cwd = environment::enter_cwd(&root, process)?;
        }
        Ok(())
    }

    fn mounts(&mut self, root: Place) -> Result<()> {
        let mut sources = std::mem::take(&mut self.inputs.sources);
        let own_cgroup_namespace = self.plan.namespaces.makes(libc::CLONE_NEWCGROUP);
        let around = MountContext {
            own_cgroup_namespace,
            whole_cgroup_tree: !own_cgroup_namespace
                && !self.plan.namespaces.has(libc::CLONE_NEWUSER)
                && sys::process::is_root_of_host(),
            cgroup: self.inputs.cgroup.as_deref(),
            network: &|| namespaces::network(self).context(Step::Network),
            pid_namespace_of_children: self.context.by_its_maker,
            runtime: self.plan.id_maps.as_ref().map(|_| &self.context.channel),
            host: self.host_mounts(),
        };
        self.made.pending = rootfs::mounts::apply(root, &self.plan.rootfs, &around, &mut sources)?;
        self.inputs.sources = sources;
        Ok(())
    }

    fn devices(&mut self, root: &Root) -> Result<()> {
        let made = self.inputs.sources.devices.take();
        let user_namespace = self.plan.namespaces.has(libc::CLONE_NEWUSER);
        rootfs::devices::apply(root, &self.plan.rootfs, user_namespace, made)?;
        rootfs::devices::link(root, &self.plan.rootfs)
    }

    fn masks(&self, root: Place) -> Result<()> {
        rootfs::mask::make_readonly(root, &self.plan.rootfs.readonly_paths)?;
        match &self.made.null {
            Some(null) => rootfs::mask::mask(&root, &self.plan.rootfs.masked, null),
            None => Ok(()),
        }
    }

    fn leave_shared_mount_namespace(&mut self) -> Result<()> {
        if self.plan.rootfs.root_mode == RootMode::Detached {
            self.made.back = Some(rootfs::shared_mntns::leave()?);
        }
        Ok(())
    }

    fn return_to_shared_mount_namespace(&mut self) -> Result<()> {
        let Some(back) = self.made.back.take() else {
            return Ok(());
        };
        let root = rootfs::shared_mntns::return_to(back)?;
        terminal::follow(&mut self.context, &root)?;
        if let Some(process) = &self.plan.process {
            self.context.in_cwd = environment::enter_cwd(&root, process)?;
        }
        Ok(())
    }

    /// After a failure: a new mount namespace ends with init, and with it the mounts in it. In a joined one the incomplete
    /// root would stay. In the runtime's own mount namespace there is none, and a mount at that path is the host's.
    fn leave_joined_mount_namespace(&self) {
        if self.plan.rootfs.root_mode == RootMode::Pivot && self.plan.namespaces.joins(libc::CLONE_NEWNS).is_some() {
            // After the change of the root the path no longer exists, and there is nothing to undo.
            let _ = mount::detach(&self.plan.rootfs.path);
        }
    }

    fn console(&mut self, root: &Root) -> Result<()> {
        match &self.plan.process {
            Some(process) => terminal::open(&mut self.context, process, root, self.plan.rootfs.console),
            None => Ok(()),
        }
    }

    fn cwd(&mut self, root: &Root) -> Result<()> {
        if let Some(process) = &self.plan.process {
            self.context.in_cwd = environment::make_cwd(root, process)?;
        }
        Ok(())
    }

    fn read_only(&mut self, root: &Root) -> Result<()> {
        rootfs::pivot::finish(root, &self.plan.rootfs)?;
        rootfs::mounts::finish(std::mem::take(&mut self.made.pending))?;
        // Nothing is made or opened in the root from here on.
        self.inputs.sources = Sources::default();
        self.context.host_proc = None;
        self.made.null = None;
        if self.plan.hooks.start_container.is_empty() {
            self.inputs.hook_output = hooks::Files::default();
        }
        Ok(())
    }

    /// Waits between `create` and `start`. For `run` the message comes over the channel at once.
    fn wait_for_start(&mut self) -> Result<()> {
        let channel = &mut self.context.channel;
        match self.inputs.start_socket.take() {
            None => {
                channel.linger(Peer::Start);
                channel.expect_from_runtime(&[Message::Start])?;
            }
            Some(listener) => {
                channel.expect_from_runtime(&[Message::Commit])?;
                // From now on the process that starts the container is the runtime; the creator's end is no longer used.
                // A connection that could not be accepted stays in the queue.
                let connection = socket::accept(listener.as_fd()).or_else(|_| socket::accept(listener.as_fd()));
                *channel = Channel::new(connection?);
                channel.divert_log();
                match channel.expect_from_runtime(&[Message::Start, Message::StartTimed(0, 0)])? {
                    Message::StartTimed(monotonic, real) => timings::restart(Some(Clocks { monotonic, real })),
                    _ => timings::restart(None),
                }
                // Hours may have passed.
                self.context.program = None;
            }
        }
        Ok(())
    }

    /// The descriptors that init needs, see [`fds::keep_only`].
    fn own_descriptors(&self) -> Vec<RawFd> {
        let start = self.inputs.start_socket.as_ref().map(|socket| socket.as_raw_fd());
        let log = log::diverted();
        let notify = match &self.inputs.notify {
            Some(notify::Directory::Mount(tree)) => Some(tree.as_raw_fd()),
            _ => None,
        };
        [Some(self.context.channel.fd().as_raw_fd()), start, notify, log]
            .into_iter()
            .flatten()
            .chain(self.inputs.sources.raw_fds())
            .chain(self.inputs.hook_output.numbers())
            .collect()
    }
}
