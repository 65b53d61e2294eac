//! How far the creation of a container has come, in case it hangs: `state`, `list` and the lines of `--debug` show it. The steps
//! are also those of the [`timings`].
//!
//! The creator and init each have a slot in the first state.json, which they overwrite in place through shared memory, so a
//! step costs no system call. If the creator's slot is empty, it is waiting for init.

use std::fmt::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::error::Step;
use crate::log;
use crate::sys::memory::Window;
use crate::timings::{self, Peer, Waiting};

pub use crate::timings::Role;

/// The width of a slot in bytes.
const WIDTH: usize = 64;
/// The width of both.
pub const SLOTS: usize = 2 * WIDTH;

static WINDOW: Mutex<Option<Window>> = Mutex::new(None);
static ROLE: AtomicUsize = AtomicUsize::new(Role::Runtime as usize);

/// From here on the steps of this process and of its children are written to these bytes of a file.
pub fn share(window: Window) {
    if let Ok(mut shared) = WINDOW.lock() {
        *shared = Some(window);
    }
}

/// Steps are no longer written.
pub fn end() {
    if let Ok(mut shared) = WINDOW.lock() {
        *shared = None;
    }
}

/// Sets the role of this process, which differs from that of its parent.
pub fn set_role(role: Role) {
    ROLE.store(role as usize, Ordering::Relaxed);
    timings::forget();
}

/// What the log calls this process.
fn name() -> &'static str {
    match ROLE.load(Ordering::Relaxed) {
        role if role == Role::Runtime as usize => Role::Runtime,
        role if role == Role::Init as usize => Role::Init,
        _ => Role::Exec,
    }
    .name()
}

/// A step begins.
pub(crate) fn step(step: Step) {
    timings::step(step);
    begins(format_args!("{step}"));
}

/// The work on an object within a step begins, named as an error would name it: `mounts[7] "/tmp"`.
pub fn at(what: fmt::Arguments) {
    timings::object(what);
    begins(what);
}

fn begins(what: fmt::Arguments) {
    tell(what);
    log::debug(|| format!("{}: {what}", name()));
}

/// Logs how long a step took. If that is less than a microsecond, the line about its beginning is enough.
pub(crate) fn took(step: Step, begun: Instant) {
    let micros = begun.elapsed().as_micros();
    if micros > 0 {
        log::debug(|| format!("{}: {step}: {micros} µs", name()));
    }
}

/// Logs what has been reached, and how long it took since the program began.
pub fn reached(what: &str) {
    if let Some(elapsed) = log::elapsed() {
        log::debug(|| format!("{}: {what} after {} µs", name(), elapsed.as_micros()));
    }
}

/// This process waits for the other one, which has the next step.
pub fn waiting() {
    tell(format_args!(""));
    timings::step(Step::Wait);
}

/// Until the value is dropped, this process waits for another one within its step.
pub fn wait_for(peer: Peer) -> Waiting {
    timings::wait_for(peer)
}

fn tell(what: fmt::Arguments) {
    let role = ROLE.load(Ordering::Relaxed);
    let Ok(window) = WINDOW.lock() else { return };
    if let Some(window) = window.as_ref().filter(|_| role < 2) {
        let mut slot = Slot {
            text: [b' '; WIDTH],
            length: 0,
        };
        // Longer ones are cut.
        let _ = slot.write_fmt(what);
        window.store(role * WIDTH, &slot.text);
    }
}

/// A text inside a JSON string that another process may read at any time, so every character is one byte. A quotation mark
/// would be two and becomes an apostrophe.
struct Slot {
    text: [u8; WIDTH],
    length: usize,
}

impl fmt::Write for Slot {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let slot = self.text.get_mut(self.length).ok_or(fmt::Error)?;
            *slot = match c {
                '"' => b'\'',
                '\\' | '\'' => b'?',
                ' '..='~' => c as u8,
                _ => b'?',
            };
            self.length += 1;
        }
        Ok(())
    }
}

/// The step that the slots of a state show; none if both are empty.
pub fn shown(slots: &str) -> Option<String> {
    let mut sides = [slots.get(..WIDTH)?, slots.get(WIDTH..)?]
        .into_iter()
        .map(str::trim_end);
    let step = sides.find(|side| !side.is_empty())?;
    Some(step.replace('\'', "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(what: fmt::Arguments) -> String {
        let mut slot = Slot {
            text: [b' '; WIDTH],
            length: 0,
        };
        let _ = slot.write_fmt(what);
        String::from_utf8(slot.text.to_vec()).unwrap()
    }

    #[test]
    fn the_creators_step_is_shown_unless_it_waits_for_init() {
        let (creator, init) = (
            slot(format_args!("pid file")),
            slot(format_args!("mounts[7] {:?}", "/tmp")),
        );
        let waiting = slot(format_args!(""));
        assert_eq!(shown(&format!("{creator}{init}")).as_deref(), Some("pid file"));
        assert_eq!(
            shown(&format!("{waiting}{init}")).as_deref(),
            Some("mounts[7] \"/tmp\"")
        );
        assert_eq!(shown(&format!("{waiting}{waiting}")), None);
        assert_eq!(shown("short"), None);
    }

    proptest::proptest! {
        /// A reader may see half of one text and half of another.
        #[test]
        fn a_slot_is_a_json_string_wherever_it_is_cut(one: String, other: String, cut in 0..WIDTH) {
            let (one, other) = (slot(format_args!("{one:?}")), slot(format_args!("{other}")));
            let mixed = format!("\"{}{}\"", &one[..cut], &other[cut..]);
            proptest::prop_assert_eq!(serde_json::from_str::<String>(&mixed).unwrap().len(), WIDTH);
        }
    }
}
