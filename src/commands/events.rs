//! `events`: reports resource usage, and each time the OOM killer kills, as one JSON document per line.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde_json::{Value, json};

use super::{NO_CGROUP, answer};
use crate::cgroup::directory::{own_directory, read};
use crate::cgroup::{events, stats};
use crate::cli::Events;
use crate::error::{Context, Result, anyhow, with_hint};
use crate::state::Store;
use crate::status::{self, Status};
use crate::sys::{descriptor, directory, fs};

pub fn run(store: &Store, arguments: &Events) -> Result<u8> {
    let events = || -> Result<()> {
        let seen = status::inspect(&store.container(&arguments.id)?)?;
        if matches!(seen.status, Status::Stopped | Status::Creating) {
            return Err(anyhow!("container with id {} is not running", arguments.id));
        }
        let cgroup = seen.state.cgroup.as_ref().map(own_directory).transpose()?.flatten();
        let leaf = cgroup.ok_or_else(|| {
            with_hint(
                "the container has no cgroup, so its resource usage is not known",
                NO_CGROUP,
            )
        })?;
        if arguments.stats {
            return tell(&arguments.id, "stats", Some(current(leaf.as_fd())));
        }
        watch(&arguments.id, leaf.as_fd(), arguments.interval)
    };
    events().with_context(|| format!("events {:?}", arguments.id))?;
    Ok(crate::exit_code::SUCCESS)
}

fn tell(id: &str, kind: &str, data: Option<Value>) -> Result<()> {
    let mut event = json!({ "type": kind, "id": id });
    if let (Some(data), Value::Object(event)) = (data, &mut event) {
        event.insert("data".into(), data);
    }
    answer(&format!("{event}\n")).map(drop)
}

/// The current resource usage.
fn current(leaf: BorrowedFd) -> Value {
    let pages = fs::open(
        Path::new("/sys/kernel/mm/hugepages"),
        libc::O_RDONLY | libc::O_DIRECTORY,
    );
    let sizes: Vec<String> = pages
        .and_then(|pages| directory::entries(pages.as_fd()))
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| {
            entry
                .name
                .to_str()?
                .strip_prefix("hugepages-")?
                .strip_suffix("kB")?
                .parse()
                .ok()
        })
        .map(stats::page_size)
        .collect();
    stats::stats(&|file| read(leaf, file).ok(), &sizes)
}

/// Reports events until the last process has exited. Sleeps in poll(2), and is woken by the kernel.
fn watch(id: &str, leaf: BorrowedFd, interval: Duration) -> Result<()> {
    let open = |file: &str| fs::openat(leaf, Path::new(file), libc::O_RDONLY, 0);
    let life = events::Events::open(leaf)?;
    // The file does not exist without the memory controller; then there are no such events.
    let memory = match open("memory.events") {
        Err(error) if error.errno == Errno::ENOENT => None,
        other => Some(other?),
    };
    let mut killed = memory.as_ref().and_then(kills).unwrap_or(0);
    let mut next = Instant::now() + interval;
    loop {
        let now = Instant::now();
        if now >= next {
            tell(id, "stats", Some(current(leaf)))?;
            // After a late wake-up, missed reports are not made up for.
            next = (next + interval).max(now);
        }
        let mut watched = vec![(life.as_fd(), libc::POLLPRI)];
        watched.extend(memory.iter().map(|memory| (memory.as_fd(), libc::POLLPRI)));
        // Changes since the last read are noticed here: reading records the event counters that poll compares.
        if let Some(now_killed) = memory.as_ref().and_then(kills)
            && now_killed > killed
        {
            killed = now_killed;
            tell(id, "oom", None)?;
        }
        // A cgroup that has been removed has no processes either.
        if !life.now().is_ok_and(|now| now.populated) {
            return Ok(());
        }
        let left = next.saturating_duration_since(Instant::now()).as_millis() + 1;
        descriptor::poll(&watched, left.min(i32::MAX as u128) as i32)?;
    }
}

/// The number of processes that the OOM killer has killed.
fn kills(events: &OwnedFd) -> Option<u64> {
    text(events)?
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

/// Reads a small file again from its beginning. `None` if its cgroup has been removed.
fn text(file: &OwnedFd) -> Option<String> {
    let mut text = [0u8; 1024];
    let length = fs::pread(file.as_fd(), &mut text).ok()?;
    Some(String::from_utf8_lossy(text.get(..length)?).into_owned())
}
