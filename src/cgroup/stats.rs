//! The usage of a cgroup, in the JSON that `events` prints. Pure: it reads through a function, so that tests can supply texts.
//!
//! The format is runc's (types/events.go), which engines read: values of cgroup version 2 under the names of version 1, times in
//! nanoseconds, memory and swap together, zero omitted where runc omits it.

use serde_json::{Map, Value, json};

/// The stats of the cgroup whose files `read` returns. It returns `None` for a missing file.
pub fn stats(read: &dyn Fn(&str) -> Option<String>, huge_page_sizes: &[String]) -> Value {
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

type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

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

/// A file with one number, or `max`.
fn number(read: Read, file: &str) -> Option<u64> {
    match read(file)?.trim() {
        "max" => Some(u64::MAX),
        text => text.parse().ok(),
    }
}

/// The lines `key number` of a file.
fn table(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, number) = line.split_once(' ')?;
        Some((key, number.trim().parse().ok()?))
    })
}

fn entry(text: &str, key: &str) -> u64 {
    table(text)
        .find(|(found, _)| *found == key)
        .map_or(0, |(_, number)| number)
}

fn cpu(read: Read) -> Value {
    let text = read("cpu.stat").unwrap_or_default();
    let nanoseconds = |key: &str| entry(&text, key).saturating_mul(1000);
    let mut usage = Map::new();
    put(&mut usage, "total", nanoseconds("usage_usec"));
    usage.insert("kernel".into(), json!(nanoseconds("system_usec")));
    usage.insert("user".into(), json!(nanoseconds("user_usec")));
    let mut throttling = Map::new();
    put(&mut throttling, "periods", entry(&text, "nr_periods"));
    put(&mut throttling, "throttledPeriods", entry(&text, "nr_throttled"));
    put(&mut throttling, "throttledTime", nanoseconds("throttled_usec"));
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
    let failures = entry(&read("memory.events").unwrap_or_default(), "max");
    let used = number(read, "memory.current").unwrap_or(0);
    let limit = number(read, "memory.max").unwrap_or(0);
    let mut memory = Map::new();
    put(&mut memory, "cache", entry(&text, "file"));
    let counted = |limit: u64, used: u64, peak: u64, failures: u64| {
        let mut entry = Map::new();
        entry.insert("limit".into(), json!(limit));
        put(&mut entry, "usage", used);
        put(&mut entry, "max", peak);
        entry.insert("failcnt".into(), json!(failures));
        Value::Object(entry)
    };
    if read("memory.current").is_some() {
        let peak = number(read, "memory.peak").unwrap_or(0);
        memory.insert("usage".into(), counted(limit, used, peak, failures));
        // Swap that is not counted is 0.
        let swap_limit = number(read, "memory.swap.max").unwrap_or(0);
        let swapped = number(read, "memory.swap.current").unwrap_or(0);
        let both = swap_limit.saturating_add(limit);
        memory.insert("swap".into(), counted(both, swapped.saturating_add(used), 0, 0));
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
    let limit = number(read, "pids.max").filter(|limit| *limit != u64::MAX);
    let mut pids = Map::new();
    put(&mut pids, "current", current.unwrap_or(0));
    put(&mut pids, "limit", limit.unwrap_or(0));
    Value::Object(pids)
}

fn block_io(read: Read) -> Value {
    let text = read("io.stat").unwrap_or_default();
    let (mut bytes, mut operations) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let device = words.next().and_then(|device| {
            let (major, minor) = device.split_once(':')?;
            Some((major.parse::<u64>().ok()?, minor.parse::<u64>().ok()?))
        });
        let Some((major, minor)) = device else { continue };
        for word in words {
            let Some((key, value)) = word.split_once('=') else {
                continue;
            };
            let (list, op) = match key {
                "rbytes" => (&mut bytes, "Read"),
                "wbytes" => (&mut bytes, "Write"),
                "rios" => (&mut operations, "Read"),
                "wios" => (&mut operations, "Write"),
                _ => continue,
            };
            let mut entry = Map::new();
            put(&mut entry, "major", major);
            put(&mut entry, "minor", minor);
            entry.insert("op".into(), json!(op));
            put(&mut entry, "value", value.parse().unwrap_or(0));
            list.push(Value::Object(entry));
        }
    }
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
        entry.insert("failcnt".into(), json!(self::entry(&events, "max")));
        Some((size.clone(), Value::Object(entry)))
    };
    Value::Object(sizes.iter().filter_map(one).collect())
}

/// A file of pressure stall information (PSI). `None` if the kernel does not measure it.
fn pressure(read: Read, file: &str) -> Option<Value> {
    let text = read(file)?;
    let mut kinds = Map::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let kind = words.next()?;
        let mut numbers = Map::new();
        for word in words {
            let (key, value) = word.split_once('=')?;
            let value = if key == "total" {
                json!(value.parse::<u64>().ok()?)
            } else {
                json!(value.parse::<f64>().ok()?)
            };
            numbers.insert(key.into(), value);
        }
        kinds.insert(kind.into(), Value::Object(numbers));
    }
    (!kinds.is_empty()).then_some(Value::Object(kinds))
}

/// A huge page size as in the names of files, from its number of kB: `2MB`.
pub fn page_size(kilobytes: u64) -> String {
    match kilobytes {
        size if size >= 1 << 20 => format!("{}GB", size >> 20),
        size if size >= 1 << 10 => format!("{}MB", size >> 10),
        size => format!("{size}KB"),
    }
}
