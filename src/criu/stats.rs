//! The statistics that CRIU leaves beside its log: how long the processes stood still.
//!
//! The file `stats-dump` has two magic numbers, a length, and a protobuf message, see `images/stats.proto` and `Images` of the
//! documentation of CRIU.

use std::path::Path;
use std::time::Duration;

use protobuf::CodedInputStream;
use protobuf::rt::WireType;

/// How long the processes did not run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standstill {
    /// Until all of them were stopped.
    pub freezing: Duration,
    /// From then until they went on or were killed.
    pub frozen: Duration,
    /// Pages of memory that were written.
    pub pages: u64,
}

/// `IMG_SERVICE_MAGIC` and `STATS_MAGIC` of CRIU, and the length of the message.
const HEADER: usize = 12;
/// Fields of `stats_entry` and of `dump_stats_entry`.
const DUMP: u32 = 1;
const FREEZING: u32 = 1;
const FROZEN: u32 = 2;
const PAGES_WRITTEN: u32 = 7;

/// Reads the statistics of a dump; none if CRIU has not written them.
pub fn read(directory: &Path) -> Option<Standstill> {
    parse(std::fs::read(directory.join("stats-dump")).ok()?.get(HEADER..)?)
}

fn parse(message: &[u8]) -> Option<Standstill> {
    let mut outer = CodedInputStream::from_bytes(message);
    while let Some(tag) = outer.read_raw_tag_or_eof().ok()? {
        let (field, wire) = (tag >> 3, WireType::new(tag & 7)?);
        if (field, wire) == (DUMP, WireType::LengthDelimited) {
            return dump(&outer.read_bytes().ok()?);
        }
        outer.skip_field(wire).ok()?;
    }
    None
}

fn dump(message: &[u8]) -> Option<Standstill> {
    let mut found = Standstill::default();
    let mut fields = CodedInputStream::from_bytes(message);
    while let Some(tag) = fields.read_raw_tag_or_eof().ok()? {
        let (field, wire) = (tag >> 3, WireType::new(tag & 7)?);
        match (field, wire) {
            // In microseconds.
            (FREEZING, WireType::Varint) => found.freezing = Duration::from_micros(fields.read_uint64().ok()?),
            (FROZEN, WireType::Varint) => found.frozen = Duration::from_micros(fields.read_uint64().ok()?),
            (PAGES_WRITTEN, WireType::Varint) => found.pages = fields.read_uint64().ok()?,
            _ => fields.skip_field(wire).ok()?,
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_dump_are_read() {
        // stats_entry { dump { freezing_time: 300, frozen_time: 5, memdump_time: 1, pages_written: 129 } }
        let message = [0x0a, 10, 0x08, 0xac, 0x02, 0x10, 5, 0x18, 1, 0x38, 0x81, 0x01];
        let expected = Standstill {
            freezing: Duration::from_micros(300),
            frozen: Duration::from_micros(5),
            pages: 129,
        };
        assert_eq!(parse(&message), Some(expected));
        assert_eq!(parse(&[]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_message_makes_it_panic(message: Vec<u8>) {
            let _ = parse(&message);
            let _ = dump(&message);
        }
    }
}
