//! The usage of a cgroup, in the JSON that `events` prints. Pure: it reads through a function, so that tests can supply texts.
//!
//! The format is runc's (types/events.go), which engines read: values of cgroup version 2 under the names of version 1, times in
//! nanoseconds, memory and swap together, zero omitted where runc omits it.

use serde_json::{Map, Value, json};

use super::usage::{Cpu, Io, Limit, Memory, Pressure, Read, entry, io, limit, number, table};

/// The stats of the cgroup whose files `read` returns. It returns `None` for a missing file.
pub fn stats(read: Read, huge_page_sizes: &[String]) -> Value {
    json!({
        "cpu": cpu(read),
        "cpuset": cpuset(read),
        "memory": memory(read),
        "pids": pids(read),
        "blkio": block_io(read),
        "hugetlb": hugepages(read, huge_page_sizes),
        "intel_rdt": {},
        "network_interfaces": null
    })
}

/// Adds a value unless it is zero.
fn put(map: &mut Map<String, Value>, key: &str, value: u64) {
    if value != 0 {
        map.insert(key.into(), json!(value));
    }
}

fn put_some(map: &mut Map<String, Value>, key: &str, value: Option<Value>) {
    if let Some(value) = value {
        map.insert(key.into(), value);
    }
}

fn cpu(read: Read) -> Value {
    let times = Cpu::read(read).unwrap_or_default();
    let nanoseconds = |microseconds: u64| microseconds.saturating_mul(1000);
    let mut usage = Map::new();
    put(&mut usage, "total", nanoseconds(times.usage));
    usage.insert("kernel".into(), json!(nanoseconds(times.system)));
    usage.insert("user".into(), json!(nanoseconds(times.user)));
    let mut throttling = Map::new();
    if let Some(bandwidth) = times.bandwidth {
        put(&mut throttling, "periods", bandwidth.periods);
        put(&mut throttling, "throttledPeriods", bandwidth.throttled_periods);
        put(&mut throttling, "throttledTime", nanoseconds(bandwidth.throttled));
    }
    let mut cpu = Map::new();
    cpu.insert("usage".into(), Value::Object(usage));
    cpu.insert("throttling".into(), Value::Object(throttling));
    put_some(&mut cpu, "psi", pressure(read, "cpu.pressure"));
    Value::Object(cpu)
}

/// The effective sets. The switches after them are those of version 1, and have no meaning here.
fn cpuset(read: Read) -> Value {
    let mut cpuset = Map::new();
    for (key, file) in [("cpus", "cpuset.cpus.effective"), ("mems", "cpuset.mems.effective")] {
        if key == "mems" {
            cpuset.insert("cpu_exclusive".into(), json!(0));
        }
        let list = read(file).map(|text| ids(text.trim())).filter(|list| !list.is_empty());
        put_some(&mut cpuset, key, list.map(|list| json!(list)));
    }
    for key in [
        "mem_hardwall",
        "mem_exclusive",
        "memory_migrate",
        "memory_spread_page",
        "memory_spread_slab",
        "memory_pressure",
        "sched_load_balance",
        "sched_relax_domain_level",
    ] {
        cpuset.insert(key.into(), json!(0));
    }
    Value::Object(cpuset)
}

/// The numbers of a list like `0-3,7`.
fn ids(list: &str) -> Vec<u16> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<u16>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

fn memory(read: Read) -> Value {
    let text = read("memory.stat").unwrap_or_default();
    let mut memory = Map::new();
    put(&mut memory, "cache", entry(&text, "file").unwrap_or(0));
    let counted = |limit: u64, used: u64, peak: u64, failures: u64| {
        let mut entry = Map::new();
        entry.insert("limit".into(), json!(limit));
        put(&mut entry, "usage", used);
        put(&mut entry, "max", peak);
        entry.insert("failcnt".into(), json!(failures));
        Value::Object(entry)
    };
    if let Some(found) = Memory::read(read, &text) {
        let limit = found.limit.map_or(0, Limit::or_highest);
        let (peak, failures) = (found.peak.unwrap_or(0), found.limit_hits.unwrap_or(0));
        memory.insert("usage".into(), counted(limit, found.current, peak, failures));
        // Swap that is not counted is 0.
        let both = found.swap_limit.map_or(0, Limit::or_highest).saturating_add(limit);
        let used = found.swap.unwrap_or(0).saturating_add(found.current);
        memory.insert("swap".into(), counted(both, used, 0, 0));
    }
    let raw: Map<String, Value> = table(&text).map(|(key, number)| (key.into(), json!(number))).collect();
    if !raw.is_empty() {
        memory.insert("raw".into(), Value::Object(raw));
    }
    put_some(&mut memory, "psi", pressure(read, "memory.pressure"));
    Value::Object(memory)
}

fn pids(read: Read) -> Value {
    // Without the controller, processes are counted, which may be fewer than threads. A threaded cgroup only lists threads.
    let listed = || read("cgroup.procs").or_else(|| read("cgroup.threads"));
    let current = number(read, "pids.current").or_else(|| Some(listed()?.lines().count() as u64));
    let limit = limit(read, "pids.max").and_then(Limit::at);
    let mut pids = Map::new();
    put(&mut pids, "current", current.unwrap_or(0));
    put(&mut pids, "limit", limit.unwrap_or(0));
    Value::Object(pids)
}

/// One of the numbers of a device.
type Count = fn(&Io) -> Option<u64>;

fn block_io(read: Read) -> Value {
    let devices = io(&read("io.stat").unwrap_or_default());
    let list = |values: [(&str, Count); 2]| {
        let mut list = Vec::new();
        for device in &devices {
            for (op, value) in values {
                let Some(value) = value(device) else { continue };
                let mut entry = Map::new();
                put(&mut entry, "major", device.major);
                put(&mut entry, "minor", device.minor);
                entry.insert("op".into(), json!(op));
                put(&mut entry, "value", value);
                list.push(Value::Object(entry));
            }
        }
        list
    };
    let bytes = list([("Read", |io| io.read_bytes), ("Write", |io| io.written_bytes)]);
    let operations = list([("Read", |io| io.reads), ("Write", |io| io.writes)]);
    let mut block = Map::new();
    for (key, list) in [("ioServiceBytesRecursive", bytes), ("ioServicedRecursive", operations)] {
        if !list.is_empty() {
            block.insert(key.into(), Value::Array(list));
        }
    }
    put_some(&mut block, "psi", pressure(read, "io.pressure"));
    Value::Object(block)
}

fn hugepages(read: Read, sizes: &[String]) -> Value {
    let one = |size: &String| {
        let current = |kind: &str| number(read, &format!("hugetlb.{size}{kind}.current"));
        let used = current(".rsvd").or_else(|| current(""))?;
        let events = read(&format!("hugetlb.{size}.events")).unwrap_or_default();
        let mut entry = Map::new();
        put(&mut entry, "usage", used);
        entry.insert("failcnt".into(), json!(self::entry(&events, "max").unwrap_or(0)));
        Some((size.clone(), Value::Object(entry)))
    };
    Value::Object(sizes.iter().filter_map(one).collect())
}

/// A file of pressure stall information (PSI). `None` if the kernel does not measure it.
fn pressure(read: Read, file: &str) -> Option<Value> {
    let pressure = Pressure::read(read, file)?;
    let mut kinds = Map::new();
    for (kind, stall) in [("some", pressure.some), ("full", pressure.full)] {
        let Some(stall) = stall else { continue };
        let numbers = json!({
            "avg10": stall.avg10,
            "avg60": stall.avg60,
            "avg300": stall.avg300,
            "total": stall.total
        });
        kinds.insert(kind.into(), numbers);
    }
    Some(Value::Object(kinds))
}

/// A huge page size as in the names of files, from its number of kB: `2MB`.
pub fn page_size(kilobytes: u64) -> String {
    match kilobytes {
        size if size >= 1 << 20 => format!("{}GB", size >> 20),
        size if size >= 1 << 10 => format!("{}MB", size >> 10),
        size => format!("{size}KB"),
    }
}
