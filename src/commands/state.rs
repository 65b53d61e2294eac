//! `state`: what a container is and does, as JSON.

use super::answer;
use crate::error::{Context, Result};
use crate::state::{Store, status};

pub fn run(store: &Store, id: &str) -> Result<u8> {
    let state = || -> Result<String> {
        let seen = status::look(&store.container(id)?)?;
        Ok(serde_json::to_string_pretty(&seen.document())?)
    };
    let text = state().with_context(|| format!("state {id:?}"))?;
    answer(&(text + "\n"))
}
