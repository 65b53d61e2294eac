//! What is measured: a span is one step of one process, or the work on one object within it.

use serde::{Deserialize, Serialize};

use crate::error::Step;

/// The processes that take steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Runtime,
    Init,
    /// A process that joins a container. Its steps are not in the state.
    Exec,
}

impl Role {
    pub const fn name(self) -> &'static str {
        match self {
            Role::Runtime => "runtime",
            Role::Init => "init",
            Role::Exec => "exec",
        }
    }
}

/// Those that a process waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    Runtime,
    /// Init, or the exec process.
    Child,
    /// The call of `start`.
    Start,
    Hook,
    /// The program of the container, in the foreground.
    Program,
    Criu,
}

/// A stretch of time in one process. The spans of a process do not overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub(crate) step: Step,
    /// What the step works on, named as an error would name it.
    pub object: Option<String>,
    pub waits_for: Option<Peer>,
    /// On the monotonic clock of the runtime, in nanoseconds.
    pub begin: u64,
    /// In nanoseconds.
    pub duration: u64,
    pub failed: bool,
}

/// A span in a message: its fields in their order, without their names.
#[derive(Debug, Serialize, Deserialize)]
pub struct SpanParts(Step, Option<String>, Option<Peer>, u64, u64, bool);

impl Span {
    pub fn to_parts(&self) -> SpanParts {
        let object = self.object.clone();
        SpanParts(
            self.step,
            object,
            self.waits_for,
            self.begin,
            self.duration,
            self.failed,
        )
    }

    pub fn of_parts(SpanParts(step, object, waits_for, begin, duration, failed): SpanParts) -> Self {
        Span {
            step,
            object,
            waits_for,
            begin,
            duration,
            failed,
        }
    }
}

/// The clocks at one moment, by which those of two processes are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    pub monotonic: u64,
    pub real: u64,
}

/// A larger difference between the clocks of two processes is that of their time namespaces.
const SHIFTED: u64 = 50_000_000;

impl Clocks {
    /// The time of these clocks on the monotonic clock of `base`. Init may have entered a time namespace, where the monotonic
    /// clock is another; the real-time clock is the same everywhere.
    pub fn on(self, base: Clocks) -> u64 {
        let by_real = base.monotonic.saturating_add(self.real.saturating_sub(base.real));
        match self.monotonic.abs_diff(by_real) > SHIFTED {
            true => by_real,
            false => self.monotonic,
        }
    }

    /// The real time at which the monotonic clock shows or showed this.
    pub fn real_at(self, monotonic: u64) -> u64 {
        match monotonic.checked_sub(self.monotonic) {
            Some(after) => self.real.saturating_add(after),
            None => self.real.saturating_sub(self.monotonic - monotonic),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Clocks = Clocks {
        monotonic: 5_000_000_000,
        real: 1_700_000_000_000_000_000,
    };

    fn later(nanos: u64) -> Clocks {
        Clocks {
            monotonic: BASE.monotonic + nanos,
            real: BASE.real + nanos,
        }
    }

    #[test]
    fn the_clock_of_a_time_namespace_is_set_right() {
        assert_eq!(later(1_000).on(BASE), BASE.monotonic + 1_000);
        for shifted in [0, 86_400_000_000_000, u64::MAX] {
            let inside = Clocks {
                monotonic: shifted,
                ..later(2_000)
            };
            assert_eq!(inside.on(BASE), BASE.monotonic + 2_000);
        }
        // A clock that is being adjusted differs by less, and the monotonic one is the better of the two.
        let adjusted = Clocks {
            real: BASE.real + 900,
            ..later(1_000)
        };
        assert_eq!(adjusted.on(BASE), BASE.monotonic + 1_000);
    }

    #[test]
    fn real_times_follow_from_monotonic_ones() {
        assert_eq!(BASE.real_at(BASE.monotonic + 7), BASE.real + 7);
        assert_eq!(BASE.real_at(BASE.monotonic - 7), BASE.real - 7);
    }
}
