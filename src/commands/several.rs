//! What a verb does to several containers, one after the other.

use crate::error::{Cleanup, Context, Result, with_hint};
use crate::state::Store;
use crate::sys::regex::Regex;

/// Does it to each container that is named, also after a failure; all failures are told. With `regex` the names are extended
/// regular expressions, each for all containers whose id it matches in any part, perhaps none, and `each` is told that the
/// id was not given, but found.
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
                format!("--regex: {pattern:?} is not a regular expression: {why}"),
                "it is an extended one, as of grep -E; regex(7) describes it",
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
