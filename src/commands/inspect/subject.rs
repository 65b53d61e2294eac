//! The container that is inspected: its state, its init process, and the plan that its config leads to.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::bundle::validate::{self, Cgroups, RuntimeOptions};
use crate::bundle::{load, questions};
use crate::cgroup::devices;
use crate::cgroup::systemd::properties;
use crate::commands::update;
use crate::error::{Context, Error, Report, Result, anyhow};
use crate::host::Facts;
use crate::plan::limits::Setting;
use crate::plan::{DeviceRule, Plan, Process};
use crate::process_facts::{self, Status as ProcessStatus};
use crate::state::file::is_broken;
use crate::state::{Container, State, Store};
use crate::status::{self, Snapshot, Status};
use crate::sys::descriptor;

/// A container at one moment.
pub struct Subject<'a> {
    pub store: &'a Store,
    pub container: Container,
    pub state: State,
    pub status: Status,
    /// A pidfd of init, if it is alive.
    pub init: Option<OwnedFd>,
    /// What /proc says about init; none if it is not alive.
    pub facts: Option<Result<ProcessStatus, String>>,
    /// What was asked for.
    pub plan: Option<Plan>,
    /// The limits and device rules in their latest form, after any `update`.
    pub resources: Result<(Vec<Setting>, Vec<DeviceRule>), String>,
    /// Why there is no plan.
    pub problem: Option<String>,
}

impl<'a> Subject<'a> {
    pub fn look(store: &'a Store, id: &str) -> Result<Self> {
        let container = store.container(id)?;
        let (snapshot, broken) = match status::inspect(&container) {
            // What is still readable is worth showing.
            Err(error) if is_broken(&error) => (status::salvage(&container)?, Some(error)),
            other => (other?, None),
        };
        let Snapshot { state, status, init } = snapshot;
        let facts = init
            .as_ref()
            .map(|_| process_facts::status(state.pid).map_err(|error| error.to_string()));
        let (plan, problem) = match plan(&container, &state) {
            Ok(plan) => (Some(plan), None),
            Err(error) => (None, Some(text(&error))),
        };
        let resources = resources(&container, &state).map_err(|error| text(&error));
        Ok(Subject {
            store,
            container,
            state,
            status,
            init,
            facts,
            plan,
            resources,
            problem: broken.map(|error| text(&error)).or(problem),
        })
    }

    /// Whether init was alive at first and has ended since: what was read may be about two moments, or about another process.
    pub fn has_ended(&self) -> bool {
        let events = |init: &OwnedFd| descriptor::poll(&[(init.as_fd(), libc::POLLIN)], 0);
        self.init.as_ref().is_some_and(|init| events(init) != Ok(vec![0]))
    }

    /// The PID of init, if it is alive.
    pub fn pid(&self) -> Option<i32> {
        self.init.as_ref().map(|_| self.state.pid)
    }

    /// Whether the program has been started: what concerns the process alone is in force only then.
    pub fn is_started(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }

    /// Whether the container has a user namespace of its own.
    pub fn has_user_namespace(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.id_maps.is_some())
    }

    pub fn process(&self) -> Option<&Process> {
        self.plan.as_ref()?.process.as_ref()
    }
}

/// An error on one line.
pub fn text(error: &Error) -> String {
    Report::of(error).msg
}

/// The plan that the stored config leads to today. Warnings were given when the container was created.
fn plan(container: &Container, state: &State) -> Result<Plan> {
    let config = container.read_config()?;
    let config = load::parse(state.bundle.clone(), config, None).context("the container's config.json")?;
    let systemd = state.cgroup.as_ref().is_some_and(|cgroup| cgroup.unit.is_some());
    let options = RuntimeOptions {
        no_new_keyring: state.no_new_keyring,
        cgroup: if systemd {
            Cgroups::Systemd(state.id.clone())
        } else {
            Cgroups::default()
        },
        ..RuntimeOptions::default()
    };
    let facts = Facts::gather(questions::of_container(&config, &options))?;
    validate::plan(config, &options, facts).context("the container's config.json")
}

/// The limits and device rules of the config, or those that the last `update` left.
fn resources(container: &Container, state: &State) -> Result<(Vec<Setting>, Vec<DeviceRule>)> {
    let resources = match &state.resources {
        Some(resources) => resources.clone(),
        None => container.configured_resources()?,
    };
    let resources: Map<String, Value> = match resources {
        Value::Object(resources) => resources,
        Value::Null => Map::new(),
        _ => return Err(anyhow!("linux.resources is not an object")),
    };
    let (resources, mut limits) = update::converted(&resources, &state.oci_version)?;
    if state.cgroup.as_ref().is_some_and(|cgroup| cgroup.unit.is_some()) {
        properties::round_cpu_quota(&mut limits.settings);
    }
    Ok((limits.settings, devices::rules(Some(&resources))?))
}

/// The directory of a process in /proc.
pub fn proc(pid: i32, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{file}"))
}
