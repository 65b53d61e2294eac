//! The flags of `update`.

use clap::Args;

use super::values::{assignment, size};

/// The limits that `update` takes from the command line. Sizes may have a unit (512M); -1 is for no limit.
#[derive(Debug, Default, PartialEq, Args)]
pub struct Limits {
    /// Relative share of block IO, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// Period of the CPU quota, in microseconds
    #[arg(long, value_name = "TIME")]
    pub cpu_period: Option<u64>,
    /// CPU time in a period, in microseconds
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub cpu_quota: Option<i64>,
    /// CPU time that can be saved up beyond the quota, in microseconds
    #[arg(long, value_name = "TIME")]
    pub cpu_burst: Option<u64>,
    /// Relative share of CPU time, 2 to 262144
    #[arg(long, value_name = "SHARES")]
    pub cpu_share: Option<u64>,
    /// Period of real-time scheduling (cgroup version 1 only)
    #[arg(long, value_name = "TIME", hide = true)]
    pub cpu_rt_period: Option<u64>,
    /// Time of real-time scheduling (cgroup version 1 only)
    #[arg(long, value_name = "TIME", hide = true, allow_hyphen_values = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// CPUs to use: 0-3,7
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes to use: 0-1
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// 1 to run only when nobody else wants the CPU
    #[arg(long, value_name = "0|1", allow_hyphen_values = true)]
    pub cpu_idle: Option<i64>,
    /// Kernel memory (cgroup version 1 only)
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true, value_parser = size)]
    pub kernel_memory: Option<i64>,
    /// Kernel memory for TCP (cgroup version 1 only)
    #[arg(long, value_name = "SIZE", hide = true, allow_hyphen_values = true, value_parser = size)]
    pub kernel_memory_tcp: Option<i64>,
    /// Memory
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    pub memory: Option<i64>,
    /// Memory that is left to the container when others want it
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    pub memory_reservation: Option<i64>,
    /// Memory and swap together
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true, value_parser = size)]
    pub memory_swap: Option<i64>,
    /// Number of processes and threads
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
    /// Schema of Intel's L3 cache allocation
    #[arg(long, value_name = "SCHEMA")]
    pub l3_cache_schema: Option<String>,
    /// Schema of Intel's memory bandwidth allocation
    #[arg(long, value_name = "SCHEMA")]
    pub mem_bw_schema: Option<String>,
    /// A file of the cgroup and its value: memory.high=100M; may be repeated
    #[arg(long, value_name = "FILE=VALUE", value_parser = assignment)]
    pub unified: Vec<(String, String)>,
}
