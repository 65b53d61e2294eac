//! A filter that notifies is installed long before the program: its listener goes to the agent at `create`. Run by the
//! process that will execute the program.
//!
//! Once a thread is under the filter, every call of its own may be refused, kill it, or wait for the agent's answer. So the
//! first thread, which the scheduler, the labels and the parent know, installs the filter and from then on does nothing but
//! sleep, give up a capability, and execute the program. A second one, made before and therefore without the filter, hands
//! the listener over and does all that is left: it waits for `start`, runs hooks, finds the program. So a profile needs to
//! allow no more of us than one that does not notify. execve ends the second thread.
//!
//! ```text
//!   first thread                          second thread
//!   seccomp(NEW_LISTENER)                 polls `reported`
//!   reported = descriptor ──────────────►
//!   capset                                Listener, ListenerTaken, Ready, … Start, …
//!   futex(WAIT, WAITING)
//!                         ◄────────────── image, word = EXECUTE, futex(WAKE)
//!   execve                                polls `reported`, until it is ended
//!   reported = REFUSED, if it fails ────► says why, and ends the process
//! ```

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use nix::errno::Errno;

use super::arch::{Arch, Call};
use super::decide;
use super::install;
use crate::error::{Error, Result, anyhow, call_with_hint};
use crate::plan::seccomp::{Action, Condition, Operator, Table};
use crate::plan::{Process, Seccomp};
use crate::sys::process::Image;
use crate::sys::{seccomp, thread};

/// The first thread sleeps while the word is this. No other program waits for just this value.
const WAITING: u32 = 0x6f72_6c70;
const EXECUTE: u32 = 0;

/// What the first thread reports, besides the number of the listener.
const NOTHING_YET: i32 = -1;
const FAILED: i32 = -2;
const REFUSED: i32 = -3;

/// The first thread, as the second sees it.
pub struct Filtered {
    word: AtomicU32,
    reported: AtomicI32,
    errno: AtomicI32,
    failure: Mutex<Option<Error>>,
    image: OnceLock<Image>,
}

/// Installs the filter on this thread, and goes on with `rest` on another. Returns only if that cannot be.
pub fn install(plan: &Process, filter: &Seccomp, rest: impl FnOnce(&Filtered)) -> Error {
    let filtered = Filtered {
        word: AtomicU32::new(WAITING),
        reported: AtomicI32::new(NOTHING_YET),
        errno: AtomicI32::new(0),
        failure: Mutex::new(None),
        image: OnceLock::new(),
    };
    let (capabilities, kept) = (plan.capabilities, install::kept_capability(plan));
    let (flags, program) = (filter.flags, filter.program.as_slice());
    let error = thread::go_on_beside(
        || rest(&filtered),
        || {
            let set = || {
                let number = seccomp::set_filter(flags, program).map_err(install::refused)?;
                filtered.reported.store(number, Ordering::Release);
                Ok(())
            };
            match install::apply(capabilities, kept, set) {
                Ok(()) => filtered.wait_and_execute(),
                Err(error) => filtered.fail(error),
            }
        },
    );
    call_with_hint(
        error,
        "no thread to hand the listener over",
        "the pids limit must leave room for a second thread",
    )
}

impl Filtered {
    /// The first thread's part, under the filter.
    fn wait_and_execute(&self) -> ! {
        while self.word.load(Ordering::Acquire) == WAITING {
            thread::sleep_while(&self.word, WAITING);
        }
        if let Some(image) = self.image.get() {
            self.errno.store(image.execute() as i32, Ordering::Release);
        }
        self.report(REFUSED)
    }

    fn fail(&self, error: Error) -> ! {
        if let Ok(mut failure) = self.failure.lock() {
            *failure = Some(error);
        }
        self.report(FAILED)
    }

    fn report(&self, word: i32) -> ! {
        self.reported.store(word, Ordering::Release);
        self.word.store(WAITING, Ordering::Release);
        loop {
            thread::sleep_while(&self.word, WAITING);
        }
    }

    /// The second thread's: takes the listener. Asked for once, and first of all.
    pub fn listener(&self) -> Result<OwnedFd> {
        // The first thread cannot wake us; it is in the one call of installing.
        self.reported_after(NOTHING_YET, Duration::from_micros(20));
        match self.reported.load(Ordering::Acquire) {
            number if number >= 0 => Ok(seccomp::own_listener(number)),
            _ => Err(self.failure()),
        }
    }

    /// The second thread's: has the first execute a program. Returns only if that fails, for the filter or for the program.
    pub fn execute(&self, image: Image) -> Result<(&Image, Errno)> {
        let before = self.reported.load(Ordering::Acquire);
        if before != FAILED {
            let image = self.image.get_or_init(|| image);
            self.word.store(EXECUTE, Ordering::Release);
            thread::wake(&self.word);
            self.reported_after(before, Duration::from_millis(20));
            if self.reported.load(Ordering::Acquire) == REFUSED {
                return Ok((image, Errno::from_raw(self.errno.load(Ordering::Acquire))));
            }
        }
        Err(self.failure())
    }

    fn failure(&self) -> Error {
        let failure = self.failure.lock().ok().and_then(|mut failure| failure.take());
        failure.unwrap_or_else(|| anyhow!("the thread under the filter said nothing"))
    }

    /// Waits until something else than `before` is reported, looking ever more seldom, but never more than `longest` apart.
    fn reported_after(&self, before: i32, longest: Duration) {
        let mut pause = Duration::from_micros(20);
        while self.reported.load(Ordering::Acquire) == before {
            std::thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
    }
}

/// Has a filter let the first thread sleep, where the profile does not. Everybody else may then make the same call, which does
/// nothing but sleep.
pub fn let_sleep(tables: &mut [Table], native: Arch) {
    let Some(number) = Call::by_name("futex").and_then(|call| native.number(call)) else {
        return;
    };
    let is = |argument: u8, value: u64| Condition {
        argument,
        operator: Operator::Eq,
        value,
        mask: u64::MAX,
    };
    let sleeps = vec![
        is(1, thread::FUTEX_WAIT_PRIVATE as u64),
        is(2, WAITING.into()),
        is(3, 0),
    ];
    let allowed = decide::always(tables, native.audit(), number).map(Action::kind);
    if !matches!(allowed, Some(Action::ALLOW | Action::LOG)) {
        decide::allow(tables, native, number, sleeps);
    }
}
