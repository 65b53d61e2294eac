//! `checkpoint`: stores the processes of a container in image files.

use std::time::Duration;

use crate::checkpoint::dump::{self, Afterwards};
use crate::cli::Checkpoint;
use crate::error::{Cleanup, Context, Result, with_hint};
use crate::interrupt::Interrupts;
use crate::launch::start;
use crate::state::Store;
use crate::status::{self, Status};

pub fn run(store: &Store, arguments: &Checkpoint) -> Result<u8> {
    checkpoint(store, arguments).with_context(|| format!("checkpoint {:?}", arguments.id))?;
    Ok(crate::exit_code::SUCCESS)
}

fn checkpoint(store: &Store, arguments: &Checkpoint) -> Result<()> {
    let container = store.container(&arguments.id)?;
    let interrupts = Interrupts::watch()?;
    container.lock(Duration::from_secs(10))?;
    let seen = status::inspect(&container)?;
    if !matches!(seen.status, Status::Running | Status::Paused) {
        return Err(with_hint(
            format!("container cannot be checkpointed in {} state", seen.status.name()),
            "only a container that runs or is paused can be checkpointed",
        ));
    }
    match dump::dump(&container, &seen, arguments, &interrupts)? {
        Afterwards::GoOn => Ok(()),
        Afterwards::Ended => start::remove(&container, &seen.state, Cleanup::default(), false),
    }
}
