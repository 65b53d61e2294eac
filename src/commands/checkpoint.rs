//! `checkpoint`: not supported yet.

use crate::cli::Checkpoint;
use crate::error::{Result, with_hint};
use crate::state::Store;

pub fn run(_store: &Store, _arguments: &Checkpoint) -> Result<u8> {
    Err(with_hint(
        "checkpoint is not supported: the memory of a container cannot be saved or restored",
        "stop the container and start it again, or use a runtime that supports CRIU",
    ))
}
