//! The arguments of `debug`.

use std::ffi::OsString;

use clap::{Args, ValueEnum};

/// A kind of namespace that `debug` can enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DebugNamespace {
    #[value(alias = "net")]
    Network,
    Pid,
    Ipc,
    Uts,
    Cgroup,
    Time,
}

impl DebugNamespace {
    /// Its `CLONE_NEW*` flag.
    pub fn flag(self) -> u64 {
        let flag = match self {
            DebugNamespace::Network => libc::CLONE_NEWNET,
            DebugNamespace::Pid => libc::CLONE_NEWPID,
            DebugNamespace::Ipc => libc::CLONE_NEWIPC,
            DebugNamespace::Uts => libc::CLONE_NEWUTS,
            DebugNamespace::Cgroup => libc::CLONE_NEWCGROUP,
            DebugNamespace::Time => libc::CLONE_NEWTIME,
        };
        flag as u64
    }
}

#[derive(Debug, Args)]
pub struct Debug {
    #[arg(
        short,
        long,
        value_name = "LIST",
        value_delimiter = ',',
        hide_possible_values = true,
        help = "Namespaces to enter [default: network,pid,ipc,uts]"
    )]
    pub namespaces: Vec<DebugNamespace>,
    /// Do not say what is entered and what is not
    #[arg(short, long)]
    pub quiet: bool,
    /// Container ID; everything after it is the program and its arguments
    #[arg(value_names = ["ID", "COMMAND"], required = true, num_args = 1.., trailing_var_arg = true)]
    pub words: Vec<OsString>,
}
