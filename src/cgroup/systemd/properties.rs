//! Limits as properties of a unit (systemd.resource-control(5)). Pure.
//!
//! systemd writes the files of a cgroup from the properties that it knows, now and whenever it finds a reason to. So it must
//! know the limits, or it would undo them. The files are written afterwards all the same: this sets the limits that systemd
//! silently leaves out (a controller that a user's systemd was not given, a file that it has no property for).

use crate::cpu_list::CpuList;
use crate::dbus::Value;
use crate::plan::limits::{BlockDevice, DEFAULT_PERIOD, Limit, Max, Rates, Setting, Weight};
use crate::state::record::UnitBefore;

/// A property's name and its value.
pub type Property = (String, Value);

/// No limit, and for weights "not set".
const INFINITY: u64 = u64::MAX;

/// The version of systemd that has these properties. The oldest kernel that we support may come with an older one.
const MEMORY_ZSWAP_MAX: u32 = 253;
const OOM_POLICY: u32 = 253;
/// Since this version, a CPUWeight of 0 is an idle group.
const IDLE: u32 = 252;

/// Rounds CPU quotas up to whole percents, which is all that systemd keeps in its unit files. It would cut off the rest when it
/// reads them again, and set a lower quota than the file of the cgroup has.
pub fn round_cpu_quota(settings: &mut [Setting]) {
    for setting in settings {
        match &mut setting.limit {
            Limit::Raw(raw) => {
                if let Some(known) = &mut raw.known
                    && round(known)
                {
                    raw.line = known.text();
                }
            }
            limit => {
                round(limit);
            }
        }
    }
}

/// Rounds one quota. Returns whether there was one.
fn round(limit: &mut Limit) -> bool {
    let Limit::CpuMax {
        quota: Max::At(quota),
        period,
    } = limit
    else {
        return false;
    };
    let rounded = u128::from(per_second(*quota, *period)) * u128::from(*period) / 1_000_000;
    *quota = u64::try_from(rounded).unwrap_or(INFINITY);
    true
}

/// Microseconds of every second, in whole percents.
fn per_second(quota: u64, period: u64) -> u64 {
    let exact = u128::from(quota) * 1_000_000 / u128::from(period.max(1));
    let rounded = exact.div_ceil(10_000).max(1) * 10_000;
    u64::try_from(rounded).unwrap_or(INFINITY)
}

/// The properties for limits, of which a later one overrides an earlier one on the same thing. `node` finds the device file of a
/// block device.
pub fn of(settings: &[Setting], version: u32, node: impl Fn(BlockDevice) -> Option<String>) -> Vec<Property> {
    let mut all = Properties::new(version, node);
    all.set_limits(settings.iter().map(|setting| &setting.limit));
    all.list
}

/// The properties that restore the limits of a unit.
pub fn restoring(before: &UnitBefore, version: u32, node: impl Fn(BlockDevice) -> Option<String>) -> Vec<Property> {
    let mut all = Properties::new(version, node);
    for limit in &before.lift {
        all.lift(limit);
    }
    all.set_limits(before.set.iter());
    all.list
}

/// The properties that can only be set when a unit starts.
pub fn of_start(settings: &[Setting], version: u32) -> Vec<Property> {
    let group = settings.iter().rev().find_map(|setting| match setting.limit.known() {
        Limit::MemoryOomGroup(on) => Some(*on),
        _ => None,
    });
    let policy = match group {
        Some(on) if version >= OOM_POLICY => Value::text(if on { "kill" } else { "continue" }),
        _ => return Vec::new(),
    };
    vec![("OOMPolicy".into(), policy)]
}

/// In the order in which they were first set.
struct Properties<N> {
    list: Vec<Property>,
    version: u32,
    node: N,
}

impl<N: Fn(BlockDevice) -> Option<String>> Properties<N> {
    fn new(version: u32, node: N) -> Self {
        Properties {
            list: Vec::new(),
            version,
            node,
        }
    }

    fn set_limits<'a>(&mut self, limits: impl Iterator<Item = &'a Limit>) {
        let mut idle = false;
        for limit in limits {
            match limit.known() {
                Limit::CpuIdle(on) => {
                    idle = *on && self.version >= IDLE;
                    self.set_limit(limit);
                }
                // An idle group has no other weight.
                Limit::CpuWeight(_) if idle => {}
                _ => self.set_limit(limit),
            }
        }
    }

    fn set_limit(&mut self, limit: &Limit) {
        match limit.known() {
            // systemd takes no 0 for these two. The kernel does, and kills.
            Limit::MemoryMax(Max::At(0)) | Limit::MemoryHigh(Max::At(0)) => {}
            Limit::MemoryMax(max) => self.set_max("MemoryMax", *max),
            Limit::MemoryHigh(max) => self.set_max("MemoryHigh", *max),
            Limit::MemoryLow(max) => self.set_max("MemoryLow", *max),
            Limit::MemoryMin(max) => self.set_max("MemoryMin", *max),
            Limit::MemorySwapMax(max) => self.set_max("MemorySwapMax", *max),
            Limit::MemoryZswapMax(max) if self.version >= MEMORY_ZSWAP_MAX => self.set_max("MemoryZSwapMax", *max),
            // systemd takes no 0 here either; the file gets it.
            Limit::PidsMax(Max::At(0)) => self.set_max("TasksMax", Max::At(1)),
            Limit::PidsMax(max) => self.set_max("TasksMax", *max),
            Limit::CpuIdle(idle) if self.version >= IDLE => {
                self.set("CPUWeight", Value::Uint64(if *idle { 0 } else { INFINITY }));
            }
            Limit::CpuWeight(weight) => self.set("CPUWeight", Value::Uint64(*weight)),
            Limit::CpuMax { quota, period } => {
                let quota = match quota {
                    Max::Unlimited => INFINITY,
                    Max::At(quota) => per_second(*quota, *period),
                };
                self.set("CPUQuotaPeriodUSec", Value::Uint64(*period));
                self.set("CPUQuotaPerSecUSec", Value::Uint64(quota));
            }
            Limit::CpusetCpus(list) => self.set_list("AllowedCPUs", list),
            Limit::CpusetMems(list) => self.set_list("AllowedMemoryNodes", list),
            Limit::BlockWeight { .. } => {
                if let Some(fallback) = limit.fallback() {
                    self.set_limit(&fallback);
                }
            }
            Limit::IoWeight { device, weight } => self.set_weight(*device, *weight),
            Limit::IoMax { device, rates } => self.set_rates(*device, rates),
            // It has no properties for these.
            Limit::MemoryZswapMax(_)
            | Limit::MemoryOomGroup(_)
            | Limit::CpuIdle(_)
            | Limit::CpuMaxBurst(_)
            | Limit::IoBfqWeight { .. }
            | Limit::HugetlbMax { .. }
            | Limit::RdmaMax { .. }
            | Limit::Raw(_) => {}
        }
    }

    /// Sets what a new cgroup has, whatever the limit is.
    fn lift(&mut self, limit: &Limit) {
        let nothing = match limit.known() {
            Limit::MemoryMax(_) => Limit::MemoryMax(Max::Unlimited),
            Limit::MemoryHigh(_) => Limit::MemoryHigh(Max::Unlimited),
            Limit::MemoryLow(_) => Limit::MemoryLow(Max::At(0)),
            Limit::MemoryMin(_) => Limit::MemoryMin(Max::At(0)),
            Limit::MemorySwapMax(_) => Limit::MemorySwapMax(Max::Unlimited),
            Limit::MemoryZswapMax(_) => Limit::MemoryZswapMax(Max::Unlimited),
            Limit::PidsMax(_) => Limit::PidsMax(Max::Unlimited),
            Limit::CpuIdle(_) => Limit::CpuIdle(false),
            Limit::CpuWeight(_) => Limit::CpuWeight(INFINITY),
            Limit::CpuMax { .. } => Limit::CpuMax {
                quota: Max::Unlimited,
                period: DEFAULT_PERIOD,
            },
            Limit::CpusetCpus(_) => Limit::CpusetCpus(String::new()),
            Limit::CpusetMems(_) => Limit::CpusetMems(String::new()),
            Limit::BlockWeight { device, .. } | Limit::IoWeight { device, .. } => Limit::IoWeight {
                device: *device,
                weight: Weight::Default,
            },
            Limit::IoMax { device, .. } => Limit::IoMax {
                device: *device,
                rates: Rates {
                    read_bytes: Some(Max::Unlimited),
                    write_bytes: Some(Max::Unlimited),
                    read_operations: Some(Max::Unlimited),
                    write_operations: Some(Max::Unlimited),
                },
            },
            Limit::MemoryOomGroup(_)
            | Limit::CpuMaxBurst(_)
            | Limit::IoBfqWeight { .. }
            | Limit::HugetlbMax { .. }
            | Limit::RdmaMax { .. }
            | Limit::Raw(_) => return,
        };
        self.set_limit(&nothing);
    }

    fn set(&mut self, name: &str, value: Value) {
        match self.list.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.list.push((name.into(), value)),
        }
    }

    fn set_max(&mut self, name: &str, max: Max) {
        self.set(name, Value::Uint64(number(max)));
    }

    /// Sets a list of CPUs or memory nodes, unless only the kernel understands it.
    fn set_list(&mut self, name: &str, list: &str) {
        if let Some(bits) = bits(list) {
            self.set(name, bits);
        }
    }

    fn set_weight(&mut self, device: Option<BlockDevice>, weight: Weight) {
        let number = match weight {
            Weight::Default => INFINITY,
            Weight::Of(number) => number,
        };
        match device {
            None => self.set("IOWeight", Value::Uint64(number)),
            Some(device) => {
                if let Some(node) = (self.node)(device) {
                    self.set_for_device("IODeviceWeight", &node, number);
                }
            }
        }
    }

    fn set_rates(&mut self, device: BlockDevice, rates: &Rates) {
        let Some(node) = (self.node)(device) else { return };
        for (name, rate) in [
            ("IOReadBandwidthMax", rates.read_bytes),
            ("IOWriteBandwidthMax", rates.write_bytes),
            ("IOReadIOPSMax", rates.read_operations),
            ("IOWriteIOPSMax", rates.write_operations),
        ] {
            if let Some(rate) = rate {
                self.set_for_device(name, &node, number(rate));
            }
        }
    }

    /// Sets one device's entry of a property that has one per device.
    fn set_for_device(&mut self, name: &str, node: &str, number: u64) {
        let entry = Value::Struct(vec![Value::text(node), Value::Uint64(number)]);
        let is_of_device =
            |entry: &Value| matches!(entry, Value::Struct(fields) if fields.first() == Some(&Value::text(node)));
        match self.list.iter_mut().find(|(known, _)| known == name) {
            Some((_, Value::Array(_, entries))) => {
                entries.retain(|entry| !is_of_device(entry));
                entries.push(entry);
            }
            _ => self.list.push((name.into(), Value::Array("(st)".into(), vec![entry]))),
        }
    }
}

fn number(max: Max) -> u64 {
    match max {
        Max::Unlimited => INFINITY,
        Max::At(number) => number,
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
