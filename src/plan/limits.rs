//! The limits of a container: what each one is, and how it is written to the files of a cgroup. Data only; it is made from
//! `linux.resources` by `cgroup::resources`, and becomes properties of a systemd unit in `cgroup::systemd::properties`.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The most that a cgroup may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Max {
    Unlimited,
    At(u64),
}

impl fmt::Display for Max {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Max::Unlimited => f.write_str("max"),
            Max::At(number) => write!(f, "{number}"),
        }
    }
}

/// A block device by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockDevice {
    pub major: u32,
    pub minor: u32,
}

impl fmt::Display for BlockDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A weight in `io.weight` or `io.bfq.weight`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Weight {
    Default,
    Of(u64),
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Weight::Default => f.write_str("default"),
            Weight::Of(number) => write!(f, "{number}"),
        }
    }
}

/// The rates of one device in `io.max`: bytes and operations per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rates {
    pub read_bytes: Option<Max>,
    pub write_bytes: Option<Max>,
    pub read_operations: Option<Max>,
    pub write_operations: Option<Max>,
}

impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates = [
            ("rbps", self.read_bytes),
            ("wbps", self.write_bytes),
            ("riops", self.read_operations),
            ("wiops", self.write_operations),
        ];
        write_pairs(f, &rates)
    }
}

/// Writes `key=value` for each value that is set.
fn write_pairs(f: &mut fmt::Formatter<'_>, pairs: &[(&str, Option<Max>)]) -> fmt::Result {
    let set = pairs.iter().filter_map(|(key, max)| Some((key, (*max)?)));
    for (index, (key, max)) in set.enumerate() {
        let blank = if index == 0 { "" } else { " " };
        write!(f, "{blank}{key}={max}")?;
    }
    Ok(())
}

/// The limits of one device in `rdma.max`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RdmaLimits {
    pub handles: Option<Max>,
    pub objects: Option<Max>,
}

impl fmt::Display for RdmaLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_pairs(f, &[("hca_handle", self.handles), ("hca_object", self.objects)])
    }
}

/// The kernel's default period of a CPU quota, in microseconds.
pub const DEFAULT_PERIOD: u64 = 100_000;

/// One limit. Unless noted otherwise, a variant is named after the file of the cgroup (the kernel's cgroup-v2 document).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Limit {
    PidsMax(Max),
    /// In bytes, as all limits on memory are.
    MemoryMax(Max),
    MemoryHigh(Max),
    MemoryLow(Max),
    MemoryMin(Max),
    MemorySwapMax(Max),
    MemoryZswapMax(Max),
    /// Not a limit, but how the kernel kills.
    MemoryOomGroup(bool),
    CpuIdle(bool),
    CpuWeight(u64),
    /// Both in microseconds.
    CpuMax {
        quota: Max,
        period: u64,
    },
    /// In microseconds.
    CpuMaxBurst(u64),
    /// The text of the config. The kernel reads more forms than `CpuList` (`0-31:2/4`).
    CpusetCpus(String),
    CpusetMems(String),
    /// A weight of 10 to 1000: `io.bfq.weight`, or `io.weight` where the kernel lacks the BFQ scheduler. Without a device,
    /// the weight for all.
    BlockWeight {
        device: Option<BlockDevice>,
        weight: u16,
    },
    IoBfqWeight {
        device: Option<BlockDevice>,
        weight: Weight,
    },
    IoWeight {
        device: Option<BlockDevice>,
        weight: Weight,
    },
    IoMax {
        device: BlockDevice,
        rates: Rates,
    },
    /// `hugetlb.SIZE.max`, or `hugetlb.SIZE.rsvd.max` for reservations. In bytes.
    HugetlbMax {
        size: String,
        reserved: bool,
        limit: Max,
    },
    RdmaMax {
        device: String,
        limits: RdmaLimits,
    },
    Raw(Raw),
}

/// A line of `linux.resources.unified`, written as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Raw {
    pub file: String,
    pub line: String,
    /// What the line says, if we know the file and understand the line.
    pub known: Option<Box<Limit>>,
}

impl Limit {
    /// The limit that a line of `unified` sets, if that is known; any other limit itself.
    pub fn known(&self) -> &Limit {
        match self {
            Limit::Raw(Raw { known: Some(known), .. }) => known,
            _ => self,
        }
    }

    /// The file of the cgroup that it is written to.
    pub fn file(&self) -> Cow<'_, str> {
        let name = match self {
            Limit::PidsMax(_) => "pids.max",
            Limit::MemoryMax(_) => "memory.max",
            Limit::MemoryHigh(_) => "memory.high",
            Limit::MemoryLow(_) => "memory.low",
            Limit::MemoryMin(_) => "memory.min",
            Limit::MemorySwapMax(_) => "memory.swap.max",
            Limit::MemoryZswapMax(_) => "memory.zswap.max",
            Limit::MemoryOomGroup(_) => "memory.oom.group",
            Limit::CpuIdle(_) => "cpu.idle",
            Limit::CpuWeight(_) => "cpu.weight",
            Limit::CpuMax { .. } => "cpu.max",
            Limit::CpuMaxBurst(_) => "cpu.max.burst",
            Limit::CpusetCpus(_) => "cpuset.cpus",
            Limit::CpusetMems(_) => "cpuset.mems",
            Limit::BlockWeight { .. } | Limit::IoBfqWeight { .. } => "io.bfq.weight",
            Limit::IoWeight { .. } => "io.weight",
            Limit::IoMax { .. } => "io.max",
            Limit::HugetlbMax { size, reserved, .. } => {
                let kind = if *reserved { ".rsvd" } else { "" };
                return format!("hugetlb.{size}{kind}.max").into();
            }
            Limit::RdmaMax { .. } => "rdma.max",
            Limit::Raw(raw) => &raw.file,
        };
        name.into()
    }

    /// What is written to the file.
    pub fn text(&self) -> String {
        match self {
            Limit::PidsMax(max)
            | Limit::MemoryMax(max)
            | Limit::MemoryHigh(max)
            | Limit::MemoryLow(max)
            | Limit::MemoryMin(max)
            | Limit::MemorySwapMax(max)
            | Limit::MemoryZswapMax(max)
            | Limit::HugetlbMax { limit: max, .. } => max.to_string(),
            Limit::MemoryOomGroup(on) | Limit::CpuIdle(on) => u8::from(*on).to_string(),
            Limit::CpuWeight(number) | Limit::CpuMaxBurst(number) => number.to_string(),
            Limit::CpuMax { quota, period } => format!("{quota} {period}"),
            Limit::CpusetCpus(list) | Limit::CpusetMems(list) => list.clone(),
            Limit::BlockWeight { device, weight } => for_device(*device, weight),
            Limit::IoBfqWeight { device, weight } | Limit::IoWeight { device, weight } => for_device(*device, weight),
            Limit::IoMax { device, rates } => format!("{device} {rates}"),
            Limit::RdmaMax { device, limits } => format!("{device} {limits}"),
            Limit::Raw(raw) => raw.line.clone(),
        }
    }

    /// The limit to set where the kernel lacks the file of this one.
    pub fn fallback(&self) -> Option<Limit> {
        match self {
            Limit::BlockWeight { device, weight } => Some(Limit::IoWeight {
                device: *device,
                weight: Weight::Of(io_weight(*weight)),
            }),
            _ => None,
        }
    }

    /// Whether the file may be missing, because without it things are as asked for anyway.
    pub fn is_optional(&self) -> bool {
        // Where the kernel does not count swap, there is no limit to lift; where it has no swap, a limit of 0 holds anyway.
        self.is_lifted() || *self == Limit::MemorySwapMax(Max::At(0))
    }

    /// Whether the kernel has its file only if it counts swap.
    pub fn is_on_swap(&self) -> bool {
        match self.known() {
            Limit::MemorySwapMax(_) | Limit::MemoryZswapMax(_) => true,
            Limit::Raw(raw) => raw.file.starts_with("memory.swap."),
            _ => false,
        }
    }

    /// Whether it lifts a limit, for which no controller is needed: without one there is no limit. A line of `unified` does
    /// need the controller of the file that it names.
    fn is_lifted(&self) -> bool {
        matches!(
            self,
            Limit::PidsMax(Max::Unlimited)
                | Limit::MemoryMax(Max::Unlimited)
                | Limit::MemorySwapMax(Max::Unlimited)
                | Limit::CpuMax {
                    quota: Max::Unlimited,
                    ..
                }
        )
    }

    /// The controller that must be enabled for it. `None` if it needs none: the files of cgroup core (`cgroup.max.depth`)
    /// exist without one.
    pub fn controller(&self) -> Option<Controller<'_>> {
        if self.is_lifted() {
            return None;
        }
        self.controller_of_file()
    }

    /// The controller whose file it is written to.
    pub fn controller_of_file(&self) -> Option<Controller<'_>> {
        Some(match self {
            Limit::PidsMax(_) => Controller::Pids,
            Limit::MemoryMax(_)
            | Limit::MemoryHigh(_)
            | Limit::MemoryLow(_)
            | Limit::MemoryMin(_)
            | Limit::MemorySwapMax(_)
            | Limit::MemoryZswapMax(_)
            | Limit::MemoryOomGroup(_) => Controller::Memory,
            Limit::CpuIdle(_) | Limit::CpuWeight(_) | Limit::CpuMax { .. } | Limit::CpuMaxBurst(_) => Controller::Cpu,
            Limit::CpusetCpus(_) | Limit::CpusetMems(_) => Controller::Cpuset,
            Limit::BlockWeight { .. } | Limit::IoBfqWeight { .. } | Limit::IoWeight { .. } | Limit::IoMax { .. } => {
                Controller::Io
            }
            Limit::HugetlbMax { .. } => Controller::Hugetlb,
            Limit::RdmaMax { .. } => Controller::Rdma,
            Limit::Raw(raw) => return Controller::of_file(&raw.file),
        })
    }

    /// The section of `linux.resources` that sets it.
    pub fn section(&self) -> Section {
        if matches!(self, Limit::Raw(_)) {
            return Section::Unified;
        }
        match self.controller_of_file() {
            Some(Controller::Pids) => Section::Pids,
            Some(Controller::Memory) => Section::Memory,
            Some(Controller::Cpu | Controller::Cpuset) => Section::Cpu,
            Some(Controller::Io) => Section::BlockIo,
            Some(Controller::Hugetlb) => Section::HugepageLimits,
            Some(Controller::Rdma) => Section::Rdma,
            Some(Controller::PerfEvent | Controller::Other(_)) | None => Section::Unified,
        }
    }
}

/// A weight of 10 to 1000 on the scale of `io.weight`, 1 to 10000.
fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

fn for_device(device: Option<BlockDevice>, weight: impl fmt::Display) -> String {
    match device {
        Some(device) => format!("{device} {weight}"),
        None => weight.to_string(),
    }
}

/// A controller of cgroup version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Controller<'a> {
    Cpu,
    Cpuset,
    Hugetlb,
    Io,
    Memory,
    PerfEvent,
    Pids,
    Rdma,
    /// One that only `unified` names.
    Other(&'a str),
}

impl<'a> Controller<'a> {
    /// The controller that a file of `unified` belongs to; none for cgroup core.
    fn of_file(file: &'a str) -> Option<Self> {
        let name = file.split_once('.').map_or(file, |(name, _)| name);
        Some(match name {
            "cgroup" => return None,
            "cpu" => Controller::Cpu,
            "cpuset" => Controller::Cpuset,
            "hugetlb" => Controller::Hugetlb,
            "io" => Controller::Io,
            "memory" => Controller::Memory,
            "perf_event" => Controller::PerfEvent,
            "pids" => Controller::Pids,
            "rdma" => Controller::Rdma,
            other => Controller::Other(other),
        })
    }

    /// The name in `cgroup.controllers` and `cgroup.subtree_control`.
    pub fn name(self) -> &'a str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuset => "cpuset",
            Controller::Hugetlb => "hugetlb",
            Controller::Io => "io",
            Controller::Memory => "memory",
            Controller::PerfEvent => "perf_event",
            Controller::Pids => "pids",
            Controller::Rdma => "rdma",
            Controller::Other(name) => name,
        }
    }
}

/// A section of `linux.resources`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    BlockIo,
    Cpu,
    Devices,
    HugepageLimits,
    Memory,
    Network,
    Pids,
    Rdma,
    Unified,
}

impl Section {
    pub const ALL: [Section; 9] = [
        Section::BlockIo,
        Section::Cpu,
        Section::Devices,
        Section::HugepageLimits,
        Section::Memory,
        Section::Network,
        Section::Pids,
        Section::Rdma,
        Section::Unified,
    ];

    /// Its key in `linux.resources`.
    pub fn key(self) -> &'static str {
        match self {
            Section::BlockIo => "blockIO",
            Section::Cpu => "cpu",
            Section::Devices => "devices",
            Section::HugepageLimits => "hugepageLimits",
            Section::Memory => "memory",
            Section::Network => "network",
            Section::Pids => "pids",
            Section::Rdma => "rdma",
            Section::Unified => "unified",
        }
    }
}

/// A limit, and the field that sets it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// The field, as a path in config.json.
    pub at: String,
    pub limit: Limit,
}

impl Setting {
    /// `field` is below `linux.resources`.
    pub fn new(field: impl fmt::Display, limit: Limit) -> Self {
        Setting {
            at: format!("linux.resources.{field}"),
            limit,
        }
    }

    /// Whether it can only be set when init is in the leaf: a leaf without room for one process would not admit init, nor
    /// would a scope that is full with its placeholder and with the process that creates init.
    pub fn comes_late(&self, unit: bool) -> bool {
        match self.limit.known() {
            Limit::PidsMax(Max::At(limit)) => *limit == 0 || unit && *limit <= 2,
            _ => false,
        }
    }
}

/// All limits of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// In the order in which a new leaf takes them.
    pub settings: Vec<Setting>,
    /// `memory.checkBeforeUpdate`: the new limits, which are refused if more is in use.
    pub not_below_usage: Option<NotBelowUsage>,
}

/// In bytes; none where there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotBelowUsage {
    pub memory: Option<u64>,
    pub memory_and_swap: Option<u64>,
}

impl Limits {
    /// Whether the OOM killer may kill a process because of them.
    pub fn limit_memory(&self) -> bool {
        let limits = |setting: &Setting| matches!(setting.limit.known(), Limit::MemoryMax(_));
        self.settings.iter().any(limits)
    }
}
