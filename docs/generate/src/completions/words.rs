//! What may stand where on a command line.

use clap::{Arg, ValueHint};
use nix::sys::signal::Signal;

use crate::verbs::{Verb, program};

/// What completes a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    Anything,
    Files,
    Directories,
    Containers,
    /// Containers, and signals from the second word on.
    ContainersAndSignals,
    Words(Vec<String>),
}

/// Whether an option has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    /// Only after an equals sign.
    Optional,
    Required,
}

#[derive(Debug)]
pub struct Choice {
    pub short: Option<char>,
    pub long: String,
    pub help: String,
    pub takes: Takes,
    pub values: Values,
    pub repeated: bool,
}

impl Choice {
    /// `--bundle`, `-b`.
    pub fn spellings(&self) -> Vec<String> {
        let long = format!("--{}", self.long);
        std::iter::once(long)
            .chain(self.short.map(|short| format!("-{short}")))
            .collect()
    }
}

#[derive(Debug)]
pub struct Argument {
    pub name: String,
    pub values: Values,
    pub repeated: bool,
}

/// What may follow a verb.
#[derive(Debug)]
pub struct Words {
    /// The verb, and one of its own after it; empty for the program.
    pub verb: Vec<String>,
    pub options: Vec<Choice>,
    pub arguments: Vec<Argument>,
    /// What follows the first argument is a program and its arguments, and none of them is an option of the verb.
    pub ends_options: bool,
    pub verbs: Vec<(String, String)>,
}

/// Options whose value is a path, but not one of the host's file system as the caller sees it.
pub const NOT_HERE: &[(&str, &str)] = &[("exec", "cwd"), ("exec", "cgroup"), ("checkpoint", "parent-path")];

/// The program, then every verb.
pub fn all() -> Vec<Words> {
    let program = program();
    program.all().into_iter().map(words).collect()
}

fn words(verb: &Verb) -> Words {
    let shown = || verb.command.get_arguments().filter(|arg| !arg.is_hide_set());
    // The ID of such a verb is a new one.
    let creates = shown().any(|arg| arg.get_long() == Some("bundle"));
    let options: Vec<Choice> = shown()
        .filter(|arg| !arg.is_positional())
        .map(|arg| choice(verb, arg))
        .collect();
    let signals = options
        .iter()
        .any(|option| option.long == "signal" && option.takes == Takes::Required);
    let mut arguments = Vec::new();
    for arg in shown().filter(|arg| arg.is_positional()) {
        let names = arg.get_value_names().unwrap_or_default();
        let repeats = arg.get_num_args().is_some_and(|count| count.max_values() > 1);
        for (index, name) in names.iter().enumerate() {
            let is_last = index + 1 == names.len();
            let values = match values(arg, name) {
                Values::Containers if creates => Values::Anything,
                Values::Containers if signals => Values::ContainersAndSignals,
                // A program in the container.
                Values::Files if index > 0 => Values::Anything,
                values => values,
            };
            arguments.push(Argument {
                name: name.to_string(),
                values,
                repeated: is_last && repeats,
            });
        }
    }
    Words {
        verb: verb.path.clone(),
        options,
        arguments,
        ends_options: shown().any(Arg::is_trailing_var_arg_set),
        verbs: verb
            .verbs
            .iter()
            .map(|verb| (verb.path.last().cloned().unwrap_or_default(), verb.about()))
            .collect(),
    }
}

fn choice(verb: &Verb, arg: &Arg) -> Choice {
    let long = arg.get_long().unwrap_or_default().to_string();
    let count = arg.get_num_args().unwrap_or_default();
    let takes = match (count.takes_values(), count.min_values()) {
        (false, _) => Takes::Nothing,
        (true, 0) => Takes::Optional,
        (true, _) => Takes::Required,
    };
    let name = arg.get_value_names().and_then(|names| names.first());
    let is_here = !NOT_HERE
        .iter()
        .any(|(of, option)| verb.path == [*of] && long == *option);
    let values = match name {
        Some(name) if takes != Takes::Nothing && is_here => values(arg, name),
        _ => Values::Anything,
    };
    Choice {
        short: arg.get_short(),
        long,
        help: arg.get_help().map(ToString::to_string).unwrap_or_default(),
        takes,
        values,
        repeated: matches!(arg.get_action(), clap::ArgAction::Append),
    }
}

/// From the declared values, the name of the value, and its type.
fn values(arg: &Arg, name: &str) -> Values {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        return Values::Words(possible.iter().map(|value| value.get_name().to_string()).collect());
    }
    match name {
        "ID" => Values::Containers,
        "DIR" => Values::Directories,
        "SIGNAL" => Values::Words(signals()),
        _ if matches!(arg.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath) => Values::Files,
        _ => Values::Anything,
    }
}

/// The names of signals without SIG.
pub fn signals() -> Vec<String> {
    let names = Signal::iterator().map(Signal::as_str);
    names
        .map(|name| name.strip_prefix("SIG").unwrap_or(name).to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(verb: &[&str]) -> Words {
        all().into_iter().find(|words| words.verb == verb).expect("a verb")
    }

    fn option<'a>(words: &'a Words, long: &str) -> &'a Choice {
        words
            .options
            .iter()
            .find(|option| option.long == long)
            .expect("an option")
    }

    #[test]
    fn the_id_of_a_new_container_is_not_one_that_exists() {
        for verb in ["create", "restore"] {
            assert_eq!(of(&[verb]).arguments[0].values, Values::Anything, "{verb}");
        }
        for verb in ["state", "exec", "events", "ps"] {
            assert_eq!(of(&[verb]).arguments[0].values, Values::Containers, "{verb}");
        }
        assert_eq!(of(&["run"]).arguments[0].values, Values::Files);
        assert_eq!(of(&["mounts"]).arguments[1].values, Values::Containers);
        assert_eq!(of(&["kill"]).arguments[0].values, Values::ContainersAndSignals);
        assert!(of(&["delete"]).arguments[0].repeated);
    }

    #[test]
    fn values_of_options() {
        let create = of(&["create"]);
        assert_eq!(option(&create, "bundle").values, Values::Directories);
        assert_eq!(option(&create, "config").values, Values::Files);
        assert_eq!(option(&create, "no-pivot").takes, Takes::Nothing);
        let run = of(&["run"]);
        assert_eq!(option(&run, "seccomp-log").takes, Takes::Optional);
        assert_eq!(
            option(&run, "seccomp-log").values,
            Values::Words(vec!["deny".into(), "allow".into()])
        );
        assert!(option(&of(&["exec"]), "env").repeated);
        assert!(of(&["exec"]).ends_options && !of(&["delete"]).ends_options);
    }

    #[test]
    fn paths_that_are_not_the_callers_exist_as_options() {
        for (verb, long) in NOT_HERE {
            assert_eq!(option(&of(&[verb]), long).values, Values::Anything);
        }
    }

    #[test]
    fn every_signal_is_one_that_kill_accepts() {
        assert!(signals().contains(&"TERM".to_string()));
        for name in signals() {
            orlop::cli::signal::number(&name).expect("a signal");
        }
    }
}
