//! The statistics that CRIU leaves beside its log: how long the processes stood still, and how much was written.
//!
//! The file `stats-dump` has two magic numbers, a length, and a protobuf message, see
//! `images/stats.proto` of CRIU.

use std::path::Path;

use protobuf::CodedInputStream;
use protobuf::rt::WireType;
use serde_json::{Map, Value};

/// `IMG_SERVICE_MAGIC` and `STATS_MAGIC` of CRIU, and the length of the message.
const HEADER: usize = 12;

/// The field of `stats_entry` with the statistics of a dump, and the fields in it by their numbers. Times are in microseconds.
const DUMP: u32 = 1;
const FIELDS: [(u32, &str); 8] = [
    (1, "freezing_time"),
    (2, "frozen_time"),
    (3, "memdump_time"),
    (4, "memwrite_time"),
    (5, "pages_scanned"),
    (6, "pages_skipped_parent"),
    (7, "pages_written"),
    (9, "pages_lazy"),
];

/// Reads the statistics of a dump; none if CRIU has not written them.
pub fn read(directory: &Path) -> Option<Map<String, Value>> {
    parse(std::fs::read(directory.join("stats-dump")).ok()?.get(HEADER..)?)
}

fn parse(message: &[u8]) -> Option<Map<String, Value>> {
    let mut outer = CodedInputStream::from_bytes(message);
    while let Some(tag) = outer.read_raw_tag_or_eof().ok()? {
        let (field, wire) = (tag >> 3, WireType::new(tag & 7)?);
        if (field, wire) == (DUMP, WireType::LengthDelimited) {
            return fields(&outer.read_bytes().ok()?);
        }
        outer.skip_field(wire).ok()?;
    }
    None
}

fn fields(message: &[u8]) -> Option<Map<String, Value>> {
    let mut found = Map::new();
    let mut input = CodedInputStream::from_bytes(message);
    while let Some(tag) = input.read_raw_tag_or_eof().ok()? {
        let (field, wire) = (tag >> 3, WireType::new(tag & 7)?);
        match FIELDS.iter().find(|(number, _)| *number == field) {
            Some((_, name)) if wire == WireType::Varint => {
                found.insert((*name).into(), input.read_uint64().ok()?.into());
            }
            _ => input.skip_field(wire).ok()?,
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_read() {
        // stats_entry { dump { freezing_time: 300, frozen_time: 5, memdump_time: 1, pages_written: 129 } }
        let message = [0x0a, 10, 0x08, 0xac, 0x02, 0x10, 5, 0x18, 1, 0x38, 0x81, 0x01];
        let found = parse(&message).map(Value::Object);
        let expected =
            serde_json::json!({"freezing_time": 300, "frozen_time": 5, "memdump_time": 1, "pages_written": 129});
        assert_eq!(found, Some(expected));
        assert_eq!(parse(&[]), None);
    }

    proptest::proptest! {
        #[test]
        fn no_message_makes_it_panic(message: Vec<u8>) {
            let _ = parse(&message);
            let _ = fields(&message);
        }
    }
}
