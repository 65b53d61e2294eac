//! What `check` finds, and how it is printed.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::risk::Risk;
use crate::bundle::checks::{Checks, Source};
use crate::bundle::text::Mistake;
use crate::error::{Error, Finding, Report, shortened};
use crate::log::shown;
use crate::plan::Warning;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The container cannot be created, or its program cannot be started.
    Error,
    /// Something has no effect, or may fail.
    Warning,
    /// It works, and gives the container power over the host.
    Risk,
    /// Perhaps of interest.
    Note,
}

impl Level {
    /// All levels, in the order of the last line.
    const ALL: [Level; 4] = [Level::Error, Level::Warning, Level::Risk, Level::Note];

    pub const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Risk => "risk",
            Level::Note => "note",
        }
    }
}

macro_rules! codes {
    ($($variant:ident $name:literal)*) => {
        /// What a finding is about. The names are part of the output.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($variant,)*
            Risk(Risk),
        }

        impl Code {
            /// The names of all but the risks.
            pub const NAMES: &[&str] = &[$($name,)*];

            pub const fn name(self) -> &'static str {
                match self {
                    $(Code::$variant => $name,)*
                    Code::Risk(risk) => risk.name(),
                }
            }
        }
    };
}

codes! {
    Specification "specification"
    MisspeltKey "misspelt-key"
    UnknownKey "unknown-key"
    Ignored "ignored"
    MountSource "mount-source"
    MountPoint "mount-point"
    FileSystem "file-system"
    Kernel "kernel"
    Namespaces "namespaces"
    IdMaps "id-maps"
    Cgroup "cgroup"
    Sysctl "sysctl"
    NetworkDevice "network-device"
    Rlimit "rlimit"
    Hook "hook"
    Profile "profile"
    Program "program"
    Cwd "cwd"
    NotLookedAt "not-looked-at"
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub level: Level,
    pub code: Code,
    pub finding: Finding,
}

/// The findings so far.
#[derive(Debug, Default)]
pub struct Findings {
    pub list: Vec<Found>,
}

impl Findings {
    /// Something that `create` or `start` would refuse with this error.
    pub fn error(&mut self, code: Code, error: &Error) {
        self.reported(Level::Error, code, error);
    }

    /// An error as it is printed elsewhere. Its place is the one that it names.
    pub fn reported(&mut self, level: Level, code: Code, error: &Error) {
        let Report { msg, path, hint, .. } = Report::of(error);
        self.add(level, code, path.as_deref().unwrap_or_default(), msg, hint);
    }

    /// `path`: the place inside config.json, empty if there is none.
    pub fn add(&mut self, level: Level, code: Code, path: &str, msg: impl Into<String>, hint: Option<String>) {
        self.list.push(Found {
            level,
            code,
            finding: Finding {
                file: None,
                path: (!path.is_empty()).then(|| path.to_string()),
                position: None,
                msg: msg.into(),
                hint,
            },
        });
    }

    pub fn mistakes(&mut self, mistakes: Vec<Mistake>) {
        for Mistake { error, position } in mistakes {
            self.error(Code::Specification, &error);
            if let Some(found) = self.list.last_mut() {
                found.finding.position = position;
            }
        }
    }

    /// What has no effect: the warnings of `create`, and keys that look like no known one.
    pub fn ignored(&mut self, warnings: Vec<Warning>, unknown: &[String]) {
        for warning in warnings {
            let code = if warning.misspelt {
                Code::MisspeltKey
            } else {
                Code::Ignored
            };
            self.add(Level::Warning, code, &warning.path, warning.text, None);
        }
        for path in unknown {
            let text = format!("unknown key {} is ignored", shortened(path.escape_debug().to_string()));
            let hint = "it is no key of the runtime-spec; an engine may have added it for itself";
            self.add(Level::Note, Code::UnknownKey, path, text, Some(hint.into()));
        }
    }

    /// All that the checks of a document have found.
    pub fn of_checks(&mut self, mut checks: Checks) {
        self.ignored(std::mem::take(&mut checks.warnings), checks.unknown());
        self.mistakes(checks.mistakes());
    }

    /// Gives each finding its place in the text, and brings them into its order. Those without a place come last.
    pub fn locate(&mut self, source: &Source) {
        let paths: Vec<Option<String>> = self.list.iter().map(|found| found.finding.path.clone()).collect();
        for (found, position) in self.list.iter_mut().zip(source.positions(&paths)) {
            found.finding.position = found.finding.position.or(position);
            found.finding.file = source.file.map(str::to_string);
        }
        self.sort();
    }

    fn sort(&mut self) {
        self.list
            .sort_by_key(|found| (found.finding.position.is_none(), found.finding.position, found.level));
    }

    /// The findings of an error that stops before anything could be checked. None if it is not about the contents of a
    /// document.
    pub fn of_error(error: &Error) -> Option<Self> {
        let report = Report::of(error);
        let found = |finding| Found {
            level: Level::Error,
            code: Code::Specification,
            finding,
        };
        let list: Vec<Found> = report.findings.into_iter().map(found).collect();
        (!list.is_empty()).then_some(Findings { list })
    }

    pub fn count(&self, level: Level) -> usize {
        self.list.iter().filter(|found| found.level == level).count()
    }

    /// One line for each finding, indented lines with hints, and a line with the sum.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for Found { level, finding, .. } in &self.list {
            let placed = Finding {
                msg: format!("{}: {}", level.name(), finding.msg),
                ..finding.clone()
            };
            let _ = writeln!(out, "{}", shown(&placed.text()));
            if let Some(hint) = &finding.hint {
                let _ = writeln!(out, "    hint: {}", shown(hint));
            }
        }
        let counts = Level::ALL.map(|level| match self.count(level) {
            1 => format!("1 {}", level.name()),
            number => format!("{number} {}s", level.name()),
        });
        out + &counts.join(", ") + "\n"
    }

    /// The document that docs/check.md describes.
    pub fn json(&self) -> String {
        let findings: Vec<Value> = self.list.iter().map(Found::json).collect();
        let counts = Level::ALL.map(|level| (format!("{}s", level.name()), Value::from(self.count(level))));
        let document = serde_json::json!({
            "version": 1,
            "findings": findings,
            "counts": Map::from_iter(counts),
        });
        format!("{document:#}\n")
    }
}

impl Found {
    fn json(&self) -> Value {
        let finding = &self.finding;
        let position = finding.position;
        let fields = [
            ("level", Some(self.level.name().into())),
            ("code", Some(self.code.name().into())),
            ("file", finding.file.as_deref().map(Value::from)),
            ("line", position.map(|position| position.line.into())),
            ("column", position.map(|position| position.column.into())),
            ("path", finding.path.as_deref().map(Value::from)),
            ("message", Some(finding.msg.as_str().into())),
            ("hint", finding.hint.as_deref().map(Value::from)),
        ];
        let fields = fields.into_iter();
        fields
            .filter_map(|(name, value)| Some((name.to_string(), value?)))
            .collect::<Map<_, _>>()
            .into()
    }
}
