//! The options before the verb.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use crate::log;

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    // No doc comments where rustdoc would take the brackets for links.
    #[arg(
        long,
        value_name = "DIR",
        help = "State directory [default: /run/orlop or $XDG_RUNTIME_DIR/orlop]"
    )]
    pub root: Option<PathBuf>,
    #[arg(long, value_name = "FILE", help = "Log file, or journald:[NAME] or syslog:[NAME]")]
    pub log: Option<PathBuf>,
    /// Log format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: log::Format,
    #[arg(
        long,
        value_name = "LEVEL",
        hide_possible_values = true,
        help = "Minimum level: debug, warning or error [default: warning]"
    )]
    pub log_level: Option<log::Level>,
    /// Log every step with its time; same as --log-level debug
    #[arg(long)]
    pub debug: bool,
    /// Same as --cgroup-manager systemd
    #[arg(long)]
    pub systemd_cgroup: bool,
    /// How cgroups are managed: cgroupfs, systemd, or disabled
    #[arg(
        long,
        value_name = "MANAGER",
        hide_possible_values = true,
        conflicts_with = "systemd_cgroup"
    )]
    pub cgroup_manager: Option<CgroupManager>,
    /// Run without a cgroup if none can be created
    #[arg(
        long,
        value_name = "true|false|auto",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub rootless: Rootless,
    /// Follow the specification: do not delete created containers
    #[arg(long)]
    pub strict: bool,
    /// Path of CRIU; ignored, as CRIU is found in PATH
    #[arg(long, value_name = "PATH", hide = true)]
    pub criu: Option<PathBuf>,
    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::SetTrue)]
    pub version: bool,
}

/// How the cgroup of a new container is managed. The names are crun's, because Podman passes them (`--cgroups disabled`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CgroupManager {
    Cgroupfs,
    Systemd,
    Disabled,
}

/// Whether a container without limits may run without a cgroup if none can be created.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Rootless {
    True,
    False,
    /// Unless the caller is root of the host.
    #[default]
    Auto,
}

impl Global {
    /// The minimum level that is logged.
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
