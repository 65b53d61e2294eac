//! `mounts add` and `mounts remove`: changes the mounts of an existing container. The command line and the file are those of
//! crun.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bundle::validate::{self, RuntimeOptions};
use crate::bundle::{load, questions, text};
use crate::cli::{Mounts, MountsAction};
use crate::error::{At, Context, Result, anyhow, bail, with_hint};
use crate::host::Facts;
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
            "the container shares the mount namespace of its caller, so nothing can be mounted for it alone",
            "create it with a separate mount namespace: {\"type\": \"mount\"} in linux.namespaces",
        ));
    }
    for entry in &plan.rootfs.mounts {
        can_be_added(entry).with_context(|| entry.at())?;
    }
    mounts::change(&plan, join_target, &task)
}

/// Reads the file: a list of mounts, as in config.json.
fn list(file: &Path) -> Result<Vec<Value>> {
    let read = || -> Result<Vec<Value>> {
        let text = load::text_of_file(file)?;
        text::read_as(&text)
    };
    read().with_context(|| format!("{}", file.display()))
}

/// The plan of the container with these mounts instead of its own, so that they are validated in the same way.
fn plan(bundle: &Path, config: &[u8], list: Vec<Value>) -> Result<Plan> {
    let mut document: Value = text::read_as(config).context("the container's config.json")?;
    if let Some(document) = document.as_object_mut() {
        document.insert("mounts".into(), list.into());
    }
    let config = load::parse(bundle.into(), serde_json::to_vec(&document)?, None)?;
    let options = RuntimeOptions::default();
    let facts = Facts::gather(questions::of_container(&config, &options))?;
    let plan = validate::plan(config, &options, facts)?;
    // Other warnings were given when the container was created.
    for warning in plan.warnings.iter().filter(|warning| warning.mount.is_some()) {
        log::warning(&warning.text);
    }
    Ok(plan)
}

/// The destinations of the mounts to remove.
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

/// File systems that depend only on the namespaces in which they are mounted. Others refer to devices and directories of the
/// host, which cannot be reached from inside the container.
const SELF_CONTAINED: [&str; 5] = ["tmpfs", "ramfs", "mqueue", "devpts", "sysfs"];

/// Fails if a mount cannot be made in an existing container.
fn can_be_added(entry: &Mount) -> Result<()> {
    match &entry.kind {
        MountKind::Bind { inside: Some(_), .. } if entry.id_map.is_some() => Err(with_hint(
            "an ID-mapped mount of a directory in the container is not supported",
            "give a directory of the host as the source",
        )),
        MountKind::Bind { .. } | MountKind::Link(_) => Ok(()),
        MountKind::New { kind, .. } if SELF_CONTAINED.contains(&kind.as_str()) => Ok(()),
        MountKind::New { kind, .. } if kind == "proc" => Err(with_hint(
            "proc cannot be added: it would show the PID namespace of the process that mounts it",
            "put it into the mounts of config.json",
        )),
        MountKind::Cgroup => Err(with_hint(
            "the cgroup hierarchy cannot be added to an existing container",
            "put it into the mounts of config.json",
        )),
        MountKind::New { kind, .. } => Err(with_hint(
            format!(
                "a file system of type {kind:?} cannot be added: its source cannot be reached from inside the container"
            ),
            "mount it on the host, and add a bind mount of it",
        )),
        MountKind::Remount => Err(with_hint(
            "\"remount\" changes an existing mount, but mounts can only be added and removed",
            "remove the mount, and add it again with the new options",
        )),
    }
}
