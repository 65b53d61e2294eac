//! The options of `checkpoint` and `restore`. CRIU, which does the work, knows most of them by the same names.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::arguments::CreateArgs;
use super::values::{PageServer, descriptor, lsm_profile, page_server, relative};

/// Headings of groups of options.
const IMAGES: &str = "Image files";
const NETWORK: &str = "Sockets and network";
const PROCESSES: &str = "Processes and files";

/// The options that both verbs pass to CRIU.
#[derive(Debug, Args)]
pub struct CriuArgs {
    /// Directory of the image files
    #[arg(long, value_name = "DIR", default_value = "checkpoint", help_heading = IMAGES)]
    pub image_path: PathBuf,
    // No doc comments where rustdoc would take the brackets for links.
    #[arg(
        long,
        value_name = "DIR",
        help = "Directory of CRIU's log [default: that of the image files]",
        help_heading = IMAGES
    )]
    pub work_path: Option<PathBuf>,
    /// Free pages of older images when they are replaced or restored
    #[arg(long, help_heading = IMAGES)]
    pub auto_dedup: bool,
    /// Transfer memory later, when the restored processes use it
    #[arg(long, help_heading = IMAGES)]
    pub lazy_pages: bool,
    /// Keep established TCP connections
    #[arg(long, help_heading = NETWORK)]
    pub tcp_established: bool,
    /// Allow Unix sockets with a peer outside the container
    #[arg(long, help_heading = NETWORK)]
    pub ext_unix_sk: bool,
    /// Leave out the configuration of this namespace
    #[arg(long, value_name = "network", hide_possible_values = true, help_heading = NETWORK)]
    pub empty_ns: Option<EmptyNs>,
    /// Allow a terminal or a session from outside the container
    #[arg(long, help_heading = PROCESSES)]
    pub shell_job: bool,
    /// Keep file locks
    #[arg(long, help_heading = PROCESSES)]
    pub file_locks: bool,
    /// What CRIU does about cgroups: soft, full, strict, or ignore
    #[arg(long, value_name = "MODE", hide_possible_values = true, help_heading = PROCESSES)]
    pub manage_cgroups_mode: Option<ManageCgroups>,
}

/// A namespace that is created without what was in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EmptyNs {
    Network,
}

/// How CRIU saves and restores cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ManageCgroups {
    /// Restores the properties of the cgroups that it creates.
    Soft,
    /// Restores all cgroups and their properties.
    Full,
    /// Restores all cgroups, of which none may exist.
    Strict,
    /// Leaves cgroups alone.
    Ignore,
}

/// How packets of connections are held back while they are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkLock {
    Iptables,
    Nftables,
    Skip,
}

#[derive(Debug, Args)]
pub struct Checkpoint {
    /// Let the container continue after the checkpoint
    #[arg(long)]
    pub leave_running: bool,
    /// Save only memory, for a later checkpoint; the container continues
    #[arg(long, conflicts_with = "lazy_pages")]
    pub pre_dump: bool,
    /// Print how long the processes stood still, as JSON
    #[arg(long)]
    pub print_stats: bool,
    #[command(flatten)]
    pub criu: CriuArgs,
    /// Images of the previous --pre-dump, relative to --image-path
    #[arg(long, value_name = "DIR", value_parser = relative, help_heading = IMAGES)]
    pub parent_path: Option<PathBuf>,
    /// Send memory to `criu page-server`
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = page_server, help_heading = IMAGES)]
    pub page_server: Option<PageServer>,
    /// With --lazy-pages: descriptor that gets a zero byte when ready
    #[arg(long, value_name = "FD", value_parser = descriptor, help_heading = IMAGES)]
    pub status_fd: Option<i32>,
    /// Leave out TCP connections that are not yet established
    #[arg(long, help_heading = NETWORK)]
    pub tcp_skip_in_flight: bool,
    /// Close established TCP connections in the restored container
    #[arg(long, help_heading = NETWORK)]
    pub tcp_close: bool,
    /// How packets are held back: iptables, nftables, or skip
    #[arg(long, value_name = "METHOD", hide_possible_values = true, help_heading = NETWORK)]
    pub network_lock: Option<NetworkLock>,
    /// Link deleted files that are open back into their directories
    #[arg(long, help_heading = PROCESSES)]
    pub link_remap: bool,
    /// Container ID
    #[arg(value_name = "ID")]
    pub id: String,
}

impl Checkpoint {
    /// An option without another one that it requires.
    pub fn lacks(&self) -> Option<(&'static str, &'static str)> {
        (self.status_fd.is_some() && !self.criu.lazy_pages).then_some(("--status-fd", "--lazy-pages"))
    }
}

#[derive(Debug, Args)]
#[command(mut_arg("no_pivot", |arg| arg.hide(true).help("Ignored, as CRIU changes the root")))]
// The summary has to fit a screen.
#[command(mut_arg("timings", |arg| arg.hide_short_help(true)))]
pub struct Restore {
    /// Return when the processes have been restored
    #[arg(short, long)]
    pub detach: bool,
    #[command(flatten)]
    pub common: CreateArgs,
    #[command(flatten)]
    pub criu: CriuArgs,
    /// Close established TCP connections in the restored container
    #[arg(long, help_heading = NETWORK)]
    pub tcp_close: bool,
    /// Method of the checkpoint; ignored, as the images have it
    #[arg(long, value_name = "METHOD", hide = true)]
    pub network_lock: Option<NetworkLock>,
    /// Do not adopt orphaned processes of the container
    #[arg(long, help_heading = PROCESSES)]
    pub no_subreaper: bool,
    /// Other label: apparmor:PROFILE or selinux:LABEL
    #[arg(long, value_name = "TYPE:NAME", value_parser = lsm_profile, help_heading = PROCESSES)]
    pub lsm_profile: Option<String>,
    /// Other SELinux context for mounts that have one
    #[arg(long, value_name = "CONTEXT", help_heading = PROCESSES)]
    pub lsm_mount_context: Option<String>,
    /// ID of the restored container
    #[arg(value_name = "ID")]
    pub id: String,
}
