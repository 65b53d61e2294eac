//! `update`: new limits for an existing container. All of them are set, or none: what was written is restored if one is refused.

use std::collections::HashSet;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value};

use super::update_document::{asked, check_sections, drop_kernel_memory, merge};
use crate::bundle::checks::{self, Source};
use crate::bundle::load;
use crate::bundle::text::{Mistake, read_despite_mistakes};
use crate::bundle::validate::intel_rdt::one_line;
use crate::cgroup::apply;
use crate::cgroup::controllers::{self, Enabled};
use crate::cgroup::resctrl::SchemataUpdate;
use crate::cgroup::resources;
use crate::cgroup::systemd::{Systemd, properties};
use crate::cgroup::update::{LimitsUpdate, settings_to_write};
use crate::cgroup::{devices, directory, tree, unfinished};
use crate::cli::{self, Update};
use crate::error::{At, Context, Result, Step, anyhow, bail, with_cleanup, with_hint};
use crate::log;
use crate::plan::limits::{Limit, Limits, Section, Setting};
use crate::plan::{DeviceRule, Warning};
use crate::state::record::{CgroupState, State, Unfinished, UnitBefore, UnitState};
use crate::state::{Container, Store};
use crate::status::{self, Status};
use crate::sys::{SysError, Syscall};

pub fn run(store: &Store, arguments: &Update) -> Result<u8> {
    update(store, arguments).with_context(|| format!("update {:?}", arguments.id))?;
    Ok(crate::exit_code::SUCCESS)
}

fn update(store: &Store, arguments: &Update) -> Result<()> {
    let asked = asked_for(arguments)?;
    let container = store.container(&arguments.id)?;
    container.lock(Duration::from_secs(10))?;
    let mut seen = status::inspect(&container)?;
    unfinished::put_back(&container, &mut seen.state)?;
    match seen.status {
        Status::Created | Status::Running | Status::Paused => {}
        Status::Stopped => bail!("container not running"),
        Status::Creating => bail!("the container is still being created"),
    }
    let state = &seen.state;
    let schemata = schemata(&arguments.limits)?;
    let class = match (schemata.as_slice(), &state.class) {
        ([], _) => None,
        (_, Some(class)) => Some(class),
        (_, None) => {
            return Err(with_hint(
                "updating a non-existent Intel RDT configuration is not supported",
                "the container was created without linux.intelRdt",
            ));
        }
    };
    let wanted = Wanted::of(&container, state, &asked)?;
    let cgroup = state.cgroup.as_ref().ok_or_else(|| {
        with_hint(
            "the container has no cgroup, which limits require",
            "an unprivileged user's container gets one where the tree is delegated: systemd-run --user --scope -p Delegate=yes",
        )
    })?;
    let leaf = directory::own_directory(cgroup)?
        .ok_or_else(|| anyhow!("the container's cgroup {:?} has gone", cgroup.path))?;
    enable_controllers(cgroup, &wanted.settings)?;
    wanted.check_usage(leaf.as_fd())?;
    let transaction = Transaction {
        limits: LimitsUpdate::prepare(leaf.as_fd(), &wanted.settings).context(Step::Cgroup)?,
        unit: match &cgroup.unit {
            Some(unit) if !wanted.settings.is_empty() => {
                Some(UnitUpdate::prepare(unit, &wanted).context(Step::Cgroup)?)
            }
            _ => None,
        },
        schemata: match class {
            Some(class) => Some(SchemataUpdate::prepare(class, &schemata).context(Step::ClassOfService)?),
            None => None,
        },
    };
    transaction.run(&container, state, wanted, leaf.as_fd())
}

const KERNEL_MEMORY: &str =
    "kernel memory limits are ignored: cgroup version 2 counts kernel memory as part of the container's memory";

/// The new limits in the form of `linux.resources`, from the file or the flags.
fn asked_for(arguments: &Update) -> Result<Value> {
    if arguments.resources.is_some() && *arguments.limits != cli::Limits::default() {
        return Err(with_hint(
            "--resources reads all limits from the file, but other limits are given too",
            "put all of them into the file, or give all of them as flags",
        ));
    }
    let mut asked = match &arguments.resources {
        Some(file) => read(file)?,
        None => {
            refuse_real_time(&arguments.limits)?;
            asked(&arguments.limits)
        }
    };
    // For a file, reading it has said so.
    if drop_kernel_memory(&mut asked) && arguments.resources.is_none() {
        log::warning(KERNEL_MEMORY);
    }
    Ok(asked)
}

/// The container's limits before and after the update.
struct Wanted {
    /// The new `linux.resources`.
    resources: Map<String, Value>,
    old: Limits,
    new: Limits,
    /// What has to be written.
    settings: Vec<Setting>,
    /// The new device rules, if they change.
    rules: Option<Vec<DeviceRule>>,
    memory_is_named: bool,
}

impl Wanted {
    fn of(container: &Container, state: &State, asked: &Value) -> Result<Self> {
        let before = match &state.resources {
            Some(resources) => resources.clone(),
            None => container.configured_resources()?,
        };
        let mut resources = before.as_object().cloned().unwrap_or_default();
        let named = merge(&mut resources, asked);
        let version = state.oci_version.as_str();
        let (_, mut old) = converted(before.as_object().unwrap_or(&Map::new()), version)?;
        let (new_resources, mut new) = converted(&resources, version)?;
        if state.cgroup.as_ref().is_some_and(|cgroup| cgroup.unit.is_some()) {
            properties::round_cpu_quota(&mut old.settings);
            properties::round_cpu_quota(&mut new.settings);
        }
        let rules = if named.contains(&Section::Devices) && before.get("devices") != resources.get("devices") {
            Some(devices::rules(Some(&new_resources))?)
        } else {
            None
        };
        Ok(Wanted {
            settings: settings_to_write(&old, &new, |section| named.contains(&section)),
            resources,
            old,
            new,
            rules,
            memory_is_named: named.contains(&Section::Memory),
        })
    }

    /// Refuses memory limits below current usage if `checkBeforeUpdate` asks for it, and warns about them otherwise.
    fn check_usage(&self, leaf: BorrowedFd) -> Result<()> {
        if self.memory_is_named {
            apply::check_usage(leaf, &self.new)?;
            if let Some(warning) = apply::below_usage(leaf, &self.settings) {
                log::warning(&warning);
            }
        }
        Ok(())
    }
}

/// The controllers stay enabled if the update fails: the container's own cgroup is below.
fn enable_controllers(cgroup: &CgroupState, settings: &[Setting]) -> Result<()> {
    let mut enabled = Enabled::default();
    if cgroup.unit.is_some() {
        controllers::enable_in_unit(&cgroup.path, settings, &mut enabled).context(Step::Cgroup)
    } else {
        controllers::enable(&cgroup.path, settings, &mut enabled).context(Step::Cgroup)
    }
}

/// Everything that is changed. Restored on drop, unless kept.
struct Transaction<'a> {
    limits: LimitsUpdate<'a>,
    unit: Option<UnitUpdate>,
    schemata: Option<SchemataUpdate>,
}

impl Transaction<'_> {
    /// Changes everything or, on failure, nothing.
    fn run(mut self, container: &Container, state: &State, wanted: Wanted, leaf: BorrowedFd) -> Result<()> {
        let mut next = state.clone();
        next.resources = Some(Value::Object(wanted.resources));
        next.memory_limited = wanted.new.limit_memory();
        // If this process is killed from here on, the next command that reads the state undoes the changes.
        let mut intent = state.clone();
        intent.unfinished = Some(self.undone(wanted.rules.is_some()));
        container.write(&intent).context(Step::State)?;
        let done = self.write(container, &next, || match &wanted.rules {
            Some(rules) => tree::replace_devices(leaf, rules).context(Step::Devices),
            None => Ok(()),
        });
        match done {
            Ok(()) => {
                self.keep();
                Ok(())
            }
            Err(error) => {
                drop(self);
                Err(with_cleanup(error, container.write(state).context(Step::State)))
            }
        }
    }

    fn undone(&self, devices: bool) -> Unfinished {
        Unfinished {
            files: self.limits.before(),
            unit_before: self.unit.as_ref().map(|unit| unit.before.clone()),
            schemata: self
                .schemata
                .as_ref()
                .map_or_else(Vec::new, |schemata| schemata.before().to_vec()),
            devices,
        }
    }

    /// `rules` replaces the device rules, which cannot be read back from the kernel. So it runs last, when the new state has
    /// been written and only has to be renamed.
    fn write(&mut self, container: &Container, next: &State, rules: impl FnOnce() -> Result<()>) -> Result<()> {
        if let Some(unit) = &mut self.unit {
            unit.write().context(Step::Cgroup)?;
        }
        if let Some(schemata) = &mut self.schemata {
            schemata.write().context(Step::ClassOfService)?;
        }
        self.limits.write().context(Step::Cgroup)?;
        container.prepare(next).context(Step::State)?;
        rules()?;
        container.publish().context(Step::State)
    }

    fn keep(mut self) {
        self.limits.keep();
        if let Some(unit) = &mut self.unit {
            unit.written = false;
        }
        if let Some(schemata) = &mut self.schemata {
            schemata.keep();
        }
    }
}

/// cgroup v2 has no real-time bandwidth limits. Engines do not send them, so a person asks for something that does not exist.
fn refuse_real_time(limits: &cli::Limits) -> Result<()> {
    for (flag, given) in [
        ("--cpu-rt-period", limits.cpu_rt_period.is_some()),
        ("--cpu-rt-runtime", limits.cpu_rt_runtime.is_some()),
    ] {
        if given {
            return Err(with_hint(
                format!("{flag}: cgroup version 2 does not divide real-time bandwidth between cgroups"),
                "leave it out; a process gets a real-time policy from process.scheduler and CAP_SYS_NICE, within the host's \
                 sysctl kernel.sched_rt_runtime_us",
            ));
        }
    }
    Ok(())
}

/// The lines of `--l3-cache-schema` and `--mem-bw-schema`, in the order in which the specification wants them written.
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

/// An update of the limits that systemd knows, made before they are written to the files. Restored on drop, unless kept.
struct UnitUpdate {
    systemd: Systemd,
    unit: String,
    settings: Vec<Setting>,
    before: UnitBefore,
    written: bool,
}

impl UnitUpdate {
    fn prepare(unit: &UnitState, wanted: &Wanted) -> Result<Self> {
        let limits =
            |settings: &[Setting]| -> Vec<Limit> { settings.iter().map(|setting| setting.limit.clone()).collect() };
        let files: HashSet<_> = wanted.settings.iter().map(|setting| setting.limit.file()).collect();
        let mut before = UnitBefore {
            lift: limits(&wanted.settings),
            set: limits(&wanted.old.settings),
        };
        // The previous settings of the files that change.
        before.set.retain(|limit| files.contains(&limit.file()));
        Ok(UnitUpdate {
            systemd: Systemd::open(unit.user, None)?,
            unit: unit.name.clone(),
            settings: wanted.settings.clone(),
            before,
            written: false,
        })
    }

    fn write(&mut self) -> Result<()> {
        self.systemd.set(&self.unit, &self.settings)?;
        self.written = true;
        Ok(())
    }
}

impl Drop for UnitUpdate {
    fn drop(&mut self) {
        if !self.written {
            return;
        }
        if let Err(error) = self.systemd.restore(&self.unit, &self.before) {
            log::warning(&format!("systemd keeps the limits of the failed update: {error:#}"));
        }
    }
}

/// Reads the new limits from a file or from standard input.
fn read(file: &Path) -> Result<Value> {
    let label = format!("--resources {file:?}");
    let mut text = Vec::new();
    let take = |from: &mut dyn Read, text: &mut Vec<u8>| from.take(1 << 20).read_to_end(text).map(drop);
    if file == Path::new("-") {
        take(&mut std::io::stdin(), &mut text)
    } else {
        std::fs::File::open(file).and_then(|mut file| take(&mut file, &mut text))
    }
    .map_err(|error| SysError::from_io(Syscall::Read, &error))
    .with_context(|| label.clone())?;
    parse(&text, &label)
}

/// Reads new limits, in the form of `linux.resources`. `file`: its name in messages.
pub fn parse(text: &[u8], file: &str) -> Result<Value> {
    let document = read_document(text);
    if !document.mistakes.is_empty() {
        let source = Source {
            text,
            file: Some(file),
            within: "",
        };
        return Err(checks::error_of(document.mistakes, Some(&source)));
    }
    for warning in document.warnings {
        log::warning(&warning.text);
    }
    document.sections.with_context(|| file.to_string())?;
    document.value.ok_or_else(|| anyhow!("{file}: not a JSON document"))
}

/// What could be read of new limits.
pub struct Document {
    /// None if there are mistakes.
    pub value: Option<Value>,
    pub mistakes: Vec<Mistake>,
    /// Whether it has any section.
    pub sections: Result<()>,
    pub warnings: Vec<Warning>,
    /// The places of keys that are unknown and look like no known one.
    pub unknown: Vec<String>,
}

/// Reads new limits, in the form of `linux.resources`, as far as possible.
pub fn read_document(text: &[u8]) -> Document {
    // The type only tells all mistakes with their places, and misspelt keys.
    let reading = read_despite_mistakes::<LinuxResources>(text);
    let mut document = Document {
        value: serde_json::from_slice(text)
            .ok()
            .filter(|_| reading.mistakes.is_empty()),
        mistakes: reading.mistakes,
        sections: Ok(()),
        warnings: Vec::new(),
        unknown: Vec::new(),
    };
    if let Some(value) = &document.value {
        // Unknown sections are reported with the sections.
        let unknown = reading.notes.unknown.into_iter().filter(|(path, _)| path.len() > 1);
        document.warnings = load::warnings_about(unknown.collect(), &mut document.unknown);
        document.sections = check_sections(value, &mut document.warnings);
        if drop_kernel_memory(&mut value.clone()) {
            document.warnings.push(Warning::new("memory", KERNEL_MEMORY));
        }
    }
    document
}

/// Checks new limits for a container that has none.
pub fn check(asked: &Value, oci_version: &str) -> Result<()> {
    let (mut asked, mut resources) = (asked.clone(), Map::new());
    drop_kernel_memory(&mut asked);
    merge(&mut resources, &asked);
    let (resources, _) = converted(&resources, oci_version)?;
    devices::rules(Some(&resources)).map(drop)
}

/// The spec's type, and its limits in a config of this version.
pub fn converted(resources: &Map<String, Value>, oci_version: &str) -> Result<(LinuxResources, Limits)> {
    let mut resources = resources.clone();
    // The type has 0 for a missing limit.
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
