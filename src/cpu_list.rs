//! Lists of CPUs and memory nodes in the kernel's format (cpuset(7), "List format"): `0-3,7`.

use crate::error::{Result, bail};

/// Higher numbers are an error: no kernel supports that many, and the mask would waste memory.
const MAX: u32 = 65_535;

/// A set of numbers as the kernel expects it: a bit mask, lowest number first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuList(Vec<u64>);

impl CpuList {
    /// Parses a list of numbers and ranges, separated by commas.
    pub fn parse(list: &str) -> Result<Self> {
        let mut ranges = Vec::new();
        for part in list.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first, part)?, number(last, part)?);
            if first > last {
                bail!("the range {part:?} ends before it begins");
            }
            ranges.push((first, last));
        }
        ranges.sort_unstable();
        let mut set = CpuList::default();
        // Overlapping parts are added only once: a config may repeat the longest range very often.
        let mut next = 0;
        for (first, last) in ranges {
            if last >= next {
                set.add(first.max(next), last);
                next = last + 1;
            }
        }
        Ok(set)
    }

    /// Adds a whole range, a word at a time.
    fn add(&mut self, first: u32, last: u32) {
        let (from, to) = ((first / u64::BITS) as usize, (last / u64::BITS) as usize);
        if self.0.len() <= to {
            self.0.resize(to + 1, 0);
        }
        for (index, word) in self.0.iter_mut().enumerate().take(to + 1).skip(from) {
            let low = if index == from { first % u64::BITS } else { 0 };
            let high = if index == to { last % u64::BITS } else { u64::BITS - 1 };
            *word |= (u64::MAX << low) & (u64::MAX >> (u64::BITS - 1 - high));
        }
    }

    pub fn words(&self) -> &[u64] {
        &self.0
    }

    /// The count of numbers in the set.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn number(text: &str, part: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && number <= MAX => Ok(number),
        _ if digits => bail!("{text} is greater than the maximum, {MAX}"),
        _ => bail!("{part:?} is neither a number nor a range; a list looks like \"0-3,7\""),
    }
}
