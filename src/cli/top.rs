//! The arguments of `top`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::arguments::ListFormat;
use super::values::interval;

#[derive(Debug, Args)]
pub struct Top {
    /// Time between samples: 500ms, 5s, 1m30s, or seconds
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = interval)]
    pub interval: Duration,
    /// Sort by cpu, memory, pids, io or name
    #[arg(long, value_name = "KEY", default_value = "cpu", hide_possible_values = true)]
    pub sort: SortKey,
    // No doc comment where rustdoc would take the brackets for links.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help = "Exit after N samples [default: never]")]
    pub count: Option<u64>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,
    #[arg(value_name = "ID", help = "Container IDs [default: all containers]")]
    pub ids: Vec<String>,
}

/// The columns that can be sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SortKey {
    Cpu,
    Memory,
    Pids,
    Io,
    Name,
}
