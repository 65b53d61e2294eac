//! The arguments of the verbs. Names and short forms are those of runc and crun, because engines pass them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::timings::Timed;
use super::values::{User, absolute, id_number, interval, sub_cgroup, user};
use crate::plan::seccomp::Logging;

/// Headings of groups of options.
const INPUT_OUTPUT: &str = "Input and output";
const ISOLATION: &str = "Isolation";
const PROCESS: &str = "Process";
const SECURITY: &str = "Security";

/// A verb without arguments.
#[derive(Debug, Args)]
pub struct Nothing {}

#[derive(Debug, Args)]
pub struct Id {
    /// Container ID
    #[arg(value_name = "ID")]
    pub id: String,
}

/// The options that `create`, `run` and `restore` share.
#[derive(Debug, Args)]
pub struct CreateArgs {
    // No doc comments where rustdoc would take the brackets for links.
    #[arg(
        short,
        long,
        value_name = "DIR",
        help = "Bundle directory [default: the working directory]"
    )]
    pub bundle: Option<PathBuf>,
    /// Configuration file to use instead of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Unix socket that receives the terminal's master side
    #[arg(long, value_name = "SOCKET", help_heading = INPUT_OUTPUT)]
    pub console_socket: Option<PathBuf>,
    /// File to write the PID of the init process to
    #[arg(long, value_name = "FILE", help_heading = INPUT_OUTPUT)]
    pub pid_file: Option<PathBuf>,
    /// Unix socket that receives a pidfd of the init process
    #[arg(long, value_name = "SOCKET", help_heading = INPUT_OUTPUT)]
    pub pidfd_socket: Option<PathBuf>,
    /// Pass N more file descriptors, from 3 on
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=65536), help_heading = INPUT_OUTPUT)]
    pub preserve_fds: u32,
    #[command(flatten)]
    pub timed: Timed,
    /// Do not use pivot_root (for a root on a ramdisk)
    #[arg(long, help_heading = ISOLATION)]
    pub no_pivot: bool,
}

#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    pub common: CreateArgs,
    /// Keep the caller's session keyring
    #[arg(long, help_heading = ISOLATION)]
    pub no_new_keyring: bool,
    /// Do not adopt orphaned processes; ignored, as only `run` does
    #[arg(long, hide = true)]
    pub no_subreaper: bool,
    /// ID of the new container
    #[arg(value_name = "ID")]
    pub id: String,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Return when the program has started
    #[arg(short, long)]
    pub detach: bool,
    /// Keep the container after it has exited
    #[arg(long)]
    pub keep: bool,
    #[command(flatten)]
    pub common: CreateArgs,
    /// Keep the caller's session keyring
    #[arg(long, help_heading = ISOLATION)]
    pub no_new_keyring: bool,
    /// Do not adopt orphaned processes of the container
    #[arg(long, help_heading = ISOLATION)]
    pub no_subreaper: bool,
    /// Log the calls that seccomp refuses, or would refuse (allow)
    #[arg(long, value_name = "deny|allow", num_args = 0..=1, require_equals = true, default_missing_value = "deny", hide_possible_values = true, conflicts_with = "detach", help_heading = ISOLATION)]
    pub seccomp_log: Option<Logging>,
    /// ID of the new container, or a bundle directory that gives it its name
    #[arg(value_name = "ID|BUNDLE")]
    pub target: PathBuf,
}

#[derive(Debug, Args)]
pub struct Exec {
    /// Return when the program has started
    #[arg(short, long)]
    pub detach: bool,
    /// Allow a paused container; the process runs after `resume`
    #[arg(long)]
    pub ignore_paused: bool,
    /// Pass on standard input; ignored, as it always is
    #[arg(short, long, hide = true)]
    pub interactive: bool,
    /// Working directory in the container
    #[arg(long, value_name = "DIR", value_parser = absolute, help_heading = PROCESS)]
    pub cwd: Option<PathBuf>,
    /// Set an environment variable (repeatable)
    #[arg(short, long, value_name = "NAME=VALUE", help_heading = PROCESS)]
    pub env: Vec<OsString>,
    /// User and group, as numbers
    #[arg(short, long, value_name = "UID[:GID]", value_parser = user, help_heading = PROCESS)]
    pub user: Option<User>,
    /// Add a supplementary group (repeatable)
    #[arg(short = 'g', long, value_name = "GID", value_parser = id_number, help_heading = PROCESS)]
    pub additional_gids: Vec<u32>,
    /// Allocate a terminal
    #[arg(short, long, help_heading = PROCESS)]
    pub tty: bool,
    /// JSON file with a process object to use instead of config.json's
    #[arg(short, long, value_name = "FILE", help_heading = PROCESS)]
    pub process: Option<PathBuf>,
    /// Sub-cgroup to run in; / is the container's cgroup
    #[arg(long, value_name = "PATH", value_parser = sub_cgroup, help_heading = PROCESS)]
    pub cgroup: Option<PathBuf>,
    /// SELinux label
    #[arg(long, value_name = "LABEL", help_heading = SECURITY)]
    pub process_label: Option<String>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE", help_heading = SECURITY)]
    pub apparmor: Option<String>,
    /// Set no_new_privs
    #[arg(long, help_heading = SECURITY)]
    pub no_new_privs: bool,
    /// Add a capability (repeatable)
    #[arg(short = 'c', long, value_name = "CAP_NAME", help_heading = SECURITY)]
    pub cap: Vec<String>,
    /// Unix socket that receives the terminal's master side
    #[arg(long, value_name = "SOCKET", help_heading = INPUT_OUTPUT)]
    pub console_socket: Option<PathBuf>,
    /// File to write the PID of the process to
    #[arg(long, value_name = "FILE", help_heading = INPUT_OUTPUT)]
    pub pid_file: Option<PathBuf>,
    /// Unix socket that receives a pidfd of the process
    #[arg(long, value_name = "SOCKET", help_heading = INPUT_OUTPUT)]
    pub pidfd_socket: Option<PathBuf>,
    /// Pass N more file descriptors, from 3 on
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=65536), help_heading = INPUT_OUTPUT)]
    pub preserve_fds: u32,
    #[command(flatten)]
    pub timed: Timed,
    /// Container ID; everything after it is the program and its arguments
    #[arg(value_names = ["ID", "COMMAND"], required = true, num_args = 1.., trailing_var_arg = true)]
    pub words: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct Kill {
    /// Signal all processes of the container
    #[arg(short, long)]
    pub all: bool,
    /// Treat each ID as an extended regular expression
    #[arg(short, long)]
    pub regex: bool,
    #[arg(
        short,
        long,
        value_name = "SIGNAL",
        help = "Signal name or number, also as -TERM or -15 [default: TERM]"
    )]
    pub signal: Option<String>,
    /// Container IDs; without --signal, the last of several words is the signal
    #[arg(value_name = "ID", required = true)]
    pub words: Vec<String>,
}

impl Kill {
    /// The containers, and the signal. With `--signal` all words are IDs; otherwise the last word is the signal, unless it is
    /// the only word, as in runc and crun. Nothing is guessed: an ID is not taken for a signal because it looks like one.
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
    /// Kill the container first if necessary; ignore an unknown ID
    #[arg(short, long)]
    pub force: bool,
    /// Treat each ID as an extended regular expression
    #[arg(short, long)]
    pub regex: bool,
    /// Container IDs
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
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
    /// Print only IDs
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
    /// Show what happens to a system call, and which rule decides
    Explain(Explain),
    /// Print the BPF program compiled from a profile
    Dump(Dump),
}

#[derive(Debug, Args)]
pub struct Explain {
    #[arg(
        long,
        value_name = "ARCH",
        help = "Architecture, such as x86_64 [default: all in the profile]"
    )]
    pub arch: Option<String>,
    /// Bundle, config.json, or file with a linux.seccomp object
    #[arg(value_name = "BUNDLE|PROFILE")]
    pub profile: PathBuf,
    /// Name or number of a system call
    #[arg(value_name = "SYSCALL")]
    pub syscall: String,
    /// Arguments of the call; without them, all conditions are shown
    #[arg(value_name = "ARGS", allow_hyphen_values = true)]
    pub arguments: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Dump {
    /// Bundle, config.json, or file with a linux.seccomp object
    #[arg(value_name = "BUNDLE|PROFILE")]
    pub profile: PathBuf,
}

#[derive(Debug, Args)]
pub struct Ps {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
    /// Container ID
    #[arg(value_name = "ID")]
    pub id: String,
    #[arg(
        value_name = "PS OPTION",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        help = "Options of ps(1) [default: -ef]"
    )]
    pub options: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Events {
    /// Time between reports: 500ms, 5s, 1m30s, or seconds
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = interval)]
    pub interval: Duration,
    /// Print one report and exit
    #[arg(long)]
    pub stats: bool,
    /// Container ID
    #[arg(value_name = "ID")]
    pub id: String,
}

#[derive(Debug, Args)]
pub struct Mounts {
    /// Add the mounts listed in FILE, or unmount their destinations
    #[arg(value_name = "add|remove", hide_possible_values = true)]
    pub action: MountsAction,
    /// Container ID
    #[arg(value_name = "ID")]
    pub id: String,
    /// JSON file with a list of mounts, in the format of config.json
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
    #[arg(
        short,
        long,
        value_name = "DIR",
        help = "Directory of the file [default: the working directory]"
    )]
    pub bundle: Option<PathBuf>,
    /// File name instead of config.json; an existing file is overwritten
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Write a configuration for an unprivileged user
    #[arg(long)]
    pub rootless: bool,
}
