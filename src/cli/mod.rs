//! The command line: what can be written, and its help.
//!
//! A line is read in two passes. `argv` scans the words and brings every accepted spelling to a single one; clap then checks
//! the values. Both use the same declarations of the options, in `arguments`, `global` and `limits`.

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::vec::IntoIter;

use clap::{Command, FromArgMatches, Subcommand};

mod arguments;
mod argv;
mod check;
mod checkpoint;
mod debug;
mod global;
mod help;
mod info;
mod inspect;
mod limits;
mod metrics;
mod mistakes;
mod outline;
mod pages;
mod program;
pub mod signal;
mod timings;
mod top;
mod values;
mod verbs;

pub use arguments::{
    Create, CreateArgs, Delete, Events, Exec, Explain, Id, Kill, List, ListFormat, Mounts, MountsAction, Nothing, Ps,
    Run, Seccomp, SeccompVerb, Spec,
};
pub use check::Check;
pub use checkpoint::{Checkpoint, CriuArgs, EmptyNs, ManageCgroups, NetworkLock, Restore};
pub use debug::{Debug, DebugNamespace};
pub use global::{CgroupManager, Global, Rootless};
pub use help::{Help, command};
pub use info::Info;
pub use inspect::Inspect;
pub use limits::{Limits, Update};
pub use metrics::Metrics;
pub use mistakes::Mistake;
pub use outline::{calls_exec, log_of};
pub use pages::{Page, of as page};
pub use program::Cli;
pub use timings::{Start, Timings};
pub use top::{SortKey, Top};
pub use values::{PageServer, TextFormat, User};
pub use verbs::Verb;

use argv::{Found, Length};

/// Why a command line does not lead to a verb.
#[derive(Debug)]
pub enum Stop {
    Help(Help),
    Mistake(Mistake),
}

/// Reads a command line: the name of the program and the words after it.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, Stop> {
    let words: Vec<OsString> = words.into_iter().collect();
    let Respelled { command, verb, line } = respell(words)?;
    // Never dropped: it is used once, and dropping it takes as long as a few system calls of a start.
    let mut command = ManuallyDrop::new(command);
    let cli = command
        .try_get_matches_from_mut(line)
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let cli = match cli {
        Ok(cli) => cli,
        Err(error) => return Err(Stop::Mistake(Mistake::Rejected { verb, error })),
    };
    // clap would say only which option is missing.
    if let Some(Verb::Checkpoint(arguments)) = &cli.verb
        && let Some((option, required)) = arguments.lacks()
    {
        return Err(Stop::Mistake(Mistake::Lacks { verb, option, required }));
    }
    Ok(cli)
}

/// A command line in the one spelling that clap is given.
#[derive(Debug)]
struct Respelled {
    /// Only the verb that is called has arguments: building those of all verbs was a good part of the time of `state`.
    command: Command,
    /// The verb, which may have one of its own after it.
    verb: Vec<String>,
    line: Vec<OsString>,
}

fn respell(words: Vec<OsString>) -> Result<Respelled, Stop> {
    let mut words = words.into_iter();
    let mut line = Vec::with_capacity(words.len() + 1);
    line.extend(words.next());
    let command = Cli::without_verb();
    let first = argv::read(&command, true, &mut words, &mut line).map_err(|found| stop(found, &[]))?;
    let Some(first) = first else {
        if line.len() < 2 {
            return Err(Stop::Help(Help::unasked(Vec::new())));
        }
        return Ok(Respelled {
            command,
            verb: Vec::new(),
            line,
        });
    };
    let command = match first.to_str() {
        Some("help") => return Err(topic(Vec::new(), words)),
        Some(name) if Verb::has_subcommand(name) => Verb::augment(command, name),
        _ => return Err(unknown_verb(Vec::new(), &first, words)),
    };
    let verb = respell_verb(&command, first, words, &mut line)?;
    Ok(Respelled { command, verb, line })
}

/// A verb, which may have one of its own after it, with its words. Returns their names.
fn respell_verb(
    command: &Command,
    first: OsString,
    mut words: IntoIter<OsString>,
    line: &mut Vec<OsString>,
) -> Result<Vec<String>, Stop> {
    let mut path = Vec::new();
    let mut parent = command;
    let mut next = Some(first);
    while let Some(word) = next {
        let Some(verb) = parent.find_subcommand(&word) else {
            if word == "help" {
                return Err(topic(path, words));
            }
            return Err(unknown_verb(path, &word, words));
        };
        line.push(word);
        path.push(verb.get_name().to_string());
        next = argv::read(verb, verb.has_subcommands(), &mut words, line).map_err(|found| stop(found, &path))?;
        if next.is_none() && verb.has_subcommands() {
            return Err(Stop::Help(Help::unasked(path)));
        }
        parent = verb;
    }
    Ok(path)
}

/// `help VERB...`, or `VERB help VERB` for a verb that has verbs of its own.
fn topic(mut verb: Vec<String>, words: impl Iterator<Item = OsString>) -> Stop {
    for word in words {
        let word = word.to_string_lossy().into_owned();
        if word.starts_with('-') {
            continue;
        }
        verb.push(word);
        if pages::of(&verb).is_none()
            && let Some(word) = verb.pop()
        {
            return Stop::Mistake(Mistake::UnknownVerb {
                of: verb,
                word,
                asks_for_help: true,
            });
        }
    }
    Stop::Help(Help::asked(verb, Length::Page))
}

/// What was found among the words of this verb.
fn stop(found: Found, verb: &[String]) -> Stop {
    let verb = verb.to_vec();
    match found {
        Found::Help(length) => Stop::Help(Help::asked(verb, length)),
        Found::UnknownOption(option) => Stop::Mistake(Mistake::UnknownOption { verb, option }),
        Found::NotASwitch { option, value } => Stop::Mistake(Mistake::NotASwitch { option, value }),
    }
}

fn unknown_verb(of: Vec<String>, word: &OsString, rest: IntoIter<OsString>) -> Stop {
    let asks_for_help = rest.into_iter().any(|word| word == "-h" || word == "--help");
    Stop::Mistake(Mistake::UnknownVerb {
        of,
        word: word.to_string_lossy().into_owned(),
        asks_for_help,
    })
}

#[cfg(test)]
mod tests;
