//! Lists of processors and memory nodes as the kernel writes them: `0-3,7`.

use crate::error::{Result, bail};

/// Higher numbers are refused: no kernel has them, and a mask for them would be a waste.
const HIGHEST: u32 = 65_535;

/// A set of numbers as the kernel takes it: one bit each, lowest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuList(Vec<u64>);

impl CpuList {
    /// Reads a list: numbers and ranges of them, separated by commas, nothing else.
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
        // What is in already is not gone through again: a config may repeat the longest range very often.
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

    /// How many numbers are in it.
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
        Ok(number) if digits && number <= HIGHEST => Ok(number),
        _ if digits => bail!("{text} is above {HIGHEST}, the highest number that is accepted"),
        _ => bail!("{part:?} is neither a number nor a range; a list looks like \"0-3,7\""),
    }
}
