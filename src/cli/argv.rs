//! The scanner of the command line: every look at its words goes through it. It knows the options from their declarations for
//! clap, so there is no second list, and accepts every spelling that callers of a runtime use:
//!
//! * `--root DIR`, `--root=DIR`, and with a single dash, as Go's flag package accepts it;
//! * `--debug=true`, `--debug=false`, for each switch; `-d`, `-bDIR`, `-b=DIR`, `-dtu 5`;
//! * the next word as the value whatever it looks like, as in Go and getopt(3): `--cpu-quota -1`;
//! * `kill ID -9`, `kill -KILL ID`.
//!
//! The result is a single spelling of all these: `orlop [--GLOBAL[=VALUE]]... VERB [--OPTION[=VALUE]]... -- WORD...`.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::vec::IntoIter;

use clap::{Arg, ArgAction, Command};

use super::signal;

/// How much help is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// What fits a screen: usage and options.
    Summary,
    /// The description, examples, exit status, environment and files as well.
    Page,
}

/// A word, or an option with its value.
#[derive(Debug)]
pub enum Token<'a> {
    /// An option of the command, with its value if it takes one; a switch has a value only if one was written.
    Known(&'a Arg, Option<OsString>),
    Help(Length),
    /// A signal written as an option, for `kill`.
    Signal(OsString),
    /// A word that begins with a dash but is not an option of the command.
    Unknown(OsString),
    Word(OsString),
    /// `--`
    End,
}

/// What ends the scan before clap is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    Help(Length),
    /// An option that the command does not have, without its value.
    UnknownOption(String),
    /// A switch with a value other than true or false.
    NotASwitch {
        option: String,
        value: String,
    },
}

/// Splits words into tokens, by the options of one command.
pub struct Tokens<'a, 'w> {
    command: &'a Command,
    words: &'w mut IntoIter<OsString>,
    /// The rest of a word that contains several options.
    pending: VecDeque<Token<'a>>,
}

impl<'a, 'w> Tokens<'a, 'w> {
    pub fn new(command: &'a Command, words: &'w mut IntoIter<OsString>) -> Self {
        Tokens {
            command,
            words,
            pending: VecDeque::new(),
        }
    }

    fn long(&self, name: &[u8]) -> Option<&'a Arg> {
        let known = |arg: &&Arg| arg.get_long().is_some_and(|long| long.as_bytes() == name);
        self.command.get_arguments().find(known)
    }

    fn short(&self, letter: char) -> Option<&'a Arg> {
        let known = |arg: &&Arg| {
            arg.get_short() == Some(letter) || arg.get_all_short_aliases().is_some_and(|all| all.contains(&letter))
        };
        self.command.get_arguments().find(known)
    }

    /// `NAME` or `NAME=VALUE` after the dashes, if there is an option of that name.
    fn named(&mut self, text: &[u8]) -> Option<Token<'a>> {
        let (name, value) = match text.iter().position(|byte| *byte == b'=') {
            Some(at) => (text.get(..at)?, text.get(at + 1..)),
            None => (text, None),
        };
        if let Some(arg) = self.long(name) {
            let value = value.map(|value| OsStr::from_bytes(value).to_os_string());
            return Some(Token::Known(arg, value.or_else(|| self.next_value(arg))));
        }
        // `--usage` is argp's, which crun uses.
        matches!(name, b"help" | b"usage").then_some(Token::Help(Length::Page))
    }

    fn next_value(&mut self, arg: &Arg) -> Option<OsString> {
        if takes_value(arg) && !arg.is_require_equals_set() {
            self.words.next()
        } else {
            None
        }
    }

    /// Letters after a single dash, the last of them perhaps with a value. Either every letter is an option, or none is taken.
    fn letters(&mut self, text: &[u8]) -> Option<VecDeque<Token<'a>>> {
        let mut tokens = VecDeque::new();
        let mut rest = text;
        while let Some((letter, after)) = rest.split_first() {
            rest = after;
            let arg = match self.short(char::from(*letter)) {
                Some(arg) => arg,
                None if *letter == b'h' => {
                    tokens.push_back(Token::Help(Length::Summary));
                    continue;
                }
                None if *letter == b'?' => {
                    tokens.push_back(Token::Help(Length::Page));
                    continue;
                }
                None => return None,
            };
            let value = match (rest.split_first(), takes_value(arg)) {
                (Some((b'=', value)), _) => Some(value),
                (Some(_), true) => Some(rest),
                _ => None,
            };
            if let Some(value) = value {
                tokens.push_back(Token::Known(arg, Some(OsStr::from_bytes(value).to_os_string())));
                break;
            }
            let value = if rest.is_empty() { self.next_value(arg) } else { None };
            tokens.push_back(Token::Known(arg, value));
        }
        Some(tokens)
    }
}

impl<'a> Iterator for Tokens<'a, '_> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if let Some(token) = self.pending.pop_front() {
            return Some(token);
        }
        let word = self.words.next()?;
        let found = match word.as_bytes() {
            [] | [b'-'] => None,
            b"--" => Some(Token::End),
            [b'-', b'-', text @ ..] => self.named(text),
            [b'-', text @ ..] if self.command.get_name() == "kill" && signal::is_meant(text) => {
                Some(Token::Signal(OsStr::from_bytes(text).to_os_string()))
            }
            [b'-', text @ ..] => self.named(text).or_else(|| {
                self.pending = self.letters(text)?;
                self.pending.pop_front()
            }),
            _ => None,
        };
        Some(match found {
            Some(token) => token,
            None if word.as_bytes().starts_with(b"-") && word.len() > 1 => Token::Unknown(word),
            None => Token::Word(word),
        })
    }
}

/// Whether an option takes a value. Otherwise it is a switch.
pub fn takes_value(arg: &Arg) -> bool {
    !matches!(arg.get_action(), ArgAction::SetTrue)
}

/// The meaning of a switch's value, as in Go.
fn truth(value: &OsStr) -> Option<bool> {
    match value.as_bytes() {
        b"true" | b"TRUE" | b"True" | b"t" | b"T" | b"1" => Some(true),
        b"false" | b"FALSE" | b"False" | b"f" | b"F" | b"0" => Some(false),
        _ => None,
    }
}

/// Reads the words of one command, and appends them to `line` in the single spelling. If a verb must follow (`before_verb`),
/// it is returned, and the words after it are left in `words`; otherwise all words are read.
pub fn read(
    command: &Command,
    before_verb: bool,
    words: &mut IntoIter<OsString>,
    line: &mut Vec<OsString>,
) -> Result<Option<OsString>, Found> {
    let raw_after = raw_after(command);
    let first = line.len();
    let mut plain = Vec::new();
    let mut verb = None;
    for token in Tokens::new(command, words) {
        match token {
            Token::Known(arg, value) => option(arg, value, first, line)?,
            Token::Signal(value) => line.push(joined("signal", &value)),
            Token::Help(length) => return Err(Found::Help(length)),
            Token::Word(word) if before_verb => {
                verb = Some(word);
                break;
            }
            Token::End if before_verb => {
                verb = words.next();
                break;
            }
            Token::End => {
                plain.extend(words);
                break;
            }
            Token::Unknown(word) if is_number(&word) && takes_dashes(command) => plain.push(word),
            Token::Unknown(word) => {
                return Err(Found::UnknownOption(name_of(&word)));
            }
            Token::Word(word) => {
                plain.push(word);
                if Some(plain.len()) == raw_after {
                    plain.extend(words);
                    break;
                }
            }
        }
    }
    if !plain.is_empty() {
        line.push("--".into());
        line.append(&mut plain);
    }
    Ok(verb)
}

/// Appends an option to those of its command, which begin at `first`.
fn option(arg: &Arg, value: Option<OsString>, first: usize, line: &mut Vec<OsString>) -> Result<(), Found> {
    let Some(long) = arg.get_long() else { return Ok(()) };
    match value {
        Some(value) if takes_value(arg) => line.push(joined(long, &value)),
        Some(value) => {
            let on = truth(&value).ok_or_else(|| Found::NotASwitch {
                option: format!("--{long}"),
                value: value.to_string_lossy().into_owned(),
            })?;
            let name = format!("--{long}");
            if on {
                line.push(name.into());
            } else {
                // The last value counts.
                let mut at = 0;
                line.retain(|word| {
                    at += 1;
                    at <= first || *word != *name
                });
            }
        }
        None => line.push(format!("--{long}").into()),
    }
    Ok(())
}

fn joined(long: &str, value: &OsStr) -> OsString {
    let mut word = Vec::with_capacity(long.len() + value.len() + 3);
    word.extend_from_slice(b"--");
    word.extend_from_slice(long.as_bytes());
    word.push(b'=');
    word.extend_from_slice(value.as_bytes());
    OsString::from_vec(word)
}

/// The number of words that belong to the command itself, if all words after them belong to another program.
fn raw_after(command: &Command) -> Option<usize> {
    let mut places = command.get_positionals().enumerate();
    let (place, _) = places.find(|(_, arg)| arg.is_trailing_var_arg_set())?;
    Some(place.max(1))
}

/// Whether a word that begins with a dash is a negative number.
fn is_number(word: &OsStr) -> bool {
    word.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
}

fn takes_dashes(command: &Command) -> bool {
    command.get_positionals().any(Arg::is_allow_hyphen_values_set)
}

/// The name of the option in a word such as `--name=value`.
fn name_of(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    text.split('=').next().unwrap_or_default().to_string()
}
