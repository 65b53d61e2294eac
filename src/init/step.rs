//! How every step is taken, in init and in joining processes.

use std::time::Instant;

use crate::error::{Result, Step};
use crate::{log, progress, timings};

/// Takes one step: names it in its error, and logs its beginning and how long it took.
pub fn take<W, T>(walker: &mut W, name: Step, step: impl FnOnce(&mut W) -> Result<T>) -> Result<T> {
    progress::step(name);
    let begun = log::debugging().then(Instant::now);
    let result = step(walker).map_err(|error| {
        timings::failed();
        error.context(name)
    });
    if let Some(begun) = begun {
        progress::took(name, begun);
    }
    result
}
