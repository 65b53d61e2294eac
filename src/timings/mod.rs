//! How long each step of a call takes, in the runtime and in init, and who waits for whom (`--timings`, `ORLOP_TIMINGS`).
//!
//! [`crate::progress`] tells this module what a process does; every span ends where the next begins, so nothing is left out.
//! Only the runtime has the file open. Init and exec processes keep their spans in memory, and send them over the channel when
//! a phase ends: before `Ready`, before `Executing`, and with a failure.
//!
//! Unless timings are wanted, each function only looks at a flag.

mod file;
mod line;
pub mod read;
mod recorder;
mod span;
pub mod svg;
#[cfg(test)]
mod tests;
pub mod waterfall;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Result, Step};
use crate::sys::descriptor::Stream;
use crate::sys::{clock, terminal};

use file::Sink;
use recorder::Recorder;

pub use line::Line;
pub use span::{Clocks, Peer, Role, Span, SpanParts};

static WANTED: AtomicBool = AtomicBool::new(false);
static RECORDER: Mutex<Option<Recorder>> = Mutex::new(None);

/// Does something with the recorder of this process, if there is one.
#[inline]
fn with<T>(act: impl FnOnce(&mut Recorder) -> T) -> Option<T> {
    if !WANTED.load(Ordering::Relaxed) {
        return None;
    }
    RECORDER.lock().ok()?.as_mut().map(act)
}

fn now() -> Clocks {
    Clocks {
        monotonic: clock::monotonic(),
        real: clock::real(),
    }
}

/// About how long ago this process was forked, in nanoseconds. The kernel does not give the time of the fork itself with a
/// precision that would be of use here. A program that has executed itself again knows when it first began. Otherwise it is how long
/// the process has been on a processor or waiting for one.
fn age() -> u64 {
    if let Some((elapsed, before)) = clock::since_entry() {
        return elapsed.saturating_add(before);
    }
    let waited = || -> Option<u64> {
        let text = std::fs::read_to_string("/proc/self/schedstat").ok()?;
        text.split(' ').nth(1)?.parse().ok()
    };
    // Not every kernel counts the waits.
    clock::processor().saturating_add(waited().unwrap_or_default())
}

/// Opens the destination of the timings, if any are wanted, before anything is made. `option`: `--timings`, perhaps with a file.
pub fn open(option: &Option<Option<PathBuf>>, verb: &'static str, id: &str) -> Result<()> {
    let sink = match option {
        Some(None) => Sink::Screen,
        Some(Some(path)) => Sink::File(file::open_option(path)?),
        None => match std::env::var_os(file::VARIABLE).filter(|path| !path.is_empty()) {
            Some(path) => Sink::File(file::open_variable(Path::new(&path), verb, id)?),
            None => return Ok(()),
        },
    };
    let clocks = now();
    let recorder = Recorder::of_call(verb, id, sink, clocks, age());
    if let Ok(mut slot) = RECORDER.lock() {
        *slot = Some(recorder);
        WANTED.store(true, Ordering::Relaxed);
    }
    Ok(())
}

/// The container got another ID than the call was given.
pub fn named(id: &str) {
    with(|recorder| recorder.rename(id));
}

/// A step begins, and the last one ends.
pub(crate) fn step(step: Step) {
    with(|recorder| recorder.step(step, now()));
}

/// The work on an object of the step begins.
pub fn object(what: impl std::fmt::Display) {
    with(|recorder| recorder.object(what.to_string(), now()));
}

/// The step failed that is being taken.
pub fn failed() {
    with(|recorder| recorder.fail());
}

/// Until it is dropped, this process waits for another one.
pub struct Waiting(());

pub fn wait_for(peer: Peer) -> Waiting {
    with(|recorder| recorder.wait_for(Some(peer), now()));
    Waiting(())
}

impl Drop for Waiting {
    fn drop(&mut self) {
        with(|recorder| recorder.wait_for(None, now()));
    }
}

/// This process is a copy of the runtime, and begins to record what it does itself.
pub fn forget() {
    with(Recorder::forget);
}

/// This process is the child of the one that has done the steps so far.
pub fn set_born() {
    with(Recorder::set_born);
}

/// The runtime has cloned init, or the process that clones it at the end.
pub fn cloned(pid: i32) {
    with(|recorder| recorder.set_pid(false, pid));
}

/// The process that was cloned at the end.
pub fn entered(pid: i32) {
    with(|recorder| recorder.set_pid(true, pid));
}

/// The clocks of the runtime, for an init that has been waiting for `start`; none unless timings are wanted.
pub fn clocks() -> Option<Clocks> {
    with(|recorder| recorder.clocks())
}

/// In init, after `start`: from here on it records what it does for that call, or nothing.
pub fn restart(clocks: Option<Clocks>) {
    let Ok(mut slot) = RECORDER.lock() else { return };
    *slot = clocks.map(Recorder::of_init);
    WANTED.store(slot.is_some(), Ordering::Relaxed);
}

/// What this process has to send to the runtime: its spans, and whether it was cloned at the end.
pub fn take() -> Option<(bool, Vec<Span>)> {
    with(|recorder| recorder.take(now()))
}

/// Spans of another process have arrived.
pub fn receive(born: bool, spans: Vec<SpanParts>) {
    with(|recorder| recorder.receive(born, spans.into_iter().map(Span::of_parts).collect()));
}

/// A phase has ended, and something long may follow: what has been recorded so far is written to the file.
pub fn write() {
    with(|recorder| recorder.write(now));
}

/// The call ends: everything is written, or printed to standard error.
pub fn end(success: bool) {
    let shown = with(|recorder| {
        if !success {
            recorder.fail_once();
        }
        recorder.write(now);
        recorder.shown()
    });
    if let Some(Some(lines)) = shown {
        let text = waterfall::text(&waterfall::calls(lines), terminal::columns(Stream::Error));
        // If standard error is closed or full, there is nowhere to report it.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
    }
}
