//! `--pre-dump` and `--parent-path`: most of the memory is saved while the container runs.

use super::super::{BOOTED, is_booted};
use super::{HERE, Movable, Stats, TRACKING, has_feature};
use crate::need;

#[test]
fn a_chain_of_pre_dumps_is_restored() {
    need!(is_booted(), BOOTED);
    need!(has_feature("mem_dirty_track"), TRACKING);
    let c = Movable::rewriting(32, 4, 4);
    c.checkpoint("1", &["--pre-dump"]);
    assert_eq!(c.status(), "running");
    c.until_it_goes_on();
    c.checkpoint("2", &["--pre-dump", "--parent-path", "../1"]);
    assert_eq!(c.status(), "running");
    c.until_it_goes_on();
    c.checkpoint("3", &["--parent-path", "../2"]);
    assert!(!c.leaf.exists(), "its cgroup is left");

    // 32 MiB are 8192 pages, of which 1024 change.
    let stats = ["1", "2", "3"].map(|images| Stats::of(&c, images));
    assert!(stats[0].pages_written > 8192, "{stats:?}");
    for later in &stats[1..] {
        assert!(later.pages_written < 2048, "{stats:?}");
        assert!(later.pages_skipped_parent > 6144, "{stats:?}");
    }
    c.restore(HERE, "3", &[]);
    c.until_it_goes_on();
    c.assert_memory_intact();
    c.delete();
}

#[test]
fn a_pre_dump_without_a_dump_changes_nothing() {
    need!(is_booted(), BOOTED);
    need!(has_feature("mem_dirty_track"), TRACKING);
    let c = Movable::rewriting(8, 4, 4);
    let state = c.on(&["state"]).ok().json();
    for images in ["1", "2"] {
        c.checkpoint(images, &["--pre-dump"]);
        assert_eq!(c.on(&["state"]).ok().json(), state);
        c.until_it_goes_on();
    }
    // A full checkpoint needs none of them.
    c.checkpoint("3", &[]);
    c.restore(HERE, "3", &[]);
    c.assert_memory_intact();
}

#[test]
fn auto_dedup_keeps_each_page_once() {
    need!(is_booted(), BOOTED);
    need!(has_feature("mem_dirty_track"), TRACKING);
    let c = Movable::rewriting(32, 16, 64);
    c.checkpoint("1", &["--pre-dump"]);
    let before = allocated(&c, "1");
    c.until_it_goes_on();
    c.checkpoint("2", &["--parent-path", "../1", "--auto-dedup"]);
    // The 16 MiB that were rewritten are holes in the files of the parent.
    let after = allocated(&c, "1");
    assert!(after + (12 << 20) < before, "{before} bytes before, {after} after");
    c.restore(HERE, "2", &["--auto-dedup"]);
    c.until_it_goes_on();
    c.assert_memory_intact();
    // Nor are pages needed that a process has.
    assert!(allocated(&c, "2") < 1 << 20, "{}", allocated(&c, "2"));
}

/// Bytes on disk of the files with pages.
fn allocated(c: &Movable, images: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = super::page_files(c, images);
    let blocks = |name: &String| c.bundle.path(images).join(name).metadata().expect("a file").blocks();
    files.iter().map(blocks).sum::<u64>() * 512
}
