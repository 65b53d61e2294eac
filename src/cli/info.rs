//! The arguments of `info`.

use clap::Args;

use super::values::TextFormat;

#[derive(Debug, Args)]
pub struct Info {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub format: TextFormat,
}
