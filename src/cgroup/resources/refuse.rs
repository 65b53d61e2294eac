//! Errors about fields of `linux.resources`.

use crate::error::{At, Context, Result, with_hint};

/// Refuses a field that cgroup version 2 does not have, if it is set.
pub fn refuse(field: &str, present: bool, cure: &str) -> Result<()> {
    if present {
        return Err(with_hint("cgroup version 2 has no such setting", cure))
            .context(At::new(format!("linux.resources.{field}")));
    }
    Ok(())
}

/// An error about the value of a field.
pub fn wrong<T>(field: &str, text: String, cure: &str) -> Result<T> {
    Err(with_hint(text, cure)).context(At::new(format!("linux.resources.{field}")))
}
