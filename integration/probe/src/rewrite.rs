//! A program with much memory of which it rewrites some all the time, like a database. It notices a page that is not as it
//! left it, and how long it stood still: of a container that is checkpointed and restored, both must not go unnoticed.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

const WORDS: usize = 4096 / 8;
/// Between two steps.
const PAUSE: Duration = Duration::from_millis(5);
/// Between two reports.
const REPORT: Duration = Duration::from_millis(100);

/// Of `total` MiB it rewrites the first `hot` in turn, `rate` MiB a second. A report is written to `file` ten times a second. Once
/// there is `file`.check, all pages are checked, and the program ends with the last report.
pub fn run(total: usize, hot: usize, rate: usize, file: &str) {
    let mut memory = vec![0u64; (total << 20) / 8];
    for (number, page) in memory.chunks_exact_mut(WORDS).enumerate() {
        fill(page, number, 0);
    }
    let hot = (hot << 8).max(1);
    // How often each of the pages was rewritten is kept elsewhere, and so is not lost with it.
    let mut counts = vec![0u32; hot];
    let mut next = 0;
    let (mut bad, mut gap, mut steps) = (0u64, Duration::ZERO, 0u64);
    // The real time goes on while the container does not exist, even on another machine.
    let mut last = SystemTime::now();
    let mut reported = last;
    let check = format!("{file}.check");
    loop {
        for _ in 0..(rate << 8) * PAUSE.as_millis() as usize / 1000 {
            let page = &mut memory[next * WORDS..(next + 1) * WORDS];
            bad += u64::from(!is_filled(page, next, counts[next]));
            counts[next] += 1;
            fill(page, next, counts[next]);
            next = (next + 1) % hot;
        }
        steps += 1;
        std::thread::sleep(PAUSE);
        let now = SystemTime::now();
        gap = gap.max(now.duration_since(last).unwrap_or_default());
        last = now;
        let ends = Path::new(&check).exists();
        if ends {
            let pages = memory.chunks_exact(WORDS).enumerate();
            bad += pages
                .filter(|(number, page)| !is_filled(page, *number, counts.get(*number).copied().unwrap_or(0)))
                .count() as u64;
        }
        if ends || now.duration_since(reported).unwrap_or_default() >= REPORT {
            reported = now;
            let report = json!({ "steps": steps, "gap_ms": gap.as_millis() as u64, "bad": bad, "checked": ends });
            let new = format!("{file}.new");
            if fs::write(&new, report.to_string()).is_ok() {
                let _ = fs::rename(&new, file);
            }
        }
        if ends {
            return;
        }
    }
}

/// Different on every page and every time, so that pages can neither be mixed up nor be old.
fn word(number: usize, count: u32) -> u64 {
    ((number as u64) << 32 | u64::from(count)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

fn fill(page: &mut [u64], number: usize, count: u32) {
    page.fill(word(number, count));
}

fn is_filled(page: &[u64], number: usize, count: u32) -> bool {
    page.iter().all(|found| *found == word(number, count))
}
