//! The options about timings, and the arguments of `timings`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The option of the verbs that are timed.
#[derive(Debug, Args)]
pub struct Timed {
    // No doc comment where rustdoc would take the brackets for links.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        help_heading = "Input and output",
        help = "Print how long each step took, or append it to FILE as JSON"
    )]
    pub timings: Option<Option<PathBuf>>,
}

#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    pub timed: Timed,
    /// Container ID
    #[arg(value_name = "ID")]
    pub id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TimingsFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub struct Timings {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub format: TimingsFormat,
    /// Print a picture in SVG
    #[arg(long, conflicts_with = "format")]
    pub svg: bool,
    /// Files that `--timings` or ORLOP_TIMINGS has named
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}
