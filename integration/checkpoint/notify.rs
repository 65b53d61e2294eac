//! sd_notify(3) of a restored container.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::harness::checkpoint::{CRIU, bundle, checkpoint, has_criu, restore_foreground_cmd, silent, start_with};
use crate::harness::golden::own_texts;
use crate::harness::{Cmd, receive};
use crate::need;

/// The manager is told of the new main process, and later messages are forwarded to it.
#[test]
fn the_manager_learns_of_the_restored_container() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that restores NOTIFY_SOCKET");
    let bundle = bundle().args(["probe", "notify", "READY=1", "wait", "STATUS=later", "sleep"]);
    let path = bundle.path("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let telling = |cmd: Cmd| cmd.env("NOTIFY_SOCKET", path.to_str().unwrap());
    let next = || String::from_utf8_lossy(&receive(&manager).0).into_owned();
    let pipe = || std::io::pipe().unwrap();
    let (stdin, _input) = pipe();
    // `run` waits until the manager has answered.
    let c = std::thread::scope(|scope| {
        let answers = scope.spawn(|| [next(), next()]);
        let c = start_with(&bundle, &[], |cmd| silent(telling(cmd)).pass_fd(stdin, 0));
        let [ready, barrier] = answers.join().unwrap();
        assert_eq!(ready, format!("READY=1\nMAINPID={}", c.pid()));
        assert_eq!(barrier, "BARRIER=1");
        c
    });
    let image = checkpoint(&c, &[]);
    let (stdin, input) = pipe();
    let restored = silent(telling(restore_foreground_cmd(&c, &image, &[])))
        .pass_fd(stdin, 0)
        .spawn();
    // In the foreground the runtime stands for the container.
    let ready = next();
    assert_eq!(
        ready,
        format!("READY=1\nMAINPID={}", restored.pid()),
        "{}",
        image.logs()
    );
    drop(input);
    let mut later = next();
    while later == "BARRIER=1" {
        later = next();
    }
    assert_eq!(later, "STATUS=later");
    c.kill("KILL");
    assert_eq!(restored.wait().code, 137);
}
