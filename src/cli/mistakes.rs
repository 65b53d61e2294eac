//! Command lines that are wrong, or may be: what is told of them, and what is needed to tell it in the right place.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Subcommand, ValueEnum};

use super::Verb;
use crate::error::{Error, hinted};
use crate::log;

/// The options before the verb whose value can be the next word.
const WITH_VALUE: [&str; 5] = ["--root", "--log", "--log-format", "--cgroup-manager", "--rootless"];

/// A mistake on the command line as an error like any other: what is wrong, and what clap advises.
pub fn mistake(said: &clap::Error) -> Error {
    if let Some(verb @ ("checkpoint" | "restore")) = unknown_verb(said) {
        return hinted(
            format!("{verb} is not supported: the memory of a container cannot be saved"),
            "stop the container and start it again, or run it by a runtime that works with CRIU",
        );
    }
    let text = said.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| {
        let lines: Vec<&str> = paragraph
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        lines.join(" ")
    });
    let first = paragraphs.next().unwrap_or_default();
    let mut message = first.strip_prefix("error: ").unwrap_or(&first).to_string();
    // Clap says the same, whether `foo -h` asks or `foo` orders.
    if let Some(topic) = unknown_verb(said)
        && std::env::args_os().any(|word| word == "-h" || word == "--help")
    {
        message = format!("No help topic for '{topic}': {message}");
    }
    let advice: Vec<String> = paragraphs
        .filter(|paragraph| !paragraph.is_empty())
        .map(|paragraph| match paragraph.split_once(": ") {
            Some(("tip", tip)) => tip.to_string(),
            Some(("Usage", usage)) => format!("usage: {usage}"),
            _ => {
                let rest = paragraph.strip_prefix("For more information, ").unwrap_or(&paragraph);
                rest.trim_end_matches('.').to_string()
            }
        })
        .collect();
    hinted(message, advice.join("; "))
}

/// The word in the place of the verb that is none.
fn unknown_verb(said: &clap::Error) -> Option<&str> {
    match (said.kind(), said.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) => Some(word),
        _ => None,
    }
}

/// Where errors are to be logged, from a command line that could not be understood as a whole: the last `--log` and
/// `--log-format` before the verb.
pub fn log_of(arguments: impl IntoIterator<Item = OsString>) -> (Option<PathBuf>, log::Format) {
    let is_verb = |word: &OsString| word.to_str().is_some_and(Verb::has_subcommand);
    let (mut file, mut format) = (None, log::Format::Text);
    let mut words = arguments.into_iter().skip(1);
    while let Some(word) = words.next() {
        if word == "--" || is_verb(&word) {
            break;
        }
        let (name, value) = match word.to_str().and_then(|word| word.split_once('=')) {
            Some((name, value)) => (name.to_string(), Some(OsString::from(value))),
            None => (word.to_string_lossy().into_owned(), None),
        };
        match name.as_str() {
            "--log" => file = value.or_else(|| words.next()).map(PathBuf::from),
            "--log-format" => {
                let value = value.or_else(|| words.next()).unwrap_or_default();
                format = log::Format::from_str(&value.to_string_lossy(), false).unwrap_or(format);
            }
            // Its value may be spelled like a verb.
            other if value.is_none() && WITH_VALUE.contains(&other) => drop(words.next()),
            _ => {}
        }
    }
    (file, format)
}

/// Whether these arguments, which may be wrong, call `exec`: the first word that is neither an option nor an option's
/// value.
pub fn calls_exec(words: impl IntoIterator<Item = OsString>) -> bool {
    let mut words = words.into_iter().skip(1);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some(option) if WITH_VALUE.contains(&option) => drop(words.next()),
            Some(option) if option.starts_with('-') => {}
            verb => return verb == Some("exec"),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_found_on_a_broken_command_line() {
        use log::Format::{Json, Text};
        let table: &[(&[&str], Option<&str>, log::Format)] = &[
            (&[], None, Text),
            (&["--log", "a", "--log-format", "json", "crate"], Some("a"), Json),
            (&["--log=a=b", "--log-format=json", "--bogus"], Some("a=b"), Json),
            (&["--bogus", "value", "--log", "a"], Some("a"), Text),
            (&["--log", "a", "--log", "b"], Some("b"), Text),
            (&["--log", "create", "--log-format", "yaml"], Some("create"), Text),
            (&["--root", "run", "--log", "a"], Some("a"), Text),
            (&["--cgroup-manager", "run", "--log", "a"], Some("a"), Text),
            (&["--log"], None, Text),
            // Behind the verb and behind "--" it is not ours.
            (&["create", "--log", "a"], None, Text),
            (&["--log-format", "json", "--", "--log", "a"], None, Json),
        ];
        for (words, file, format) in table {
            let line = ["orlop"].iter().chain(*words).map(OsString::from);
            assert_eq!(log_of(line), (file.map(PathBuf::from), *format), "{words:?}");
        }
    }

    #[test]
    fn exec_is_recognized_in_any_company() {
        let calls = |line: &str| calls_exec(line.split(' ').map(OsString::from));
        for line in [
            "orlop exec",
            "orlop exec --bad x",
            "orlop --root exec exec",
            "orlop --cgroup-manager disabled exec x",
            "orlop --debug --log x --root=y exec",
        ] {
            assert!(calls(line), "{line}");
        }
        for line in ["orlop", "orlop run exec", "orlop --root exec state", "orlop --log exec"] {
            assert!(!calls(line), "{line}");
        }
    }
}
