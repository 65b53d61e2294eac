//! The options of `update`.

use std::path::PathBuf;

use clap::Args;

use super::values::{assignment, size};

/// Headings of groups of options.
const MEMORY: &str = "Memory (SIZE: bytes, or with a unit, such as 512M)";
const CPU: &str = "CPU (TIME: microseconds)";
const BLOCK_IO: &str = "Block I/O";
const PIDS: &str = "Pids";
const INTEL_RDT: &str = "Intel RDT";

#[derive(Debug, Args)]
pub struct Update {
    /// JSON file with limits, as in linux.resources; - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    #[command(flatten)]
    pub limits: Box<Limits>,
    /// Container ID
    #[arg(value_name = "ID")]
    pub id: String,
}

/// The limits that `update` takes from the command line. Sizes may have a unit (512M); -1 means no limit.
#[derive(Debug, Default, PartialEq, Args)]
pub struct Limits {
    /// Set a cgroup file, such as memory.high=100M (repeatable)
    #[arg(long, value_name = "FILE=VALUE", value_parser = assignment)]
    pub unified: Vec<(String, String)>,
    /// Memory limit (-1: none)
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size, help_heading = MEMORY)]
    pub memory: Option<i64>,
    /// Limit of memory and swap together (-1: none)
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size, help_heading = MEMORY)]
    pub memory_swap: Option<i64>,
    /// Memory that is reclaimed last (-1: all)
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size, help_heading = MEMORY)]
    pub memory_reservation: Option<i64>,
    /// Limit of kernel memory (cgroup v1 only)
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true, value_parser = size, help_heading = MEMORY)]
    pub kernel_memory: Option<i64>,
    /// Limit of kernel memory for TCP (cgroup v1 only)
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true, value_parser = size, help_heading = MEMORY)]
    pub kernel_memory_tcp: Option<i64>,
    /// CPU time per period (-1: no limit)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = CPU)]
    pub cpu_quota: Option<i64>,
    /// Length of a period
    #[arg(long, value_name = "TIME", help_heading = CPU)]
    pub cpu_period: Option<u64>,
    /// Unused CPU time that may be saved for later periods
    #[arg(long, value_name = "TIME", help_heading = CPU)]
    pub cpu_burst: Option<u64>,
    /// Relative share of CPU time, 2 to 262144
    #[arg(long, value_name = "SHARES", help_heading = CPU)]
    pub cpu_share: Option<u64>,
    /// 1: run only when the CPU is otherwise idle
    #[arg(long, value_name = "0|1", allow_hyphen_values = true, help_heading = CPU)]
    pub cpu_idle: Option<i64>,
    /// Period of real-time scheduling (cgroup v1 only)
    #[arg(long, value_name = "TIME", hide = true, help_heading = CPU)]
    pub cpu_rt_period: Option<u64>,
    /// Real-time CPU time per period (cgroup v1 only)
    #[arg(long, value_name = "TIME", hide = true, allow_hyphen_values = true, help_heading = CPU)]
    pub cpu_rt_runtime: Option<i64>,
    /// CPUs to use, such as 0-3,7
    #[arg(long, value_name = "LIST", help_heading = CPU)]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use, such as 0-1
    #[arg(long, value_name = "LIST", help_heading = CPU)]
    pub cpuset_mems: Option<String>,
    /// Relative share of block I/O, 10 to 1000
    #[arg(long, value_name = "WEIGHT", help_heading = BLOCK_IO)]
    pub blkio_weight: Option<u16>,
    /// Maximum number of processes and threads (-1: no limit)
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, help_heading = PIDS)]
    pub pids_limit: Option<i64>,
    /// L3 cache allocation, as a line of a schemata file
    #[arg(long, value_name = "SCHEMA", help_heading = INTEL_RDT)]
    pub l3_cache_schema: Option<String>,
    /// Memory bandwidth allocation, as a line of a schemata file
    #[arg(long, value_name = "SCHEMA", help_heading = INTEL_RDT)]
    pub mem_bw_schema: Option<String>,
}
