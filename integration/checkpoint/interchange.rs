//! Images of another runtime: what runc saved is restored, and the reverse.

use std::path::{Path, PathBuf};

use crate::harness::checkpoint::{CRIU, Image, Workload, bundle, has_criu, with_criu, with_parts};
use crate::harness::golden::own_texts;
use crate::harness::{Bundle, Cmd, runtime};
use crate::need;

fn runc() -> Option<PathBuf> {
    let places = [
        "/usr/sbin/runc",
        "/usr/bin/runc",
        "/usr/local/sbin/runc",
        "/usr/local/bin/runc",
    ];
    places.iter().map(PathBuf::from).find(|path| path.exists())
}

/// A command of one of the runtimes with a state root of its own.
fn command(bundle: &Bundle, program: &Path, args: &[&str]) -> Cmd {
    let root = bundle.path(&format!("root-{}", program.file_name().unwrap().to_string_lossy()));
    let all = [&["--root", root.to_str().unwrap()], args].concat();
    with_criu(bundle.without_root(all).program(program), &[])
}

#[track_caller]
fn passed_on(from: &Path, to: &Path) {
    let bundle = with_parts(
        bundle(),
        &["memory", "children", "messages", "ipc", "files", "identity"],
    );
    let (bundle, _holder) = super::networked(bundle);
    let dir = bundle.dir().to_str().unwrap();
    let container = crate::harness::checkpoint::another(&bundle);
    let id = container.id.clone();
    let null = || {
        std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/null")
            .unwrap()
    };
    let run = command(&bundle, from, &["run", "--detach", "--bundle", dir, &id]);
    run.pass_fd(null(), 1).pass_fd(null(), 2).run().ok();
    let work = Workload::of(container);
    let before = work.report();
    let image = Image::new(&bundle);
    let flags = image.flags();
    let locks = &["--file-locks"] as &[&str];
    command(&bundle, from, &[&["checkpoint"], locks, &flags, &[&id]].concat())
        .run()
        .ok();
    let restore = &["restore", "--detach", "--bundle", dir];
    let output = command(&bundle, to, &[restore, locks, &flags, &[&id]].concat()).run();
    assert_eq!(output.code, 0, "{output:#?}\n{}", image.logs());
    work.assert_continues(&before);
    command(&bundle, to, &["delete", "--force", &id]).run().ok();
}

#[test]
fn from_runc() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that is not runc");
    need!(runc().is_some(), "runc");
    passed_on(&runc().unwrap(), runtime());
}

#[test]
fn to_runc() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that is not runc");
    need!(runc().is_some(), "runc");
    passed_on(runtime(), &runc().unwrap());
}
