//! What exists before the processes of a container do: its state, its cgroup with the limits, its class of service.

use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::SystemTime;

use super::rollback::{InitProcess, Rollback};
use crate::cgroup::apply;
use crate::cgroup::resctrl;
use crate::cgroup::systemd::{Placeholder, Systemd};
use crate::cgroup::tree::{self, Leaf};
use crate::error::{Context, Result, Step};
use crate::hooks;
use crate::interrupt::Interrupts;
use crate::plan::{HookPoint, Plan, RootMode};
use crate::progress;
use crate::rfc3339;
use crate::state::record::{CgroupState, Stream};
use crate::state::{Phase, State};
use crate::status::Document;
use crate::sys::{SysResult, descriptor, process};

/// The state of a container that is about to be created.
pub fn new_state(id: &str, plan: &Plan) -> Result<State> {
    Ok(State {
        version: State::VERSION,
        oci_version: plan.oci_version.clone(),
        id: id.into(),
        phase: Phase::Creating,
        creator: process::pid(),
        pid: 0,
        start_time: 0,
        pidfd_inode: None,
        bundle: plan.bundle.clone(),
        rootfs: plan.rootfs.path.clone(),
        created: rfc3339::format(SystemTime::now()),
        owner: process::effective_uid(),
        cgroup: None,
        class: None,
        annotations: plan.annotations.clone(),
        poststart: plan.hooks.poststart.clone(),
        poststop: plan.hooks.poststop.clone(),
        resources: None,
        unfinished: None,
        memory_limited: plan.cgroup.limits.limit_memory(),
        shared_pid_namespace: !plan.namespaces.makes(libc::CLONE_NEWPID),
        chroot: plan.rootfs.root_mode != RootMode::Pivot,
        keyring: None,
        no_new_keyring: plan.process.as_ref().is_some_and(|process| !process.new_keyring),
        streams: streams(plan)?,
        step: None,
    })
}

/// The pipes and sockets that the container gets from the caller.
fn streams(plan: &Plan) -> SysResult<Vec<Stream>> {
    let Some(process) = &plan.process else {
        return Ok(Vec::new());
    };
    let stream = |number| -> SysResult<Stream> {
        if number < 3 && process.terminal {
            return Ok(Stream::Other);
        }
        let stat = descriptor::stat(number)?;
        Ok(match stat.st_mode & libc::S_IFMT {
            libc::S_IFIFO => Stream::Pipe(stat.st_ino),
            libc::S_IFSOCK => Stream::Socket(stat.st_ino),
            _ => Stream::Other,
        })
    };
    let mut streams = (0..3 + process.preserve_fds as i32)
        .map(stream)
        .collect::<SysResult<Vec<_>>>()?;
    let last = streams.iter().rposition(|stream| *stream != Stream::Other);
    streams.truncate(last.map_or(0, |last| last + 1));
    Ok(streams)
}

/// Writes the first state and creates the cgroup, with its limits, and the class of service.
pub fn make(made: &mut Rollback, plan: &Plan, interrupts: &Rc<Interrupts>) -> Result<()> {
    progress::step(Step::Cgroup);
    if plan.process.as_ref().is_some_and(|process| process.new_keyring) {
        made.state.keyring = Some(format!("{:032x}", process::unpredictable().context(Step::Keyring)?));
    }
    let place = place(made, plan, interrupts)?;
    progress::step(Step::State);
    // Written before the cgroup is created, so that everything left by a crash is known.
    made.state.cgroup = place.clone();
    let rdt = plan.intel_rdt.as_ref();
    made.state.class = rdt.map(|rdt| resctrl::place(rdt, &made.container.id));
    made.container.write_first(&mut made.state).context(Step::State)?;
    progress::step(Step::Cgroup);
    if let Some(place) = place {
        made.leaf = make_leaf(made, plan, place)?;
        made.state.cgroup = made.leaf.as_ref().map(|leaf| leaf.place.clone());
    }
    if let Some(rdt) = rdt {
        progress::step(Step::ClassOfService);
        let class = resctrl::create(rdt, &made.container.id).context(Step::ClassOfService)?;
        made.state.class = Some(class.state.clone());
        made.class = Some(class);
    }
    if let Some(leaf) = &made.leaf {
        // Before the clone: init is limited from its start.
        progress::step(Step::Resources);
        apply::apply(leaf, &plan.cgroup, &mut made.enabled)?;
    }
    Ok(())
}

/// Where the cgroup will be. systemd, if used, is contacted first; if that fails, nothing has been created.
fn place(made: &mut Rollback, plan: &Plan, interrupts: &Rc<Interrupts>) -> Result<Option<CgroupState>> {
    let Some(scope) = &plan.cgroup.scope else {
        return tree::place(&plan.cgroup, &made.container, &made.state.created);
    };
    let place = || -> Result<(Systemd, CgroupState)> {
        let systemd = Systemd::open(scope.user, Some(interrupts.clone()))?;
        let place = systemd.place(scope, &made.container, &made.state.created)?;
        Ok((systemd, place))
    };
    let (systemd, place) = place().context(Step::Cgroup)?;
    made.systemd = Some(systemd);
    Ok(Some(place))
}

fn make_leaf(made: &mut Rollback, plan: &Plan, place: CgroupState) -> Result<Option<Leaf>> {
    let (Some(systemd), Some(scope)) = (&mut made.systemd, &plan.cgroup.scope) else {
        let mut place = place;
        let leaf = tree::create(&mut place, &plan.cgroup);
        made.state.cgroup = Some(place);
        return leaf;
    };
    let placeholder = Placeholder::new()?;
    let leaf = systemd
        .start(place, &plan.cgroup, scope, &made.container.id, &placeholder)
        .context(Step::Cgroup)?;
    made.placeholder = Some(placeholder);
    Ok(Some(leaf))
}

/// Sets the rules for devices.
pub fn restrict(made: &Rollback, plan: &Plan) -> Result<()> {
    match &made.leaf {
        Some(leaf) => {
            progress::step(Step::DeviceRules);
            tree::restrict_devices(leaf, &plan.cgroup)
        }
        None => Ok(()),
    }
}

/// Runs the hooks in the runtime's namespaces, while init waits.
pub fn run_hooks(state: &State, init: &InitProcess, plan: &Plan, interrupts: &Interrupts) -> Result<()> {
    let document = Document::for_hook(state, init.pid, HookPoint::Prestart.status());
    let around = hooks::Surroundings {
        interrupts: Some(interrupts),
        init: Some(init.pidfd.as_fd()),
        ..hooks::Surroundings::in_bundle(&document)
    };
    if !plan.hooks.prestart.is_empty() {
        progress::step(Step::PrestartHooks);
    }
    hooks::run(HookPoint::Prestart, &plan.hooks.prestart, &document, &around).context(Step::PrestartHooks)?;
    let document = Document::for_hook(state, init.pid, HookPoint::CreateRuntime.status());
    if !plan.hooks.create_runtime.is_empty() {
        progress::step(Step::CreateRuntimeHooks);
    }
    hooks::run(HookPoint::CreateRuntime, &plan.hooks.create_runtime, &document, &around)
        .context(Step::CreateRuntimeHooks)
}
