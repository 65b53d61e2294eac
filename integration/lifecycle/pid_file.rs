//! `--pid-file`.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::harness::Bundle;
use crate::harness::host::make_fifo;

#[test]
fn pid_file_holds_the_pid() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let id = bundle.fresh_id();
    let path = bundle.path("init.pid");
    bundle
        .create_cmd(&id, &["--pid-file", path.to_str().unwrap()])
        .run()
        .ok();
    let pid = bundle.orlop(["state", &id]).run().ok().json()["pid"].to_string();
    assert_eq!(fs::read_to_string(&path).unwrap(), pid);
}

#[test]
fn an_unwritable_pid_file_fails_and_leaves_nothing() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    bundle
        .create_cmd(&bundle.fresh_id(), &["--pid-file", "/no/such/directory/pid"])
        .run()
        .fails_for("pid file: \"/no/such/directory/pid\"");
    bundle.assert_clean();
}

/// A reader of the PID file sees either the old or the new content, never a part. A link at its path is not followed.
#[test]
fn the_pid_file_is_replaced_as_a_whole() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let path = bundle.path("init.pid");
    let kept = bundle.path("kept");
    fs::write(&kept, "what a reader has open").unwrap();
    let create = |id: &str| {
        bundle
            .create_cmd(id, &["--pid-file", path.to_str().unwrap()])
            .run()
            .ok();
        let pid = bundle.orlop(["state", id]).run().ok().json()["pid"].to_string();
        assert_eq!(fs::read_to_string(&path).unwrap(), pid);
        assert!(path.symlink_metadata().unwrap().is_file());
        assert_eq!(fs::read_to_string(&kept).unwrap(), "what a reader has open");
        bundle.orlop(["delete", "--force", id]).run().ok();
    };
    fs::hard_link(&kept, &path).unwrap();
    create(&bundle.fresh_id());
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&kept, &path).unwrap();
    create(&bundle.fresh_id());
}

/// A runtime that is killed while it writes leaves no partly written file under another name.
#[test]
fn a_new_pid_file_has_no_temporary_name() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let path = bundle.path("init.pid");
    // Where a temporary name would have to be.
    fs::create_dir_all(bundle.path(".init.pid/full")).unwrap();
    let id = bundle.fresh_id();
    let flags = ["--pid-file", path.to_str().unwrap()];
    bundle.create_cmd(&id, &flags).umask(0o027).run().ok();
    let pid = bundle.orlop(["state", &id]).run().ok().json()["pid"].to_string();
    assert_eq!(fs::read_to_string(&path).unwrap(), pid);
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o640);
}

/// `--pid-file /dev/null` or `/dev/stdout` must not replace the device of the host.
#[test]
fn a_pid_file_does_not_replace_a_device() {
    let bundle = Bundle::new().args(["true"]);
    let (fifo, link) = (bundle.path("fifo"), bundle.path("link"));
    make_fifo(&fifo);
    std::os::unix::fs::symlink("/proc/self/fd/0", &link).unwrap();
    for path in [&fifo, &link] {
        let before = path.symlink_metadata().unwrap().ino();
        let flags = ["--pid-file", path.to_str().unwrap()];
        bundle.run_cmd(&flags).run().fails_with("not a regular file");
        assert_eq!(path.symlink_metadata().unwrap().ino(), before);
    }
    bundle.assert_clean();
}
