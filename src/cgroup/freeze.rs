//! Stopping and continuing all processes of a container at once (cgroup.freeze).

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use super::tree;
use crate::error::{Context, Hint, Result, anyhow, with_cleanup};
use crate::state::store::CgroupState;
use crate::sys::{descriptor, fs};

/// How long the kernel may take to stop every process: one in the middle of a system call that cannot be interrupted
/// stops at its end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stops all processes of a container and waits until they have stopped.
pub fn freeze(cgroup: &CgroupState) -> Result<()> {
    let directory = tree::own_directory(cgroup)?.ok_or_else(|| anyhow!("container not running"))?;
    set(directory.as_fd(), b"1")?;
    wait(directory.as_fd(), "frozen 1").map_err(|late| {
        let late = late.context(format!(
            "the container did not stop within {} s, so it goes on",
            PATIENCE.as_secs()
        ));
        // Half a container that stands still is worse than none.
        with_cleanup(late, set(directory.as_fd(), b"0"))
    })
}

/// Lets all processes of a container go on.
pub fn thaw(cgroup: &CgroupState) -> Result<()> {
    let directory = tree::own_directory(cgroup)?.ok_or_else(|| anyhow!("container not running"))?;
    set(directory.as_fd(), b"0")?;
    wait(directory.as_fd(), "frozen 0").map_err(|late| {
        late.context(Hint(
            format!(
                "a cgroup above {:?} is frozen too: see their cgroup.freeze",
                cgroup.path
            ),
            "the container stays frozen".into(),
        ))
    })
}

fn set(directory: BorrowedFd, value: &[u8]) -> Result<()> {
    let set = || {
        fs::write(
            fs::openat(directory, Path::new("cgroup.freeze"), libc::O_WRONLY, 0)?.as_fd(),
            value,
        )
    };
    set().map(drop).context("cgroup.freeze")
}

/// Waits in poll(2) until cgroup.events has this line.
fn wait(directory: BorrowedFd, line: &str) -> Result<()> {
    let events = fs::openat(directory, Path::new("cgroup.events"), libc::O_RDONLY, 0)?;
    let end = Instant::now() + PATIENCE;
    loop {
        // Reading takes note of the change counter; the wait then ends at the next change, also at one in between.
        let mut text = [0u8; 256];
        let length = fs::pread(events.as_fd(), &mut text)?;
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
        if text.lines().any(|found| found == line) {
            return Ok(());
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(anyhow!("cgroup.events does not become {line:?}"));
        }
        descriptor::poll(&[(events.as_fd(), libc::POLLPRI)], left.as_millis() as i32 + 1)?;
    }
}
