//! Chapters 6 to 9, run by init: the process that becomes the container's first.
//!
//! It is a copy of the runtime made by clone3(2), already inside its cgroup and its new namespaces, with the [`Plan`] in
//! its memory; it never parses anything. It goes through `STEPS` in order, says `Ready`, waits for `start`, and
//! executes the container's program. Whatever fails is reported over the channel, and init ends.

mod context;
pub mod diagnose;
mod elf;
mod environment;
mod exec;
pub mod fds;
pub mod identity;
pub mod join;
pub mod limits;
pub mod namespaces;
mod obstacle;
mod process;
pub mod scheduling;
mod state;
mod terminal;

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use oci_spec::runtime::Hook;

use crate::error::{Context, Result, Step, anyhow, bail};
use crate::hooks;
use crate::log;
use crate::plan::{HookPoint, Plan, RootMode};
use crate::progress::{self, Walker};
use crate::protocol::{Channel, Message};
use crate::rootfs::mounts::MountContext;
use crate::rootfs::sources::Sources;
use crate::rootfs::{self, Root, notify};
use crate::security::procfs::HostProc;
use crate::security::seccomp::install::HookFilter;
use crate::status::Document;
use crate::sys::{self, fs, mount, signal, socket};

use context::ProcessContext;
use process::{ARRIVAL, CONFINEMENT, KEYS, LIMITS, take};
use state::{Init, InitState};

pub use state::InitInputs;

type StepFn = fn(&mut Init) -> Result<()>;

/// The order of things, about init itself and the container it makes. Each name is what errors, `--debug` and the
/// timings call the step. Between them come the steps about the process, which are not init's alone.
const STEPS: &[Stage] = &[
    Stage::Own(PREPARE),
    Stage::Process(LIMITS),
    Stage::Own(ROOT),
    Stage::Process(KEYS),
    Stage::Own(FINISH),
    Stage::Process(CONFINEMENT),
    Stage::Birth,
    Stage::Process(ARRIVAL),
];

/// A part of the walk.
enum Stage {
    Own(&'static [(Step, StepFn)]),
    /// Left out where the config has no process.
    Process(&'static [(Step, process::ProcessStep)]),
    /// Of init itself, where another has made all this for it, see `launch::late`.
    Birth,
}

const PREPARE: &[(Step, StepFn)] = &[
    // Nothing of the runtime's may stay open in here: its lock, its directories, its log.
    (Step::Descriptors, |init| {
        fds::keep_only(init.preserved(), &init.own_descriptors())
    }),
    // Before any id is changed, for the runtime may write to our files in /proc only while they are its user's.
    (Step::HelpFromOutside, |init| identity::wait_for_help(init)),
    // First of all privilege over the other namespaces; until the maps are written nothing else would work.
    (Step::UserNamespace, |init| identity::enter_user_namespace(init)),
    // From the first moment in shared namespaces nobody there may ptrace us or read our descriptors (CVE-2016-9962).
    (Step::Undumpable, |_| Ok(sys::process::set_undumpable()?)),
    // By path, while the host's paths still mean the host's files.
    (Step::Namespaces, |init| namespaces::join(init)),
    // Before anything of the host is opened that is then mounted.
    (Step::MountNamespace, |init| init.leave_shared_mount_namespace()),
    // A session of its own, so that no signal of the caller's terminal reaches the container.
    (Step::Session, |init| init.begin_session()),
    // Before the image is touched: the host's procfs and null device, verified, for all that writes to /proc or masks.
    (Step::HostFiles, |init| init.take_host_files()),
];

/// The new root, and all that is seen in it.
const ROOT: &[(Step, StepFn)] = &[
    (Step::Hostname, |init| namespaces::names(init)),
    (Step::Root, |init| init.prepare_root()),
    (Step::Mounts, |init| init.mounts()),
    // As late as can be, for it may have to be waited for: whoever needs it sooner calls it sooner.
    (Step::Network, |init| namespaces::network(init)),
    (Step::NotifySocket, |init| match init.inputs.notify.take() {
        Some(directory) => notify::attach(init.root()?, directory),
        None => Ok(()),
    }),
    (Step::Devices, |init| init.devices()),
    // After the mounts, because a config may mount below what it then masks; before the pivot, because /dev/null is
    // the host's.
    (Step::Masks, |init| init.masks()),
    // After the mounts and before the pivot, as runtime.md wants for createRuntime.
    (Step::RuntimeHooks, |init| init.runtime_hooks()),
    (Step::CreateContainerHooks, |init| init.create_container_hooks()),
    // After the hooks, for they may bring what has parameters: Docker, up to 25, gives the container its eth0 by one.
    (Step::Sysctl, |init| namespaces::sysctls(init)),
    // In the container's devpts, but before the pivot, for the same descriptors serve on both sides of it.
    (Step::Console, |init| init.console()),
    (Step::Pivot, |init| {
        rootfs::pivot::change_root(init.root()?, &init.plan.rootfs)
    }),
    // InitState if missing, so before the root turns read-only.
    (Step::Cwd, |init| init.cwd()),
];

/// The last of what needs the host.
const FINISH: &[(Step, StepFn)] = &[
    (Step::ReadOnly, |init| init.read_only()),
    // When all has been done to the mounts, for the copy of them can no longer be changed.
    (Step::SharedMountNamespace, |init| {
        init.return_to_shared_mount_namespace()
    }),
];

/// Runs init; never returns to the caller's code.
pub fn run(id: &str, plan: &Plan, channel: Channel, mut inputs: InitInputs) -> ! {
    // The caller's, and for the container to read as long as we wait for `start`.
    sys::execve::hide_invocation(b"orlop init");
    signal::reset_all();
    progress::become_walker(Walker::Init);
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
    init.leave_joined_mount_namespace();
    init.context.channel.send_failure(&error);
    sys::process::exit_now(1)
}

impl Init<'_> {
    fn walk(&mut self) -> Result<std::convert::Infallible> {
        // A container without a process has nothing to be started.
        let process = self.plan.process.as_ref();
        for stage in STEPS {
            match (stage, process) {
                (Stage::Own(steps), _) => {
                    for (name, step) in *steps {
                        take(self, *name, step)?;
                    }
                }
                (Stage::Process(steps), Some(process)) => process::walk(&mut self.context, process, steps)?,
                (Stage::Birth, Some(_)) if self.context.by_its_maker => take(self, Step::Birth, |init| init.be_born())?,
                (Stage::Process(_), None) | (Stage::Birth, _) => {}
            }
        }
        match process {
            Some(process) => exec::execute(self, process, Init::start),
            None => self.start().and_then(|()| bail!("nothing to start")),
        }
    }

    /// Goes on as init, whose maker ends.
    fn be_born(&mut self) -> Result<()> {
        context::bear(&self.context)?;
        Ok(sys::process::setsid()?)
    }

    /// The container's, and no other: the kernel needs a millisecond for one where it schedules by session.
    fn begin_session(&mut self) -> Result<()> {
        match self.context.by_its_maker {
            true => Ok(()),
            false => Ok(sys::process::setsid()?),
        }
    }

    /// What comes before the program: `start`, and the hooks that belong to it.
    fn start(&mut self) -> Result<()> {
        if self.inputs.start_socket.is_some() {
            // It may be hours until `start`, and `kill` ends a container that was only created as it ends another.
            signal::end_at(&[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM]);
        }
        self.context.channel.send(&Message::Ready)?;
        progress::end();
        take(self, Step::Start, |init| init.wait_for_start())?;
        take(self, Step::StartContainerHooks, Init::start_container_hooks)
    }

    /// How many descriptors after the standard three the process keeps.
    fn preserved(&self) -> u32 {
        self.plan.process.as_ref().map_or(0, |process| process.preserve_fds)
    }

    fn root(&self) -> Result<&Root> {
        self.made
            .root
            .as_ref()
            .ok_or_else(|| anyhow!("the root file system has not been prepared"))
    }

    fn take_host_files(&mut self) -> Result<()> {
        self.context.host_proc = Some(HostProc::open()?);
        if !self.plan.rootfs.masked.is_empty() {
            self.made.null = Some(rootfs::mask::host_null()?);
        }
        Ok(())
    }

    fn prepare_root(&mut self) -> Result<()> {
        let tree = self.inputs.sources.root.take();
        self.made.root = Some(rootfs::mounts::prepare(&self.plan.rootfs, tree)?);
        Ok(())
    }

    fn mounts(&mut self) -> Result<()> {
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
        };
        self.made.pending = rootfs::mounts::apply(self.root()?, &self.plan.rootfs, &around, &mut sources)?;
        self.inputs.sources = sources;
        Ok(())
    }

    fn devices(&mut self) -> Result<()> {
        let made = self.inputs.sources.devices.take();
        let root = self.root()?;
        let user_namespace = self.plan.namespaces.has(libc::CLONE_NEWUSER);
        rootfs::devices::apply(root, &self.plan.rootfs, user_namespace, made)?;
        rootfs::devices::link(root, &self.plan.rootfs)
    }

    fn masks(&mut self) -> Result<()> {
        let root = self.root()?;
        rootfs::mask::make_readonly(root, &self.plan.rootfs.readonly_paths)?;
        match &self.made.null {
            Some(null) => rootfs::mask::mask(root, &self.plan.rootfs.masked, null),
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

    /// A new mount namespace ends with us, and with it what was mounted in it. In one of others the half-made root would
    /// stay; in the runtime's own there is none, and what is mounted at that path is the host's.
    fn leave_joined_mount_namespace(&mut self) {
        if self.made.root.take().is_some()
            && self.plan.rootfs.root_mode == RootMode::Pivot
            && self.plan.namespaces.joins(libc::CLONE_NEWNS).is_some()
        {
            // After the change of the root there is no such path any more, and nothing that could be undone.
            let _ = mount::detach(&self.plan.rootfs.path);
        }
    }

    fn runtime_hooks(&mut self) -> Result<()> {
        if self.plan.hooks.prestart.is_empty() && self.plan.hooks.create_runtime.is_empty() {
            return Ok(());
        }
        self.context.channel.send(&Message::Mounted)?;
        self.context
            .channel
            .expect_from_runtime(&[Message::HooksDone])
            .map(drop)
    }

    fn create_container_hooks(&mut self) -> Result<()> {
        if self.plan.hooks.create_container.is_empty() {
            return Ok(());
        }
        self.context.channel.send(&Message::Hooks)?;
        let around = hooks::Surroundings {
            // As engines' hooks expect it: relative paths are inside the root that they change.
            directory: Some(self.root()?.fd().try_clone_to_owned()?),
            // Init's umask is 0, so that files get exactly the modes that were asked for. Files of the hooks would be open
            // to all.
            umask: Some(self.context.caller_umask),
            output: hooks::Output::Files(&self.inputs.hook_output),
            ..Default::default()
        };
        self.run_hooks(HookPoint::CreateContainer, &self.plan.hooks.create_container, &around)
    }

    fn start_container_hooks(&mut self) -> Result<()> {
        if self.plan.hooks.start_container.is_empty() {
            return Ok(());
        }
        // They may replace it.
        self.context.program = None;
        let process = self.plan.process.as_ref();
        let around = hooks::Surroundings {
            environment: process.map(environment::variables).unwrap_or_default(),
            filter: process.and_then(HookFilter::of).map(Arc::new),
            output: hooks::Output::Files(&self.inputs.hook_output),
            ..Default::default()
        };
        self.run_hooks(HookPoint::StartContainer, &self.plan.hooks.start_container, &around)
    }

    /// Runs hooks in the container's namespaces. Their state has the pid as the container sees it.
    fn run_hooks(&self, point: HookPoint, list: &[Hook], around: &hooks::Surroundings) -> Result<()> {
        let state = Document {
            oci_version: &self.plan.oci_version,
            id: self.context.id,
            pid: sys::process::pid(),
            status: point.status(),
            bundle: &self.plan.bundle,
            rootfs: None,
            created: None,
            annotations: &self.plan.annotations,
            owner: None,
            step: None,
        };
        hooks::run(point, list, &state, around)
    }

    fn console(&mut self) -> Result<()> {
        match (&self.plan.process, &self.made.root) {
            (Some(process), Some(root)) => terminal::open(&mut self.context, process, root, self.plan.rootfs.console),
            _ => Ok(()),
        }
    }

    fn cwd(&mut self) -> Result<()> {
        match &self.plan.process {
            Some(process) => {
                self.context.in_cwd = environment::make_cwd(self.root()?, process)?;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn read_only(&mut self) -> Result<()> {
        rootfs::pivot::finish(self.root()?, &self.plan.rootfs)?;
        rootfs::mounts::finish(std::mem::take(&mut self.made.pending))?;
        // Nothing else is made or opened in the root, and no descriptor of the host's may be there when the container's
        // own paths are used from here on (CVE-2024-21626).
        self.made.root = None;
        self.inputs.sources = Sources::default();
        self.context.host_proc = None;
        self.made.null = None;
        if self.plan.hooks.start_container.is_empty() {
            self.inputs.hook_output = hooks::Files::default();
        }
        Ok(())
    }

    /// Between `create` and `start`. For `run` the word comes over the channel at once.
    fn wait_for_start(&mut self) -> Result<()> {
        if self.inputs.start_socket.is_none() {
            self.context.channel.linger();
        }
        let message = self
            .context
            .channel
            .expect_from_runtime(&[Message::Commit, Message::Start])?;
        if matches!(message, Message::Commit) {
            let Some(listener) = self.inputs.start_socket.take() else {
                bail!("there is no socket to wait on")
            };
            // From now on whoever starts us hears us; the creator's end is done with.
            self.context.channel = Channel::new(socket::accept(listener.as_fd())?);
            self.context.channel.divert_log();
            self.context.channel.expect_from_runtime(&[Message::Start])?;
            // Hours may have gone by.
            self.context.program = None;
        }
        if self.plan.process.is_none() {
            bail!("the config has no process to start");
        }
        Ok(())
    }

    /// The descriptors that init needs, for [`fds::keep_only`].
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
