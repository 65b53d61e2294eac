//! The command line, nothing else: what can be written, and its help. Names and short forms are runc's, because
//! engines call them.

use std::ffi::OsString;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::log;
use crate::plan::seccomp::Logging;

mod argv;
mod limits;
mod mistakes;
pub mod signal;
mod values;

pub use limits::Limits;
pub use mistakes::{calls_exec, log_of, mistake};

pub use values::User;
use values::{absolute, id_number, interval, sub_cgroup, user};

#[derive(Debug, Parser)]
#[command(
    name = "orlop",
    about = "A small, static OCI container runtime that explains itself",
    disable_version_flag = true
)]
#[command(
    subcommand_required = false,
    arg_required_else_help = true,
    // As runc does: the last of several counts, so that a wrapper can append to what it was given.
    args_override_self = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// Why a command line gives nothing to do: it is wrong, or it asks for help.
#[derive(Debug)]
pub enum Answer {
    /// What clap says, which may be the help.
    Said(clap::Error),
    Slip(argv::Slip),
}

/// A command line: the program's name and the words after it.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, Answer> {
    let words: Vec<OsString> = words.into_iter().collect();
    // Only with the verb that is asked for, which saves a good part of the time.
    let (command, line) = respell(words)?;
    // A mistake, or a question for help, is answered by the whole of it.
    match command.map(|command| understood(command, line.iter().cloned())) {
        Some(Ok(cli)) => Ok(cli),
        _ => understood(Cli::command(), line.into_iter()).map_err(Answer::Said),
    }
}

fn understood(command: Command, words: impl Iterator<Item = OsString>) -> Result<Cli, clap::Error> {
    // Never dropped: it is needed once, and taking it apart again takes as long as a few system calls of a start.
    let mut command = ManuallyDrop::new(command);
    let mut matches = command.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// The words in the one spelling that clap is shown, and the commands that they are about, with the verb that is called
/// alone: none without one.
fn respell(words: Vec<OsString>) -> Result<(Option<Command>, Vec<OsString>), Answer> {
    let mut words = words.into_iter();
    let mut line = Vec::with_capacity(words.len() + 1);
    line.extend(words.next());
    let command = Cli::without_verb();
    let verb = match argv::read(&command, true, &mut words, &mut line).map_err(Answer::Slip)? {
        Some(verb) => verb,
        None => return Ok((None, line)),
    };
    let command = match verb.to_str() {
        Some(name) if Verb::has_subcommand(name) => Verb::augment(command, name),
        // Perhaps `help`, whose words are verbs too; clap knows.
        _ => {
            line.push(verb);
            line.extend(words);
            return Ok((None, line));
        }
    };
    respell_verbs(&command, verb, &mut words, &mut line).map_err(Answer::Slip)?;
    Ok((Some(command), line))
}

/// A verb, which may be followed by one of its own, and what is said to it.
fn respell_verbs(
    command: &Command,
    verb: OsString,
    words: &mut std::vec::IntoIter<OsString>,
    line: &mut Vec<OsString>,
) -> Result<(), argv::Slip> {
    let called = command.find_subcommand(&verb);
    line.push(verb);
    let Some(command) = called else {
        line.extend(words);
        return Ok(());
    };
    let next = match argv::read(command, command.has_subcommands(), words, line) {
        Ok(Some(next)) => respell_verbs(command, next, words, line),
        other => other.map(drop),
    };
    next.map_err(|slip| slip.of(command.get_name()))
}

impl Cli {
    /// What stands before the verb, alone.
    fn without_verb() -> Command {
        let command = Global::augment_args(Command::new("orlop").args_override_self(true));
        command.disable_version_flag(true).disable_help_subcommand(true)
    }
}

#[derive(Debug, Args)]
pub struct Global {
    /// Directory for the state of containers [default: /run/orlop, or $XDG_RUNTIME_DIR/orlop for a plain user]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    // Not a doc comment: rustdoc would take the brackets for links.
    #[arg(
        long,
        value_name = "FILE",
        help = "File to append log lines to, or journald:[NAME] or syslog:[NAME]"
    )]
    pub log: Option<PathBuf>,
    /// Form of the log's lines
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: log::Format,
    /// Least level that is logged: error, warning or debug [default: warning]
    #[arg(long, value_name = "LEVEL", hide_possible_values = true)]
    pub log_level: Option<log::Level>,
    /// Log every step with its time, as --log-level debug does
    #[arg(long)]
    pub debug: bool,
    /// Let systemd make the cgroups of new containers; linux.cgroupsPath is then SLICE:PREFIX:NAME
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// Who makes the cgroups of new containers: orlop, systemd, or nobody: they stay in the caller's, without limits
    #[arg(long, value_name = "MANAGER", conflicts_with = "systemd_cgroup")]
    pub cgroup_manager: Option<CgroupManager>,
    /// Whether a new container may do without a cgroup where none can be made and no limits are asked for
    #[arg(
        long,
        value_name = "true|false|auto",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub rootless: Rootless,
    /// Follow the runtime specification to the letter: delete refuses a container that is created
    #[arg(long)]
    pub strict: bool,
    /// Program for checkpoints, which are not supported
    #[arg(long, value_name = "PATH", hide = true)]
    pub criu: Option<PathBuf>,
    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::SetTrue)]
    pub version: bool,
}

/// Who makes a container's cgroup. The names are crun's, since Podman asks for them (`--cgroups disabled`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CgroupManager {
    Cgroupfs,
    Systemd,
    Disabled,
}

/// Whether the rules for plain users hold, where it makes a difference: about cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Rootless {
    True,
    False,
    /// For who is not root of the host.
    #[default]
    Auto,
}

impl Global {
    /// The least that is logged.
    pub fn log_level(&self) -> log::Level {
        match self.log_level {
            _ if self.debug => log::Level::Debug,
            Some(level) => level,
            None => log::Level::Warning,
        }
    }

    pub fn manager(&self) -> CgroupManager {
        match self.cgroup_manager {
            Some(manager) => manager,
            None if self.systemd_cgroup => CgroupManager::Systemd,
            None => CgroupManager::Cgroupfs,
        }
    }
}

/// The verbs: each with its name, what it does, and its arguments. It is clap's `Subcommand`, except that the arguments of a
/// verb are only built once it is the one that is asked for: building all of them was a good part of the time of `state`.
macro_rules! verbs {
    ($($name:literal $verb:ident($arguments:ident) $about:literal)*) => {
        #[derive(Debug)]
        pub enum Verb {
            $($verb($arguments),)*
        }

        impl Verb {
            /// All of them.
            const NAMES: &[&str] = &[$($name),*];

            /// Adds one verb.
            fn augment(command: Command, verb: &str) -> Command {
                match verb {
                    $($name => command.subcommand($arguments::augment_args(Command::new($name))),)*
                    _ => command,
                }
            }
        }

        impl Subcommand for Verb {
            fn augment_subcommands(command: Command) -> Command {
                command$(.subcommand(Command::new($name).about($about).defer(|command| {
                    // Or it would be told what is written at the type of its arguments.
                    $arguments::augment_args(command).about($about)
                })))*
            }

            fn augment_subcommands_for_update(command: Command) -> Command {
                Self::augment_subcommands(command)
            }

            fn has_subcommand(name: &str) -> bool {
                Self::NAMES.contains(&name)
            }
        }

        impl FromArgMatches for Verb {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                match matches.subcommand() {
                    $(Some(($name, matches)) => $arguments::from_arg_matches(matches).map(Verb::$verb),)*
                    _ => Err(clap::Error::new(ErrorKind::MissingSubcommand)),
                }
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}

verbs! {
    "create" Create(Create) "Create a container from a bundle; its process waits for `start`"
    "start" Start(Id) "Start the process of a created container"
    "run" Run(Run) "Create and start a container, and stay with it until it ends"
    "exec" Exec(Exec) "Run another program in a container that exists"
    "state" State(Id) "Print the state of a container as JSON"
    "kill" Kill(Kill) "Send a signal to a container's first process"
    "delete" Delete(Delete) "Remove a container that is stopped or only created"
    "list" List(List) "List containers"
    "ps" Ps(Ps) "Show the processes of a container"
    "events" Events(Events) "Print what a container uses, and when it runs out of memory, as JSON lines"
    "pause" Pause(Id) "Stop all processes of a container"
    "resume" Resume(Id) "Let a paused container go on"
    "update" Update(Update) "Change the limits of a container"
    "mounts" Mounts(Mounts) "Add mounts to a container that exists, or remove them"
    "spec" Spec(Spec) "Write a config.json to start from"
    "seccomp" Seccomp(Seccomp) "Tell what a seccomp profile does to a system call"
    "features" Features(Nothing) "Print what this runtime supports, as JSON"
    "version" Version(Nothing) "Print the version"
}

/// A verb without arguments.
#[derive(Debug, Args)]
pub struct Nothing {}

#[derive(Debug, Args)]
pub struct Id {
    /// The container's id
    #[arg(value_name = "ID")]
    pub id: String,
}

/// What `create` and `run` have in common.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Directory that holds config.json [default: the working directory]
    #[arg(short, long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Config file to use instead of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Unix socket that receives the terminal's master end
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// File to write the process's pid to
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Unix socket that receives a pidfd of the process
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// Do not use pivot_root; for a root on a ramdisk
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Pass N more descriptors to the process, from 3 on or after those of $LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=65536))]
    pub preserve_fds: u32,
}

#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    pub common: CreateArgs,
    /// Do not adopt the container's orphaned processes, which only `run` does
    #[arg(long, hide = true)]
    pub no_subreaper: bool,
    /// The new container's id
    #[arg(value_name = "ID")]
    pub id: String,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub common: CreateArgs,
    /// Return when the process has started
    #[arg(short, long)]
    pub detach: bool,
    /// Do not delete the container when it has ended
    #[arg(long)]
    pub keep: bool,
    /// Do not adopt the container's orphaned processes
    #[arg(long)]
    pub no_subreaper: bool,
    /// Log what the seccomp filter refuses, or with =allow lets pass instead, and name it when the container has ended
    #[arg(long, value_name = "deny|allow", num_args = 0..=1, require_equals = true, default_missing_value = "deny", hide_possible_values = true, conflicts_with = "detach")]
    pub seccomp_log: Option<Logging>,
    /// The new container's id, or a bundle, whose name becomes the id
    #[arg(value_name = "ID|BUNDLE")]
    pub target: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "orlop exec [OPTIONS] <ID> [--] [COMMAND [ARG]...]",
    after_help = "What is not said here is as config.json had it when the container was made."
)]
pub struct Exec {
    /// Unix socket that receives the terminal's master end
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Unix socket that receives a pidfd of the process
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// File to write the process's pid to
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Working directory inside the container
    #[arg(long, value_name = "DIR", value_parser = absolute)]
    pub cwd: Option<PathBuf>,
    /// Set an environment variable; may be repeated
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<OsString>,
    /// Pass on standard input, which is always done
    #[arg(short, long, hide = true)]
    pub interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// User and group, as numbers
    #[arg(short, long, value_name = "UID[:GID]", value_parser = user)]
    pub user: Option<User>,
    /// One more supplementary group; may be repeated
    #[arg(short = 'g', long, value_name = "GID", value_parser = id_number)]
    pub additional_gids: Vec<u32>,
    /// File with a process object of the runtime-spec to start from, in place of the container's own
    #[arg(short, long, value_name = "FILE")]
    pub process: Option<PathBuf>,
    /// Return when the program has been executed
    #[arg(short, long)]
    pub detach: bool,
    /// SELinux label of the process
    #[arg(long, value_name = "LABEL")]
    pub process_label: Option<String>,
    /// AppArmor profile of the process
    #[arg(long, value_name = "PROFILE")]
    pub apparmor: Option<String>,
    /// Let no program raise its privileges
    #[arg(long)]
    pub no_new_privs: bool,
    /// One more capability; may be repeated
    #[arg(short = 'c', long, value_name = "CAP_NAME")]
    pub cap: Vec<String>,
    /// Pass N more descriptors, from 3 on, to the process
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=65536))]
    pub preserve_fds: u32,
    /// Cgroup below the container's to run in; "/" is the container's own
    #[arg(long, value_name = "PATH", value_parser = sub_cgroup)]
    pub cgroup: Option<PathBuf>,
    /// Also in a paused container; the process then waits for `resume`
    #[arg(long)]
    pub ignore_paused: bool,
    /// The container's id; everything after it is the command, flags included
    #[arg(value_names = ["ID", "COMMAND"], required = true, num_args = 1.., trailing_var_arg = true)]
    pub words: Vec<OsString>,
}

#[derive(Debug, Args)]
#[command(override_usage = "orlop kill [OPTIONS] <ID> [SIGNAL]\n       orlop kill [OPTIONS] --signal <SIGNAL> <ID>...")]
pub struct Kill {
    /// Send the signal to every process of the container
    #[arg(short, long)]
    pub all: bool,
    /// Treat each ID as an extended regular expression, for every container whose id it matches
    #[arg(short, long)]
    pub regex: bool,
    /// A signal's name (TERM, SIGTERM) or number [default: TERM]; also as -TERM or -15
    #[arg(short, long, value_name = "SIGNAL")]
    pub signal: Option<String>,
    /// Container ids; without --signal, the last of two or more words is the signal
    #[arg(value_name = "ID", required = true)]
    pub words: Vec<String>,
}

impl Kill {
    /// The containers, and the signal. With `--signal` all words are ids; else it is the last word, unless that is the only
    /// one, as runc and crun have it. A word is never guessed at: no id is taken for a signal because it looks like one.
    pub fn parts(&self) -> (&[String], &str) {
        match (&self.signal, self.words.as_slice()) {
            (Some(signal), ids) => (ids, signal),
            (None, [ids @ .., signal]) if !ids.is_empty() => (ids, signal),
            (None, ids) => (ids, "SIGTERM"),
        }
    }
}

#[derive(Debug, Args)]
pub struct Delete {
    /// Kill the container if it is not stopped; an unknown id is no error
    #[arg(short, long)]
    pub force: bool,
    /// Treat each ID as an extended regular expression, for every container whose id it matches
    #[arg(short, long)]
    pub regex: bool,
    /// Container ids
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    Table,
    Json,
}

#[derive(Debug, Args)]
pub struct List {
    /// Form of the list
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct Seccomp {
    #[command(subcommand)]
    pub verb: SeccompVerb,
}

#[derive(Debug, Subcommand)]
pub enum SeccompVerb {
    /// Tell what is answered to a system call, and by which rule
    Explain(Explain),
    /// Print the filter that is made of a profile
    Dump(Dump),
}

#[derive(Debug, Args)]
pub struct Explain {
    /// Only on this architecture, such as x86_64 [default: all that the profile lists]
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// A bundle, its config.json, or a file with a linux.seccomp object
    #[arg(value_name = "BUNDLE|PROFILE")]
    pub profile: PathBuf,
    /// A system call's name or number
    #[arg(value_name = "SYSCALL")]
    pub syscall: String,
    /// The call's arguments; without them all conditions are told
    #[arg(value_name = "ARGS", allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Dump {
    /// A bundle, its config.json, or a file with a linux.seccomp object
    #[arg(value_name = "BUNDLE|PROFILE")]
    pub profile: PathBuf,
}

#[derive(Debug, Args)]
pub struct Ps {
    /// Form of the answer: a table by ps(1), or the pids as JSON
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
    /// The container's id
    #[arg(value_name = "ID")]
    pub id: String,
    /// Options of ps(1) [default: -ef]
    #[arg(value_name = "PS OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    pub options: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Events {
    /// Time between two reports: 500ms, 5s, 1m30s; a bare number is seconds
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval)]
    pub interval: Duration,
    /// Print one report and end
    #[arg(long)]
    pub stats: bool,
    /// The container's id
    #[arg(value_name = "ID")]
    pub id: String,
}

#[derive(Debug, Args)]
pub struct Update {
    /// File with the limits to change, in the form of linux.resources; - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    #[command(flatten)]
    pub limits: Box<Limits>,
    /// The container's id
    #[arg(value_name = "ID")]
    pub id: String,
}

#[derive(Debug, Args)]
pub struct Mounts {
    /// Add the mounts of the file, or remove what is mounted at their destinations
    #[arg(value_name = "add|remove", hide_possible_values = true)]
    pub action: MountsAction,
    /// The container's id
    #[arg(value_name = "ID")]
    pub id: String,
    /// File with a list of mounts, in the form of config.json's mounts
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MountsAction {
    Add,
    Remove,
}

#[derive(Debug, Args)]
pub struct Spec {
    /// Directory to write config.json to [default: the working directory]
    #[arg(short, long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// File to write instead of config.json, relative to that directory; overwritten if it exists
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Write a config that a plain user can run
    #[arg(long)]
    pub rootless: bool,
}

#[cfg(test)]
mod tests;
