//! The program: its global options, and a verb.

use clap::{Args, Command, Parser};

use super::global::Global;
use super::verbs::Verb;

#[derive(Debug, Parser)]
#[command(
    name = "orlop",
    about = "A small, static OCI container runtime that explains itself",
    disable_version_flag = true,
    disable_help_subcommand = true,
    // As in runc, the last of several values counts, so that a wrapper can append to the options it was given.
    args_override_self = true
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

impl Cli {
    /// The program with its global options and without a verb.
    pub fn without_verb() -> Command {
        Global::augment_args(Command::new("orlop").args_override_self(true))
            .disable_version_flag(true)
            .disable_help_flag(true)
            .disable_help_subcommand(true)
    }
}
