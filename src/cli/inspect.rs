//! The arguments of `inspect`.

use clap::Args;

use super::values::TextFormat;

#[derive(Debug, Args)]
pub struct Inspect {
    /// Show only what differs from what was asked for
    #[arg(short, long)]
    pub differences: bool,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub format: TextFormat,
    /// Container ID
    #[arg(value_name = "ID")]
    pub id: String,
}
