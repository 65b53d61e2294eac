//! What is needed of a command line that may be wrong: where to log the error, and whether `exec` is called.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::argv::{Token, Tokens};
use super::program::Cli;
use super::verbs::Verb;
use crate::log;

/// The last `--log` and `--log-format` before the verb, and the verb.
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
            // Perhaps the value of the unknown option.
            Token::Word(word) if was_unknown && !is_verb(&word) => {}
            Token::Word(word) => return (file, format, Some(word)),
            Token::End => break,
            Token::Help(_) | Token::Signal(_) => {}
        }
    }
    (file, format, words.next())
}

/// Where errors are logged.
pub fn log_of(words: impl IntoIterator<Item = OsString>) -> (Option<PathBuf>, log::Format) {
    let (file, format, _) = outline(words);
    (file, format)
}

/// Whether these words call `exec` or `debug`, whose exit code is that of a program.
pub fn calls_exec(words: impl IntoIterator<Item = OsString>) -> bool {
    outline(words).2.is_some_and(|verb| verb == "exec" || verb == "debug")
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
            // After the verb and after "--" it is not a global option.
            (&["create", "--log", "a"], None, Text),
            (&["--log-format", "json", "--", "--log", "a"], None, Json),
        ];
        for (words, file, format) in table {
            let line = ["orlop"].iter().chain(*words).map(OsString::from);
            assert_eq!(log_of(line), (file.map(PathBuf::from), *format), "{words:?}");
        }
    }

    #[test]
    fn exec_is_recognized_among_other_words() {
        let calls = |line: &str| calls_exec(line.split(' ').map(OsString::from));
        for line in [
            "orlop exec",
            "orlop exec --bad x",
            "orlop --debug debug x",
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
