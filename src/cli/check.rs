//! The arguments of `check`.

use std::path::PathBuf;

use clap::Args;

use super::values::TextFormat;

#[derive(Debug, Args)]
pub struct Check {
    // No doc comments where rustdoc would take the brackets for links.
    #[arg(
        short,
        long,
        value_name = "DIR",
        help = "Bundle directory [default: the working directory]"
    )]
    pub bundle: Option<PathBuf>,
    /// Configuration file to use instead of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with_all = ["process", "resources"])]
    pub config: Option<PathBuf>,
    /// Check a process object, as for `exec --process`
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["resources", "bundle", "target"])]
    pub process: Option<PathBuf>,
    /// Check new resources, as for `update --resources`
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["bundle", "target"])]
    pub resources: Option<PathBuf>,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: TextFormat,
    /// Fail if there are warnings, too
    #[arg(long)]
    pub strict: bool,
    /// Bundle directory, or - for a config.json on standard input
    #[arg(value_name = "BUNDLE")]
    pub target: Option<PathBuf>,
}
