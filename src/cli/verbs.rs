//! The verbs.

use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use super::arguments::{Create, Delete, Events, Exec, Id, Kill, List, Mounts, Nothing, Ps, Run, Seccomp, Spec};
use super::check::Check;
use super::checkpoint::{Checkpoint, Restore};
use super::debug::Debug;
use super::info::Info;
use super::inspect::Inspect;
use super::limits::Update;
use super::metrics::Metrics;
use super::timings::{Start, Timings};
use super::top::Top;

/// The verbs: each with its name, its summary, and its arguments. This is clap's `Subcommand`, except that the arguments of
/// one verb can be built alone: building those of all verbs was a good part of the time of `state`.
macro_rules! verbs {
    ($($name:literal $verb:ident($arguments:ident) $about:literal)*) => {
        #[derive(Debug)]
        pub enum Verb {
            $($verb($arguments),)*
        }

        impl Verb {
            /// The name and the summary of every verb.
            pub const ALL: &[(&str, &str)] = &[$(($name, $about)),*];

            /// Adds one verb with its arguments. The scanner finds `--help` before clap does, so clap need not know it.
            pub fn augment(command: Command, verb: &str) -> Command {
                match verb {
                    $($name => command.subcommand($arguments::augment_args(Command::new($name).disable_help_flag(true))),)*
                    _ => command,
                }
            }
        }

        impl Subcommand for Verb {
            fn augment_subcommands(command: Command) -> Command {
                command$(.subcommand($arguments::augment_args(Command::new($name)).about($about)))*
            }

            fn augment_subcommands_for_update(command: Command) -> Command {
                Self::augment_subcommands(command)
            }

            fn has_subcommand(name: &str) -> bool {
                Self::ALL.iter().any(|(known, _)| *known == name)
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
    "create" Create(Create) "Create a container; its program waits for `start`"
    "start" Start(Start) "Start the program of a created container"
    "run" Run(Run) "Create and start a container, and wait until it exits"
    "exec" Exec(Exec) "Run another program in an existing container"
    "state" State(Id) "Print the state of a container as JSON"
    "debug" Debug(Debug) "Run a program of the host in the namespaces of a container"
    "inspect" Inspect(Inspect) "Show what is in force for a container beside what was asked for"
    "kill" Kill(Kill) "Send a signal to the init process of a container"
    "delete" Delete(Delete) "Delete a stopped or created container"
    "list" List(List) "List containers"
    "ps" Ps(Ps) "List the processes of a container"
    "events" Events(Events) "Print resource usage and out-of-memory events as JSON lines"
    "top" Top(Top) "Show what containers use, again and again"
    "metrics" Metrics(Metrics) "Print the resource usage of all containers for Prometheus"
    "pause" Pause(Id) "Freeze all processes of a container"
    "resume" Resume(Id) "Resume a paused container"
    "checkpoint" Checkpoint(Checkpoint) "Save a running container to files, with CRIU"
    "restore" Restore(Restore) "Restore a container from the files of a checkpoint"
    "update" Update(Update) "Change the resource limits of a container"
    "mounts" Mounts(Mounts) "Add or remove mounts in an existing container"
    "spec" Spec(Spec) "Write a template config.json"
    "check" Check(Check) "Report everything that is wrong or risky about a bundle"
    "seccomp" Seccomp(Seccomp) "Show how a seccomp profile treats a system call"
    "info" Info(Info) "Show what this host offers to containers"
    "features" Features(Nothing) "Print the features of this runtime as JSON"
    "timings" Timings(Timings) "Show timings that other verbs have written"
    "version" Version(Nothing) "Print the version"
}
