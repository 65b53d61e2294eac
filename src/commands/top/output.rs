//! A sample as a table and as JSON.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::sample::Row;
use crate::cgroup::usage::{Limit, Pressure, Stall};
use crate::rfc3339;

const HEADER: [&str; 15] = [
    "ID", "STATUS", "CPU%", "THR%", "MEMORY", "LIMIT", "SWAP", "PIDS", "LIMIT", "READ/s", "WRITE/s", "CPU-PSI",
    "MEM-PSI", "IO-PSI", "OOM",
];

/// The columns that are aligned to the left.
const NAMES: usize = 2;

/// The lines of a table, the first of which is the header. A value that a cgroup lacks is `-`, an absent limit `max`.
pub fn table(rows: &[Row]) -> Vec<String> {
    let mut lines = vec![HEADER.map(str::to_string)];
    lines.extend(rows.iter().map(cells));
    let mut widths = [0; HEADER.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.len());
        }
    }
    let render = |line: [String; HEADER.len()]| {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            text += &match column < NAMES {
                true => format!("{gap}{cell:<width$}"),
                false => format!("{gap}{cell:>width$}"),
            };
        }
        text
    };
    lines.into_iter().map(render).collect()
}

fn cells(row: &Row) -> [String; HEADER.len()] {
    let text = |cell: Option<String>| cell.unwrap_or_else(|| "-".into());
    let bytes = |bytes: Option<u64>| text(bytes.map(|bytes| size(bytes as f64)));
    let percent = |percent: Option<f64>| text(percent.map(|percent| format!("{percent:.1}")));
    let limit = |limit: Option<Limit>, show: fn(u64) -> String| {
        text(limit.map(|limit| limit.at().map_or_else(|| "max".into(), show)))
    };
    [
        row.id.clone(),
        row.status.name().into(),
        percent(row.cpu),
        percent(row.throttled),
        bytes(row.memory),
        limit(row.memory_limit, |bytes| size(bytes as f64)),
        bytes(row.swap),
        text(row.pids.map(|pids| pids.to_string())),
        limit(row.pids_limit, |pids| pids.to_string()),
        text(row.read.map(size)),
        text(row.written.map(size)),
        text(row.pressure.cpu.as_ref().map(pressure)),
        text(row.pressure.memory.as_ref().map(pressure)),
        text(row.pressure.io.as_ref().map(pressure)),
        text(row.oom_kills.map(|kills| kills.to_string())),
    ]
}

/// Percent of the last 10 seconds: `some/full`.
fn pressure(pressure: &Pressure) -> String {
    let percent = |stall: &Option<Stall>| match stall {
        Some(stall) => format!("{:.1}", stall.avg10),
        None => "-".into(),
    };
    format!("{}/{}", percent(&pressure.some), percent(&pressure.full))
}

/// A number of bytes in at most five characters, with a unit to the base of 1024.
fn size(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["", "K", "M", "G", "T", "P"] {
        if value < 999.5 {
            return match unit {
                "" => format!("{value:.0}"),
                _ if value < 9.95 => format!("{value:.1}{unit}"),
                _ => format!("{value:.0}{unit}"),
            };
        }
        value /= 1024.0;
    }
    format!("{value:.0}E")
}

/// One line of JSON. `interval` is the time since the last sample.
pub fn document(rows: &[Row], time: SystemTime, interval: Option<Duration>) -> String {
    let containers: Vec<Value> = rows.iter().map(container).collect();
    let document = json!({
        "time": rfc3339::format(time),
        "interval": interval.map(|interval| interval.as_secs_f64()),
        "containers": containers
    });
    format!("{document}\n")
}

fn container(row: &Row) -> Value {
    let limit = |limit: Option<Limit>| limit.and_then(Limit::at);
    json!({
        "id": row.id,
        "status": row.status.name(),
        "cpu": { "percent": row.cpu, "throttledPercent": row.throttled },
        "memory": { "usage": row.memory, "limit": limit(row.memory_limit), "swap": row.swap },
        "pids": { "current": row.pids, "limit": limit(row.pids_limit) },
        "io": { "readBytesPerSecond": row.read, "writtenBytesPerSecond": row.written },
        "pressure": {
            "cpu": row.pressure.cpu.as_ref().map(averages),
            "memory": row.pressure.memory.as_ref().map(averages),
            "io": row.pressure.io.as_ref().map(averages)
        },
        "oomKills": row.oom_kills
    })
}

fn averages(pressure: &Pressure) -> Value {
    let average = |stall: &Option<Stall>| stall.as_ref().map(|stall| stall.avg10);
    json!({ "some": average(&pressure.some), "full": average(&pressure.full) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::usage::Pressures;
    use crate::status::Status;

    /// A container with every value, and one with none.
    fn rows() -> [Row; 2] {
        let stall = |avg10| {
            Some(Stall {
                avg10,
                ..Stall::default()
            })
        };
        let none = Row {
            id: "db".into(),
            status: Status::Stopped,
            cpu: None,
            throttled: None,
            memory: None,
            memory_limit: None,
            swap: None,
            pids: None,
            pids_limit: None,
            read: None,
            written: None,
            pressure: Pressures::default(),
            oom_kills: None,
        };
        let all = Row {
            id: "web-frontend".into(),
            status: Status::Running,
            cpu: Some(153.25),
            throttled: Some(12.5),
            memory: Some(12_900_000),
            memory_limit: Some(Limit::At(64 << 20)),
            swap: Some(0),
            pids: Some(7),
            pids_limit: Some(Limit::Unlimited),
            read: Some(1536.0),
            written: Some(0.25),
            pressure: Pressures {
                cpu: Some(Pressure {
                    some: stall(12.34),
                    full: stall(0.0),
                }),
                memory: Some(Pressure {
                    some: stall(1.5),
                    full: None,
                }),
                io: None,
            },
            oom_kills: Some(2),
        };
        [all, none]
    }

    #[test]
    fn a_value_that_is_lacking_is_a_hyphen() {
        assert_eq!(
            table(&rows()),
            [
                "ID            STATUS    CPU%  THR%  MEMORY  LIMIT  SWAP  PIDS  LIMIT  READ/s  WRITE/s   CPU-PSI  MEM-PSI  IO-PSI  OOM",
                "web-frontend  running  153.2  12.5     12M    64M     0     7    max    1.5K        0  12.3/0.0    1.5/-       -    2",
                "db            stopped      -     -       -      -     -     -      -       -        -         -        -       -    -",
            ]
        );
    }

    #[test]
    fn the_document_has_every_field() {
        let line = document(&rows(), SystemTime::UNIX_EPOCH, Some(Duration::from_millis(1500)));
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let expected = json!({
            "time": "1970-01-01T00:00:00Z",
            "interval": 1.5,
            "containers": [
                {
                    "id": "web-frontend",
                    "status": "running",
                    "cpu": { "percent": 153.25, "throttledPercent": 12.5 },
                    "memory": { "usage": 12_900_000, "limit": 64 << 20, "swap": 0 },
                    "pids": { "current": 7, "limit": null },
                    "io": { "readBytesPerSecond": 1536.0, "writtenBytesPerSecond": 0.25 },
                    "pressure": {
                        "cpu": { "some": 12.34, "full": 0.0 },
                        "memory": { "some": 1.5, "full": null },
                        "io": null
                    },
                    "oomKills": 2
                },
                {
                    "id": "db",
                    "status": "stopped",
                    "cpu": { "percent": null, "throttledPercent": null },
                    "memory": { "usage": null, "limit": null, "swap": null },
                    "pids": { "current": null, "limit": null },
                    "io": { "readBytesPerSecond": null, "writtenBytesPerSecond": null },
                    "pressure": { "cpu": null, "memory": null, "io": null },
                    "oomKills": null
                }
            ]
        });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
        let empty: Value = serde_json::from_str(&document(&[], SystemTime::UNIX_EPOCH, None)).unwrap();
        assert_eq!(
            empty,
            json!({ "time": "1970-01-01T00:00:00Z", "interval": null, "containers": [] })
        );
    }

    #[test]
    fn sizes_have_at_most_five_characters() {
        let table = [
            (0.0, "0"),
            (999.0, "999"),
            (999.6, "1.0K"),
            (1024.0, "1.0K"),
            (9.96 * 1024.0, "10K"),
            (1023.0 * 1024.0, "1.0M"),
            (1.5 * 1024f64.powi(3), "1.5G"),
            (u64::MAX as f64, "16E"),
        ];
        for (bytes, expected) in table {
            assert_eq!(size(bytes), expected, "{bytes}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_size_is_wider(bytes: u64) {
            assert!(size(bytes as f64).len() <= 5);
        }
    }
}
