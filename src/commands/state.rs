//! `state`: prints the state of a container as JSON.

use super::answer;
use crate::error::{Context, Error, Result, with_hint};
use crate::state::Store;
use crate::status::{self, Status};

pub fn run(store: &Store, id: &str) -> Result<u8> {
    let state = || -> Result<String> {
        let seen = status::inspect(&store.container(id)?)?;
        if seen.state.bundle.as_os_str().is_empty() {
            return Err(without_state(id, seen.status));
        }
        Ok(serde_json::to_string_pretty(&seen.document())?)
    };
    let text = state().with_context(|| format!("state {id:?}"))?;
    answer(&(text + "\n"))
}

/// The ID is taken, but no state has been written yet: not even the bundle is known.
fn without_state(id: &str, status: Status) -> Error {
    if status == Status::Creating {
        return with_hint(
            "the container is being created, and has no state yet",
            "wait for `create` to return",
        );
    }
    with_hint(
        "the container has no state: `create` was killed before it could write it",
        format!("remove it with `orlop delete {id}`"),
    )
}
