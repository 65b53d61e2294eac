//! Command lines that are wrong, or may be: what is told of them, and what is needed to tell it in the right place.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Subcommand, ValueEnum};

use super::argv::{Slip, Token, Tokens, takes_value};
use super::{Answer, Cli, Verb};
use crate::error::{Error, with_hint};
use crate::log;

/// A mistake on the command line as an error like any other: what is wrong, and what to write instead.
pub fn mistake(answer: &Answer) -> Error {
    match answer {
        Answer::Said(said) => of_clap(said),
        Answer::Slip(Slip::Switch { option, value }) => with_hint(
            format!("{option}: {value:?} is neither true nor false"),
            format!("{option} alone is enough; {option}=false takes it back"),
        ),
        Answer::Slip(Slip::Unknown { verb, option }) => unknown(verb, option),
    }
}

/// An option that nobody knows, or only another part of the command line: the nearest one is named.
fn unknown(verb: &[String], option: &str) -> Error {
    let path = verb.iter().fold("orlop".to_string(), |path, verb| path + " " + verb);
    let name = option.trim_start_matches('-');
    let command = Cli::without_verb();
    let other = |arg: &Arg| arg.get_long() == Some(name);
    let message = match verb {
        [] => format!("unknown flag {option:?}"),
        verb => format!("{}: unknown flag {option:?}", verb.join(" ")),
    };
    let list = format!("`{path} --help` lists the flags");
    if verb.is_empty() {
        let takes_it: Vec<&str> = Verb::NAMES
            .iter()
            .copied()
            .filter(|verb| {
                own(&Verb::augment(Cli::without_verb(), verb), &[verb]).is_some_and(|args| args.iter().any(other))
            })
            .collect();
        if let Some(verb) = takes_it.first() {
            return with_hint(
                message,
                format!(
                    "--{name} is a flag of {}, and belongs after the verb: orlop {verb} --{name}",
                    takes_it.join(", ")
                ),
            );
        }
    } else if let Some(arg) = command.get_arguments().find(|arg| other(arg)) {
        let value = if takes_value(arg) { "=VALUE" } else { "" };
        let rest = verb.join(" ");
        return with_hint(
            message,
            format!("--{name} belongs before the verb: orlop --{name}{value} {rest}"),
        );
    }
    let whole = match verb.first() {
        Some(verb) => Verb::augment(command, verb),
        None => command,
    };
    let words: Vec<&str> = verb.iter().map(String::as_str).collect();
    let args = own(&whole, &words).unwrap_or_default();
    let known = args.iter().filter_map(Arg::get_long).chain(["help"]);
    match nearest(name, known) {
        Some(known) => with_hint(message, format!("did you mean --{known}? {list}")),
        None => with_hint(message, list),
    }
}

/// The options of a verb, or of one of its own.
fn own(command: &Command, verb: &[&str]) -> Option<Vec<Arg>> {
    let command = verb
        .iter()
        .try_fold(command, |command, verb| command.find_subcommand(verb))?;
    Some(command.get_arguments().cloned().collect())
}

/// The one that is written most like it, if any is at all.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = (name.len() / 3).max(1);
    known
        .map(|known| (distance(&name.to_ascii_lowercase(), known), known))
        .filter(|(distance, known)| *distance <= far && *distance < known.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// How many letters must be changed, added, left out or swapped with the next to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (y, letter) in one.iter().enumerate() {
        let mut next = vec![y + 1];
        for (x, wanted) in other.iter().enumerate() {
            let at = |row: &[usize], x: usize| row.get(x).copied().unwrap_or(usize::MAX / 2);
            let changed = at(&row, x) + usize::from(letter != wanted);
            let mut least = changed.min(at(&row, x + 1) + 1).min(at(&next, x) + 1);
            let swapped = y > 0 && x > 0 && one.get(y - 1) == Some(wanted) && other.get(x - 1) == Some(letter);
            if swapped {
                least = least.min(at(&before, x - 1) + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

/// What clap says, without its advice to pass what looks like an option behind a `--`.
fn of_clap(said: &clap::Error) -> Error {
    if let Some(verb @ ("checkpoint" | "restore")) = unknown_verb(said) {
        return with_hint(
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
        // A verb with two forms has two lines of usage.
        let usage = lines.first().is_some_and(|first| first.starts_with("Usage: "));
        lines.join(if usage { ", or " } else { " " })
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
        .filter(|paragraph| !paragraph.is_empty() && !paragraph.contains("use '-- "))
        .map(|paragraph| match paragraph.split_once(": ") {
            Some(("tip", tip)) => tip.to_string(),
            Some(("Usage", usage)) => format!("usage: {usage}"),
            _ => {
                let rest = paragraph.strip_prefix("For more information, ").unwrap_or(&paragraph);
                rest.trim_end_matches('.').to_string()
            }
        })
        .collect();
    with_hint(message, advice.join("; "))
}

/// The word in the place of the verb that is none.
fn unknown_verb(said: &clap::Error) -> Option<&str> {
    match (said.kind(), said.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(word))) => Some(word),
        _ => None,
    }
}

/// What is needed of a command line that could not be understood as a whole: where errors are to be logged, by the last
/// `--log` and `--log-format` before the verb, and the verb.
fn outline(words: impl IntoIterator<Item = OsString>) -> (Option<PathBuf>, log::Format, Option<OsString>) {
    let is_verb = |word: &OsString| word.to_str().is_some_and(Verb::has_subcommand);
    let (mut file, mut format) = (None, log::Format::Text);
    let command = Cli::without_verb();
    let mut words = words.into_iter().skip(1).collect::<Vec<_>>().into_iter();
    let mut after_unknown = false;
    for token in Tokens::new(&command, &mut words) {
        let was_unknown = std::mem::take(&mut after_unknown);
        match token {
            Token::Known(arg, value) => match (arg.get_long(), value) {
                (Some("log"), Some(value)) => file = Some(PathBuf::from(value)),
                (Some("log-format"), Some(value)) => {
                    format = log::Format::from_str(&value.to_string_lossy(), false).unwrap_or(format);
                }
                _ => {}
            },
            Token::Unknown(_) => after_unknown = true,
            // Perhaps the value of the option that is not known.
            Token::Word(word) if was_unknown && !is_verb(&word) => {}
            Token::Word(word) => return (file, format, Some(word)),
            Token::End => break,
            Token::Help | Token::Signal(_) => {}
        }
    }
    (file, format, words.next())
}

/// Where errors are to be logged.
pub fn log_of(words: impl IntoIterator<Item = OsString>) -> (Option<PathBuf>, log::Format) {
    let (file, format, _) = outline(words);
    (file, format)
}

/// Whether these words, which may be wrong, call `exec`.
pub fn calls_exec(words: impl IntoIterator<Item = OsString>) -> bool {
    outline(words).2.is_some_and(|verb| verb == "exec")
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
            (
                &["-log", "a", "-log-format=json", "-debug=false", "--bogus"],
                Some("a"),
                Json,
            ),
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
            "orlop -root exec exec",
            "orlop --bogus value exec",
            "orlop --log-level debug --criu x exec",
        ] {
            assert!(calls(line), "{line}");
        }
        for line in ["orlop", "orlop run exec", "orlop --root exec state", "orlop --log exec"] {
            assert!(!calls(line), "{line}");
        }
    }
}
