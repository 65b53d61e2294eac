//! Freezing and resuming all processes of a container at once (cgroup.freeze).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::directory;
use super::events::{Events, Waited};
use crate::error::{Context, Error, Hint, Result, anyhow, with_cleanup, with_hint};
use crate::log;
use crate::state::record::CgroupState;
use crate::sys::{SysError, fs};

/// How long the kernel may take to freeze every process: one in an uninterruptible system call freezes when the call ends.
const PATIENCE: Duration = Duration::from_secs(10);

/// Freezes all processes of a container and waits until they are frozen.
pub fn freeze(cgroup: &CgroupState) -> Result<()> {
    let directory = directory::own_directory(cgroup)?.ok_or_else(|| anyhow!("container not running"))?;
    let events = Events::open(directory.as_fd())?;
    let switch = switch(directory.as_fd())?;
    set(&switch, b"1")?;
    wait(&events, true).map_err(|error| {
        let what = match error.downcast_ref::<SysError>() {
            None => format!(
                "the container did not freeze within {} s, so it was resumed",
                PATIENCE.as_secs()
            ),
            Some(_) => "cannot tell whether the container freezes, so it was resumed".into(),
        };
        // A half-frozen container is worse than a running one.
        with_cleanup(error.context(what), set(&switch, b"0"))
    })
}

/// Resumes all processes of a container. If a cgroup above is frozen they cannot run; then nothing is changed.
pub fn thaw(cgroup: &CgroupState) -> Result<()> {
    let directory = directory::own_directory(cgroup)?.ok_or_else(|| anyhow!("container not running"))?;
    let events = Events::open(directory.as_fd())?;
    if let Some(above) = frozen_above(&cgroup.path)? {
        return Err(stays_frozen(&above));
    }
    set(&switch(directory.as_fd())?, b"0")?;
    match wait(&events, false) {
        Err(late) if late.downcast_ref::<SysError>().is_none() => match frozen_above(&cgroup.path)? {
            Some(above) => Err(stays_frozen(&above)),
            None => Err(late.context(Hint {
                message: "the container stays frozen".into(),
                hint: "a cgroup above the visible part of the tree may be frozen".into(),
            })),
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
        match directory::read_at(&above.join("cgroup.freeze")) {
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

/// Waits until the cgroup is frozen, or is not any more.
fn wait(events: &Events, frozen: bool) -> Result<()> {
    match events.wait(Instant::now() + PATIENCE, |now| now.frozen == frozen)? {
        Waited::TooLong => Err(anyhow!("cgroup.events does not become \"frozen {}\"", u8::from(frozen))),
        Waited::No | Waited::Yes => Ok(()),
    }
}
