//! Whether a limit is in force, by the content of its file. Pure.

use crate::cpu_list::CpuList;
use crate::plan::limits::{BlockDevice, Limit, Max, Weight};

/// None if the content is not understood.
pub fn is_in_force(limit: &Limit, content: &str) -> Option<bool> {
    let content = content.trim();
    let words = || content.split_ascii_whitespace();
    Some(match limit {
        Limit::MemoryMax(max)
        | Limit::MemoryHigh(max)
        | Limit::MemoryLow(max)
        | Limit::MemoryMin(max)
        | Limit::MemorySwapMax(max)
        | Limit::MemoryZswapMax(max) => is_same(*max, content, procfs::page_size())?,
        // Rounded down to huge pages, whose size the file's name has; any page size divides that.
        Limit::HugetlbMax { size, limit, .. } => is_same(*limit, content, huge_page(size)?)?,
        Limit::PidsMax(max) => is_same(*max, content, 1)?,
        Limit::MemoryOomGroup(_) | Limit::CpuIdle(_) | Limit::CpuWeight(_) | Limit::CpuMaxBurst(_) => {
            content == limit.text()
        }
        Limit::CpuMax { .. } => words().eq(limit.text().split_ascii_whitespace()),
        Limit::CpusetCpus(list) | Limit::CpusetMems(list) => {
            content == list || CpuList::parse(content).ok()? == CpuList::parse(list).ok()?
        }
        Limit::BlockWeight { device, weight } => is_weight(*device, Some(u64::from(*weight)), content)?,
        Limit::IoBfqWeight { device, weight } | Limit::IoWeight { device, weight } => {
            let weight = match weight {
                Weight::Default => None,
                Weight::Of(weight) => Some(*weight),
            };
            is_weight(*device, weight, content)?
        }
        Limit::IoMax { .. } | Limit::RdmaMax { .. } => are_pairs(&limit.text(), content),
        Limit::Raw(_) => return None,
    })
}

/// A number of which the kernel keeps whole units, or `max`.
fn is_same(asked: Max, content: &str, unit: u64) -> Option<bool> {
    let asked = match asked {
        Max::Unlimited => return Some(content == "max"),
        Max::At(asked) => asked,
    };
    // A limit above what the kernel can count is none.
    if content == "max" {
        return Some(asked >= i64::MAX as u64 - unit);
    }
    let found: u64 = content.parse().ok()?;
    Some(found == asked || found == asked - asked % unit)
}

/// `2MB` in bytes.
fn huge_page(size: &str) -> Option<u64> {
    let (number, shift) = [("KB", 10), ("MB", 20), ("GB", 30)]
        .into_iter()
        .find_map(|(unit, shift)| Some((size.strip_suffix(unit)?, shift)))?;
    Some(number.parse::<u64>().ok()?.max(1) << shift)
}

/// The line of a device, or the one that begins with `default`. No weight is the default.
fn is_weight(device: Option<BlockDevice>, weight: Option<u64>, content: &str) -> Option<bool> {
    let first = device.map_or("default".to_string(), |device| device.to_string());
    let line = content
        .lines()
        .find_map(|line| line.strip_prefix(&first)?.strip_prefix(' '));
    match (line, weight) {
        (Some(line), Some(weight)) => Some(line.trim().parse::<u64>().ok()? == weight),
        // Older kernels show the default alone.
        (None, Some(weight)) if device.is_none() => Some(content.parse::<u64>().ok()? == weight),
        (None, Some(_)) => Some(false),
        (None, None) => Some(true),
        (Some(_), None) => None,
    }
}

/// `DEVICE key=value …`: all pairs must be in the device's line. A device without a line has no limits.
fn are_pairs(asked: &str, content: &str) -> bool {
    let mut words = asked.split(' ');
    let device = words.next().unwrap_or_default();
    let line = content
        .lines()
        .find_map(|line| line.strip_prefix(device)?.strip_prefix(' '));
    let found: Vec<&str> = line.unwrap_or_default().split_ascii_whitespace().collect();
    let is_there = |pair: &str| found.contains(&pair) || line.is_none() && pair.ends_with("=max");
    words.all(is_there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::limits::Rates;

    const SDA: BlockDevice = BlockDevice { major: 8, minor: 0 };

    #[test]
    fn limits_are_recognized_in_the_forms_of_the_kernel() {
        let page = procfs::page_size();
        let weight = |device, weight| Limit::IoWeight { device, weight };
        let rates = Rates {
            read_bytes: Some(Max::At(7)),
            write_operations: Some(Max::Unlimited),
            ..Rates::default()
        };
        let rates = Limit::IoMax { device: SDA, rates };
        let huge = |limit| Limit::HugetlbMax {
            size: "2MB".into(),
            reserved: false,
            limit,
        };
        for (limit, content, expected) in [
            (Limit::PidsMax(Max::At(7)), "7\n", Some(true)),
            (Limit::PidsMax(Max::At(7)), "8", Some(false)),
            (Limit::PidsMax(Max::At(7)), "max", Some(false)),
            (Limit::PidsMax(Max::Unlimited), "max", Some(true)),
            (
                Limit::MemoryMax(Max::At(page * 3 + 1)),
                &(page * 3).to_string(),
                Some(true),
            ),
            (
                Limit::MemoryMax(Max::At(page * 3)),
                &(page * 2).to_string(),
                Some(false),
            ),
            (Limit::MemoryMax(Max::At(i64::MAX as u64)), "max", Some(true)),
            (huge(Max::At(3 << 20)), "2097152", Some(true)),
            (huge(Max::At(3 << 20)), "0", Some(false)),
            (
                Limit::CpuMax {
                    quota: Max::At(5),
                    period: 100,
                },
                "5 100\n",
                Some(true),
            ),
            (
                Limit::CpuMax {
                    quota: Max::At(5),
                    period: 100,
                },
                "max 100\n",
                Some(false),
            ),
            (Limit::CpusetCpus("0,1,2".into()), "0-2\n", Some(true)),
            (Limit::CpusetCpus("0,1,2".into()), "0-3\n", Some(false)),
            (weight(None, Weight::Of(5)), "default 5\n8:0 7", Some(true)),
            (weight(None, Weight::Of(5)), "default 6\n8:0 5", Some(false)),
            (weight(None, Weight::Of(5)), "5", Some(true)),
            (weight(Some(SDA), Weight::Of(7)), "default 5\n8:0 7", Some(true)),
            (weight(Some(SDA), Weight::Of(7)), "default 7", Some(false)),
            (weight(Some(SDA), Weight::Default), "default 7", Some(true)),
            (
                rates.clone(),
                "8:16 rbps=7\n8:0 rbps=7 wbps=max riops=max wiops=max",
                Some(true),
            ),
            (rates.clone(), "8:0 rbps=8 wbps=max riops=max wiops=max", Some(false)),
            (rates, "", Some(false)),
        ] {
            assert_eq!(is_in_force(&limit, content), expected, "{limit:?} {content:?}");
        }
    }
}
