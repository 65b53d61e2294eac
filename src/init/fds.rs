//! Descriptors that init inherits. Run by init, first of all.

use super::Init;
use crate::error::Result;
use crate::sys::fs;

/// Closes all that was the runtime's: its state directory with the lock, its log, what its caller left open. Kept are
/// the standard streams, the descriptors asked for by `--preserve-fds`, and the channel.
pub fn keep_only(init: &Init) -> Result<()> {
    let preserved = init.process_plan().map_or(0, |process| process.preserve_fds);
    let mut next = 3 + preserved;
    let mut own: Vec<u32> = init
        .own_descriptors()
        .into_iter()
        .filter_map(|fd| u32::try_from(fd).ok())
        .collect();
    own.sort_unstable();
    for fd in own {
        if fd >= next {
            if fd > next {
                fs::close_range(next, fd - 1)?;
            }
            next = fd + 1;
        }
    }
    Ok(fs::close_range(next, u32::MAX)?)
}
