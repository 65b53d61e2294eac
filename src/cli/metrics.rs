//! The arguments of `metrics`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct Metrics {
    /// Add an annotation as a label of orlop_container_info (repeatable)
    #[arg(long, value_name = "KEY")]
    pub annotation: Vec<String>,
    /// File to replace with the metrics, instead of printing them
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
