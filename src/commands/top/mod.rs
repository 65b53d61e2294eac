//! `top`: what containers use, again and again.

mod output;
mod sample;
mod screen;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use sample::{Row, Sampler, sort};
use screen::Screen;

use super::{answer, listed};
use crate::cli::{ListFormat, SortKey, Top};
use crate::error::{Cleanup, Context, Result};
use crate::exit_code::SUCCESS;
use crate::rfc3339;
use crate::state::Store;
use crate::sys::{descriptor, fs, pressure, signal};

/// The signals that end the program, after the terminal has been restored.
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

pub fn run(store: &Store, arguments: &Top) -> Result<u8> {
    // This runs for any time, and so needs any amount of processor time.
    pressure::end();
    let top = || -> Result<Option<i32>> {
        for id in &arguments.ids {
            store.container(id).with_context(|| format!("{id:?}"))?;
        }
        if arguments.format == ListFormat::Table && screen::is_possible() {
            return live(store, arguments);
        }
        lines(store, arguments).map(|()| None)
    };
    match top().context("top")? {
        Some(number) => {
            signal::end_by(number);
            // The caller ignores it.
            Ok(SUCCESS)
        }
        None => Ok(SUCCESS),
    }
}

/// The end of a file, as a terminal sends it.
const CTRL_D: u8 = 4;

/// A sample of the wanted containers.
struct Sample {
    rows: Vec<Row>,
    time: SystemTime,
    /// Since the sample before.
    interval: Option<Duration>,
    /// Some containers cannot be read.
    unread: Cleanup,
}

/// Takes samples. It remembers only the last one.
struct Samples<'a> {
    store: &'a Store,
    ids: &'a [String],
    sampler: Sampler,
    last: Option<Instant>,
}

impl<'a> Samples<'a> {
    fn new(store: &'a Store, ids: &'a [String]) -> Self {
        Samples {
            store,
            ids,
            sampler: Sampler::default(),
            last: None,
        }
    }

    /// The containers that exist now: they come and go.
    fn next(&mut self) -> Result<Sample> {
        let mut listing = self.store.listing()?;
        if !self.ids.is_empty() {
            listing.ids.retain(|id| self.ids.contains(id));
        }
        let now = Instant::now();
        let (containers, unread) = listed::containers(self.store, &listing, true);
        let interval = self.last.replace(now).map(|last| now.saturating_duration_since(last));
        Ok(Sample {
            rows: self.sampler.rows(containers, now),
            time: SystemTime::now(),
            interval,
            unread,
        })
    }
}

/// Prints samples, each of which covers one interval.
fn lines(store: &Store, arguments: &Top) -> Result<()> {
    let mut samples = Samples::new(store, &arguments.ids);
    samples.next()?;
    let mut printed = 0;
    let mut next = Instant::now();
    loop {
        next += arguments.interval;
        let now = Instant::now();
        // A sample that is late is not made up for.
        next = next.max(now);
        std::thread::sleep(next - now);
        let mut sample = samples.next()?;
        sort(&mut sample.rows, arguments.sort);
        answer(&match arguments.format {
            ListFormat::Json => output::document(&sample.rows, sample.time, sample.interval),
            ListFormat::Table => {
                let gap = if printed > 0 { "\n" } else { "" };
                format!("{gap}{}\n", output::table(&sample.rows).join("\n"))
            }
        })?;
        printed += 1;
        if arguments.count == Some(printed) {
            return sample.unread.end().context("some containers cannot be read");
        }
    }
}

/// What ends a wait.
enum Event {
    Timeout,
    Key(u8),
    Signal(i32),
    /// The terminal is gone.
    HungUp,
}

/// Draws on the terminal until a key or a signal ends it. Returns the signal.
fn live(store: &Store, arguments: &Top) -> Result<Option<i32>> {
    let mut samples = Samples::new(store, &arguments.ids);
    let mut sample = samples.next()?;
    let mut key = arguments.sort;
    let mut drawn = 0;
    let mut next = Instant::now() + arguments.interval;
    let mut terminal = Terminal::take()?;
    loop {
        draw(&terminal.screen, &mut sample, key)?;
        match terminal.wait(next)? {
            Event::Timeout => {
                drawn += 1;
                if arguments.count.is_some_and(|count| drawn > count) {
                    return Ok(None);
                }
                sample = samples.next()?;
                next = (next + arguments.interval).max(Instant::now());
            }
            Event::Key(b'q' | CTRL_D) | Event::HungUp => return Ok(None),
            Event::Key(pressed) => key = sort_key(pressed).unwrap_or(key),
            // Ctrl+Z. The terminal belongs to the shell until SIGCONT.
            Event::Signal(libc::SIGTSTP) => {
                drop(terminal);
                signal::end_by(libc::SIGTSTP);
                terminal = Terminal::take()?;
            }
            // It was stopped by SIGSTOP, and the shell has used the terminal since.
            Event::Signal(libc::SIGCONT) => {
                drop(terminal);
                terminal = Terminal::take()?;
            }
            Event::Signal(number) if ENDING.contains(&number) => return Ok(Some(number)),
            // SIGWINCH: the size is asked for each time.
            Event::Signal(_) => {}
        }
    }
}

fn sort_key(pressed: u8) -> Option<SortKey> {
    Some(match pressed {
        b'c' => SortKey::Cpu,
        b'm' => SortKey::Memory,
        b'p' => SortKey::Pids,
        b'i' => SortKey::Io,
        b'n' => SortKey::Name,
        _ => return None,
    })
}

fn draw(screen: &Screen, sample: &mut Sample, key: SortKey) -> Result<()> {
    sort(&mut sample.rows, key);
    let by = match key {
        SortKey::Cpu => "cpu",
        SortKey::Memory => "memory",
        SortKey::Pids => "pids",
        SortKey::Io => "io",
        SortKey::Name => "name",
    };
    let time = rfc3339::format(sample.time);
    let clock = time.get(11..19).unwrap_or_default();
    let unread = if sample.unread.is_complete() {
        ""
    } else {
        ", some cannot be read"
    };
    let number = sample.rows.len();
    let title = format!("{clock} UTC  containers: {number}{unread}, by {by}  [c]pu [m]emory [p]ids [i]o [n]ame [q]uit");
    screen.draw(&title, &output::table(&sample.rows))
}

/// The terminal, and the signals that must not end or stop this process before it is restored.
struct Terminal {
    screen: Screen,
    signals: OwnedFd,
    /// Dropped last: a signal that has come meanwhile takes effect when the terminal is restored.
    _held: signal::Held,
}

impl Terminal {
    fn take() -> Result<Self> {
        let all = [ENDING.as_slice(), &[libc::SIGTSTP, libc::SIGCONT, libc::SIGWINCH]].concat();
        let (signals, held) = signal::hold(&all)?;
        Ok(Terminal {
            screen: Screen::enter()?,
            signals,
            _held: held,
        })
    }

    fn wait(&self, until: Instant) -> Result<Event> {
        let stdin = std::io::stdin();
        let mut watched = vec![(self.signals.as_fd(), libc::POLLIN)];
        if self.screen.has_keys() {
            watched.push((stdin.as_fd(), libc::POLLIN));
        }
        loop {
            // Signals and keys come first, so that they are noticed even if the time is always over.
            let left = until.saturating_duration_since(Instant::now());
            let milliseconds = if left.is_zero() { 0 } else { left.as_millis() + 1 };
            let found = descriptor::poll(&watched, milliseconds.min(i32::MAX as u128) as i32)?;
            if let Some(number) = signal::next(self.signals.as_fd()) {
                return Ok(Event::Signal(number));
            }
            if found.get(1).is_some_and(|found| *found != 0) {
                return Ok(key(stdin.as_fd()));
            }
            if left.is_zero() {
                return Ok(Event::Timeout);
            }
        }
    }
}

/// The last key that was pressed. Keys such as the arrows send several bytes, the first of which is an escape.
fn key(stdin: BorrowedFd) -> Event {
    let mut bytes = [0u8; 64];
    let length = fs::read(stdin, &mut bytes).unwrap_or(0);
    match bytes.get(..length) {
        Some([0x1b, ..]) => Event::Key(0x1b),
        Some([.., last]) => Event::Key(*last),
        _ => Event::HungUp,
    }
}
