//! What a cgroup uses, as numbers. Pure: it reads through a function, so that tests can supply texts.
//!
//! A file that does not exist, because a controller is not enabled or the kernel is too old, leaves its values absent: nothing
//! is reported as 0 that is not counted. Formats are those of the kernel's cgroup-v2 document.

/// Reads a file of the cgroup. `None` if it does not exist.
pub type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The content of a limit's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `max`
    Unlimited,
    At(u64),
}

impl Limit {
    /// The limit, if there is one.
    pub fn at(self) -> Option<u64> {
        match self {
            Limit::Unlimited => None,
            Limit::At(limit) => Some(limit),
        }
    }

    /// The limit as a number; the highest one if there is none.
    pub fn or_highest(self) -> u64 {
        self.at().unwrap_or(u64::MAX)
    }
}

/// What a cgroup and those below it use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    pub cpu: Option<Cpu>,
    pub memory: Option<Memory>,
    pub pids: Pids,
    /// One entry for each device. `None` without the io controller.
    pub io: Option<Vec<Io>>,
    pub pressure: Pressures,
}

/// `cpu.stat` and `cpu.max`. Times are in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    pub usage: u64,
    pub user: u64,
    pub system: u64,
    /// Only with the cpu controller.
    pub bandwidth: Option<Bandwidth>,
}

/// The limit of CPU time, and what it has cost. Times are in microseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bandwidth {
    /// CPU time in each period.
    pub quota: Limit,
    pub period: u64,
    /// Periods in which the cgroup ran, while it had a quota.
    pub periods: u64,
    /// Those in which it used up its quota.
    pub throttled_periods: u64,
    /// How long its threads have waited for the next period.
    pub throttled: u64,
}

/// The files of the memory controller. Sizes are in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    pub current: u64,
    pub limit: Option<Limit>,
    /// The highest usage so far (Linux 5.19).
    pub peak: Option<u64>,
    pub swap: Option<u64>,
    pub swap_limit: Option<Limit>,
    /// Page cache.
    pub file: u64,
    /// Page cache that has not been used lately: the first that the kernel frees.
    pub inactive_file: u64,
    pub mapped_file: u64,
    /// Memory that belongs to no file.
    pub anon: u64,
    pub kernel: Option<u64>,
    /// How often usage was about to exceed the limit.
    pub limit_hits: Option<u64>,
    /// Processes that the OOM killer has killed.
    pub oom_kills: Option<u64>,
}

impl Memory {
    /// What the kernel cannot free easily, by cAdvisor's rule.
    pub fn working_set(&self) -> u64 {
        self.current.saturating_sub(self.inactive_file)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pids {
    /// Threads. `None` without the pids controller.
    pub threads: Option<u64>,
    /// The limit of threads.
    pub limit: Option<Limit>,
}

/// A line of `io.stat`. The kernel leaves out the values of a device that was not used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Io {
    pub major: u64,
    pub minor: u64,
    pub read_bytes: Option<u64>,
    pub written_bytes: Option<u64>,
    pub reads: Option<u64>,
    pub writes: Option<u64>,
}

/// Pressure stall information (PSI) of each resource; `None` if the kernel does not measure it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pressures {
    pub cpu: Option<Pressure>,
    pub memory: Option<Pressure>,
    pub io: Option<Pressure>,
}

/// A file of PSI.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pressure {
    /// At least one thread waited for the resource.
    pub some: Option<Stall>,
    /// All threads did.
    pub full: Option<Stall>,
}

/// How much of the time was lost.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stall {
    /// Percent of the last 10 seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last 5 minutes.
    pub avg300: f64,
    /// Microseconds since the cgroup was created.
    pub total: u64,
}

impl Usage {
    pub fn read(read: Read) -> Usage {
        Usage {
            cpu: Cpu::read(read),
            memory: Memory::read(read, &read("memory.stat").unwrap_or_default()),
            pids: Pids {
                threads: number(read, "pids.current"),
                limit: limit(read, "pids.max"),
            },
            io: read("io.stat").map(|text| io(&text)),
            pressure: Pressures {
                cpu: Pressure::read(read, "cpu.pressure"),
                memory: Pressure::read(read, "memory.pressure"),
                io: Pressure::read(read, "io.pressure"),
            },
        }
    }
}

impl Cpu {
    pub fn read(read: Read) -> Option<Cpu> {
        let text = read("cpu.stat")?;
        let bandwidth = || {
            let max = read("cpu.max").unwrap_or_default();
            let mut max = max.split_ascii_whitespace();
            Bandwidth {
                quota: max.next().and_then(parse_limit).unwrap_or(Limit::Unlimited),
                period: max.next().and_then(|period| period.parse().ok()).unwrap_or(0),
                periods: entry(&text, "nr_periods").unwrap_or(0),
                throttled_periods: entry(&text, "nr_throttled").unwrap_or(0),
                throttled: entry(&text, "throttled_usec").unwrap_or(0),
            }
        };
        Some(Cpu {
            usage: entry(&text, "usage_usec").unwrap_or(0),
            user: entry(&text, "user_usec").unwrap_or(0),
            system: entry(&text, "system_usec").unwrap_or(0),
            bandwidth: entry(&text, "nr_periods").map(|_| bandwidth()),
        })
    }
}

impl Memory {
    /// `stat` is the content of memory.stat.
    pub fn read(read: Read, stat: &str) -> Option<Memory> {
        let events = read("memory.events");
        let event = |key| entry(events.as_deref()?, key);
        Some(Memory {
            current: number(read, "memory.current")?,
            limit: limit(read, "memory.max"),
            peak: number(read, "memory.peak"),
            swap: number(read, "memory.swap.current"),
            swap_limit: limit(read, "memory.swap.max"),
            file: entry(stat, "file").unwrap_or(0),
            inactive_file: entry(stat, "inactive_file").unwrap_or(0),
            mapped_file: entry(stat, "file_mapped").unwrap_or(0),
            anon: entry(stat, "anon").unwrap_or(0),
            kernel: entry(stat, "kernel"),
            limit_hits: event("max"),
            oom_kills: event("oom_kill"),
        })
    }
}

impl Pressure {
    pub fn read(read: Read, file: &str) -> Option<Pressure> {
        let text = read(file)?;
        let stall = |kind: &str| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
            let value = |key: &str| {
                line.split(' ')
                    .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
            };
            let average = |key| value(key)?.parse().ok();
            Some(Stall {
                avg10: average("avg10")?,
                avg60: average("avg60")?,
                avg300: average("avg300")?,
                total: value("total")?.parse().ok()?,
            })
        };
        let pressure = Pressure {
            some: stall("some"),
            full: stall("full"),
        };
        (pressure != Pressure::default()).then_some(pressure)
    }
}

/// The lines of `io.stat`.
pub fn io(text: &str) -> Vec<Io> {
    text.lines().filter_map(io_line).collect()
}

fn io_line(line: &str) -> Option<Io> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let mut io = Io {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        ..Io::default()
    };
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            continue;
        };
        let value = Some(value.parse().unwrap_or(0));
        match key {
            "rbytes" => io.read_bytes = value,
            "wbytes" => io.written_bytes = value,
            "rios" => io.reads = value,
            "wios" => io.writes = value,
            _ => {}
        }
    }
    Some(io)
}

/// A file with one number.
pub fn number(read: Read, file: &str) -> Option<u64> {
    read(file)?.trim().parse().ok()
}

/// A file with a limit.
pub fn limit(read: Read, file: &str) -> Option<Limit> {
    parse_limit(read(file)?.trim())
}

fn parse_limit(text: &str) -> Option<Limit> {
    match text {
        "max" => Some(Limit::Unlimited),
        text => text.parse().ok().map(Limit::At),
    }
}

/// The lines `key number` of a file.
pub fn table(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, number) = line.split_once(' ')?;
        Some((key, number.trim().parse().ok()?))
    })
}

/// The number of one key.
pub fn entry(text: &str, key: &str) -> Option<u64> {
    table(text).find(|(found, _)| *found == key).map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Usage {
        let content = |file: &str| {
            files
                .iter()
                .find(|(name, _)| *name == file)
                .map(|(_, text)| text.to_string())
        };
        Usage::read(&content)
    }

    #[test]
    fn what_a_cgroup_lacks_is_absent() {
        assert_eq!(of(&[]), Usage::default());
        let without_controllers = of(&[("cpu.stat", "usage_usec 12\nuser_usec 7\nsystem_usec 5\n")]);
        let cpu = without_controllers.cpu.unwrap();
        assert_eq!((cpu.usage, cpu.user, cpu.system, cpu.bandwidth), (12, 7, 5, None));
        assert_eq!(of(&[("memory.max", "max\n"), ("memory.stat", "anon 1\n")]).memory, None);
        assert_eq!(of(&[("cpu.pressure", "")]).pressure, Pressures::default());
    }

    #[test]
    fn limits_are_told_from_numbers() {
        let usage = of(&[
            ("cpu.stat", "nr_periods 4\nnr_throttled 3\nthrottled_usec 9\n"),
            ("cpu.max", "max 100000\n"),
            ("memory.current", "100\n"),
            ("memory.max", "200\n"),
            ("memory.swap.max", "max\n"),
            ("memory.stat", "inactive_file 130\n"),
            ("pids.current", "2\n"),
            ("pids.max", "max\n"),
        ]);
        let bandwidth = usage.cpu.unwrap().bandwidth.unwrap();
        assert_eq!((bandwidth.quota, bandwidth.period), (Limit::Unlimited, 100_000));
        assert_eq!(
            (bandwidth.periods, bandwidth.throttled_periods, bandwidth.throttled),
            (4, 3, 9)
        );
        let memory = usage.memory.unwrap();
        assert_eq!(
            (memory.limit, memory.swap_limit),
            (Some(Limit::At(200)), Some(Limit::Unlimited))
        );
        // The kernel counts the two at different moments.
        assert_eq!((memory.working_set(), memory.oom_kills), (0, None));
        assert_eq!(
            (usage.pids.threads, usage.pids.limit),
            (Some(2), Some(Limit::Unlimited))
        );
    }

    #[test]
    fn an_older_kernel_has_only_one_line_of_pressure() {
        let usage = of(&[("cpu.pressure", "some avg10=1.50 avg60=0.00 avg300=0.25 total=77\n")]);
        let pressure = usage.pressure.cpu.unwrap();
        assert_eq!(pressure.full, None);
        assert_eq!(pressure.some.map(|stall| (stall.avg10, stall.total)), Some((1.5, 77)));
    }
}
