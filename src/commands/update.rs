//! `update`: other limits for a container that exists. All of them or none: what was written is put back when one is refused.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value};

use super::update_document::{asked, check_sections, drop_kernel_memory, merge};
use crate::bundle::text::read_as;
use crate::bundle::validate::intel_rdt::one_line;
use crate::cgroup::apply;
use crate::cgroup::change::Change;
use crate::cgroup::controllers::{self, Enabled};
use crate::cgroup::resctrl;
use crate::cgroup::resources::{self, Limits, Setting};
use crate::cgroup::systemd::{Systemd, properties};
use crate::cgroup::{devices, tree, unfinished};
use crate::cli::{self, Update};
use crate::error::{At, Context, Result, Step, anyhow, bail, with_cleanup, with_hint};
use crate::log;
use crate::state::record::{State, Unfinished, UnitState};
use crate::state::{Container, Store};
use crate::status::{self, Status};
use crate::sys::SysError;

pub fn run(store: &Store, arguments: &Update) -> Result<u8> {
    update(store, arguments).with_context(|| format!("update {:?}", arguments.id))?;
    Ok(crate::exit_code::SUCCESS)
}

fn update(store: &Store, arguments: &Update) -> Result<()> {
    if arguments.resources.is_some() && *arguments.limits != cli::Limits::default() {
        return Err(with_hint(
            "--resources takes all limits from the file, and other limits are given too",
            "put them all into the file, or give them all as flags",
        ));
    }
    let mut asked = match &arguments.resources {
        Some(file) => read(file).with_context(|| format!("--resources {file:?}"))?,
        None => {
            refuse_real_time(&arguments.limits)?;
            asked(&arguments.limits)
        }
    };
    if drop_kernel_memory(&mut asked) {
        log::warning(
            "kernel memory limits are ignored: cgroup version 2 counts kernel memory as part of the container's memory",
        );
    }
    let container = store.container(&arguments.id)?;
    container.lock(Duration::from_secs(10))?;
    let mut seen = status::inspect(&container)?;
    unfinished::put_back(&container, &mut seen.state)?;
    match seen.status {
        Status::Created | Status::Running | Status::Paused => {}
        Status::Stopped => bail!("container not running"),
        Status::Creating => bail!("the container is still being created"),
    }

    let schemata = schemata(&arguments.limits)?;
    let class = match (schemata.as_slice(), &seen.state.class) {
        ([], _) => None,
        (_, Some(class)) => Some(class.clone()),
        (_, None) => {
            return Err(with_hint(
                "updating a non-existent Intel RDT configuration is not supported",
                "the container was made without linux.intelRdt",
            ));
        }
    };

    // What the container has, and what it shall have.
    let before = match &seen.state.resources {
        Some(resources) => resources.clone(),
        None => container.configured_resources()?,
    };
    let mut merged = before.as_object().cloned().unwrap_or_default();
    let named = merge(&mut merged, &asked);
    let named = |section: &str| named.iter().any(|name| name == section);
    let version = seen.state.oci_version.as_str();
    let (_, mut old) = converted(before.as_object().unwrap_or(&Map::new()), version)?;
    let (new_resources, mut new) = converted(&merged, version)?;
    if seen.state.cgroup.as_ref().is_some_and(|cgroup| cgroup.unit.is_some()) {
        properties::round_cpu_quota(&mut old.settings);
        properties::round_cpu_quota(&mut new.settings);
    }
    let settings = resources::change(&old, &new, named);
    let rules = if named("devices") && before.get("devices") != merged.get("devices") {
        Some(devices::rules(Some(&new_resources))?)
    } else {
        None
    };

    let cgroup = seen.state.cgroup.as_ref().ok_or_else(|| {
        with_hint(
            "the container has no cgroup, by which it could be limited",
            "a plain user's container gets one where the tree is delegated: systemd-run --user --scope -p Delegate=yes",
        )
    })?;
    let leaf =
        tree::own_directory(cgroup)?.ok_or_else(|| anyhow!("the container's cgroup {:?} has gone", cgroup.path))?;
    let leaf = std::os::fd::AsFd::as_fd(&leaf);
    let unit = cgroup.unit.as_ref();
    // Not taken back on failure: the container's own cgroup is below.
    let mut enabled = Enabled::default();
    if unit.is_some() {
        controllers::enable_in_unit(&cgroup.path, &settings, &mut enabled).context(Step("cgroup"))?;
    } else {
        controllers::enable(&cgroup.path, &settings, &mut enabled).context(Step("cgroup"))?;
    }
    if named("memory") {
        apply::check_usage(leaf, &new)?;
        if let Some(warning) = apply::below_usage(leaf, &settings) {
            log::warning(&warning);
        }
    }
    let mut begun = Begun {
        change: Change::plan(leaf, &settings).context(Step("cgroup"))?,
        known: match unit {
            Some(unit) if !settings.is_empty() => Some(Known::plan(unit, &old, settings).context(Step("cgroup"))?),
            _ => None,
        },
        class: match &class {
            Some(class) => Some(resctrl::Change::plan(class, &schemata).context(Step("class of service"))?),
            None => None,
        },
    };
    let mut next = seen.state.clone();
    next.resources = Some(Value::Object(merged));
    next.memory_limited = new.limit_memory();
    // If this process is killed from here on, the next command that reads the state undoes the changes.
    let mut intent = seen.state.clone();
    intent.unfinished = Some(begun.undone(rules.is_some()));
    container.write(&intent).context(Step("state"))?;
    let done = begun.finish(&container, &next, || match &rules {
        Some(rules) => tree::replace_devices(leaf, rules).context(Step("devices")),
        None => Ok(()),
    });
    match done {
        Ok(()) => {
            begun.keep();
            Ok(())
        }
        Err(error) => {
            drop(begun);
            Err(with_cleanup(error, container.write(&seen.state).context(Step("state"))))
        }
    }
}

/// Everything that is changed. Restored on drop, unless kept.
struct Begun<'a> {
    change: Change<'a>,
    known: Option<Known>,
    class: Option<resctrl::Change>,
}

impl Begun<'_> {
    fn undone(&self, devices: bool) -> Unfinished {
        Unfinished {
            files: self.change.before(),
            unit: self.known.as_ref().map_or_else(Vec::new, |known| known.before.clone()),
            schemata: self
                .class
                .as_ref()
                .map_or_else(Vec::new, |class| class.before().to_vec()),
            devices,
        }
    }

    /// `rules` replaces the device rules, which cannot be read back from the kernel. So it runs last, when the new state has
    /// been written and only has to be renamed.
    fn finish(&mut self, container: &Container, next: &State, rules: impl FnOnce() -> Result<()>) -> Result<()> {
        if let Some(known) = &mut self.known {
            known.write().context(Step("cgroup"))?;
        }
        if let Some(class) = &mut self.class {
            class.write().context(Step("class of service"))?;
        }
        self.change.write().context(Step("cgroup"))?;
        container.prepare(next).context(Step("state"))?;
        rules()?;
        container.publish().context(Step("state"))
    }

    fn keep(mut self) {
        self.change.keep();
        if let Some(known) = &mut self.known {
            known.written = false;
        }
        if let Some(class) = &mut self.class {
            class.keep();
        }
    }
}

/// cgroup v2 has no real-time bandwidth limits. Engines do not send them, so a person asked for something they cannot get.
fn refuse_real_time(limits: &cli::Limits) -> Result<()> {
    for (flag, given) in [
        ("--cpu-rt-period", limits.cpu_rt_period.is_some()),
        ("--cpu-rt-runtime", limits.cpu_rt_runtime.is_some()),
    ] {
        if given {
            return Err(with_hint(
                format!("{flag}: cgroup version 2 does not divide real-time bandwidth between cgroups"),
                "leave it out; a process gets a real-time policy by process.scheduler and CAP_SYS_NICE, within the host's \
                 sysctl kernel.sched_rt_runtime_us",
            ));
        }
    }
    Ok(())
}

/// What `--l3-cache-schema` and `--mem-bw-schema` say, in the order in which the specification has them written.
fn schemata(limits: &cli::Limits) -> Result<Vec<&str>> {
    let mut lines = Vec::new();
    for (flag, value, begins) in [
        ("--l3-cache-schema", &limits.l3_cache_schema, ""),
        ("--mem-bw-schema", &limits.mem_bw_schema, "MB:"),
    ] {
        if let Some(line) = value.as_deref().filter(|line| !line.is_empty()) {
            one_line(line, begins).with_context(|| format!("{flag} {line:?}"))?;
            lines.push(line);
        }
    }
    Ok(lines)
}

/// What systemd knows of the limits, changed before they are written to the files; put back when this is dropped, unless kept.
struct Known {
    systemd: Systemd,
    unit: String,
    settings: Vec<Setting>,
    /// The settings from before in the files that change.
    before: Vec<Setting>,
    written: bool,
}

impl Known {
    fn plan(unit: &UnitState, old: &Limits, settings: Vec<Setting>) -> Result<Self> {
        let changes = |setting: &&Setting| settings.iter().any(|new| new.file == setting.file);
        let unset = settings.iter().map(properties::unset);
        Ok(Known {
            systemd: Systemd::open(unit.user, None)?,
            unit: unit.name.clone(),
            before: unset.chain(old.settings.iter().filter(changes).cloned()).collect(),
            settings,
            written: false,
        })
    }

    fn write(&mut self) -> Result<()> {
        self.systemd.set(&self.unit, &self.settings)?;
        self.written = true;
        Ok(())
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        if !self.written {
            return;
        }
        if let Err(error) = self.systemd.set(&self.unit, &self.before) {
            log::warning(&format!("systemd keeps the limits that were refused: {error:#}"));
        }
    }
}

/// The limits that a file or standard input asks for.
fn read(file: &Path) -> Result<Value> {
    let mut text = Vec::new();
    let take = |from: &mut dyn Read, text: &mut Vec<u8>| from.take(1 << 20).read_to_end(text).map(drop);
    if file == Path::new("-") {
        take(&mut std::io::stdin(), &mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| take(&mut file, &mut text))
    }
    .map_err(|error| SysError::from_io("read", &error))?;
    parse(&text)
}

/// What a text asks, in the form of `linux.resources`.
pub fn parse(text: &[u8]) -> Result<Value> {
    // For its mistakes to be told with their places.
    read_as::<LinuxResources>(text)?;
    let asked = serde_json::from_slice(text)?;
    check_sections(&asked)?;
    Ok(asked)
}

/// The spec's type, and what it asks in a config of this version.
pub fn converted(resources: &Map<String, Value>, oci_version: &str) -> Result<(LinuxResources, Limits)> {
    let mut resources = resources.clone();
    // The type has 0 for a limit that is absent.
    if resources
        .get("pids")
        .is_some_and(|pids| pids.get("limit").is_none_or(Value::is_null))
    {
        resources.remove("pids");
    }
    let resources: LinuxResources =
        serde_json::from_value(Value::Object(resources)).context(At::new("linux.resources"))?;
    let limits = resources::convert(&resources, oci_version)?;
    Ok((resources, limits))
}
