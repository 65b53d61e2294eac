//! Stopping and continuing all processes of a container at once (cgroup.freeze).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{apply, tree};
use crate::error::{Context, Error, Hint, Result, anyhow, with_cleanup, with_hint};
use crate::log;
use crate::state::record::CgroupState;
use crate::sys::{SysError, SysResult, descriptor, fs};

/// How long the kernel may take to stop every process: one in the middle of a system call that cannot be interrupted
/// stops at its end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stops all processes of a container and waits until they have stopped.
pub fn freeze(cgroup: &CgroupState) -> Result<()> {
    let directory = tree::own_directory(cgroup)?.ok_or_else(|| anyhow!("container not running"))?;
    let events = events(directory.as_fd())?;
    let switch = switch(directory.as_fd())?;
    set(&switch, b"1")?;
    wait(&events, "frozen 1").map_err(|error| {
        let what = match error.downcast_ref::<SysError>() {
            None => format!(
                "the container did not stop within {} s, so it goes on",
                PATIENCE.as_secs()
            ),
            Some(_) => "it cannot be seen whether the container stops, so it goes on".into(),
        };
        // Half a container that stands still is worse than none.
        with_cleanup(error.context(what), set(&switch, b"0"))
    })
}

/// Resumes all processes of a container. If a cgroup above is frozen they cannot run; then nothing is changed.
pub fn thaw(cgroup: &CgroupState) -> Result<()> {
    let directory = tree::own_directory(cgroup)?.ok_or_else(|| anyhow!("container not running"))?;
    let events = events(directory.as_fd())?;
    if let Some(above) = frozen_above(&cgroup.path)? {
        return Err(stays_frozen(&above));
    }
    set(&switch(directory.as_fd())?, b"0")?;
    match wait(&events, "frozen 0") {
        Err(late) if late.downcast_ref::<SysError>().is_none() => match frozen_above(&cgroup.path)? {
            Some(above) => Err(stays_frozen(&above)),
            None => Err(late.context(Hint(
                "a cgroup above the visible part of the tree may be frozen".into(),
                "the container stays frozen".into(),
            ))),
        },
        Err(error) => {
            // The write has resumed them; only the confirmation is missing.
            log::warning(&format!(
                "the container was resumed, but its state could not be read back: {error:#}"
            ));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The innermost ancestor whose own cgroup.freeze is set.
fn frozen_above(leaf: &Path) -> Result<Option<PathBuf>> {
    for above in leaf.ancestors().skip(1) {
        match apply::read_at(&above.join("cgroup.freeze")) {
            Ok(text) if text.trim() == "1" => return Ok(Some(above.into())),
            Ok(_) => {}
            // The root of the tree, or a directory outside it: neither can be frozen.
            Err(error) if error.errno == Errno::ENOENT => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn stays_frozen(above: &Path) -> Error {
    with_hint(
        format!("the container stays frozen, because the cgroup {above:?} above it is frozen"),
        format!("thaw that cgroup first: `echo 0 >{}/cgroup.freeze`", above.display()),
    )
}

fn switch(directory: BorrowedFd) -> Result<OwnedFd> {
    fs::openat(directory, Path::new("cgroup.freeze"), libc::O_WRONLY, 0).context("cgroup.freeze")
}

fn set(switch: &OwnedFd, value: &[u8]) -> Result<()> {
    fs::write(switch.as_fd(), value).map(drop).context("cgroup.freeze")
}

fn events(directory: BorrowedFd) -> SysResult<OwnedFd> {
    fs::openat(directory, Path::new("cgroup.events"), libc::O_RDONLY, 0)
}

/// Waits in poll(2) until cgroup.events has this line.
fn wait(events: &OwnedFd, line: &str) -> Result<()> {
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
