//! `pause` and `resume`: all processes of a container stopped, and going on.

use std::time::Duration;

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
                "container not running: it is created",
                "`orlop start` lets its process run; before that it waits anyway",
            ));
        }
        (Status::Stopped, _) => bail!("container not running"),
        (Status::Creating, _) => bail!("the container is still being created"),
    }
    let cgroup = seen.state.cgroup.as_ref().ok_or_else(|| {
        with_hint(
            "the container has no cgroup, by which its processes could be stopped",
            "a plain user's container gets one where the tree is delegated: systemd-run --user --scope -p Delegate=yes",
        )
    })?;
    let changed = if pause {
        freeze::freeze(cgroup)
    } else {
        freeze::thaw(cgroup)
    };
    changed.map_err(|error| end::perhaps_ended(error, &seen.state))
}
