//! `linux.resources` → [`Limits`]. Pure: nothing here touches the system (`cgroup::apply` does), and the conversions are
//! tested at their edges.
//!
//! The fields are named after cgroup version 1. Where version 2 uses another unit or scale, the value is converted as runc does
//! today. What version 2 cannot express is an error that names the field (config-linux.md: "If the conversion is not possible
//! the runtime MUST generate an error"). Zero means "not set" for most fields, because engines send it for everything they do
//! not limit. Where zero is of use to the kernel (`hugepageLimits[].limit`, `cpu.burst`, `cpu.idle` and, since version 1.3 of
//! the specification, `pids.limit`), it is a value.

mod block_io;
mod refuse;
mod unified;

use std::collections::HashMap;

use oci_spec::runtime as oci;

use self::refuse::{refuse, wrong};
pub use self::unified::read as read_unified;
use crate::error::{At, Context, Result, anyhow};
use crate::plan::limits::{DEFAULT_PERIOD, Limit, Limits, Max, NotBelowUsage, RdmaLimits, Setting};

/// Converts all of `linux.resources` except the devices. `oci_version` is the config's, and decides what a `pids.limit` of
/// zero means.
pub fn convert(resources: &oci::LinuxResources, oci_version: &str) -> Result<Limits> {
    let mut settings = Vec::new();
    let mut not_below_usage = None;
    if let Some(pids) = resources.pids() {
        self::pids(pids.limit(), oci_version, &mut settings)?;
    }
    if let Some(memory) = resources.memory() {
        self::memory(memory, &mut settings)?;
        not_below_usage = self::not_below_usage(memory);
    }
    if let Some(cpu) = resources.cpu() {
        self::cpu(cpu, &mut settings)?;
    }
    if let Some(block) = resources.block_io() {
        block_io::convert(block, &mut settings)?;
    }
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        hugepages(index, limit, &mut settings)?;
    }
    for (device, limit) in sorted(resources.rdma().as_ref()) {
        rdma(device, limit, &mut settings)?;
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
    // Last, because it names the files themselves and so overrides what was converted.
    for (file, value) in sorted(resources.unified().as_ref()) {
        unified::convert(file, value, &mut settings)?;
    }
    Ok(Limits {
        settings,
        not_below_usage,
    })
}

const NETWORK: &str = "mark packets by the container's network namespace or by BPF instead";

/// The entries of a map in a fixed order.
fn sorted<V>(map: Option<&HashMap<String, V>>) -> Vec<(&String, &V)> {
    let mut entries: Vec<_> = map.into_iter().flatten().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

fn pids(limit: i64, oci_version: &str, settings: &mut Vec<Setting>) -> Result<()> {
    let max = match u64::try_from(limit) {
        Ok(0) if zero_pids_is_unlimited(oci_version) => Max::Unlimited,
        Ok(limit) => Max::At(limit),
        Err(_) if limit == -1 => Max::Unlimited,
        Err(_) => {
            return wrong(
                "pids.limit",
                format!("{limit} is not a valid number of processes"),
                "give a number, or -1 for no limit",
            );
        }
    };
    settings.push(Setting::new("pids.limit", Limit::PidsMax(max)));
    Ok(())
}

/// Whether a `pids.limit` of zero means "no limit". Before version 1.3 the specification did not say what zero means, and the
/// engines that write such configs (Podman for `--pids-limit 0`) mean that.
fn zero_pids_is_unlimited(oci_version: &str) -> bool {
    let mut numbers = oci_version.split('.').map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(1)), Some(Ok(0..=2))))
}

/// A byte count, of which -1 means no limit. `None` if it is neither.
fn byte_count(value: i64) -> Option<Max> {
    match u64::try_from(value) {
        Ok(bytes) => Some(Max::At(bytes)),
        Err(_) => (value == -1).then_some(Max::Unlimited),
    }
}

/// A field of `memory`, which is not set if it is 0.
fn bytes(field: &str, value: Option<i64>) -> Result<Option<Max>> {
    let Some(value) = value.filter(|value| *value != 0) else {
        return Ok(None);
    };
    match byte_count(value) {
        Some(max) => Ok(Some(max)),
        None => wrong(
            &format!("memory.{field}"),
            format!("{value} is not a valid byte count"),
            "give a number of bytes, or -1 for no limit",
        ),
    }
}

fn memory(memory: &oci::LinuxMemory, settings: &mut Vec<Setting>) -> Result<()> {
    refuse_memory_of_version_1(memory)?;
    let limit = bytes("limit", memory.limit())?;
    // Swap first: when both shrink, what memory has to give up still fits into the old swap.
    if let Some(max) = swap(limit, bytes("swap", memory.swap())?)? {
        settings.push(Setting::new("memory.swap", Limit::MemorySwapMax(max)));
    }
    if let Some(max) = limit {
        settings.push(Setting::new("memory.limit", Limit::MemoryMax(max)));
    }
    if let Some(max) = bytes("reservation", memory.reservation())? {
        settings.push(Setting::new("memory.reservation", Limit::MemoryLow(max)));
    }
    Ok(())
}

fn refuse_memory_of_version_1(memory: &oci::LinuxMemory) -> Result<()> {
    #[allow(deprecated)]
    let kernel = memory.kernel();
    for (field, value) in [("memory.kernel", kernel), ("memory.kernelTCP", memory.kernel_tcp())] {
        // Unlimited is what the kernel does.
        let limited = !matches!(value, None | Some(0 | -1));
        refuse(
            field,
            limited,
            "memory.limit includes the kernel's memory; leave this out",
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
    )
}

/// The limit on swap alone, from the limits on memory and on memory and swap together.
fn swap(memory: Option<Max>, memory_and_swap: Option<Max>) -> Result<Option<Max>> {
    match (memory_and_swap, memory) {
        // A config without a limit on memory is not meant to have one on swap.
        (None, Some(Max::Unlimited)) => Ok(Some(Max::Unlimited)),
        (None, _) => Ok(None),
        (Some(Max::Unlimited), _) => Ok(Some(Max::Unlimited)),
        (Some(Max::At(_)), None | Some(Max::Unlimited)) => wrong(
            "memory.swap",
            "is a limit on memory and swap together, but there is no limit on memory to subtract".into(),
            "set memory.limit too",
        ),
        (Some(Max::At(both)), Some(Max::At(memory))) => match both.checked_sub(memory) {
            Some(swap) => Ok(Some(Max::At(swap))),
            None => wrong(
                "memory.swap",
                format!("{both} is less than memory.limit, {memory}, which it includes"),
                "set it to the sum of memory and swap, or to -1 for no limit on swap",
            ),
        },
    }
}

fn not_below_usage(memory: &oci::LinuxMemory) -> Option<NotBelowUsage> {
    let bytes = |limit: Option<i64>| {
        limit
            .and_then(|limit| u64::try_from(limit).ok())
            .filter(|limit| *limit > 0)
    };
    (memory.check_before_update() == Some(true)).then(|| NotBelowUsage {
        memory: bytes(memory.limit()),
        memory_and_swap: bytes(memory.swap()),
    })
}

fn cpu(cpu: &oci::LinuxCpu, settings: &mut Vec<Setting>) -> Result<()> {
    const REAL_TIME: &str = "allow real-time scheduling by process.scheduler and CAP_SYS_NICE instead";
    refuse(
        "cpu.realtimeRuntime",
        cpu.realtime_runtime().unwrap_or(0) != 0,
        REAL_TIME,
    )?;
    refuse("cpu.realtimePeriod", cpu.realtime_period().unwrap_or(0) != 0, REAL_TIME)?;
    let idle = match cpu.idle() {
        None => None,
        Some(0) => Some(false),
        Some(1) => Some(true),
        Some(idle) => {
            return wrong(
                "cpu.idle",
                format!("{idle} is neither 0 nor 1"),
                "1 for SCHED_IDLE, 0 for normal scheduling",
            );
        }
    };
    // Before the weight: an idle group refuses one, and a group that stops being idle loses its weight.
    if let Some(idle) = idle {
        settings.push(Setting::new("cpu.idle", Limit::CpuIdle(idle)));
    }
    // An idle group has the least weight of all; its shares count again once it is no longer idle.
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0 && idle != Some(true)) {
        settings.push(Setting::new("cpu.shares", Limit::CpuWeight(weight_of_shares(shares))));
    }
    bandwidth(cpu, settings)?;
    if let Some(list) = cpu.cpus().as_ref().filter(|list| !list.is_empty()) {
        settings.push(Setting::new("cpu.cpus", Limit::CpusetCpus(list.clone())));
    }
    if let Some(list) = cpu.mems().as_ref().filter(|list| !list.is_empty()) {
        settings.push(Setting::new("cpu.mems", Limit::CpusetMems(list.clone())));
    }
    Ok(())
}

/// Quota, period and burst. All in microseconds.
fn bandwidth(cpu: &oci::LinuxCpu, settings: &mut Vec<Setting>) -> Result<()> {
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if let Some(quota @ 1..1000) = quota {
        return wrong(
            "cpu.quota",
            format!("{quota} µs is less than 1000, the kernel's minimum"),
            "-1 means no limit",
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
    // Any negative number means no limit.
    let max = quota
        .and_then(|quota| u64::try_from(quota).ok())
        .map_or(Max::Unlimited, Max::At);
    if quota.is_some() || period.is_some() {
        let field = if quota.is_some() { "cpu.quota" } else { "cpu.period" };
        let limit = Limit::CpuMax {
            quota: max,
            period: period.unwrap_or(DEFAULT_PERIOD),
        };
        settings.push(Setting::new(field, limit));
    }
    if let Some(burst) = cpu.burst() {
        if matches!(max, Max::At(quota) if burst > quota) {
            return wrong(
                "cpu.burst",
                format!("{burst} is more than cpu.quota"),
                "the burst must not exceed the quota",
            );
        }
        settings.push(Setting::new("cpu.burst", Limit::CpuMaxBurst(burst)));
    }
    Ok(())
}

/// cpu.shares of version 1 (2 to 262144, usually 1024) as cpu.weight (1 to 10000, usually 100), by the curve through these
/// three points that runc and crun use too, so that a container has the same weight under each of them.
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

fn hugepages(index: usize, entry: &oci::LinuxHugepageLimit, settings: &mut Vec<Setting>) -> Result<()> {
    let field = format!("hugepageLimits[{index}]");
    let size = entry.page_size();
    let number = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    if !number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())) {
        return wrong(
            &format!("{field}.pageSize"),
            format!("{size:?} is not a valid page size"),
            "write it as 64KB, 2MB or 1GB; the sizes of this machine are in /sys/kernel/mm/hugepages",
        );
    }
    let Some(limit) = byte_count(entry.limit()) else {
        return wrong(
            &format!("{field}.limit"),
            format!("{} is not a valid byte count", entry.limit()),
            "give a number of bytes, or -1 for no limit",
        );
    };
    // Exceeding the limit on reservations fails a reservation; exceeding the limit on use is answered by SIGBUS. With the first
    // alone, pages could be used that were never reserved.
    for reserved in [false, true] {
        // Written also to lift a limit: only the file shows whether this machine has pages of this size.
        let limit = Limit::HugetlbMax {
            size: size.clone(),
            reserved,
            limit,
        };
        settings.push(Setting::new(format_args!("{field}.limit"), limit));
    }
    Ok(())
}

fn rdma(device: &str, limit: &oci::LinuxRdma, settings: &mut Vec<Setting>) -> Result<()> {
    let field = format!("rdma.{device}");
    if device.is_empty() || device.contains(char::is_whitespace) {
        return Err(anyhow!("{device:?} is not a valid device name")).context(At::new("linux.resources.rdma"));
    }
    let max = |number: Option<u32>| number.map(|number| Max::At(number.into()));
    let limits = RdmaLimits {
        handles: max(limit.hca_handles()),
        objects: max(limit.hca_objects()),
    };
    if limits == RdmaLimits::default() {
        return wrong(
            &field,
            "sets no limit".into(),
            "give it \"hcaHandles\" or \"hcaObjects\", or both",
        );
    }
    let device = device.to_string();
    settings.push(Setting::new(field, Limit::RdmaMax { device, limits }));
    Ok(())
}
