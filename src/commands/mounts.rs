//! `mounts add` and `mounts remove`: changes what is mounted in a container that exists. The command line and the file are crun's.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bundle::validate::{self, RuntimeOptions};
use crate::bundle::{load, text};
use crate::cli::{Mounts, MountsAction};
use crate::error::{At, Context, Result, anyhow, bail, with_hint};
use crate::launch::exec;
use crate::launch::mounts::{self, Task};
use crate::log;
use crate::plan::{Mount, MountKind, Plan, RootMode};
use crate::state::Store;
use crate::status::{self, Snapshot, Status};

pub fn run(store: &Store, arguments: &Mounts) -> Result<u8> {
    let about = || {
        let action = match arguments.action {
            MountsAction::Add => "add",
            MountsAction::Remove => "remove",
        };
        format!("mounts {action} {:?}", arguments.id)
    };
    change(store, arguments).with_context(about)?;
    Ok(crate::exit_code::SUCCESS)
}

fn change(store: &Store, arguments: &Mounts) -> Result<()> {
    let list = list(&arguments.file)?;
    let container = store.container(&arguments.id)?;
    let Snapshot { state, status, init } = status::inspect(&container)?;
    match status {
        Status::Stopped => bail!("container not running"),
        Status::Creating => bail!("the container is still being created"),
        Status::Created | Status::Running | Status::Paused => {}
    }
    let init = init.ok_or_else(|| anyhow!("container not running"))?;
    let join_target = exec::join_target(state.pid, init, state.chroot)?;
    let task = match arguments.action {
        MountsAction::Add => Task::Add,
        MountsAction::Remove => Task::Remove(destinations(&list)?),
    };
    let added = if matches!(task, Task::Add) { list } else { Vec::new() };
    let plan = plan(&state.bundle, &container.read_config()?, added)?;
    if plan.rootfs.root_mode != RootMode::Pivot || join_target.namespaces & libc::CLONE_NEWNS as u64 == 0 {
        return Err(with_hint(
            "the container shares the mount namespace of its caller, and nothing can be mounted in its part",
            "give it a mount namespace of its own: {\"type\": \"mount\"} in linux.namespaces",
        ));
    }
    for entry in &plan.rootfs.mounts {
        can_be_added(entry)
            .with_context(|| At::object(format!("mounts[{}]", entry.index), entry.destination.display()))?;
    }
    mounts::change(&plan, join_target, &task)
}

/// The file: a list of mounts, as config.json has it.
fn list(file: &Path) -> Result<Vec<Value>> {
    let read = || -> Result<Vec<Value>> {
        let text = load::text_of_file(file)?;
        text::read_as(&text)
    };
    read().with_context(|| format!("{}", file.display()))
}

/// The container's plan with these mounts instead of its own: they are checked as those are.
fn plan(bundle: &Path, config: &[u8], list: Vec<Value>) -> Result<Plan> {
    let mut document: Value = text::read_as(config).context("the container's config.json")?;
    if let Some(document) = document.as_object_mut() {
        document.insert("mounts".into(), list.into());
    }
    let config = load::parse(bundle.into(), serde_json::to_vec(&document)?)?;
    let plan = validate::plan(config, &RuntimeOptions::default())?;
    // What else the config has in vain was told when the container was made.
    for warning in plan.warnings.iter().filter(|warning| warning.contains("mounts[")) {
        log::warning(warning);
    }
    Ok(plan)
}

/// What removing goes by.
fn destinations(list: &[Value]) -> Result<Vec<PathBuf>> {
    let destination = |(index, entry): (usize, &Value)| {
        let text = entry.get("destination").and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
            .map(|text| Path::new("/").join(text))
            .ok_or_else(|| anyhow!("is missing"))
            .with_context(|| At::new(format!("mounts[{index}].destination")))
    };
    list.iter().enumerate().map(destination).collect()
}

/// File systems that are made of nothing but the namespaces they are mounted in. Of others the options name devices and
/// directories of the host, which are out of reach inside.
const OF_NOTHING: [&str; 5] = ["tmpfs", "ramfs", "mqueue", "devpts", "sysfs"];

/// Whether a mount can be made in a container that exists.
fn can_be_added(entry: &Mount) -> Result<()> {
    match &entry.kind {
        MountKind::Bind { inside: Some(_), .. } if entry.id_map.is_some() => Err(with_hint(
            "what is mounted in the container already cannot be given other owners",
            "name the directory of the host as the source",
        )),
        MountKind::Bind { .. } | MountKind::Link(_) => Ok(()),
        MountKind::New { kind, .. } if OF_NOTHING.contains(&kind.as_str()) => Ok(()),
        MountKind::New { kind, .. } if kind == "proc" => Err(with_hint(
            "a procfs cannot be added: it would show the processes of whoever mounts it",
            "have it in the mounts of config.json",
        )),
        MountKind::Cgroup => Err(with_hint(
            "the cgroup tree cannot be added to a container that exists",
            "have it in the mounts of config.json",
        )),
        MountKind::New { kind, .. } => Err(with_hint(
            format!(
                "a file system of type {kind:?} cannot be added: what it is made of is out of reach in the container"
            ),
            "mount it on the host, and add a bind mount of that",
        )),
        MountKind::Remount => Err(with_hint(
            "\"remount\" changes a mount, and this adds or removes them",
            "remove it, and add it with the options that it is to have",
        )),
    }
}
