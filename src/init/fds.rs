//! Descriptors that init and joining processes inherit. Runs in them as the first step.

use std::os::fd::RawFd;

use crate::error::Result;
use crate::sys::descriptor;

/// Closes the descriptors of the runtime: its state directory with the lock, its log, and what its caller left open. The
/// standard streams, those requested by `--preserve-fds`, and those in `own` stay open.
pub fn keep_only(preserved: u32, own: &[RawFd]) -> Result<()> {
    Ok(descriptor::close_all_but(preserved, own)?)
}
