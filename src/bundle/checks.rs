//! Collects what is wrong with a config, so that all of it can be told at once.

use super::position;
use super::raw::Faults;
use super::reader::Step;
use super::text::Mistake;
use crate::error::{At, Error, Finding, Position, Report, Result, anyhow};
use crate::plan::Warning;

/// The mistakes and warnings so far.
#[derive(Default)]
pub struct Checks {
    faults: Faults,
    pub warnings: Vec<Warning>,
    /// What helps to follow the decisions, for `--debug`.
    pub remarks: Vec<String>,
}

/// What is to be said about a config without mistakes.
#[derive(Debug, Default)]
pub struct Notes {
    pub warnings: Vec<Warning>,
    /// What helps to follow the decisions, for `--debug`.
    pub remarks: Vec<String>,
}

/// The text in which the mistakes are located.
pub struct Source<'a> {
    pub text: &'a [u8],
    /// The file's name in messages.
    pub file: Option<&'a str>,
    /// The place in config.json of what the text holds alone, such as `process`. Errors name its values as in config.json.
    pub within: &'static str,
}

impl Checks {
    pub fn new(faults: Faults, warnings: Vec<Warning>) -> Self {
        Checks {
            faults,
            warnings,
            remarks: Vec::new(),
        }
    }

    /// The checked section at a path. None if something in it is wrong, or if it could not be read: then it is not checked,
    /// because any mistake found in it could be an effect of what is known already.
    pub fn section<T>(&mut self, path: &[&str], check: impl FnOnce(&mut Self) -> Result<T>) -> Option<T> {
        if !self.is_readable(path) {
            return None;
        }
        let before = self.faults.mistakes.len();
        let checked = check(self);
        let value = self.keep(checked)?;
        (self.faults.mistakes.len() == before).then_some(value)
    }

    /// Notes a mistake, and passes on what is right.
    pub fn keep<T>(&mut self, checked: Result<T>) -> Option<T> {
        match checked {
            Ok(value) => Some(value),
            Err(error) => {
                let mistake = Mistake { error, position: None };
                self.faults.mistakes.push(mistake);
                None
            }
        }
    }

    /// Whether all of a section could be read.
    pub fn is_readable(&self, section: &[&str]) -> bool {
        let is = |(step, key): (&Step, &&str)| matches!(step, Step::Key(found) if found == key);
        // One that is above the section, the section itself, or one inside it.
        !self
            .faults
            .unreadable
            .iter()
            .any(|path| path.iter().zip(section).all(is))
    }

    pub fn has_mistakes(&self) -> bool {
        !self.faults.mistakes.is_empty()
    }

    pub fn mistakes(self) -> Vec<Mistake> {
        self.faults.mistakes
    }

    /// The places of keys that are unknown and look like no known one.
    pub fn unknown(&self) -> &[String] {
        &self.faults.unknown
    }

    /// What was made of the config, or one error with all mistakes, in the order of the text.
    pub fn end<T>(self, made: Option<T>, source: Option<&Source>) -> Result<(T, Notes)> {
        let mistakes = self.faults.mistakes;
        if let Some(made) = made.filter(|_| mistakes.is_empty()) {
            let notes = Notes {
                warnings: self.warnings,
                remarks: self.remarks,
            };
            return Ok((made, notes));
        }
        Err(error_of(mistakes, source))
    }
}

/// More findings than this are counted and not shown: a program that writes a wrong config can make a mistake a thousand
/// times.
const MOST: usize = 30;

/// One error for all mistakes, in the order of the text. Those without a place in it come last. The facts of its report
/// (step, path, errno, hint) are those of the first.
pub fn error_of(mistakes: Vec<Mistake>, source: Option<&Source>) -> Error {
    let path = |mistake: &Mistake| mistake.error.downcast_ref::<At>().map(|at| at.path.clone());
    let paths: Vec<Option<String>> = mistakes.iter().map(path).collect();
    let found = match source {
        Some(source) => source.positions(&paths),
        None => vec![None; paths.len()],
    };
    let mut located: Vec<_> = mistakes
        .into_iter()
        .zip(found)
        .map(|(mistake, found)| (mistake.error, mistake.position.or(found)))
        .collect();
    located.sort_by_key(|(_, position)| (position.is_none(), *position));
    let Some((first, _)) = located.first() else {
        return anyhow!("the config could not be checked");
    };
    let mut report = Report::of(first);
    let finding = |msg: String, position: Option<Position>| Finding {
        file: source.and_then(|source| source.file).map(str::to_string),
        path: None,
        position,
        msg,
        hint: None,
    };
    for (error, position) in located.iter().take(MOST) {
        let Report { msg, path, hint, .. } = Report::of(error);
        report.findings.push(Finding {
            path,
            hint,
            ..finding(msg, *position)
        });
    }
    if let Some(more) = located.len().checked_sub(MOST).filter(|more| *more > 0) {
        let text = format!("{more} more mistakes are not shown");
        report.findings.push(finding(text, None));
    }
    if let Some(first) = report.findings.first() {
        report.msg = first.text();
    }
    Error::new(report)
}

impl Source<'_> {
    /// The positions of values by their paths, as far as they are in the text.
    pub fn positions(&self, paths: &[Option<String>]) -> Vec<Option<Position>> {
        let Ok(text) = std::str::from_utf8(self.text) else {
            return vec![None; paths.len()];
        };
        let inside: Vec<Option<&str>> = paths.iter().map(|path| self.inside(path.as_deref()?)).collect();
        let wanted: Vec<&str> = inside.iter().copied().flatten().collect();
        let mut found = position::of(text, &wanted).into_iter();
        inside.into_iter().map(|path| path.and_then(|_| found.next())).collect()
    }

    /// A path of an error as a path in the text.
    fn inside<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(self.within)? {
            rest if self.within.is_empty() => Some(rest),
            rest => Some(rest.trim_start_matches('.')),
        }
    }
}
