//! Verbs that take several containers.

use crate::error::{Cleanup, Context, Result, with_hint};
use crate::state::Store;
use crate::sys::regex::Regex;

/// Calls `each` for every container, even after a failure, and returns all failures. With `regex` the names are extended
/// regular expressions that select every container whose ID they match in any part, perhaps none; `each` is told whether the
/// ID was found in this way.
pub fn each(
    store: &Store,
    verb: &str,
    names: &[String],
    regex: bool,
    each: impl Fn(&str, bool) -> Result<()>,
) -> Result<()> {
    let found = if regex {
        matching(store, names).context(verb.to_string())?
    } else {
        Vec::new()
    };
    let mut done = Cleanup::default();
    for id in if regex { &found } else { names } {
        done.step(each(id, regex).with_context(|| format!("{verb} {id:?}")));
    }
    done.end()
}

fn matching(store: &Store, patterns: &[String]) -> Result<Vec<String>> {
    let compile = |pattern: &String| {
        Regex::new(pattern).map_err(|why| {
            with_hint(
                format!("--regex: {pattern:?} is not a valid regular expression: {why}"),
                "give an extended regular expression, as for grep -E; see regex(7)",
            )
        })
    };
    let patterns: Vec<Regex> = patterns.iter().map(compile).collect::<Result<_>>()?;
    let ids = store.ids()?;
    Ok(ids
        .into_iter()
        .filter(|id| patterns.iter().any(|pattern| pattern.matches(id)))
        .collect())
}
