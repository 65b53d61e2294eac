//! Help: a summary for `-h`, the whole page for `--help`. Nothing of it is built unless it is printed.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::argv::Length;
use super::pages::{self, Page, name_of};
use super::program::Cli;
use super::verbs::Verb;
use crate::called_as::{CalledAs, Failure};

/// Help on the program, or on a verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Help {
    verb: Vec<String>,
    length: Length,
    /// None if the caller asked for it. Otherwise the command line was incomplete.
    pub failure: Option<Failure>,
}

impl Help {
    pub fn asked(verb: Vec<String>, length: Length) -> Self {
        Help {
            verb,
            length,
            failure: None,
        }
    }

    /// For a command line that ends where a verb must follow.
    pub fn unasked(verb: Vec<String>) -> Self {
        let failure = if verb.is_empty() {
            Failure::NoWords
        } else {
            Failure::CommandLine
        };
        Help {
            verb,
            length: Length::Summary,
            failure: Some(failure),
        }
    }

    pub fn text(&self, called_as: CalledAs) -> String {
        let Some(mut command) = command_as(&self.verb, called_as) else {
            return String::new();
        };
        let name = name_of(&self.verb, called_as);
        let page = pages::of(&self.verb);
        if self.length == Length::Page
            && let (Some(page), Some(about)) = (page, command.get_about())
        {
            let description = format!("{about}\n\n{}", page.description.trim());
            command = command.about(description);
        }
        let mut text = command.render_help().to_string();
        text.truncate(text.trim_end().len());
        text.push_str("\n\n");
        match (self.length, page) {
            (Length::Page, Some(page)) => text.push_str(&page.sections(called_as)),
            _ => text.push_str(&format!("`{name} --help` shows examples, exit status and more.\n")),
        }
        if !self.verb.is_empty() {
            let program = called_as.name();
            text.push_str(&format!(
                "\nGlobal options, such as --root, are written before the verb; `{program} --help` lists them.\n"
            ));
        }
        text
    }
}

/// The longest name that shares a line with its text.
const SHORT: usize = 5;

impl Page {
    /// The sections after the options.
    fn sections(&self, called_as: CalledAs) -> String {
        let mut text = String::from("Examples:\n");
        for (purpose, lines) in self.examples {
            let _ = writeln!(text, "  {purpose}:");
            for line in *lines {
                let _ = writeln!(text, "      {}", called_as.named(line));
            }
        }
        for (title, entries) in [
            ("Exit status", self.exit_status),
            ("Environment", self.environment),
            ("Files", self.files),
        ] {
            if entries.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\n{title}:");
            let width = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
            for (name, line) in entries {
                let (name, line) = (called_as.named(name), called_as.named(line));
                // Short names and their texts share lines, as in the tables of options.
                let _ = if width <= SHORT {
                    writeln!(text, "  {name:width$}  {line}")
                } else {
                    writeln!(text, "  {name}\n      {line}")
                };
            }
        }
        text
    }
}

/// The command of a verb, ready to print its help. The man pages are made from it too.
pub fn command(verb: &[String]) -> Option<Command> {
    command_as(verb, CalledAs::Orlop)
}

fn command_as(verb: &[String], called_as: CalledAs) -> Option<Command> {
    let mut command = match verb {
        [] => Cli::command()
            .subcommand(Command::new("help").about("Print the help on a verb"))
            .subcommand_help_heading("Verbs"),
        [first, rest @ ..] => {
            let (name, about) = Verb::ALL.iter().find(|(name, _)| name == first)?;
            let whole = Verb::augment(Command::new("orlop"), name);
            let called = rest.iter().try_fold(whole.find_subcommand(name)?, |command, verb| {
                command.find_subcommand(verb)
            })?;
            let called = called.clone().subcommand_help_heading("Verbs");
            if rest.is_empty() { called.about(*about) } else { called }
        }
    };
    if let Some(page) = pages::of(verb) {
        command = command.override_usage(called_as.named(&page.usage.join("\n       ")).into_owned());
    }
    let mut help = Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::SetTrue)
        .help("Print a summary (-h) or the full help (--help)");
    if verb.is_empty() {
        help = help.help_heading("Global options");
        command = command.mut_arg("root", |root| match root.get_help().map(ToString::to_string) {
            Some(text) => root.help(called_as.named(&text).into_owned()),
            None => root,
        });
    }
    Some(command.disable_help_flag(true).disable_help_subcommand(true).arg(help))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::{Stop, parse};
    use super::*;

    /// The program without a verb, every verb, and every verb of a verb.
    fn verbs() -> Vec<Vec<String>> {
        let mut command = Cli::command();
        command.build();
        let mut all = vec![vec![]];
        for verb in command.get_subcommands() {
            let name = verb.get_name().to_string();
            all.push(vec![name.clone()]);
            all.extend(
                verb.get_subcommands()
                    .map(|inner| vec![name.clone(), inner.get_name().to_string()]),
            );
        }
        all
    }

    fn help(line: &str) -> String {
        match parse(["orlop"].into_iter().chain(line.split(' ')).map(OsString::from)) {
            Err(Stop::Help(help)) => help.text(CalledAs::Orlop),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn help_of(verb: &[String], option: &str) -> String {
        let words: Vec<&str> = verb.iter().map(String::as_str).chain([option]).collect();
        help(&words.join(" "))
    }

    /// `orlop create --help` begins with what `orlop --help` says of `create`.
    #[test]
    fn help_of_a_verb_begins_with_its_summary() {
        let list = help("--help");
        for (verb, about) in Verb::ALL {
            assert!(list.contains(&format!("  {verb:<10}  {about}\n")), "{verb}: {list}");
            for option in ["-h", "--help"] {
                let help = help(&format!("{verb} {option}"));
                assert_eq!(help.lines().next(), Some(*about), "{help}");
            }
        }
    }

    #[test]
    fn full_help_has_every_section_and_fits_the_line() {
        for verb in verbs() {
            let page = help_of(&verb, "--help");
            for section in ["\nUsage: orlop ", "\nExamples:\n  ", "\nExit status:\n  "] {
                assert!(page.contains(section), "{verb:?} has no {section:?}: {page}");
            }
            let summary = help_of(&verb, "-h");
            assert!(!summary.contains("Examples:") && summary.lines().count() < page.lines().count());
            for line in page.lines().chain(summary.lines()) {
                assert!(
                    line.chars().count() <= 100 && line.trim_end() == line,
                    "{verb:?}: {line:?}"
                );
            }
        }
    }

    #[test]
    fn short_help_fits_a_screen() {
        let (lines, verb) = verbs()
            .into_iter()
            .map(|verb| (help_of(&verb, "-h").lines().count(), verb))
            .max()
            .expect("a verb");
        // The program has a line for each verb.
        let most = if verb.is_empty() { 54 } else { 42 };
        assert!(lines <= most, "{verb:?}: {lines} lines");
    }

    /// Texts begin with a capital letter, or a number that is explained, and have no full stop.
    #[test]
    fn every_option_has_a_text_in_the_same_style() {
        let mut command = Cli::command();
        command.build();
        let mut commands = vec![&command];
        while let Some(command) = commands.pop() {
            commands.extend(command.get_subcommands());
            for arg in command.get_arguments() {
                let text = arg.get_help().map(ToString::to_string).unwrap_or_default();
                let first = text.chars().next();
                assert!(
                    first.is_some_and(|first| first.is_uppercase() || first.is_ascii_digit()) && !text.ends_with('.'),
                    "{} {}: {text:?}",
                    command.get_name(),
                    arg.get_id()
                );
            }
        }
    }

    /// Every line of the examples is a command line that is accepted.
    #[test]
    fn examples_are_valid() {
        for verb in verbs() {
            let page = help_of(&verb, "--help");
            let (_, examples) = page.split_once("Examples:\n").expect("examples");
            let (examples, _) = examples.split_once("\nExit status:").expect("an end");
            for line in examples.lines().filter_map(|line| line.strip_prefix("      ")) {
                let Some(at) = line.find("orlop ") else { continue };
                let line = line[at..].split(" | ").next().expect("a command").replace('\'', "");
                match parse(line.split(' ').map(OsString::from)) {
                    Ok(_) => {}
                    Err(Stop::Help(help)) => assert!(help.failure.is_none(), "{line}"),
                    Err(Stop::Mistake(mistake)) => panic!("{line}: {:#}", mistake.error(CalledAs::Orlop)),
                }
            }
        }
    }

    #[test]
    fn help_has_the_name_that_the_program_is_called_by() {
        for verb in verbs() {
            let help = Help::asked(verb.clone(), Length::Page);
            let own = help.text(CalledAs::Orlop);
            let page = help.text(CalledAs::Runc);
            assert!(page.contains("\nUsage: runc "), "{page}");
            for line in page.lines().filter(|line| line.starts_with("      ")) {
                assert!(
                    !line.contains("orlop ") && !line.contains("/run/orlop"),
                    "{verb:?}: {line}"
                );
            }
            assert_eq!(page.lines().count(), own.lines().count());
        }
        let text = |called_as| Help::asked(vec![], Length::Page).text(called_as);
        assert!(text(CalledAs::Crun).contains("[default: /run/crun or $XDG_RUNTIME_DIR/crun]"));
        assert!(text(CalledAs::Orlop).contains("[default: /run/orlop or $XDG_RUNTIME_DIR/orlop]"));
    }

    #[test]
    fn help_is_a_verb_too() {
        assert_eq!(help("help"), help("--help"));
        assert_eq!(help("help create"), help("create --help"));
        assert_eq!(help("help seccomp explain"), help("seccomp explain --help"));
        assert_eq!(help("seccomp help"), help("seccomp --help"));
        for line in ["help crate", "crate -h"] {
            match parse(["orlop"].into_iter().chain(line.split(' ')).map(OsString::from)) {
                Err(Stop::Mistake(mistake)) => {
                    let text = mistake.error(CalledAs::Orlop).to_string();
                    assert_eq!(text, "No help topic for 'crate': unknown verb");
                }
                other => panic!("{line}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_line_without_a_verb_is_answered_with_help() {
        for (line, verb) in [
            (vec!["orlop"], vec![]),
            (vec!["orlop", "seccomp"], vec!["seccomp".to_string()]),
        ] {
            match parse(line.iter().map(OsString::from)) {
                Err(Stop::Help(help)) => assert_eq!(help, Help::unasked(verb)),
                other => panic!("{line:?}: {other:?}"),
            }
        }
        assert_eq!(help("--help"), Help::asked(vec![], Length::Page).text(CalledAs::Orlop));
    }
}
