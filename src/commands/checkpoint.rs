//! `checkpoint`: stores the processes of a container in image files.

use std::time::Duration;

use serde_json::{Map, Value};

use super::answer;
use crate::checkpoint::dump;
use crate::cli::Checkpoint;
use crate::error::{Cleanup, Context, Result, anyhow, with_hint};
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
    let dumped = dump::dump(&container, &seen, arguments, &interrupts)?;
    if dumped.ended {
        start::remove(&container, &seen.state, Cleanup::default(), false)?;
    }
    // A signal that comes now is too late: the caller would take the checkpoint for failed.
    std::mem::forget(interrupts);
    if arguments.print_stats {
        print(dumped.stats)?;
    }
    Ok(())
}

/// `--print-stats`: the statistics of CRIU as JSON.
fn print(stats: Option<Map<String, Value>>) -> Result<()> {
    let stats = stats.ok_or_else(|| anyhow!("criu has written no statistics"))?;
    answer(&format!("{}\n", Value::Object(stats))).map(drop)
}
