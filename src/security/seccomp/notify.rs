//! Installing a filter that notifies, long before the program is executed: the agent gets its listener at `create`. Run by
//! the process that will execute the program.
//!
//! Under the filter, every system call of a thread may fail, kill it, or wait for the agent's answer. So the first thread,
//! which has the scheduling, the labels and the pid that the parent knows, installs the filter, and afterwards only drops a
//! capability, sleeps, and executes the program. A second thread, created before and therefore without the filter, sends the
//! listener and does everything else: it waits for `start`, runs hooks, finds the program. So a profile must allow no more
//! system calls of the runtime than one that does not notify. execve ends the second thread.
//!
//! ```text
//!   first thread                          second thread
//!   seccomp(NEW_LISTENER)                 polls `report`
//!   report = LISTENING ─────────────────►
//!   capset                                Listener, ListenerTaken, Ready, … Start, …
//!   futex(WAIT, WAITING)
//!                         ◄────────────── image, futex = EXECUTE, futex(WAKE)
//!   execve                                polls `report`, until execve ends it
//!   report = EXECVE_FAILED, on failure ─► reports the error, and ends the process
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
use crate::sys::execve::Image;
use crate::sys::seccomp::{self, Listener};
use crate::sys::thread;

/// The first thread sleeps while the futex has this value. It is unlikely that another program waits for the same value.
const WAITING: u32 = 0x6f72_6c70;
const EXECUTE: u32 = 0;

/// The reports of the first thread.
const NONE_YET: i32 = -1;
const LISTENING: i32 = 0;
const INSTALL_FAILED: i32 = -2;
const EXECVE_FAILED: i32 = -3;

/// The longest interval at which the second thread polls for an execve, and wakes the first one again.
const LOST_WAKE: Duration = Duration::from_millis(20);

/// The first thread, which is under the filter, from the point of view of the second.
pub struct FilteredThread {
    futex: AtomicU32,
    report: AtomicI32,
    errno: AtomicI32,
    listener: Mutex<Option<Listener>>,
    failure: Mutex<Option<Error>>,
    image: OnceLock<Image>,
}

/// Installs the filter on this thread, and continues with `continuation` on another. Returns only if no thread can be
/// created.
pub fn install(plan: &Process, filter: &Seccomp, continuation: impl FnOnce(&FilteredThread)) -> Error {
    let filtered = FilteredThread {
        futex: AtomicU32::new(WAITING),
        report: AtomicI32::new(NONE_YET),
        errno: AtomicI32::new(0),
        listener: Mutex::new(None),
        failure: Mutex::new(None),
        image: OnceLock::new(),
    };
    let (capabilities, kept) = (plan.capabilities, install::kept_capability(plan));
    let (flags, program) = (filter.flags, filter.program.as_slice());
    let error = thread::go_on_beside(
        || continuation(&filtered),
        || {
            let set = || {
                let listener = seccomp::set_filter(flags, program).map_err(install::explain_error)?;
                // This makes no system call: the second thread takes the lock only after the report.
                if let Ok(mut place) = filtered.listener.lock() {
                    *place = listener;
                }
                filtered.report.store(LISTENING, Ordering::Release);
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
        "cannot create the thread that sends the listener",
        "the pids limit must permit a second thread",
    )
}

impl FilteredThread {
    /// Runs in the first thread, under the filter.
    fn wait_and_execute(&self) -> ! {
        while self.futex.load(Ordering::Acquire) == WAITING {
            thread::sleep_while(&self.futex, WAITING);
        }
        if let Some(image) = self.image.get() {
            self.errno.store(image.execute() as i32, Ordering::Release);
        }
        self.report_and_sleep(EXECVE_FAILED)
    }

    fn fail(&self, error: Error) -> ! {
        if let Ok(mut failure) = self.failure.lock() {
            *failure = Some(error);
        }
        self.report_and_sleep(INSTALL_FAILED)
    }

    fn report_and_sleep(&self, report: i32) -> ! {
        self.report.store(report, Ordering::Release);
        self.futex.store(WAITING, Ordering::Release);
        loop {
            thread::sleep_while(&self.futex, WAITING);
        }
    }

    /// Runs in the second thread: takes the listener. Must be called once, before [`Self::execute`].
    pub fn listener(&self) -> Result<OwnedFd> {
        // The first thread cannot wake this one, because after installing the filter futex(2) may not be allowed.
        self.wait_for_change(NONE_YET, Duration::from_micros(20));
        match self.report.load(Ordering::Acquire) {
            LISTENING => {
                let listener = self.listener.lock().ok().and_then(|mut listener| listener.take());
                listener.map(Listener::into_fd).ok_or_else(|| self.failure())
            }
            _ => Err(self.failure()),
        }
    }

    /// Runs in the second thread: lets the first one execute a program. Returns only on failure, of the filter or of execve.
    pub fn execute(&self, image: Image) -> Result<(&Image, Errno)> {
        let before = self.report.load(Ordering::Acquire);
        if before != INSTALL_FAILED {
            let image = self.image.get_or_init(|| image);
            self.futex.store(EXECUTE, Ordering::Release);
            thread::wake(&self.futex);
            self.wait_for_change(before, LOST_WAKE);
            if self.report.load(Ordering::Acquire) == EXECVE_FAILED {
                return Ok((image, Errno::from_raw(self.errno.load(Ordering::Acquire))));
            }
        }
        Err(self.failure())
    }

    fn failure(&self) -> Error {
        let failure = self.failure.lock().ok().and_then(|mut failure| failure.take());
        failure.unwrap_or_else(|| anyhow!("the thread under the filter reported no error"))
    }

    /// Polls until the report differs from `before`, at intervals that double up to `max_interval`.
    fn wait_for_change(&self, before: i32, max_interval: Duration) {
        let mut interval = Duration::from_micros(20);
        while self.report.load(Ordering::Acquire) == before {
            std::thread::sleep(interval);
            interval = (interval * 2).min(max_interval);
            if interval == LOST_WAKE {
                // Usually the execve has ended this thread by now, unless the wake was lost.
                thread::wake(&self.futex);
            }
        }
    }
}

/// Makes a filter allow the futex(2) call with which the first thread sleeps, if the profile does not. The container's
/// processes may then make the same call, which does nothing but sleep.
pub fn allow_sleep(tables: &mut [Table], native: Arch) {
    let Some(number) = Call::by_name("futex").and_then(|call| native.number(call)) else {
        return;
    };
    let equals = |argument: u8, value: u64| Condition {
        argument,
        operator: Operator::Eq,
        value,
        mask: u64::MAX,
    };
    let conditions = vec![
        equals(1, thread::FUTEX_WAIT_PRIVATE as u64),
        equals(2, WAITING.into()),
        equals(3, 0),
    ];
    let action = decide::unconditional_action(tables, native.audit(), number).map(Action::kind);
    if !matches!(action, Some(Action::ALLOW | Action::LOG)) {
        decide::allow_if(tables, native, number, conditions);
    }
}
