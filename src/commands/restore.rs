//! `restore`: not supported yet.

use crate::cli::{Global, Restore};
use crate::error::{Result, with_hint};
use crate::state::Store;

pub fn run(_store: &Store, _arguments: &Restore, _global: &Global) -> Result<u8> {
    Err(with_hint(
        "restore is not supported: the memory of a container cannot be saved or restored",
        "stop the container and start it again, or use a runtime that supports CRIU",
    ))
}
