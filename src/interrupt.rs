//! SIGINT, SIGTERM and SIGHUP while a container is being created. They must not end the runtime at an arbitrary point, which
//! would leave an incomplete container. So they are blocked, checked for between the steps, and polled for during every
//! wait that may take long. After a signal everything is rolled back, and then the signal takes effect.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::Signal;

use crate::error::Result;
use crate::sys::signal;

const SIGNALS: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// The signal that interrupted the command; 0 for none.
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// Blocks the signals until it is dropped. Signals that the caller ignores stay ignored.
pub struct Interrupts {
    signals: OwnedFd,
    _held: signal::Held,
}

/// The error of an interrupted command.
#[derive(Debug)]
struct Interrupted(i32);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Signal::try_from(self.0) {
            Ok(signal) => write!(f, "interrupted by {signal}"),
            Err(_) => write!(f, "interrupted by signal {}", self.0),
        }
    }
}

impl std::error::Error for Interrupted {}

impl Interrupts {
    pub fn watch() -> Result<Self> {
        let (signals, held) = signal::hold(&SIGNALS)?;
        Ok(Interrupts { signals, _held: held })
    }

    /// Becomes readable when a signal is pending.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// Returns an error if a signal is pending.
    pub fn check(&self) -> Result<()> {
        if let Some(number) = signal::next(self.signals.as_fd()) {
            RECEIVED.store(number, Ordering::Relaxed);
            return Err(Interrupted(number).into());
        }
        Ok(())
    }
}

/// The signal with which the program must end after the rollback, once the error is printed.
pub fn received() -> Option<i32> {
    match RECEIVED.load(Ordering::Relaxed) {
        0 => None,
        number => Some(number),
    }
}
