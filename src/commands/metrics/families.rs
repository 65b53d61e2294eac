//! The families of `metrics`. Where cAdvisor has one, its name and its meaning are used, so that dashboards and alerts work.

use super::super::listed::Measured;
use super::text::{Family, Kind, Number};
use crate::cgroup::usage::{Bandwidth, Cpu, Io, Limit, Memory, Pressure, Stall};

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Counter,
        help,
    }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        help,
    }
}

pub const CONTAINERS: Family = gauge("orlop_containers", "Containers in the state directory, by status");
pub const INFO: Family = gauge(
    "orlop_container_info",
    "Properties of a container; the value is always 1",
);
pub const START_TIME: Family = gauge(
    "container_start_time_seconds",
    "Start of the init process, since the Unix epoch",
);

type Value = fn(&Measured) -> Option<Number>;

/// The families with one sample for each container.
pub const SINGLE: &[(Family, Value)] = &[
    (counter("container_cpu_usage_seconds", "CPU time used"), |m| {
        cpu(m, |cpu| cpu.usage)
    }),
    (
        counter("container_cpu_user_seconds", "CPU time used in user mode"),
        |m| cpu(m, |cpu| cpu.user),
    ),
    (
        counter("container_cpu_system_seconds", "CPU time used in the kernel"),
        |m| cpu(m, |cpu| cpu.system),
    ),
    (
        counter(
            "container_cpu_cfs_periods",
            "Periods in which the container ran with a quota of CPU time",
        ),
        |m| bandwidth(m, |cpu| Some(Number::Count(cpu.periods))),
    ),
    (
        counter(
            "container_cpu_cfs_throttled_periods",
            "Periods in which the quota was used up",
        ),
        |m| bandwidth(m, |cpu| Some(Number::Count(cpu.throttled_periods))),
    ),
    (
        counter(
            "container_cpu_cfs_throttled_seconds",
            "Time for which threads were throttled",
        ),
        |m| bandwidth(m, |cpu| Some(Number::Microseconds(cpu.throttled))),
    ),
    (
        gauge("container_spec_cpu_period", "Period of the quota, in microseconds"),
        |m| bandwidth(m, |cpu| Some(Number::Count(cpu.period))),
    ),
    (
        gauge(
            "container_spec_cpu_quota",
            "CPU time in each period, in microseconds; absent without a quota",
        ),
        |m| bandwidth(m, |cpu| cpu.quota.at().map(Number::Count)),
    ),
    (
        gauge("container_memory_usage_bytes", "Memory in use, page cache included"),
        |m| memory(m, |memory| Some(memory.current)),
    ),
    (
        gauge(
            "container_memory_working_set_bytes",
            "Memory in use without inactive page cache",
        ),
        |m| memory(m, |memory| Some(memory.working_set())),
    ),
    (
        gauge("container_memory_max_usage_bytes", "Highest memory use so far"),
        |m| memory(m, |memory| memory.peak),
    ),
    (gauge("container_memory_rss", "Anonymous memory, in bytes"), |m| {
        memory(m, |memory| Some(memory.anon))
    }),
    (gauge("container_memory_cache", "Page cache, in bytes"), |m| {
        memory(m, |memory| Some(memory.file))
    }),
    (
        gauge("container_memory_mapped_file", "Mapped files in memory, in bytes"),
        |m| memory(m, |memory| Some(memory.mapped_file)),
    ),
    (
        gauge("container_memory_kernel_usage", "Memory of the kernel, in bytes"),
        |m| memory(m, |memory| memory.kernel),
    ),
    (gauge("container_memory_swap", "Swap in use, in bytes"), |m| {
        memory(m, |memory| memory.swap)
    }),
    (
        counter("container_memory_failcnt", "Times that the memory limit was reached"),
        |m| memory(m, |memory| memory.limit_hits),
    ),
    (
        counter("container_oom_events", "Processes killed by the OOM killer"),
        |m| memory(m, |memory| memory.oom_kills),
    ),
    (
        gauge("container_spec_memory_limit_bytes", "Memory limit; 0 if there is none"),
        |m| memory(m, |memory| memory.limit.map(or_zero)),
    ),
    (gauge("container_processes", "Processes"), |m| {
        m.processes.map(Number::Count)
    }),
    (gauge("container_threads", "Threads"), |m| {
        m.usage.pids.threads.map(Number::Count)
    }),
    (
        gauge("container_threads_max", "Limit of threads; 0 if there is none"),
        |m| m.usage.pids.limit.map(or_zero).map(Number::Count),
    ),
    (
        counter(
            "container_pressure_cpu_waiting_seconds",
            "Time in which a thread waited for a CPU",
        ),
        |m| stall(m.usage.pressure.cpu.as_ref(), |pressure| pressure.some.as_ref()),
    ),
    (
        counter(
            "container_pressure_cpu_stalled_seconds",
            "Time in which all threads waited for a CPU",
        ),
        |m| stall(m.usage.pressure.cpu.as_ref(), |pressure| pressure.full.as_ref()),
    ),
    (
        counter(
            "container_pressure_memory_waiting_seconds",
            "Time in which a thread waited for memory",
        ),
        |m| stall(m.usage.pressure.memory.as_ref(), |pressure| pressure.some.as_ref()),
    ),
    (
        counter(
            "container_pressure_memory_stalled_seconds",
            "Time in which all threads waited for memory",
        ),
        |m| stall(m.usage.pressure.memory.as_ref(), |pressure| pressure.full.as_ref()),
    ),
    (
        counter(
            "container_pressure_io_waiting_seconds",
            "Time in which a thread waited for IO",
        ),
        |m| stall(m.usage.pressure.io.as_ref(), |pressure| pressure.some.as_ref()),
    ),
    (
        counter(
            "container_pressure_io_stalled_seconds",
            "Time in which all threads waited for IO",
        ),
        |m| stall(m.usage.pressure.io.as_ref(), |pressure| pressure.full.as_ref()),
    ),
];

type Count = fn(&Io) -> Option<u64>;

/// The families with one sample for each block device.
pub const BY_DEVICE: &[(Family, Count)] = &[
    (
        counter("container_fs_reads_bytes", "Bytes read from a block device"),
        |io| io.read_bytes,
    ),
    (
        counter("container_fs_writes_bytes", "Bytes written to a block device"),
        |io| io.written_bytes,
    ),
    (
        counter("container_fs_reads", "Read operations on a block device"),
        |io| io.reads,
    ),
    (
        counter("container_fs_writes", "Write operations on a block device"),
        |io| io.writes,
    ),
];

fn or_zero(limit: Limit) -> u64 {
    limit.at().unwrap_or(0)
}

fn cpu(measured: &Measured, time: fn(&Cpu) -> u64) -> Option<Number> {
    measured.usage.cpu.as_ref().map(|cpu| Number::Microseconds(time(cpu)))
}

fn bandwidth(measured: &Measured, number: fn(&Bandwidth) -> Option<Number>) -> Option<Number> {
    number(measured.usage.cpu.as_ref()?.bandwidth.as_ref()?)
}

fn memory(measured: &Measured, number: fn(&Memory) -> Option<u64>) -> Option<Number> {
    number(measured.usage.memory.as_ref()?).map(Number::Count)
}

fn stall(pressure: Option<&Pressure>, kind: fn(&Pressure) -> Option<&Stall>) -> Option<Number> {
    kind(pressure?).map(|stall| Number::Microseconds(stall.total))
}
