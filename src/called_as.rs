//! The name that the program is called by.
//!
//! Engines and scripts that know only runc or crun call a program of that name: the first word of the command line, which is the
//! name of a link to this program. What they can see is then as with that runtime: the version line, the default state directory,
//! the exit codes of failures, and the name in the help. Everything else is the same under every name.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;

use crate::exit_code::{EXEC_FAILURE, FAILURE, SUCCESS};

/// The versions of runc and crun whose command lines docs/compat.md lists. A program that is called by one of these names reports
/// that version: callers compare it with the oldest one that they work with.
const RUNC: &str = "1.5.1";
const CRUN: &str = "1.29.1";

/// The parts of crun that are optional when it is built, in its format. All of them are always present here.
const CRUN_FEATURES: &str = "+SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF +CRIU";

/// The name in the texts of this program.
const OWN: &str = "orlop";

/// A name that the program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalledAs {
    /// Any name that is not one of the others.
    Orlop,
    Runc,
    Crun,
}

/// Why a call fails, as far as the exit code depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There are no words at all: the help is printed.
    NoWords,
    UnknownVerb,
    UnknownOption,
    /// Anything else on the command line.
    CommandLine,
    /// The command line is valid, but the verb fails.
    Verb,
}

impl CalledAs {
    /// The name of this process.
    pub fn own() -> Self {
        std::env::args_os()
            .next()
            .map_or(CalledAs::Orlop, |word| Self::of(&word))
    }

    /// The name in the first word of a command line, which may be a path.
    pub fn of(word: &OsStr) -> Self {
        match Path::new(word).file_name().and_then(OsStr::to_str) {
            Some("runc") => CalledAs::Runc,
            Some("crun") => CalledAs::Crun,
            _ => CalledAs::Orlop,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            CalledAs::Orlop => OWN,
            CalledAs::Runc => "runc",
            CalledAs::Crun => "crun",
        }
    }

    /// What `--version` prints, line by line as the runtime of this name does: callers look for the beginnings of the lines.
    /// `state_root` is the state directory in use, if there is one.
    pub fn version(self, state_root: Option<&Path>) -> String {
        let own = env!("CARGO_PKG_VERSION");
        // After the sign is what semantic versioning ignores when it compares.
        let number = match self {
            CalledAs::Orlop => own.to_string(),
            CalledAs::Runc => format!("{RUNC}+{OWN}.{own}"),
            CalledAs::Crun => format!("{CRUN}+{OWN}.{own}"),
        };
        let mut text = format!("{} version {number}\ncommit: {}\n", self.name(), env!("ORLOP_COMMIT"));
        if self == CalledAs::Crun
            && let Some(root) = state_root
        {
            text += &format!("rundir: {}\n", root.display());
        }
        text += &format!("spec: {}\n", crate::plan::OCI_VERSION);
        if self == CalledAs::Crun {
            text = text + CRUN_FEATURES + "\n";
        }
        text
    }

    /// The exit code of a failure of the runtime itself. `of_program` is whether the verb is one whose exit code is otherwise that of
    /// a program, such as `exec`.
    pub fn exit_code(self, failure: Failure, of_program: bool) -> u8 {
        /// runc's for a verb that it does not have.
        const NO_SUCH_VERB: u8 = 3;
        /// EX_USAGE of sysexits.h.
        const USAGE: u8 = 64;
        match (self, failure) {
            (CalledAs::Runc, Failure::NoWords) => SUCCESS,
            (CalledAs::Runc, Failure::UnknownVerb) => NO_SUCH_VERB,
            (CalledAs::Crun, Failure::UnknownOption) => USAGE,
            (CalledAs::Orlop, _) | (CalledAs::Runc, Failure::Verb) if of_program => EXEC_FAILURE,
            _ => FAILURE,
        }
    }

    /// A text of the help that has this program's own name, as a command or as the last part of a path, with the name that it is
    /// called by.
    pub fn named(self, text: &str) -> Cow<'_, str> {
        if self == CalledAs::Orlop {
            return Cow::Borrowed(text);
        }
        let in_a_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let mut named = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(OWN) {
            let whole = !before.ends_with(in_a_word) && !after.starts_with(in_a_word);
            named = named + before + if whole { self.name() } else { OWN };
            rest = after;
        }
        Cow::Owned(named + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [CalledAs; 3] = [CalledAs::Orlop, CalledAs::Runc, CalledAs::Crun];

    #[test]
    fn only_the_last_part_of_the_path_counts() {
        let table = [
            ("runc", CalledAs::Runc),
            ("/usr/sbin/runc", CalledAs::Runc),
            ("./crun", CalledAs::Crun),
            ("orlop", CalledAs::Orlop),
            ("/opt/runc/orlop", CalledAs::Orlop),
            ("runc.orlop", CalledAs::Orlop),
            ("docker-runc", CalledAs::Orlop),
            ("", CalledAs::Orlop),
        ];
        for (word, expected) in table {
            assert_eq!(CalledAs::of(OsStr::new(word)), expected, "{word:?}");
        }
    }

    /// The rules by which callers read the version.
    #[test]
    fn callers_can_read_the_version() {
        for called_as in ALL {
            let text = called_as.version(Some(Path::new("/run/x")));
            let lines: Vec<&str> = text.lines().collect();
            // dockerd: what is before the first and after the last "version", and what is after "commit:".
            let (name, number) = lines[0].split_once(" version ").expect("a version line");
            assert_eq!((name, lines[0].matches("version").count()), (called_as.name(), 1));
            assert!(lines.iter().skip(1).all(|line| !line.contains("version")), "{text}");
            assert!(
                lines.iter().any(|line| line.starts_with("commit: ") && line.len() > 8),
                "{text}"
            );
            // go-runc: the first line begins with "runc version ", and "spec: " is the beginning of another one. nerdctl: the first
            // line has three words.
            assert_eq!(lines[0].split_whitespace().count(), 3, "{text}");
            assert!(lines.iter().any(|line| line.starts_with("spec: 1.")), "{text}");
            // Semantic versioning: three numbers, and perhaps a plus and what is ignored.
            let (numbers, build) = number.split_once('+').unwrap_or((number, "0"));
            assert_eq!(
                numbers.split('.').filter(|part| part.parse::<u32>().is_ok()).count(),
                3,
                "{number}"
            );
            assert!(
                build
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')),
                "{number}"
            );
            assert!(number.ends_with(env!("CARGO_PKG_VERSION")), "{number}");
        }
    }

    #[test]
    fn crun_shows_its_state_directory_and_its_parts() {
        let text = CalledAs::Crun.version(Some(Path::new("/run/x")));
        assert!(
            text.contains("\nrundir: /run/x\nspec: ") && text.ends_with(" +CRIU\n"),
            "{text}"
        );
        assert!(!CalledAs::Crun.version(None).contains("rundir"));
        assert!(!CalledAs::Runc.version(Some(Path::new("/run/x"))).contains("rundir"));
    }

    /// As measured with runc 1.1, 1.3, crun 1.8 and 1.28.
    #[test]
    fn exit_codes_are_those_of_the_runtime_of_that_name() {
        let table = [
            // Failure, and the codes of orlop, runc and crun: of other verbs, and of `exec`.
            (Failure::NoWords, [1, 0, 1], [255, 0, 1]),
            (Failure::UnknownVerb, [1, 3, 1], [255, 3, 1]),
            (Failure::UnknownOption, [1, 1, 64], [255, 1, 64]),
            (Failure::CommandLine, [1, 1, 1], [255, 1, 1]),
            (Failure::Verb, [1, 1, 1], [255, 255, 1]),
        ];
        for (failure, others, exec) in table {
            assert_eq!(ALL.map(|name| name.exit_code(failure, false)), others, "{failure:?}");
            assert_eq!(
                ALL.map(|name| name.exit_code(failure, true)),
                exec,
                "{failure:?} of exec"
            );
        }
    }

    /// docs/compat.md lists the command lines of the versions that are reported.
    #[test]
    fn the_versions_are_those_whose_command_lines_are_listed() {
        let listed = format!("Every verb and flag of runc {RUNC} and crun {CRUN}, and how orlop handles it");
        assert!(include_str!("../docs/compat.md").contains(&listed), "{listed}");
    }

    #[test]
    fn only_the_command_and_the_end_of_a_path_are_named() {
        let table = [
            ("orlop run box", "runc run box"),
            (
                "/run/orlop or $XDG_RUNTIME_DIR/orlop]",
                "/run/runc or $XDG_RUNTIME_DIR/runc]",
            ),
            ("see `orlop spec`", "see `runc spec`"),
            (
                "orlop --log /var/log/orlop.log list",
                "runc --log /var/log/orlop.log list",
            ),
            ("man orlop-config, /etc/orlop/x", "man orlop-config, /etc/runc/x"),
            ("nothing", "nothing"),
        ];
        for (text, expected) in table {
            assert_eq!(CalledAs::Runc.named(text), expected);
            assert_eq!(CalledAs::Orlop.named(text), text);
        }
    }
}
