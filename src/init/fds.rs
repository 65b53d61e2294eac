//! Descriptors that init and joining processes inherit. Run by them, first of all.

use std::os::fd::RawFd;

use crate::error::Result;
use crate::sys::descriptor;

/// Closes all that was the runtime's: its state directory with the lock, its log, what its caller left open. Kept are
/// the standard streams, the descriptors asked for by `--preserve-fds`, and those in `own`.
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
