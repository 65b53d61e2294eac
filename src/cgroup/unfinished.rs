//! Updates that were killed. An update stores how to undo it before it changes anything. If another command finds that in the
//! state while no command holds the container's lock, it undoes the update, so that the limits match the state again.

use std::os::fd::AsFd;

use oci_spec::runtime::LinuxResources;

use super::systemd::Systemd;
use super::{devices, directory, resctrl, tree, update};
use crate::error::{Context, Result};
use crate::log;
use crate::state::Container;
use crate::state::record::{State, Unfinished};
use crate::sys::fs;

/// Undoes a killed update, unless another command holds the lock. For commands that only read the state; a failure here must
/// not make them fail.
pub fn heal(container: &Container, state: &mut State) {
    let heal = || -> Result<Option<State>> {
        // A separate open file description, hence a separate lock: if this process holds the container's lock, it calls
        // `put_back` itself.
        let lock = fs::open(&container.path, libc::O_RDONLY | libc::O_DIRECTORY)?;
        if fs::flock(lock.as_fd()).is_err() {
            return Ok(None);
        }
        let mut state = container.read()?;
        if let Some(state) = &mut state {
            put_back(container, state)?;
        }
        Ok(state)
    };
    match heal() {
        Ok(Some(healed)) => *state = healed,
        Ok(None) => {}
        Err(error) => log::debug(|| format!("a killed update was not undone: {error:#}")),
    }
}

/// Undoes a killed update. The caller holds the container's lock.
pub fn put_back(container: &Container, state: &mut State) -> Result<()> {
    let Some(unfinished) = state.unfinished.take() else {
        return Ok(());
    };
    log::debug(|| format!("undoing an update that was killed: {unfinished:?}"));
    if let Err(error) = undo(container, state, &unfinished) {
        log::warning(&format!("an update that was killed could not be undone: {error:#}"));
    }
    container.write(state).context("state.json")
}

fn undo(container: &Container, state: &State, unfinished: &Unfinished) -> Result<()> {
    let Some(cgroup) = &state.cgroup else { return Ok(()) };
    let Some(leaf) = directory::own_directory(cgroup)? else {
        return Ok(());
    };
    update::put_back(leaf.as_fd(), &unfinished.files);
    if let (Some(unit), Some(before)) = (&cgroup.unit, &unfinished.unit_before) {
        Systemd::open(unit.user, None)?.restore(&unit.name, before)?;
    }
    if let Some(class) = &state.class {
        resctrl::undo(class, &unfinished.schemata)?;
    }
    if unfinished.devices {
        let resources = match &state.resources {
            Some(resources) => resources.clone(),
            None => container.configured_resources()?,
        };
        let resources: Option<LinuxResources> = serde_json::from_value(resources)?;
        tree::replace_devices(leaf.as_fd(), &devices::rules(resources.as_ref())?)?;
    }
    Ok(())
}
