//! cgroup.events: whether a cgroup has living processes, and whether it is frozen.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::sys::{SysResult, descriptor, fs};

/// An open cgroup.events. The kernel signals every change with POLLPRI.
pub struct Events(OwnedFd);

/// What the file says at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// The cgroup or one below it holds a living process.
    pub populated: bool,
    /// The cgroup is frozen, by its own cgroup.freeze or by one above.
    pub frozen: bool,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// There was nothing to wait for.
    No,
    Yes,
    /// The time was over first.
    TooLong,
}

impl Events {
    /// The events of a cgroup directory.
    pub fn open(directory: BorrowedFd) -> SysResult<Self> {
        fs::openat(directory, Path::new("cgroup.events"), libc::O_RDONLY, 0).map(Events)
    }

    /// The events of the cgroup at a path.
    pub fn at(path: &Path) -> SysResult<Self> {
        fs::open(&path.join("cgroup.events"), libc::O_RDONLY).map(Events)
    }

    /// Reading notes the change counter: poll(2) then reports the next change, including one in between.
    pub fn now(&self) -> SysResult<Condition> {
        let mut text = [0u8; 256];
        let length = fs::pread(self.0.as_fd(), &mut text)?;
        Ok(Condition::parse(text.get(..length).unwrap_or_default()))
    }

    /// Sleeps in poll(2) until the condition is the wanted one, or until `end`.
    pub fn wait(&self, end: Instant, wanted: impl Fn(Condition) -> bool) -> SysResult<Waited> {
        let mut waited = Waited::No;
        loop {
            if wanted(self.now()?) {
                return Ok(waited);
            }
            waited = Waited::Yes;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Waited::TooLong);
            }
            // Rounded up, so that the last wait is not a busy one.
            let left = left.as_millis().saturating_add(1).min(i32::MAX as u128) as i32;
            if descriptor::poll(&[(self.0.as_fd(), libc::POLLPRI)], left).is_err() {
                // A failing poll is no reason to leave the work half done.
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Condition {
    fn parse(text: &[u8]) -> Self {
        let has = |wanted: &[u8]| text.split(|byte| *byte == b'\n').any(|line| line == wanted);
        Condition {
            populated: has(b"populated 1"),
            frozen: has(b"frozen 1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Condition;

    #[test]
    fn both_lines_are_read_in_any_order() {
        let table = [
            ("populated 1\nfrozen 0\n", true, false),
            ("frozen 1\npopulated 0\n", false, true),
            ("populated 1\nfrozen 1", true, true),
            ("populated 10\nxfrozen 1\n", false, false),
            ("", false, false),
        ];
        for (text, populated, frozen) in table {
            assert_eq!(
                Condition::parse(text.as_bytes()),
                Condition { populated, frozen },
                "{text:?}"
            );
        }
    }
}
