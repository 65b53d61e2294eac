//! Wrong command lines: what is wrong, and what to write instead.

use std::error::Error as _;
use std::num::{IntErrorKind, ParseIntError};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use super::argv::takes_value;
use super::pages::{name_of, usage};
use super::program::Cli;
use super::verbs::Verb;
use crate::called_as::{CalledAs, Failure};
use crate::error::{Error, with_hint};

#[derive(Debug)]
pub enum Mistake {
    /// An option that the verb does not have, or that the program does not have before its verb.
    UnknownOption { verb: Vec<String>, option: String },
    /// A switch with a value other than true or false.
    NotASwitch { option: String, value: String },
    /// A word where a verb is expected: the first one, or the one after the verb `of`.
    UnknownVerb {
        of: Vec<String>,
        word: String,
        asks_for_help: bool,
    },
    /// An option without another one that it requires.
    Lacks {
        verb: Vec<String>,
        option: &'static str,
        required: &'static str,
    },
    /// Values or words that clap rejects.
    Rejected { verb: Vec<String>, error: clap::Error },
}

impl Mistake {
    /// What decides the exit code.
    pub fn failure(&self) -> Failure {
        match self {
            Mistake::UnknownOption { .. } => Failure::UnknownOption,
            Mistake::UnknownVerb { of, .. } if of.is_empty() => Failure::UnknownVerb,
            _ => Failure::CommandLine,
        }
    }

    /// The mistake as an error like any other.
    pub fn error(&self, called_as: CalledAs) -> Error {
        match self {
            Mistake::NotASwitch { option, value } => with_hint(
                format!("{option}: invalid value {value:?}: expected true or false"),
                format!("{option} alone turns it on, {option}=false turns it off"),
            ),
            Mistake::UnknownOption { verb, option } => unknown_option(verb, option, called_as),
            Mistake::UnknownVerb {
                of,
                word,
                asks_for_help,
            } => unknown_verb(of, word, *asks_for_help, called_as),
            Mistake::Lacks { verb, option, required } => with_hint(
                located(verb, &format!("{option} requires {required}")),
                format!("`{} --help` lists the options", name_of(verb, called_as)),
            ),
            Mistake::Rejected { verb, error } => rejected(verb, error, called_as),
        }
    }
}

/// The hint points to where the option belongs, or to the option with the nearest name.
fn unknown_option(verb: &[String], option: &str, called_as: CalledAs) -> Error {
    let program = called_as.name();
    let name = option.trim_start_matches('-');
    let is_same = |arg: &Arg| arg.get_long() == Some(name);
    let message = located(verb, &format!("unknown option {option:?}"));
    let global = Cli::without_verb();
    if verb.is_empty() {
        let verbs: Vec<&str> = Verb::ALL
            .iter()
            .map(|(verb, _)| *verb)
            .filter(|verb| {
                options(&Verb::augment(Cli::without_verb(), verb), &[verb])
                    .iter()
                    .any(is_same)
            })
            .collect();
        if let Some(verb) = verbs.first() {
            let all = verbs.join(", ");
            return with_hint(
                message,
                format!("--{name} is an option of {all}; write it after the verb: {program} {verb} --{name}"),
            );
        }
    } else if let Some(arg) = global.get_arguments().find(|arg| is_same(arg)) {
        let value = if takes_value(arg) { "=VALUE" } else { "" };
        let rest = verb.join(" ");
        return with_hint(
            message,
            format!("write --{name} before the verb: {program} --{name}{value} {rest}"),
        );
    }
    let whole = match verb.first() {
        Some(verb) => Verb::augment(global, verb),
        None => global,
    };
    let path: Vec<&str> = verb.iter().map(String::as_str).collect();
    let options = options(&whole, &path);
    let known = options.iter().filter_map(Arg::get_long).chain(["help"]);
    let list = format!("`{} --help` lists the options", name_of(verb, called_as));
    match nearest(name, known) {
        Some(known) => with_hint(message, format!("did you mean --{known}? {list}")),
        None => with_hint(message, list),
    }
}

fn unknown_verb(of: &[String], word: &str, asks_for_help: bool, called_as: CalledAs) -> Error {
    let message = if asks_for_help {
        // runc's words.
        format!("No help topic for '{word}': unknown verb")
    } else {
        located(of, &format!("unknown verb {word:?}"))
    };
    let whole = of.first().map(|first| Verb::augment(Command::new("orlop"), first));
    let parent = whole
        .as_ref()
        .and_then(|whole| of.iter().try_fold(whole, |command, verb| command.find_subcommand(verb)));
    let known: Vec<&str> = match parent {
        Some(parent) => parent.get_subcommands().map(Command::get_name).collect(),
        None => Verb::ALL.iter().map(|(verb, _)| *verb).collect(),
    };
    let list = format!("`{} --help` lists the verbs", name_of(of, called_as));
    match nearest(word, known.into_iter()) {
        Some(known) => with_hint(message, format!("did you mean {known}? {list}")),
        None => with_hint(message, list),
    }
}

/// A message about the words of this verb.
fn located(verb: &[String], message: &str) -> String {
    match verb {
        [] => message.to_string(),
        verb => format!("{}: {message}", verb.join(" ")),
    }
}

/// The options of a verb, or of a verb of a verb.
fn options(command: &Command, verb: &[&str]) -> Vec<Arg> {
    let command = verb
        .iter()
        .try_fold(command, |command, verb| command.find_subcommand(verb));
    command
        .map(|command| command.get_arguments().cloned().collect())
        .unwrap_or_default()
}

/// The known name that is spelled most like this one, if any is close.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = (name.len() / 3).max(1);
    known
        .map(|known| (distance(&name.to_ascii_lowercase(), known), known))
        .filter(|(distance, known)| *distance <= far && *distance < known.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// The number of letters that must be changed, added, removed, or swapped with their neighbour to turn one word into the other.
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

/// What clap rejects, in our words. Its own advice is left out: it suggests to put anything that looks like an option after
/// a `--`.
fn rejected(verb: &[String], error: &clap::Error, called_as: CalledAs) -> Error {
    let arguments = context(error, ContextKind::InvalidArg);
    let name = arguments.first().map(|first| option_name(first)).unwrap_or_default();
    let values = context(error, ContextKind::InvalidValue);
    let value = values.first().map(String::as_str).unwrap_or_default();
    // A global option is described in the help on the program.
    let is_global = |arg: &Arg| name.strip_prefix("--").is_some_and(|name| arg.get_long() == Some(name));
    let verb = if Cli::without_verb().get_arguments().any(is_global) {
        &[]
    } else {
        verb
    };
    let help = format!("`{} --help` lists the options", name_of(verb, called_as));
    let usage = match usage(verb, called_as) {
        Some(usage) => format!("usage: {usage}"),
        None => help.clone(),
    };
    let (message, hint) = match error.kind() {
        // Podman looks for "flag needs an argument" in what `restore --lsm-mount-context` says, to find out whether that exists.
        ErrorKind::InvalidValue if value.is_empty() => (format!("flag needs an argument: {name}"), help),
        ErrorKind::InvalidValue => {
            let valid = either(&context(error, ContextKind::ValidValue));
            let nearest = context(error, ContextKind::SuggestedValue);
            let hint = nearest.first().map(|nearest| format!("did you mean {nearest}?"));
            let message = format!("{name}: invalid value {value:?}: expected {valid}");
            (message, hint.unwrap_or(help))
        }
        ErrorKind::ValueValidation => {
            let reason = reason(error);
            (format!("{name}: invalid value {value:?}: {reason}"), help)
        }
        ErrorKind::MissingRequiredArgument => (format!("missing {}", arguments.join(" and ")), usage),
        ErrorKind::UnknownArgument => (format!("unexpected argument {:?}", arguments.join(" ")), usage),
        ErrorKind::ArgumentConflict => {
            let others = context(error, ContextKind::PriorArg);
            let others: Vec<&str> = others.iter().map(|other| option_name(other)).collect();
            (format!("{name} cannot be used with {}", others.join(" and ")), help)
        }
        ErrorKind::InvalidUtf8 => ("an argument is not valid UTF-8".into(), usage),
        kind => (kind.as_str().unwrap_or("invalid command line").into(), usage),
    };
    with_hint(located(verb, &message), hint)
}

/// Why a value is not accepted.
fn reason(error: &clap::Error) -> String {
    let Some(source) = error.source() else {
        return "not accepted".into();
    };
    match source.downcast_ref::<ParseIntError>().map(ParseIntError::kind) {
        Some(IntErrorKind::PosOverflow | IntErrorKind::NegOverflow) => "the number is out of range".into(),
        Some(_) => "expected a whole number".into(),
        None => source.to_string(),
    }
}

/// What clap says about one aspect of a mistake.
fn context(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

/// `a, b or c`
fn either(words: &[String]) -> String {
    match words {
        [words @ .., last] if !words.is_empty() => format!("{} or {last}", words.join(", ")),
        words => words.concat(),
    }
}

/// The name of an option that clap names as in a usage line: `--user <UID[:GID]>`, `--seccomp-log[=<deny|allow>]`.
fn option_name(option: &str) -> &str {
    option.split([' ', '[', '=']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::super::{Stop, parse};
    use super::CalledAs;

    #[track_caller]
    fn message(words: Vec<OsString>) -> String {
        match parse(words.iter().cloned()) {
            Err(Stop::Mistake(mistake)) => mistake.error(CalledAs::Orlop).to_string(),
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn a_mistake_names_the_verb_and_what_was_expected() {
        let table = [
            ("list a", "list: unexpected argument \"a\""),
            ("state", "state: missing <ID>"),
            (
                "seccomp explain",
                "seccomp explain: missing <BUNDLE|PROFILE> and <SYSCALL>",
            ),
            ("seccomp explian x", "seccomp: unknown verb \"explian\""),
            (
                "mounts ad c f",
                "mounts: <add|remove>: invalid value \"ad\": expected add or remove",
            ),
            (
                "--log-format yaml list",
                "--log-format: invalid value \"yaml\": expected text or json",
            ),
            (
                "--rootless no list",
                "--rootless: invalid value \"no\": expected true, false or auto",
            ),
            ("update --memory", "update: flag needs an argument: --memory"),
            (
                "restore --lsm-mount-context",
                "restore: flag needs an argument: --lsm-mount-context",
            ),
            (
                "update --cpu-period x c",
                "update: --cpu-period: invalid value \"x\": expected a whole number",
            ),
            (
                "update --blkio-weight 70000 c",
                "update: --blkio-weight: invalid value \"70000\": 70000 is not in 0..=65535",
            ),
            (
                "create --preserve-fds 65537 c",
                "create: --preserve-fds: invalid value \"65537\": 65537 is not in 0..=65536",
            ),
            (
                "checkpoint --status-fd 5 c",
                "checkpoint: --status-fd requires --lazy-pages",
            ),
            (
                "checkpoint --lazy-pages --pre-dump c",
                "checkpoint: --lazy-pages cannot be used with --pre-dump",
            ),
            (
                "checkpoint --network-lock ipset c",
                "checkpoint: --network-lock: invalid value \"ipset\": expected iptables, nftables or skip",
            ),
            (
                "restore --manage-cgroups-mode none c",
                "restore: --manage-cgroups-mode: invalid value \"none\": expected soft, full, strict or ignore",
            ),
            (
                "restore --empty-ns pid c",
                "restore: --empty-ns: invalid value \"pid\": expected network",
            ),
            (
                "--cgroup-manager systemd --systemd-cgroup list",
                "--cgroup-manager cannot be used with --systemd-cgroup",
            ),
        ];
        for (line, expected) in table {
            let words = ["orlop"].into_iter().chain(line.split(' ')).map(OsString::from);
            assert_eq!(message(words.collect()), expected, "{line}");
        }
    }

    #[test]
    fn an_argument_that_is_not_text_is_a_mistake() {
        let words = vec!["orlop".into(), "state".into(), OsString::from_vec(b"\xff".to_vec())];
        assert_eq!(message(words), "state: an argument is not valid UTF-8");
    }
}
