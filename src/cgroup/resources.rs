//! `linux.resources` → what is written to which file of a cgroup v2 leaf, in order. Pure: nothing here touches the system
//! (`cgroup::apply` does), and the tables of the conversions are tested at their edges.
//!
//! The fields were named after version 1. Where version 2 measures otherwise the value is converted as runc does today;
//! what version 2 cannot express is an error that names the field (config-linux.md: "If the conversion is not possible the
//! runtime MUST generate an error"). Zero means "not set" for most fields, because engines send it for all they do not
//! limit; where the kernel has a use for zero (`hugepageLimits[].limit`, `cpu.burst`, `cpu.idle` and, from version 1.3 of the
//! specification on, `pids.limit`) it is a value.

use std::collections::{BTreeSet, HashMap};

use oci_spec::runtime as oci;
use serde::{Deserialize, Serialize};

use crate::error::{At, Context, Result, anyhow, with_hint};

/// One write to one file of the leaf.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Setting {
    /// The field that asks for it, as a path in config.json.
    pub at: String,
    pub file: String,
    pub value: String,
    /// The file and value to use where the first file does not exist.
    pub fallback: Option<(String, String)>,
    /// Without the file things are as asked for anyway.
    pub optional: bool,
}

impl Setting {
    fn new(at: impl Into<String>, file: impl Into<String>, value: impl ToString) -> Self {
        Setting {
            at: format!("linux.resources.{}", at.into()),
            file: file.into(),
            value: value.to_string(),
            fallback: None,
            optional: false,
        }
    }

    /// A leaf without room for one process would not take init in, nor would a scope that its keeper and init's maker fill; it
    /// is closed behind init.
    pub fn comes_late(&self, unit: bool) -> bool {
        self.file == "pids.max" && (self.value == "0" || unit && matches!(self.value.as_str(), "1" | "2"))
    }

    /// The controller that the file needs. None for the core's own files (`cgroup.max.depth`), and none to lift a limit:
    /// without the controller there is no limit.
    pub fn controller(&self) -> Option<&str> {
        if self.optional && self.is_lifted() {
            return None;
        }
        let name = self.file.split('.').next().unwrap_or_default();
        (name != "cgroup").then_some(name)
    }

    /// Whether it lifts a limit.
    fn is_lifted(&self) -> bool {
        self.value.split(' ').next() == Some("max")
    }

    /// A limit. Lifting it does not need the file to exist.
    fn limit(at: impl Into<String>, file: impl Into<String>, value: impl ToString) -> Self {
        let setting = Self::new(at, file, value);
        Setting {
            optional: setting.is_lifted(),
            ..setting
        }
    }

    /// The part of `linux.resources` that the field is in: `memory`, `cpu`.
    pub fn section(&self) -> &str {
        let rest = self.at.strip_prefix("linux.resources.").unwrap_or_default();
        rest.split(['.', '[']).next().unwrap_or_default()
    }
}

/// All that a container may use of what is counted.
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
    /// Whether a process may be killed for lack of memory by them.
    pub fn limit_memory(&self) -> bool {
        self.settings.iter().any(|setting| setting.file == "memory.max")
    }
}

/// Converts all of `linux.resources` but the devices. `oci_version` is the config's, which decides what a `pids.limit` of
/// zero means.
pub fn convert(resources: &oci::LinuxResources, oci_version: &str) -> Result<Limits> {
    let mut limits = Limits::default();
    let settings = &mut limits.settings;
    if let Some(pids) = resources.pids() {
        let limit = match pids.limit() {
            0 if zero_pids_is_unlimited(oci_version) => -1,
            limit => limit,
        };
        self::pids(limit, settings)?;
    }
    if let Some(memory) = resources.memory() {
        self::memory(memory, settings)?;
        if memory.check_before_update() == Some(true) {
            let bytes = |limit: Option<i64>| {
                limit
                    .and_then(|limit| u64::try_from(limit).ok())
                    .filter(|limit| *limit > 0)
            };
            limits.not_below_usage = Some(NotBelowUsage {
                memory: bytes(memory.limit()),
                memory_and_swap: bytes(memory.swap()),
            });
        }
    }
    let settings = &mut limits.settings;
    if let Some(cpu) = resources.cpu() {
        self::cpu(cpu, settings)?;
    }
    if let Some(block) = resources.block_io() {
        block_io(block, settings)?;
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        hugepages(index, limit, settings)?;
    }
    for (device, limit) in sorted(resources.rdma().as_ref()) {
        rdma(device, limit, settings)?;
    }
    if let Some(network) = resources.network() {
        refuse("network.classID", network.class_id().is_some_and(|id| id != 0), NETWORK)?;
        let priorities = network.priorities().as_ref();
        refuse(
            "network.priorities",
            priorities.is_some_and(|list| !list.is_empty()),
            NETWORK,
        )?;
    }
    // Last, since it is about the files themselves and so overrides what was converted.
    for (file, value) in sorted(resources.unified().as_ref()) {
        unified(file, value, settings)?;
    }
    Ok(limits)
}

/// Whether a `pids.limit` of zero means "no limit". Before version 1.3 the specification did not say what zero means, and the
/// engines that write such configs (Podman for `--pids-limit 0`) mean that.
pub fn zero_pids_is_unlimited(oci_version: &str) -> bool {
    let mut numbers = oci_version.split('.').map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(1)), Some(Ok(0..=2))))
}

/// The settings to write when a container's limits change from `old` to `new`: what differs, and all of the sections that
/// were named, for the kernel's value may have been changed by somebody else. In an order in which each is accepted.
pub fn change(old: &Limits, new: &Limits, named: impl Fn(&str) -> bool) -> Vec<Setting> {
    let before: BTreeSet<&Setting> = old.settings.iter().collect();
    let mut settings: Vec<Setting> = new
        .settings
        .iter()
        .filter(|setting| named(setting.section()) || !before.contains(setting))
        .cloned()
        .collect();
    // The kernel takes no burst above the quota and no quota below the burst, so the one that makes room goes first.
    let burst = |limits: &Limits| -> u64 {
        let set = limits.settings.iter().rev().find(|setting| setting.file == BURST);
        set.and_then(|setting| setting.value.parse().ok()).unwrap_or(0)
    };
    let place = |file: &str| settings.iter().position(|setting| setting.file == file);
    if burst(new) < burst(old)
        && let (Some(quota), Some(burst)) = (place("cpu.max"), place(BURST))
        && quota < burst
    {
        settings.swap(quota, burst);
    }
    settings
}

const BURST: &str = "cpu.max.burst";
const NETWORK: &str = "mark packets by the container's network namespace or by BPF instead";

/// An order that does not change from run to run.
fn sorted<V>(map: Option<&HashMap<String, V>>) -> Vec<(&String, &V)> {
    let mut entries: Vec<_> = map.into_iter().flatten().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

fn refuse(field: &str, present: bool, cure: &str) -> Result<()> {
    if present {
        return Err(with_hint("cgroup version 2 has no such setting", cure))
            .context(At::new(format!("linux.resources.{field}")));
    }
    Ok(())
}

/// An error about the value of a field.
fn wrong<T>(field: &str, text: String, cure: &str) -> Result<T> {
    Err(with_hint(text, cure)).context(At::new(format!("linux.resources.{field}")))
}

fn pids(limit: i64, settings: &mut Vec<Setting>) -> Result<()> {
    let value = match limit {
        -1 => "max".into(),
        0.. => limit.to_string(),
        _ => {
            return wrong(
                "pids.limit",
                format!("{limit} is no number of processes"),
                "give a number, or -1 for no limit",
            );
        }
    };
    settings.push(Setting::limit("pids.limit", "pids.max", value));
    Ok(())
}

/// A number of bytes: none for 0, `max` for -1.
fn bytes(field: &str, value: Option<i64>) -> Result<Option<String>> {
    match value.unwrap_or(0) {
        0 => Ok(None),
        -1 => Ok(Some("max".into())),
        value @ 1.. => Ok(Some(value.to_string())),
        value => wrong(
            &format!("memory.{field}"),
            format!("{value} is no number of bytes"),
            "give a number of bytes, or -1 for no limit",
        ),
    }
}

fn memory(memory: &oci::LinuxMemory, settings: &mut Vec<Setting>) -> Result<()> {
    #[allow(deprecated)]
    let kernel = memory.kernel();
    for (field, value) in [("memory.kernel", kernel), ("memory.kernelTCP", memory.kernel_tcp())] {
        // Unlimited is what the kernel does.
        let limited = !matches!(value, None | Some(0 | -1));
        refuse(
            field,
            limited,
            "memory.limit counts the kernel's memory too; leave this out",
        )?;
    }
    // Some engines write their "not set", -1, as an unsigned number.
    let swappiness = memory.swappiness().is_some_and(|value| value != u64::MAX);
    refuse(
        "memory.swappiness",
        swappiness,
        "limit swap by memory.swap, or set the host's sysctl vm.swappiness",
    )?;
    let disabled = memory.disable_oom_killer() == Some(true);
    refuse(
        "memory.disableOOMKiller",
        disabled,
        "protect the process by process.oomScoreAdj, or set unified memory.high",
    )?;
    let flat = memory.use_hierarchy() == Some(false);
    refuse(
        "memory.useHierarchy",
        flat,
        "memory is always counted for the whole hierarchy; leave this out",
    )?;

    let limit = bytes("limit", memory.limit())?;
    // Swap first: when both shrink, what memory has to give up still fits into the old swap.
    if let Some(value) = swap(memory)? {
        settings.push(Setting {
            // Where the kernel counts no swap, there is no limit to lift, and none to swap either if it has none.
            optional: value == "max" || value == "0",
            ..Setting::new("memory.swap", "memory.swap.max", value)
        });
    }
    if let Some(value) = limit {
        settings.push(Setting::limit("memory.limit", "memory.max", value));
    }
    if let Some(value) = bytes("reservation", memory.reservation())? {
        settings.push(Setting::new("memory.reservation", "memory.low", value));
    }
    Ok(())
}

/// `memory.swap` counts memory and swap together, `memory.swap.max` swap alone.
fn swap(memory: &oci::LinuxMemory) -> Result<Option<String>> {
    let limit = memory.limit().unwrap_or(0);
    match bytes("swap", memory.swap())?.as_deref() {
        // Without a limit for memory nobody means one for swap.
        None => Ok((limit == -1).then(|| "max".into())),
        Some("max") => Ok(Some("max".into())),
        Some(_) if limit <= 0 => wrong(
            "memory.swap",
            "counts memory and swap together, and there is no limit for memory to take off".into(),
            "set memory.limit too",
        ),
        Some(_) => match memory.swap().unwrap_or(0) - limit {
            rest @ 0.. => Ok(Some(rest.to_string())),
            _ => wrong(
                "memory.swap",
                format!(
                    "{} is less than memory.limit, {limit}, which it includes",
                    memory.swap().unwrap_or(0)
                ),
                "make it the sum of memory and swap, or -1 for no limit of swap",
            ),
        },
    }
}

fn cpu(cpu: &oci::LinuxCpu, settings: &mut Vec<Setting>) -> Result<()> {
    const REAL_TIME: &str = "allow real-time scheduling by process.scheduler and CAP_SYS_NICE instead";
    refuse(
        "cpu.realtimeRuntime",
        cpu.realtime_runtime().unwrap_or(0) != 0,
        REAL_TIME,
    )?;
    refuse("cpu.realtimePeriod", cpu.realtime_period().unwrap_or(0) != 0, REAL_TIME)?;
    // Before the weight, which an idle group refuses and a group that stops being idle loses.
    match cpu.idle() {
        None => {}
        Some(idle @ (0 | 1)) => settings.push(Setting::new("cpu.idle", "cpu.idle", idle)),
        Some(idle) => {
            return wrong(
                "cpu.idle",
                format!("{idle} is neither 0 nor 1"),
                "1 for SCHED_IDLE, 0 for not",
            );
        }
    }
    // An idle group has the least weight of all; its shares count again when it is idle no more.
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0 && cpu.idle() != Some(1)) {
        settings.push(Setting::new("cpu.shares", "cpu.weight", weight_of_shares(shares)));
    }
    bandwidth(cpu, settings)?;
    for (field, list) in [("cpus", cpu.cpus()), ("mems", cpu.mems())] {
        if let Some(list) = list.as_ref().filter(|list| !list.is_empty()) {
            settings.push(Setting::new(format!("cpu.{field}"), format!("cpuset.{field}"), list));
        }
    }
    Ok(())
}

/// Quota and period go together in one file. All in microseconds.
fn bandwidth(cpu: &oci::LinuxCpu, settings: &mut Vec<Setting>) -> Result<()> {
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if let Some(few @ 1..1000) = quota {
        return wrong(
            "cpu.quota",
            format!("{few} µs is less than the 1000 that the kernel takes"),
            "-1 is for no limit",
        );
    }
    if let Some(period) = period
        && !(1000..=1_000_000).contains(&period)
    {
        return wrong(
            "cpu.period",
            format!("{period} µs is not between 1000 and 1000000"),
            "the usual period is 100000, a tenth of a second",
        );
    }
    if quota.is_some() || period.is_some() {
        let time = quota
            .filter(|quota| *quota > 0)
            .map_or("max".into(), |quota| quota.to_string());
        let field = if quota.is_some() { "cpu.quota" } else { "cpu.period" };
        settings.push(Setting::limit(
            field,
            "cpu.max",
            format!("{time} {}", period.unwrap_or(100_000)),
        ));
    }
    if let Some(burst) = cpu.burst() {
        if quota.is_some_and(|quota| quota > 0 && burst > quota as u64) {
            return wrong(
                "cpu.burst",
                format!("{burst} is more than cpu.quota"),
                "save up at most one quota",
            );
        }
        settings.push(Setting::new("cpu.burst", BURST, burst));
    }
    Ok(())
}

/// cpu.shares of version 1 (2 to 262144, usually 1024) as cpu.weight (1 to 10000, usually 100), by the curve through these
/// three points that runc and crun draw too; so a container has the same weight under each of them.
fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

fn block_io(block: &oci::LinuxBlockIo, settings: &mut Vec<Setting>) -> Result<()> {
    const LEAF: &str = "containers that are to share by weight need cgroups of their own";
    refuse("blockIO.leafWeight", block.leaf_weight().unwrap_or(0) != 0, LEAF)?;
    if let Some(weight) = block.weight().filter(|weight| *weight != 0) {
        settings.push(io_weight("blockIO.weight", "", weight)?);
    }
    for (index, entry) in block.weight_device().iter().flatten().enumerate() {
        let field = format!("blockIO.weightDevice[{index}]");
        refuse(
            &format!("{field}.leafWeight"),
            entry.leaf_weight().unwrap_or(0) != 0,
            LEAF,
        )?;
        let device = device(&field, entry.major(), entry.minor())?;
        match entry.weight() {
            None if entry.leaf_weight().is_none() => {
                return wrong(&field, "has no weight".into(), "give it \"weight\", 10 to 1000");
            }
            None | Some(0) => {}
            Some(weight) => settings.push(io_weight(&format!("{field}.weight"), &format!("{device} "), weight)?),
        }
    }
    for (name, key, list) in [
        ("throttleReadBpsDevice", "rbps", block.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", "wbps", block.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", "riops", block.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", "wiops", block.throttle_write_iops_device()),
    ] {
        for (index, entry) in list.iter().flatten().enumerate() {
            let field = format!("blockIO.{name}[{index}]");
            let device = device(&field, entry.major(), entry.minor())?;
            // No rate is no limit, as it was in version 1.
            let rate = match entry.rate() {
                0 => "max".into(),
                rate => rate.to_string(),
            };
            settings.push(Setting::new(field, "io.max", format!("{device} {key}={rate}")));
        }
    }
    Ok(())
}

/// A weight of 10 to 1000. The BFQ scheduler takes it as it is; the weight of io.cost goes from 1 to 10000.
fn io_weight(field: &str, device: &str, weight: u16) -> Result<Setting> {
    if !(10..=1000).contains(&weight) {
        return wrong(
            field,
            format!("{weight} is not between 10 and 1000"),
            "the usual weight is 500",
        );
    }
    let converted = 1 + (u32::from(weight) - 10) * 9999 / 990;
    Ok(Setting {
        fallback: Some(("io.weight".into(), format!("{device}{converted}"))),
        ..Setting::new(field, "io.bfq.weight", format!("{device}{weight}"))
    })
}

fn device(field: &str, major: i64, minor: i64) -> Result<String> {
    for (name, number) in [("major", major), ("minor", minor)] {
        if u32::try_from(number).is_err() {
            return wrong(
                &format!("{field}.{name}"),
                format!("{number} is no device number"),
                "`lsblk` shows the numbers of block devices",
            );
        }
    }
    Ok(format!("{major}:{minor}"))
}

fn hugepages(index: usize, entry: &oci::LinuxHugepageLimit, settings: &mut Vec<Setting>) -> Result<()> {
    let field = format!("hugepageLimits[{index}]");
    let size = entry.page_size();
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    if !number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
        return wrong(
            &format!("{field}.pageSize"),
            format!("{size:?} is no size of a page"),
            "write it as 64KB, 2MB or 1GB; the sizes of this machine are in /sys/kernel/mm/hugepages",
        );
    }
    let value = match entry.limit() {
        -1 => "max".into(),
        limit @ 0.. => limit.to_string(),
        limit => {
            return wrong(
                &format!("{field}.limit"),
                format!("{limit} is no number of bytes"),
                "give a number of bytes, or -1 for no limit",
            );
        }
    };
    // Reservations are refused when they are made, page faults by SIGBUS: the first alone would let pages be used that were
    // never reserved.
    for kind in ["", ".rsvd"] {
        // Written also to lift a limit: only the file shows whether this machine has pages of this size.
        settings.push(Setting::new(
            format!("{field}.limit"),
            format!("hugetlb.{size}{kind}.max"),
            &value,
        ));
    }
    Ok(())
}

fn rdma(device: &str, limit: &oci::LinuxRdma, settings: &mut Vec<Setting>) -> Result<()> {
    let field = format!("rdma.{device}");
    if device.is_empty() || device.contains(char::is_whitespace) {
        return Err(anyhow!("{device:?} is no name of a device")).context(At::new("linux.resources.rdma"));
    }
    let mut value = device.to_string();
    for (key, number) in [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())] {
        if let Some(number) = number {
            value += &format!(" {key}={number}");
        }
    }
    if value == device {
        return wrong(
            &field,
            "limits nothing".into(),
            "give it \"hcaHandles\" or \"hcaObjects\", or both",
        );
    }
    settings.push(Setting::new(field, "rdma.max", value));
    Ok(())
}

/// What is no limit but a command to the cgroup, and would be given to init or to the runtime itself.
const COMMANDS: &[&str] = &[
    "cgroup.freeze",
    "cgroup.kill",
    "cgroup.procs",
    "cgroup.subtree_control",
    "cgroup.threads",
    "cgroup.type",
];

fn unified(file: &str, value: &str, settings: &mut Vec<Setting>) -> Result<()> {
    let field = format!("unified.{file}");
    if file.contains(['/', '\0']) || !file.contains('.') || file.starts_with('.') {
        return wrong(
            &field,
            format!("{file:?} is no name of a file in a cgroup"),
            "a name has its controller, a dot and no slash: \"memory.high\"",
        );
    }
    if COMMANDS.contains(&file) {
        return wrong(
            &field,
            "is a command to the cgroup, not a limit".into(),
            "leave it out; orlop has verbs for it",
        );
    }
    // Each line is a write of its own: the kernel reads one entry at a time.
    let mut lines: Vec<&str> = value.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        // An empty line is a value to some files: cpuset.cpus is then the parent's.
        lines.push("\n");
    }
    settings.extend(lines.into_iter().map(|line| Setting::new(&field, file, line)));
    Ok(())
}
