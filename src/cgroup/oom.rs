//! Out of memory: what the kernel has killed in a container's cgroup, and how that is told.

use std::time::Duration;

use crate::error::{At, Error, with_hint};
use crate::state::record::CgroupState;

/// The limit of a cgroup in which the kernel has killed for lack of memory; none if it has not.
pub fn ran_out_of_memory(cgroup: &CgroupState) -> Option<String> {
    let read = |file: &str| std::fs::read_to_string(cgroup.path.join(file)).ok();
    let events = read("memory.events")?;
    let mut numbers = events.lines().filter_map(|line| line.strip_prefix("oom_kill "));
    if !numbers.any(|number| number.parse::<u64>().is_ok_and(|number| number > 0)) {
        return None;
    }
    Some(format!("memory.max = {}", read("memory.max")?.trim()))
}

/// Keeps a cgroup in which the kernel has killed for lack of memory until those who watch its memory.events must have heard.
///
/// The kernel tells watchers of a cgroup's file only every 10 ms (CGROUP_FILE_NOTIFY_MIN_INTV), and of what is pending
/// nothing once the cgroup is removed. An engine deletes a container as soon as it has ended, sooner than its own watcher
/// would have told it why. Where processors are short the watcher is late too: with 50 ms containerd's shim, in a guest on a
/// loaded machine, missed one in six.
pub fn let_watchers_hear(cgroup: &CgroupState) {
    if ran_out_of_memory(cgroup).is_some() {
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// The error about an init that was killed for lack of memory.
pub fn out_of_memory(cgroup: &CgroupState) -> Option<Error> {
    let limit = ran_out_of_memory(cgroup)?;
    let error = with_hint(
        format!("init was killed by the kernel for lack of memory: {limit}"),
        "raise linux.resources.memory.limit, or unified memory.max: a container starts in about 100 KiB, and its program \
         needs more",
    );
    Some(error.context(At::new("linux.resources.memory.limit")))
}
