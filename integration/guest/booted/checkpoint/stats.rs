//! CRIU's statistics of a dump, from the image that it writes to its working directory.

use std::fs;

use super::{Movable, work};

/// What CRIU counted during a dump (`images/stats.proto` of CRIU).
#[derive(Debug)]
pub struct Stats {
    /// Microseconds.
    pub frozen_time: u64,
    pub pages_skipped_parent: u64,
    pub pages_written: u64,
}

impl Stats {
    #[track_caller]
    pub fn of(movable: &Movable, images: &str) -> Self {
        let path = movable.bundle.path(&work(images)).join("stats-dump");
        let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        // Two magic numbers, the length, and a message with one field: the message with the numbers.
        let numbers = bytes.get(12..).and_then(|message| fields(message).into_iter().next());
        let Some((1, Field::Bytes(numbers))) = numbers else {
            panic!("{}: not statistics of a dump", path.display());
        };
        let number = |wanted: u64| {
            let found = fields(numbers).into_iter().find_map(|(number, field)| match field {
                Field::Number(value) if number == wanted => Some(value),
                _ => None,
            });
            found.unwrap_or_else(|| panic!("{}: no field {wanted}", path.display()))
        };
        Self {
            frozen_time: number(2),
            pages_skipped_parent: number(6),
            pages_written: number(7),
        }
    }
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message of Protocol Buffers, by number; those before the first one that it cannot read.
fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut found = Vec::new();
    while let Some(key) = varint(&mut message) {
        let Some(value) = varint(&mut message) else { break };
        match key & 7 {
            0 => found.push((key >> 3, Field::Number(value))),
            2 if value as usize <= message.len() => {
                let (bytes, rest) = message.split_at(value as usize);
                found.push((key >> 3, Field::Bytes(bytes)));
                message = rest;
            }
            _ => break,
        }
    }
    found
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
