//! A runtime that is interrupted or killed during a checkpoint or a restore: the container is there as before, or it is saved and
//! gone, or nothing is there.

use std::fs;
use std::time::Duration;

use super::private_tmp;
use crate::harness::checkpoint::{
    CRIU, Image, Report, Workload, bundle, checkpoint, checkpoint_cmd, has_criu, restore, restore_cmd, with_parts,
};
use crate::harness::golden::own_texts;
use crate::harness::{Bundle, Output, Running, eventually};
use crate::need;

/// Milliseconds after which a command is interrupted: it takes longer than the first and perhaps less than the last.
const MOMENTS: [u64; 6] = [5, 20, 40, 60, 90, 130];

fn signal_after(running: &Running, milliseconds: u64, signal: i32) {
    // A moment in the middle, not a wait for something.
    std::thread::sleep(Duration::from_millis(milliseconds));
    running.signal(signal);
}

/// Whether CRIU has finished with an image.
fn complete(image: &Image) -> bool {
    fs::read_to_string(image.work.join("dump.log")).is_ok_and(|log| log.contains("Dumping finished successfully"))
}

/// After a checkpoint that was cut short: the container runs, or it can be restored.
#[track_caller]
fn assert_not_lost(work: &Workload, before: &Report, image: &Image) -> Report {
    let status = || {
        let output = work.container.bundle.orlop(["state", &work.container.id]).run();
        if output.code == 0 {
            output.json()["status"].as_str().unwrap().to_owned()
        } else {
            "gone".to_owned()
        }
    };
    // A CRIU that is still at work ends by itself.
    eventually("CRIU has ended", || {
        let processes = work.container.bundle.leaks();
        let outside = ["its environment", "its descriptors"];
        !processes
            .iter()
            .any(|process| outside.iter().any(|why| process.contains(why)))
    });
    if status() == "running" {
        return work.assert_continues(before);
    }
    assert!(
        complete(image),
        "neither running nor saved: {}\n{}",
        status(),
        image.logs()
    );
    work.container
        .bundle
        .orlop(["delete", "--force", &work.container.id])
        .run();
    restore(&work.container, image, &[]);
    work.assert_continues(before)
}

fn checkpoints_interrupted_by(bundle: &Bundle, signal: i32) {
    let work = Workload::start(bundle);
    let mut before = work.report();
    for milliseconds in MOMENTS {
        let image = Image::new(bundle);
        let running = private_tmp(checkpoint_cmd(&work.container, &image, &[])).spawn();
        signal_after(&running, milliseconds, signal);
        running.wait();
        before = assert_not_lost(&work, &before, &image);
    }
}

#[test]
fn a_checkpoint_by_sigterm() {
    need!(has_criu(), CRIU);
    need!(
        own_texts(),
        "a runtime that thaws a container whose checkpoint is interrupted"
    );
    checkpoints_interrupted_by(&with_parts(bundle(), &["memory", "children"]), libc::SIGTERM);
}

#[test]
fn a_checkpoint_by_sigkill() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime whose CRIU ends with it");
    checkpoints_interrupted_by(&with_parts(bundle(), &["memory", "children"]), libc::SIGKILL);
}

/// Restores are interrupted at different moments. `clean_up` gets the output of each, before nothing may be left.
fn restores_interrupted_by(signal: i32, clean_up: impl Fn(&Workload, &Report, &Output)) {
    let bundle = with_parts(bundle(), &["memory", "children"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    for milliseconds in MOMENTS {
        let running = private_tmp(restore_cmd(&work.container, &image, &[])).spawn();
        signal_after(&running, milliseconds, signal);
        let output = running.wait();
        clean_up(&work, &before, &output);
        let leaks = bundle.lasting_leaks();
        assert!(
            leaks.is_empty(),
            "after {milliseconds} ms: {leaks:#?}\n{output:#?}\n{}",
            image.logs()
        );
    }
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
}

fn delete(work: &Workload) {
    let container = &work.container;
    container.bundle.orlop(["delete", "--force", &container.id]).run().ok();
}

/// It fails and leaves nothing, or it was finished before.
#[test]
fn a_restore_by_sigterm() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that cleans up when a restore is interrupted");
    restores_interrupted_by(libc::SIGTERM, |work, before, output| {
        if output.code == 0 {
            work.assert_continues(before);
            delete(work);
        }
    });
}

/// Nobody is left to clean up but `delete`.
#[test]
fn a_restore_by_sigkill() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that can delete what is left of a restore");
    restores_interrupted_by(libc::SIGKILL, |work, _, _| delete(work));
}
