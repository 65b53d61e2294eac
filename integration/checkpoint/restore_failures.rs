//! A restore that fails leaves nothing: no process, no cgroup, no mount, no state, and an image that can still be restored.

use std::fs;
use std::path::{Path, PathBuf};

use super::{dying_after, instead_of_criu, private_tmp};
use crate::harness::checkpoint::{
    CRIU, Image, Workload, bundle, checkpoint, has_criu, restore, restore_cmd, restore_foreground_cmd, with_criu,
    with_parts,
};
use crate::harness::golden::own_texts;
use crate::harness::{Bundle, Cmd, Container, Output};
use crate::need;

/// A restore that fails.
#[track_caller]
fn refused(c: &Container, image: &Image, change: impl FnOnce(Cmd) -> Cmd) -> Output {
    let pid_file = c.bundle.path("pid");
    let flags = ["--pid-file", pid_file.to_str().unwrap()];
    let output = change(restore_cmd(c, image, &flags)).run().fails();
    let mut leaks = c.bundle.lasting_leaks();
    if !own_texts() {
        // They may leave a cgroup.
        c.bundle.tolerate_leaks.set(true);
        leaks.retain(|leak| !leak.starts_with("cgroup"));
    }
    assert!(leaks.is_empty(), "{leaks:#?}\n{output:#?}");
    assert!(!pid_file.exists(), "{output:#?}");
    output
}

/// A workload that has been saved.
fn saved(bundle: &Bundle) -> (Workload<'_>, crate::harness::checkpoint::Report, Image) {
    let work = Workload::start(bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    (work, before, image)
}

#[track_caller]
fn assert_restorable(work: &Workload, before: &crate::harness::checkpoint::Report, image: &Image) {
    restore(&work.container, image, &[]);
    work.assert_continues(before);
}

#[test]
fn damaged_images() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let (work, before, image) = saved(&bundle);
    // That of the process with the most memory, which is the first one.
    let pages = entries(&image.dir)
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("/pages-"));
    let pages = pages.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let pages = pages.file_name().unwrap().to_str().unwrap();
    for name in [
        "inventory.img",
        "pstree.img",
        "core-1.img",
        "mm-1.img",
        pages,
        "files.img",
    ] {
        for damage in [Damage::Missing, Damage::Empty, Damage::Short, Damage::Garbage] {
            let path = image.dir.join(name);
            let content = fs::read(&path).unwrap();
            match damage {
                Damage::Missing => fs::remove_file(&path).unwrap(),
                Damage::Empty => fs::write(&path, "").unwrap(),
                Damage::Short => fs::write(&path, &content[..content.len() / 2]).unwrap(),
                Damage::Garbage => fs::write(&path, vec![0xa5; content.len()]).unwrap(),
            }
            // Nobody can see that pages have another content. CRIU waits for ever for those that are missing at the end.
            if name != pages || damage == Damage::Missing {
                eprintln!("{name}: {damage:?}");
                refused(&work.container, &image, |cmd| cmd);
            }
            fs::write(&path, content).unwrap();
        }
    }
    assert_restorable(&work, &before, &image);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    Missing,
    Empty,
    Short,
    Garbage,
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn no_image() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let (work, before, image) = saved(&bundle);
    let work_dir = bundle.path("other.work");
    fs::create_dir(bundle.path("empty")).unwrap();
    fs::write(bundle.path("file"), "").unwrap();
    for name in ["missing", "empty", "file"] {
        let wrong = Image {
            dir: bundle.path(name),
            work: work_dir.clone(),
        };
        let output = refused(&work.container, &wrong, |cmd| cmd);
        if own_texts() {
            assert!(output.stderr.contains(wrong.dir.to_str().unwrap()), "{output:#?}");
        }
    }
    assert_restorable(&work, &before, &image);
}

#[test]
fn a_bind_without_its_source() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let source = bundle.path("source");
    fs::create_dir(&source).unwrap();
    let bundle = bundle.mount("/bound", "bind", source.to_str().unwrap(), &["bind"]);
    let (work, before, image) = saved(&bundle);
    fs::rename(&source, bundle.path("elsewhere")).unwrap();
    let output = refused(&work.container, &image, |cmd| cmd);
    if own_texts() {
        assert!(output.stderr.contains(source.to_str().unwrap()), "{output:#?}");
    }
    fs::rename(bundle.path("elsewhere"), &source).unwrap();
    assert_restorable(&work, &before, &image);
}

/// CRIU checks the size of a file that a process has open.
#[test]
fn a_file_that_has_changed() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["files"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &["--file-locks"]);
    let content = fs::read(bundle.inside("/tmp/positioned")).unwrap();
    fs::write(bundle.inside("/tmp/positioned"), "short").unwrap();
    let output = refused(&work.container, &image, |cmd| cmd);
    if own_texts() {
        assert!(output.stderr.contains("tmp/positioned"), "{output:#?}");
    }
    fs::write(bundle.inside("/tmp/positioned"), content).unwrap();
    restore(&work.container, &image, &["--file-locks"]);
    work.assert_continues(&before);
}

#[test]
fn no_criu() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let (work, before, image) = saved(&bundle);
    let empty = bundle.path("empty");
    fs::create_dir(&empty).unwrap();
    let output = refused(&work.container, &image, |cmd| cmd.env("PATH", empty.to_str().unwrap()));
    assert!(output.stderr.contains("criu"), "{output:#?}");
    assert_restorable(&work, &before, &image);
}

#[test]
fn a_criu_that_ends_at_once() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let (work, before, image) = saved(&bundle);
    for script in ["exit 3", "kill -KILL $$", "echo noise >&\"$3\"; exit 0"] {
        let dir = instead_of_criu(&bundle, script);
        refused(&work.container, &image, |cmd| with_criu(cmd, &[&dir]));
    }
    assert_restorable(&work, &before, &image);
}

/// It is killed at some moment, perhaps with processes that are half restored.
#[test]
fn a_criu_that_is_killed() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that survives the death of CRIU");
    let bundle = with_parts(bundle(), &["memory", "children"]);
    let (work, before, image) = saved(&bundle);
    for seconds in [0.005, 0.01, 0.02, 0.03, 0.04] {
        let dir = instead_of_criu(&bundle, &dying_after(seconds));
        refused(&work.container, &image, |cmd| private_tmp(with_criu(cmd, &[&dir])));
    }
    assert_restorable(&work, &before, &image);
}

#[test]
fn a_hook_that_fails() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that cleans up when a hook of a restore fails");
    for point in ["prestart", "createRuntime"] {
        let bundle = with_parts(bundle(), &["memory"]).with_host_hook(point, "test ! -e $OUT.fail || exit 9");
        let (work, before, image) = saved(&bundle);
        let fail = bundle.path("hooks.log.fail");
        fs::write(&fail, "").unwrap();
        let output = refused(&work.container, &image, |cmd| cmd);
        assert!(output.stderr.contains(point), "{output:#?}");
        fs::remove_file(&fail).unwrap();
        assert_restorable(&work, &before, &image);
    }
}

#[test]
fn nothing_listens_on_the_console_socket() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]).edit(|c| c["process"]["terminal"] = serde_json::json!(true));
    let socket = crate::harness::ConsoleSocket::new(&bundle);
    let flags = ["--console-socket", socket.path()];
    let work = Workload::of(crate::harness::checkpoint::start_with(&bundle, &flags, |cmd| cmd));
    let _terminal = socket.terminal();
    let image = checkpoint(&work.container, &[]);
    let flags = ["--detach", "--console-socket", "/no/such/socket"];
    restore_foreground_cmd(&work.container, &image, &flags)
        .run()
        .fails_for("console socket");
    bundle.assert_clean();
}
