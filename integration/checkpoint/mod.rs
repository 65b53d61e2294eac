//! `checkpoint` and `restore`: what a container is made of comes back, and a failure of either loses nothing. Every test needs
//! CRIU, which fixtures/criu fetches.

mod place;
mod processes;
mod streams;

use std::process::Command;

use crate::harness::checkpoint::{Report, Workload, checkpoint, restore};
use crate::harness::namespaces::joining;
use crate::harness::{Bundle, Holder};

/// Flags that the workload `all` needs.
const KEEP: [&str; 2] = ["--tcp-established", "--file-locks"];

/// Starts the workload of the bundle, saves it, brings it back, and returns what it says then.
#[track_caller]
fn round_trip(bundle: &Bundle, flags: &[&str]) -> Report {
    let work = Workload::start(bundle);
    let before = work.report();
    let image = checkpoint(&work.container, flags);
    restore(&work.container, &image, flags);
    work.assert_continues(&before)
}

/// A bundle that joins a network namespace whose loopback device is up. A connection needs it before any process is back.
fn networked(bundle: Bundle) -> (Bundle, Holder) {
    let holder = Holder::new(libc::CLONE_NEWNET);
    let mut up = Command::new("nsenter");
    up.arg(format!("--net={}", holder.path("network")));
    let status = up.args(["ip", "link", "set", "lo", "up"]).status();
    assert!(status.expect("nsenter").success());
    (joining(bundle, &holder, &["network"]), holder)
}
