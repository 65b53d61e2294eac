//! What containers use between two samples.

use std::collections::HashMap;
use std::time::Instant;

use super::super::listed::{Listed, Measured};
use crate::cgroup::usage::{Io, Limit, Pressures};
use crate::cli::SortKey;
use crate::status::Status;

/// One container in one sample. A value is absent if its cgroup does not have it, and a rate also in the first sample with the
/// container.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub id: String,
    pub status: Status,
    /// Percent of one CPU.
    pub cpu: Option<f64>,
    /// Percent of the periods with a quota.
    pub throttled: Option<f64>,
    pub memory: Option<u64>,
    pub memory_limit: Option<Limit>,
    pub swap: Option<u64>,
    /// Threads; processes if only these are counted.
    pub pids: Option<u64>,
    pub pids_limit: Option<Limit>,
    /// Bytes per second from all block devices.
    pub read: Option<f64>,
    pub written: Option<f64>,
    pub pressure: Pressures,
    pub oom_kills: Option<u64>,
}

/// The counters of a container, from which rates are computed.
#[derive(Debug, Clone)]
struct Counters {
    at: Instant,
    /// The ID may belong to another container by now.
    created: String,
    cpu: Option<u64>,
    periods: Option<(u64, u64)>,
    read: Option<u64>,
    written: Option<u64>,
}

/// The counters of the last sample, and of no container that was not in it.
#[derive(Debug, Default)]
pub struct Sampler(HashMap<String, Counters>);

impl Sampler {
    /// The rows of the containers, in their order. `at` is when they were read.
    pub fn rows(&mut self, containers: Vec<Listed>, at: Instant) -> Vec<Row> {
        let before = std::mem::take(&mut self.0);
        let mut rows = Vec::with_capacity(containers.len());
        for container in containers {
            let Listed {
                state,
                status,
                measured,
                ..
            } = container;
            let counters = counters(measured.as_deref(), state.created, at);
            let last = before.get(&state.id).filter(|last| last.created == counters.created);
            rows.push(row(state.id.clone(), status, measured.as_deref(), &counters, last));
            self.0.insert(state.id, counters);
        }
        rows
    }
}

fn counters(measured: Option<&Measured>, created: String, at: Instant) -> Counters {
    let usage = measured.map(|measured| &measured.usage);
    let cpu = usage.and_then(|usage| usage.cpu.as_ref());
    let bandwidth = cpu.and_then(|cpu| cpu.bandwidth.as_ref());
    let io = usage.and_then(|usage| usage.io.as_ref());
    let sum = |value: fn(&Io) -> Option<u64>| io.map(|io| io.iter().filter_map(value).sum());
    Counters {
        at,
        created,
        cpu: cpu.map(|cpu| cpu.usage),
        periods: bandwidth.map(|bandwidth| (bandwidth.periods, bandwidth.throttled_periods)),
        read: sum(|io| io.read_bytes),
        written: sum(|io| io.written_bytes),
    }
}

fn row(id: String, status: Status, measured: Option<&Measured>, now: &Counters, last: Option<&Counters>) -> Row {
    let usage = measured.map(|measured| &measured.usage);
    let memory = usage.and_then(|usage| usage.memory.as_ref());
    let pids = usage.map(|usage| &usage.pids);
    let per_second = |value: fn(&Counters) -> Option<u64>| rate(now, last?, value);
    Row {
        id,
        status,
        // Microseconds in a second are hundredths of a percent of a percent.
        cpu: per_second(|counters| counters.cpu).map(|rate| rate / 10_000.0),
        throttled: last.and_then(|last| throttled(now, last)),
        memory: memory.map(|memory| memory.current),
        memory_limit: memory.and_then(|memory| memory.limit),
        swap: memory.and_then(|memory| memory.swap),
        pids: pids.and_then(|pids| pids.threads).or_else(|| measured?.processes),
        pids_limit: pids.and_then(|pids| pids.limit),
        read: per_second(|counters| counters.read),
        written: per_second(|counters| counters.written),
        pressure: usage.map(|usage| usage.pressure.clone()).unwrap_or_default(),
        oom_kills: memory.and_then(|memory| memory.oom_kills),
    }
}

/// How much a counter has grown in a second. None if it has been reset.
fn rate(now: &Counters, last: &Counters, value: fn(&Counters) -> Option<u64>) -> Option<f64> {
    let grown = value(now)?.checked_sub(value(last)?)?;
    let seconds = now.at.checked_duration_since(last.at)?.as_secs_f64();
    (seconds > 0.0).then(|| grown as f64 / seconds)
}

fn throttled(now: &Counters, last: &Counters) -> Option<f64> {
    let ((periods, throttled), (old_periods, old_throttled)) = (now.periods?, last.periods?);
    let (periods, throttled) = (periods.checked_sub(old_periods)?, throttled.checked_sub(old_throttled)?);
    // Without a period the container has not run, or has no quota.
    Some(throttled as f64 * 100.0 / periods.max(1) as f64)
}

/// Sorts rows: the highest value first, absent ones last, equal ones by name.
pub fn sort(rows: &mut [Row], key: SortKey) {
    let value = |row: &Row| match key {
        SortKey::Cpu => row.cpu,
        SortKey::Memory => row.memory.map(|bytes| bytes as f64),
        SortKey::Pids => row.pids.map(|number| number as f64),
        SortKey::Io => match (row.read, row.written) {
            (None, None) => None,
            (read, written) => Some(read.unwrap_or(0.0) + written.unwrap_or(0.0)),
        },
        SortKey::Name => None,
    };
    let value = |row: &Row| value(row).unwrap_or(-1.0);
    rows.sort_by(|a, b| value(b).total_cmp(&value(a)).then_with(|| a.id.cmp(&b.id)));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn counters(at: Instant, cpu: u64, periods: (u64, u64), read: Option<u64>) -> Counters {
        Counters {
            at,
            created: "then".into(),
            cpu: Some(cpu),
            periods: Some(periods),
            read,
            written: None,
        }
    }

    fn between(now: &Counters, last: &Counters) -> Row {
        row("c".into(), Status::Running, None, now, Some(last))
    }

    #[test]
    fn rates_are_for_the_time_between_two_samples() {
        let begin = Instant::now();
        let first = counters(begin, 1_000_000, (10, 1), Some(100));
        let second = counters(begin + Duration::from_secs(2), 4_000_000, (30, 6), Some(300));
        let row = between(&second, &first);
        assert_eq!(
            (row.cpu, row.throttled, row.read, row.written),
            (Some(150.0), Some(25.0), Some(100.0), None)
        );
        // A counter that was reset gives no rate, nor do two samples at the same time.
        let row = between(&first, &second);
        assert_eq!((row.cpu, row.throttled, row.read), (None, None, None));
        assert_eq!(between(&first, &first).cpu, None);
        assert_eq!(between(&first, &first).throttled, Some(0.0));
    }

    #[test]
    fn the_highest_value_comes_first_and_absent_ones_last() {
        let begin = Instant::now();
        let row = |id: &str, cpu: Option<f64>, memory: Option<u64>, pids: Option<u64>, read: Option<f64>| Row {
            id: id.into(),
            cpu,
            memory,
            pids,
            read,
            ..between(&counters(begin, 0, (0, 0), None), &counters(begin, 0, (0, 0), None))
        };
        let mut rows = vec![
            row("d", None, None, None, None),
            row("b", Some(0.0), Some(7), Some(1), Some(1.0)),
            row("c", Some(50.0), Some(9), Some(1), None),
            row("a", Some(0.0), Some(8), Some(2), Some(2.0)),
        ];
        for (key, expected) in [
            (SortKey::Cpu, "cabd"),
            (SortKey::Memory, "cabd"),
            (SortKey::Pids, "abcd"),
            (SortKey::Io, "abcd"),
            (SortKey::Name, "abcd"),
        ] {
            sort(&mut rows, key);
            let order: String = rows.iter().map(|row| row.id.as_str()).collect();
            assert_eq!(order, expected, "{key:?}");
        }
    }
}
