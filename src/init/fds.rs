//! Descriptors that init and joining processes inherit. Runs in them as the first step.

use std::os::fd::RawFd;

use crate::error::Result;
use crate::sys::descriptor;

/// Closes the descriptors of the runtime: its state directory with the lock, its log, and what its caller left open. The
/// standard streams, those requested by `--preserve-fds`, and those in `own` stay open.
pub fn keep_only(preserved: u32, own: &[RawFd]) -> Result<()> {
    let mut next = 3 + preserved;
    let mut own: Vec<u32> = own.iter().copied().filter_map(|fd| u32::try_from(fd).ok()).collect();
    own.sort_unstable();
    for fd in own {
        if fd >= next {
            if fd > next {
                descriptor::close_range(next, fd - 1)?;
            }
            next = fd + 1;
        }
    }
    Ok(descriptor::close_range(next, u32::MAX)?)
}
