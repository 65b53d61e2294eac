//! The arguments of `info`.

use clap::Args;

use super::inspect::InspectFormat;

#[derive(Debug, Args)]
pub struct Info {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub format: InspectFormat,
}
