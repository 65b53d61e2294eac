//! `linux.resources.unified`: files of the cgroup and the text to write to them. The kernel gets each line as it is. What we
//! need to know about it (for systemd, and to undo an update) is read here, once.

use super::refuse::wrong;
use crate::error::Result;
use crate::plan::limits::{BlockDevice, DEFAULT_PERIOD, Limit, Max, Rates, Raw, RdmaLimits, Setting, Weight};

/// Files that are not limits but commands to the cgroup, and would act on init or on the runtime itself.
const COMMANDS: &[&str] = &[
    "cgroup.freeze",
    "cgroup.kill",
    "cgroup.procs",
    "cgroup.subtree_control",
    "cgroup.threads",
    "cgroup.type",
];

pub fn convert(file: &str, value: &str, settings: &mut Vec<Setting>) -> Result<()> {
    let field = format!("unified.{file}");
    if file.contains(['/', '\0']) || !file.contains('.') || file.starts_with('.') {
        return wrong(
            &field,
            format!("{file:?} is not the name of a cgroup file"),
            "a name has its controller, a dot and no slash: \"memory.high\"",
        );
    }
    if COMMANDS.contains(&file) {
        return wrong(
            &field,
            "is a command to the cgroup, not a limit".into(),
            "leave it out; orlop has commands for it",
        );
    }
    // Each line is written separately: the kernel reads one entry at a time.
    let mut lines: Vec<&str> = value.lines().filter(|line| !line.trim().is_empty()).collect();
    if lines.is_empty() {
        // Some files take an empty line as a value: cpuset.cpus is then the parent's.
        lines.push("\n");
    }
    for line in lines {
        let raw = Raw {
            file: file.into(),
            line: line.into(),
            known: read(file, line).map(Box::new),
        };
        settings.push(Setting::new(&field, Limit::Raw(raw)));
    }
    Ok(())
}

/// The limit that a line sets in a file. `None` if we do not know the file or do not understand the line.
pub fn read(file: &str, line: &str) -> Option<Limit> {
    let line = line.trim();
    Some(match file {
        "pids.max" => Limit::PidsMax(max(line)?),
        "memory.max" => Limit::MemoryMax(max(line)?),
        "memory.high" => Limit::MemoryHigh(max(line)?),
        "memory.low" => Limit::MemoryLow(max(line)?),
        "memory.min" => Limit::MemoryMin(max(line)?),
        "memory.swap.max" => Limit::MemorySwapMax(max(line)?),
        "memory.zswap.max" => Limit::MemoryZswapMax(max(line)?),
        "memory.oom.group" => Limit::MemoryOomGroup(switch(line)?),
        "cpu.idle" => Limit::CpuIdle(switch(line)?),
        "cpu.weight" => Limit::CpuWeight(line.parse().ok()?),
        "cpu.max" => bandwidth(line)?,
        "cpu.max.burst" => Limit::CpuMaxBurst(line.parse().ok()?),
        "cpuset.cpus" => Limit::CpusetCpus(line.into()),
        "cpuset.mems" => Limit::CpusetMems(line.into()),
        "io.max" => io_max(line)?,
        "io.weight" => {
            let (device, weight) = weight(line)?;
            Limit::IoWeight { device, weight }
        }
        "io.bfq.weight" => {
            let (device, weight) = weight(line)?;
            Limit::IoBfqWeight { device, weight }
        }
        "rdma.max" => rdma(line)?,
        _ => return None,
    })
}

/// `max`, or a number that may have a unit.
fn max(text: &str) -> Option<Max> {
    if text == "max" {
        return Some(Max::Unlimited);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        "e" => 60,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift).map(Max::At)
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// `50000 100000`, `max 100000`, `50000`
fn bandwidth(line: &str) -> Option<Limit> {
    let mut words = line.split_ascii_whitespace();
    let quota = max(words.next()?)?;
    let period = words
        .next()
        .map_or(Some(DEFAULT_PERIOD), |word| word.parse().ok())
        .filter(|period| *period > 0)?;
    words.next().is_none().then_some(Limit::CpuMax { quota, period })
}

fn device(word: &str) -> Option<BlockDevice> {
    let (major, minor) = word.split_once(':')?;
    Some(BlockDevice {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
    })
}

/// `8:0 rbps=1048576 wiops=max`
fn io_max(line: &str) -> Option<Limit> {
    let mut words = line.split_ascii_whitespace();
    let device = device(words.next()?)?;
    let mut rates = Rates::default();
    for (key, rate) in words.filter_map(|word| word.split_once('=')) {
        let to = match key {
            "rbps" => &mut rates.read_bytes,
            "wbps" => &mut rates.write_bytes,
            "riops" => &mut rates.read_operations,
            "wiops" => &mut rates.write_operations,
            _ => continue,
        };
        *to = max(rate).or(*to);
    }
    Some(Limit::IoMax { device, rates })
}

/// `200`, `default 200`, `8:0 200`, `8:0 default`
fn weight(line: &str) -> Option<(Option<BlockDevice>, Weight)> {
    let weight = |text: &str| match text {
        "default" => Some(Weight::Default),
        number => number.parse().ok().map(Weight::Of),
    };
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    match words.as_slice() {
        [number] | ["default", number] => Some((None, weight(number)?)),
        [numbers, number] => Some((Some(device(numbers)?), weight(number)?)),
        _ => None,
    }
}

/// `mlx5_0 hca_handle=2 hca_object=max`
fn rdma(line: &str) -> Option<Limit> {
    let mut words = line.split_ascii_whitespace();
    let device = words.next()?.to_string();
    let mut limits = RdmaLimits::default();
    for (key, value) in words.filter_map(|word| word.split_once('=')) {
        match key {
            "hca_handle" => limits.handles = max(value),
            "hca_object" => limits.objects = max(value),
            _ => {}
        }
    }
    Some(Limit::RdmaMax { device, limits })
}
