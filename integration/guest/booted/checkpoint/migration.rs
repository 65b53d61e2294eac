//! A container with much memory is moved to another machine while it works: for how long do its processes stand still?

use serde_json::Value;

use super::super::{BOOTED, is_booted};
use super::{Movable, ON_DEMAND, Stats, THERE, TRACKING, carry, has_feature, lazy_pages};
use crate::need;

/// MiB.
const MEMORY: u32 = 500;
/// MiB that are rewritten, and how much of that each second.
const HOT: u32 = 32;
const RATE: u32 = 16;

/// Two pre-dumps and the dump, each to a page server; the last one is to be restored from "there-3".
pub fn send(c: &Movable, server_flags: &[&str]) {
    for (number, flags) in [
        (1, &["--pre-dump"][..]),
        (2, &["--pre-dump", "--parent-path", "../1"]),
        (3, &["--parent-path", "../2"]),
    ] {
        let (images, there) = (number.to_string(), format!("there-{number}"));
        let parent = format!("../there-{}", number - 1);
        let previous = ["--prev-images-dir", &parent];
        let chained = if number > 1 { &previous[..] } else { &[] };
        let (server, port) = c.page_server(&there, &[chained, server_flags].concat());
        let address = format!("127.0.0.1:{port}");
        c.checkpoint(&images, &[flags, &["--page-server", &address]].concat());
        server.wait().ok();
    }
    carry(c, "3", "there-3");
}

/// The longest time between two steps of the program, which CRIU's and the runtime's work adds up to.
fn gap(report: &Value) -> u64 {
    report["gap_ms"].as_u64().expect("milliseconds")
}

/// A container that was moved: the whole time, and CRIU's part of it.
struct Moved {
    gap: u64,
    dump: Stats,
}

/// `images`: of the dump.
fn arrived(c: &Movable, images: &str) -> Moved {
    c.until_it_goes_on();
    let gap = gap(&c.assert_memory_intact());
    let dump = Stats::of(c, images);
    c.delete();
    Moved { gap, dump }
}

fn by_one_checkpoint() -> Moved {
    let c = Movable::rewriting(MEMORY, HOT, RATE);
    c.checkpoint("images", &[]);
    c.restore(THERE, "images", &[]);
    arrived(&c, "images")
}

fn after_pre_dumps() -> Moved {
    let c = Movable::rewriting(MEMORY, HOT, RATE);
    send(&c, &[]);
    c.restore(THERE, "there-3", &[]);
    arrived(&c, "3")
}

#[test]
fn pre_dumps_shorten_the_time_that_processes_stand_still() {
    need!(is_booted(), BOOTED);
    need!(has_feature("mem_dirty_track"), TRACKING);
    // Both are measured again if something else kept the processor busy.
    let mut results = Vec::new();
    for _ in 0..3 {
        let (plain, chain) = (by_one_checkpoint(), after_pre_dumps());
        println!(
            "{MEMORY} MiB, of which {HOT} MiB change at {RATE} MiB/s, are moved to another state root. Processes stand still"
        );
        for (what, moved) in [("one checkpoint", &plain), ("two pre-dumps and a checkpoint", &chain)] {
            let (dump, pages) = (moved.dump.frozen_time / 1000, moved.dump.pages_written);
            println!(
                "  with {what}: for {} ms, {dump} ms of it in the dump of {pages} pages",
                moved.gap
            );
        }
        assert!(
            chain.dump.pages_written * 4 < plain.dump.pages_written,
            "pages are saved again"
        );
        let shorter = chain.dump.frozen_time * 4 < plain.dump.frozen_time * 3 && chain.gap < plain.gap;
        results.push((plain.gap, chain.gap));
        if shorter {
            return;
        }
    }
    panic!("pre-dumps do not help; milliseconds without and with them: {results:?}");
}

#[test]
fn pages_on_demand_shorten_it_too() {
    need!(is_booted(), BOOTED);
    need!(has_feature("uffd"), ON_DEMAND);
    let c = Movable::rewriting(MEMORY, HOT, RATE);
    let (checkpoint, server) = lazy_pages::move_it(&c);
    c.until_it_goes_on();
    checkpoint.wait().ok();
    server.wait().ok();
    let gap = gap(&c.assert_memory_intact());
    c.delete();
    println!(
        "{MEMORY} MiB, of which {HOT} MiB change at {RATE} MiB/s, with pages on demand: processes stand still for {gap} ms"
    );
}
