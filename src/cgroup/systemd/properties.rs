//! Limits as properties of a unit (systemd.resource-control(5)). Pure.
//!
//! systemd writes the cgroup's files by the properties that it knows, now and whenever it finds a reason to; so it must know
//! what we want there, or it would undo it. They are made from the settings that are written to the files afterwards: that
//! makes a limit good that it silently leaves out (a controller that a user's systemd was not given, a file that it has no
//! property for).

use crate::cgroup::resources::Setting;
use crate::cpu_list::CpuList;
use crate::dbus::Value;

/// A property's name and its value.
pub type Property = (String, Value);

/// No limit, and for weights "not set".
const INFINITY: u64 = u64::MAX;

/// The file of what is not a limit but how the kernel kills; a property of a unit's start only.
const OOM_GROUP: &str = "memory.oom.group";

/// Properties that not every systemd has that runs on the oldest kernel we do, and the version that brought them.
const NEWER: &[(&str, u32)] = &[("MemoryZSwapMax", 253), ("OOMPolicy", 253)];
/// The version since which a CPUWeight of 0 is an idle group.
const IDLE: u32 = 252;

/// What systemd keeps of a CPU quota in its unit files is whole percents, cut off; for it not to become less when that is read
/// again, it is rounded up, in the file too.
pub fn round_cpu_quota(settings: &mut [Setting]) {
    for setting in settings.iter_mut().filter(|setting| setting.file == "cpu.max") {
        let Some((quota, period)) = bandwidth(&setting.value) else {
            continue;
        };
        if quota == INFINITY {
            continue;
        }
        let quota = u128::from(per_second(quota, period)) * u128::from(period) / 1_000_000;
        setting.value = format!("{quota} {period}");
    }
}

/// The quota and the period of `cpu.max`, in microseconds.
fn bandwidth(value: &str) -> Option<(u64, u64)> {
    let mut words = value.split_ascii_whitespace();
    let quota = number(words.next()?)?;
    let period = words.next().map_or(Some(100_000), |word| word.parse().ok())?;
    (period > 0 && words.next().is_none()).then_some((quota, period))
}

/// Microseconds of every second, in whole percents.
fn per_second(quota: u64, period: u64) -> u64 {
    let exact = u128::from(quota) * 1_000_000 / u128::from(period);
    let rounded = exact.div_ceil(10_000).max(1) * 10_000;
    u64::try_from(rounded).unwrap_or(INFINITY)
}

/// A limit as the kernel reads it: a number, perhaps with a unit, or `max`.
fn number(text: &str) -> Option<u64> {
    if text == "max" {
        return Some(INFINITY);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The properties for settings, of which a later one about the same overrides an earlier one. `node` finds the device file
/// of a block device by its numbers (`8:0`).
pub fn of(settings: &[Setting], version: u32, node: impl Fn(&str) -> Option<String>) -> Vec<Property> {
    let mut all = Properties(Vec::new());
    let mut idle = false;
    for setting in settings {
        let value = setting.value.trim();
        let limit = |name: &str, all: &mut Properties| {
            if let Some(number) = number(value) {
                all.set(name, Value::Uint64(number));
            }
        };
        let nodes = |name: &str, all: &mut Properties| {
            if let Some(bits) = bits(value) {
                all.set(name, bits);
            }
        };
        match setting.file.as_str() {
            // It takes no 0 for these two. The kernel does, and kills.
            "memory.max" | "memory.high" if number(value) == Some(0) => {}
            "memory.max" => limit("MemoryMax", &mut all),
            "memory.high" => limit("MemoryHigh", &mut all),
            "memory.low" => limit("MemoryLow", &mut all),
            "memory.min" => limit("MemoryMin", &mut all),
            "memory.swap.max" => limit("MemorySwapMax", &mut all),
            "memory.zswap.max" => limit("MemoryZSwapMax", &mut all),
            "pids.max" => {
                if let Some(number) = number(value) {
                    // It takes no 0; that is in the file.
                    all.set("TasksMax", Value::Uint64(number.max(1)));
                }
            }
            "cpu.idle" if version >= IDLE => {
                idle = value == "1";
                all.set("CPUWeight", Value::Uint64(if idle { 0 } else { INFINITY }));
            }
            "cpu.weight" if !idle => limit("CPUWeight", &mut all),
            "cpu.max" => {
                if let Some((quota, period)) = bandwidth(value) {
                    let quota = if quota == INFINITY {
                        quota
                    } else {
                        per_second(quota, period)
                    };
                    all.set("CPUQuotaPeriodUSec", Value::Uint64(period));
                    all.set("CPUQuotaPerSecUSec", Value::Uint64(quota));
                }
            }
            "cpuset.cpus" => nodes("AllowedCPUs", &mut all),
            "cpuset.mems" => nodes("AllowedMemoryNodes", &mut all),
            "io.max" => throttles(value, &node, &mut all),
            "io.weight" => weight(value, &node, &mut all),
            "io.bfq.weight" => {
                if let Some((_, value)) = &setting.fallback {
                    weight(value, &node, &mut all);
                }
            }
            _ => {}
        }
    }
    all.0
        .retain(|(name, _)| !NEWER.iter().any(|(newer, since)| newer == name && version < *since));
    all.0
}

/// What takes a setting back, whatever it is.
pub fn unset(setting: &Setting) -> Setting {
    let nothing = |file: &str, value: &str| match (file, value.split_once(' ')) {
        ("memory.low" | "memory.min" | "cpu.idle", _) => "0".to_string(),
        ("cpuset.cpus" | "cpuset.mems", _) => String::new(),
        ("io.max", Some((device, _))) => format!("{device} rbps=max wbps=max riops=max wiops=max"),
        ("io.weight" | "io.bfq.weight", Some((device, _))) => format!("{device} default"),
        ("io.weight" | "io.bfq.weight", None) => "default".into(),
        _ => "max".into(),
    };
    Setting {
        value: nothing(&setting.file, &setting.value),
        fallback: setting
            .fallback
            .as_ref()
            .map(|(file, value)| (file.clone(), nothing(file, value))),
        ..setting.clone()
    }
}

/// What can only be said when a unit starts.
pub fn of_start(settings: &[Setting], version: u32) -> Vec<Property> {
    let group = settings.iter().rev().find(|setting| setting.file == OOM_GROUP);
    let policy = match group.map(|setting| setting.value.trim()) {
        Some("0") => "continue",
        Some("1") => "kill",
        _ => return Vec::new(),
    };
    let has = NEWER
        .iter()
        .any(|(name, since)| *name == "OOMPolicy" && version >= *since);
    let property = has.then(|| ("OOMPolicy".to_string(), Value::text(policy)));
    property.into_iter().collect()
}

/// In the order in which they came first.
struct Properties(Vec<Property>);

impl Properties {
    fn set(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.into(), value)),
        }
    }

    /// One device's entry of a property that has one for each.
    fn set_for_device(&mut self, name: &str, node: &str, number: u64) {
        let entry = Value::Struct(vec![Value::text(node), Value::Uint64(number)]);
        let is_of_device =
            |entry: &Value| matches!(entry, Value::Struct(fields) if fields.first() == Some(&Value::text(node)));
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, Value::Array(_, entries))) => {
                entries.retain(|entry| !is_of_device(entry));
                entries.push(entry);
            }
            _ => self.0.push((name.into(), Value::Array("(st)".into(), vec![entry]))),
        }
    }
}

/// A list of CPUs or memory nodes: one bit each, the first in the lowest bit of the first byte. None for what only the kernel
/// understands.
fn bits(list: &str) -> Option<Value> {
    let mut bytes = Vec::new();
    if !list.is_empty() {
        let set = CpuList::parse(list).ok()?;
        bytes.extend(set.words().iter().flat_map(|word| word.to_le_bytes()));
        bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    }
    Some(Value::Array("y".into(), bytes.into_iter().map(Value::Byte).collect()))
}

/// `8:0 rbps=1048576 wiops=max`
fn throttles(value: &str, node: &impl Fn(&str) -> Option<String>, all: &mut Properties) {
    let mut words = value.split_ascii_whitespace();
    let Some(node) = words.next().and_then(node) else {
        return;
    };
    for (key, rate) in words.filter_map(|word| word.split_once('=')) {
        let name = match key {
            "rbps" => "IOReadBandwidthMax",
            "wbps" => "IOWriteBandwidthMax",
            "riops" => "IOReadIOPSMax",
            "wiops" => "IOWriteIOPSMax",
            _ => continue,
        };
        if let Some(rate) = number(rate) {
            all.set_for_device(name, &node, rate);
        }
    }
}

/// `200`, `default 200`, `8:0 200`, `8:0 default`
fn weight(value: &str, node: &impl Fn(&str) -> Option<String>, all: &mut Properties) {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    let weight = |text: &str| {
        if text == "default" {
            Some(INFINITY)
        } else {
            text.parse().ok()
        }
    };
    match words.as_slice() {
        [number] | ["default", number] => {
            if let Some(number) = weight(number) {
                all.set("IOWeight", Value::Uint64(number));
            }
        }
        [device, number] => {
            if let (Some(node), Some(number)) = (node(device), weight(number)) {
                all.set_for_device("IODeviceWeight", &node, number);
            }
        }
        _ => {}
    }
}
