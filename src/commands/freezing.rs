//! `pause` and `resume`: freeze and thaw all processes of a container.

use std::time::Duration;

use super::NO_CGROUP;
use crate::cgroup::freeze;
use crate::error::{Context, Result, bail, with_hint};
use crate::launch::end;
use crate::state::Store;
use crate::status::{self, Status};

pub fn pause(store: &Store, id: &str) -> Result<u8> {
    change(store, id, true).with_context(|| format!("pause {id:?}"))?;
    Ok(crate::exit_code::SUCCESS)
}

pub fn resume(store: &Store, id: &str) -> Result<u8> {
    change(store, id, false).with_context(|| format!("resume {id:?}"))?;
    Ok(crate::exit_code::SUCCESS)
}

fn change(store: &Store, id: &str, pause: bool) -> Result<()> {
    let container = store.container(id)?;
    container.lock(Duration::from_secs(10))?;
    let seen = status::inspect(&container)?;
    match (seen.status, pause) {
        (Status::Running, true) | (Status::Paused, false) => {}
        (Status::Running | Status::Created, false) => bail!("container not paused"),
        (Status::Paused, true) => bail!("container already paused"),
        (Status::Created, true) => {
            return Err(with_hint(
                "container not running: it has not been started",
                "run `orlop start` first; until then there is nothing to pause",
            ));
        }
        (Status::Stopped, _) => bail!("container not running"),
        (Status::Creating, _) => bail!("the container is still being created"),
    }
    let cgroup = seen.state.cgroup.as_ref().ok_or_else(|| {
        with_hint(
            "the container has no cgroup, so its processes cannot be frozen",
            NO_CGROUP,
        )
    })?;
    let changed = if pause {
        freeze::freeze(cgroup)
    } else {
        freeze::thaw(cgroup)
    };
    changed.map_err(|error| end::perhaps_ended(error, &seen.state))
}
