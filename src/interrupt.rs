//! SIGINT, SIGTERM and SIGHUP while a container is being made. They must not end the runtime just anywhere, or a
//! half-made container would stay: they are held back, looked for between the steps and waited for beside everything
//! that may take long; all that was made is taken back, and then the signal has its way.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::signal::Signal;

use crate::error::Result;
use crate::sys::signal;

const SIGNALS: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// The signal that ended the making; 0 for none.
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// Holds the signals back while it lives. Those that the caller has set to be ignored stay so.
pub struct Interrupts {
    signals: OwnedFd,
    _held: signal::Held,
}

/// The error that the making ends with.
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

    /// Becomes readable when a signal has come.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// An error if a signal has come.
    pub fn check(&self) -> Result<()> {
        if let Some(number) = signal::next(self.signals.as_fd()) {
            RECEIVED.store(number, Ordering::Relaxed);
            return Err(Interrupted(number).into());
        }
        Ok(())
    }
}

/// The signal by which the program is to end when all has been taken back and told.
pub fn received() -> Option<i32> {
    match RECEIVED.load(Ordering::Relaxed) {
        0 => None,
        number => Some(number),
    }
}
