//! `start`: lets a created container execute its program, and tells the truth about it.

use std::time::Duration;

use crate::error::{Context, Result, anyhow, bail, hinted};
use crate::launch::end;
use crate::launch::notify::Proxy;
use crate::launch::start;
use crate::log;
use crate::state::{Status, Store, status};

pub fn run(store: &Store, id: &str) -> Result<u8> {
    let start = || -> Result<()> {
        let container = store.container(id)?;
        container.lock(Duration::from_secs(10))?;
        let seen = status::look(&container)?;
        match seen.status {
            Status::Created => {}
            Status::Stopped => bail!("cannot start a container that has stopped"),
            Status::Running | Status::Paused => bail!("cannot start an already running container"),
            Status::Creating => {
                return Err(hinted(
                    "the container is still being created",
                    "wait for `create` to return",
                ));
            }
        }
        let init = seen.init.ok_or_else(|| anyhow!("container not running"))?;
        let notify = Proxy::open(&container, &seen.state, false)?;
        start::created(&container, &seen.state, &init).map_err(|error| end::perhaps_ended(error, &seen.state))?;
        if let Some(notify) = notify {
            // The program runs: from here on that is the truth to be told, whatever fails.
            if let Err(error) = container.unlock() {
                log::warning(&format!("other commands wait until the service is ready: {error}"));
            }
            notify.until_ready_or_warned(&init);
        }
        Ok(())
    };
    start().with_context(|| format!("start {id:?}"))?;
    Ok(crate::SUCCESS)
}
