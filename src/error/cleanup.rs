//! Several steps, each of which is tried even if others fail.

use std::time::{Duration, Instant};

use super::{Error, Report, Result};

/// The failures of a cleanup so far.
#[derive(Debug, Default)]
pub struct Cleanup {
    failed: Vec<Error>,
}

impl Cleanup {
    /// Records the failure of a step, or returns its value.
    pub fn step<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.failed.push(error)).ok()
    }

    /// Whether every step so far has succeeded.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }

    /// All failures as one error: the first with its step, errno and hint, followed by the texts of the others.
    pub fn end(self) -> Result<()> {
        let mut failed = self.failed.into_iter();
        let Some(first) = failed.next() else { return Ok(()) };
        let others: Vec<String> = failed.map(|error| Report::of(&error).msg).collect();
        if others.is_empty() {
            return Err(first);
        }
        let mut report = Report::of(&first);
        report.msg = format!("{}; also: {}", report.msg, others.join("; also: "));
        Err(Error::new(report))
    }
}

/// How long a failing step may have taken to be worth another try.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Takes a step of a cleanup once more if it fails: nothing else may come to do it, and a system call may fail for a moment. Not
/// if the step has waited in vain, because it would wait for as long again.
pub fn again<T>(mut step: impl FnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    match step() {
        Err(_) if begun.elapsed() < AT_ONCE => step(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::error::{Step, anyhow};
    use crate::sys::{SysError, Syscall};

    #[test]
    fn a_step_is_taken_twice_at_most() {
        for (failures, taken) in [(0, 1), (1, 2), (2, 2)] {
            let mut count = 0;
            let result = again(|| {
                count += 1;
                if count <= failures { Err(anyhow!("no")) } else { Ok(()) }
            });
            assert_eq!((result.is_ok(), count), (failures < 2, taken));
        }
    }

    #[test]
    fn every_failure_is_reported_and_the_first_keeps_its_facts() {
        assert!(Cleanup::default().end().is_ok());
        let mut cleanup = Cleanup::default();
        assert_eq!(cleanup.step(Ok(1)), Some(1));
        assert!(cleanup.is_complete());
        let call = Error::new(SysError::new(Syscall::Rmdir.of("/c"), Errno::EBUSY));
        cleanup.step::<()>(Err(call.context(Step::Cgroup)));
        cleanup.step::<()>(Err(anyhow!("second")));
        assert!(!cleanup.is_complete());
        cleanup.step::<()>(Err(anyhow!("third")));
        let report = Report::of(&cleanup.end().unwrap_err());
        assert!(report.msg.starts_with("cgroup: rmdir(\"/c\"): EBUSY"), "{}", report.msg);
        assert!(report.msg.ends_with("; also: second; also: third"), "{}", report.msg);
        assert_eq!((report.step, report.errno), (Some(Step::Cgroup), Some(Errno::EBUSY)));
    }
}
