//! Out of memory: whether the OOM killer has killed in a container's cgroup, and how that is reported.

use std::time::Duration;

use crate::error::{At, Error, with_hint};
use crate::state::record::CgroupState;

/// The memory limit of a cgroup in which the OOM killer has killed. `None` if it has not.
pub fn ran_out_of_memory(cgroup: &CgroupState) -> Option<String> {
    let read = |file: &str| std::fs::read_to_string(cgroup.path.join(file)).ok();
    let events = read("memory.events")?;
    let mut numbers = events.lines().filter_map(|line| line.strip_prefix("oom_kill "));
    if !numbers.any(|number| number.parse::<u64>().is_ok_and(|number| number > 0)) {
        return None;
    }
    Some(format!("memory.max = {}", read("memory.max")?.trim()))
}

/// Keeps a cgroup in which the OOM killer has killed until watchers of its memory.events must have been notified.
///
/// The kernel notifies watchers of a cgroup file at most every 10 ms (CGROUP_FILE_NOTIFY_MIN_INTV), and drops pending
/// notifications when the cgroup is removed. An engine deletes a container as soon as it has ended, before its own watcher has
/// told it why. On a loaded machine the watcher is late too: with 50 ms, containerd's shim in a guest missed one in six.
pub fn let_watchers_hear(cgroup: &CgroupState) {
    if ran_out_of_memory(cgroup).is_some() {
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// The error for an init that was killed by the OOM killer.
pub fn out_of_memory(cgroup: &CgroupState) -> Option<Error> {
    let limit = ran_out_of_memory(cgroup)?;
    let error = with_hint(
        format!("init was killed by the OOM killer: {limit}"),
        "raise linux.resources.memory.limit, or unified memory.max: a container starts in about 100 KiB, and its program \
         needs more",
    );
    Some(error.context(At::new("linux.resources.memory.limit")))
}
