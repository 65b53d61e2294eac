//! `process.terminal`: the console socket, the window size, /dev/console.

use std::fs::{self};
use std::io::{Read, Write};
use std::process::Command;

use serde_json::json;

use crate::harness::{Bundle, ConsoleSocket, Facts, HostMount, Terminal, pty, set_size};

fn with_terminal(bundle: Bundle) -> Bundle {
    bundle.edit(|c| c["process"]["terminal"] = json!(true))
}

/// Creates and starts the container; returns the report of the probe on the terminal.
#[track_caller]
fn facts_on_terminal(bundle: &Bundle) -> Facts {
    Terminal::of_started(bundle).facts()
}

#[test]
fn the_terminal_arrives_on_the_console_socket() {
    let bundle = with_terminal(Bundle::new().args(["probe", "facts", "/dev/console", "/dev/pts/0"]));
    let bundle = bundle.edit(|c| c["process"]["consoleSize"] = json!({ "height": 33, "width": 77 }));
    let facts = facts_on_terminal(&bundle);
    let size = json!({ "rows": 33, "columns": 77 });
    assert_eq!(facts["tty"], json!([size, size, size]));
    assert_eq!(facts.path("/dev/pts/0")["major"], 136);
    assert_eq!(facts.mount("/dev/console")["fstype"], "devpts");
    assert_eq!(
        (
            &facts.path("/dev/console")["major"],
            &facts.path("/dev/console")["minor"]
        ),
        (&json!(136), &json!(0))
    );
    assert_eq!(
        facts["fds"],
        json!({ "0": "/dev/pts/0", "1": "/dev/pts/0", "2": "/dev/pts/0" })
    );
}

/// The /dev of another container is bound, with the console of a machine in it. What the container writes to the console
/// goes to its terminal.
#[test]
fn the_console_of_a_bound_dev_is_covered() {
    for (options, major) in [
        (&["rbind"] as &[&str], 136),
        (&["rbind", "rslave"], 136),
        // It would be covered for the owner on the other side, too.
        (&["rbind", "rshared"], 0),
    ] {
        let bundle = Bundle::new().args(["probe", "facts", "/dev/console"]);
        let dev = HostMount::tmpfs(&bundle.path("machine"), 0).shared();
        fs::write(dev.path.join("console"), "").unwrap();
        let terminals = dev.path.join("pts");
        fs::create_dir(&terminals).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "devpts", "-o", "newinstance,ptmxmode=0666", "none"]);
        assert!(mount.arg(&terminals).status().unwrap().success());
        let _terminals = HostMount::at(&terminals);
        let bundle = with_terminal(
            ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"]
                .into_iter()
                .fold(bundle, Bundle::without_mount)
                .mount("/dev", "bind", "machine", options),
        );
        let facts = facts_on_terminal(&bundle);
        assert_eq!(facts.path("/dev/console")["major"], major, "{options:?}");
        assert!(fs::metadata(dev.path.join("console")).unwrap().is_file(), "{options:?}");
        assert_eq!(fs::read_dir(&dev.path).unwrap().count(), 2, "nothing was made in it");
    }
}

#[test]
fn the_terminal_controls_the_session() {
    let bundle = with_terminal(Bundle::new().sh("read line </dev/tty; echo got $line; exec probe signals"));
    let socket = ConsoleSocket::new(&bundle);
    let id = bundle.fresh_id();
    bundle
        .orlop([
            "run",
            "--detach",
            "--bundle",
            bundle.dir().to_str().unwrap(),
            "--console-socket",
            socket.path(),
            &id,
        ])
        .run()
        .ok();
    let mut terminal = socket.terminal();
    terminal.send("a line\n");
    terminal.until("got a line");
    terminal.until("ready");
    terminal.send("\u{3}");
    terminal.until("INT");
    terminal.resize(10, 20);
    terminal.until("WINCH");
}

#[test]
fn the_terminal_belongs_to_the_containers_user() {
    let bundle = with_terminal(Bundle::new().args(["probe", "facts", "/dev/pts/0", "/dev/console"]));
    let bundle = bundle.edit(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    let facts = facts_on_terminal(&bundle);
    assert_eq!(facts.path("/dev/pts/0")["uid"], 1000);
    assert_eq!(facts.path("/dev/pts/0")["gid"], 5, "the gid of the devpts mount");
}

#[test]
fn a_terminal_and_its_socket_need_each_other() {
    let bundle = with_terminal(Bundle::new().args(["true"]));
    bundle.create_cmd(&bundle.fresh_id(), &[]).run().fails_with("console");
    bundle.run_cmd(&["--detach"]).run().fails_with("console");
    bundle
        .create_cmd(&bundle.fresh_id(), &["--console-socket", "/no/such/socket"])
        .run()
        .fails_for("console socket: connect(");
    bundle.assert_clean();

    let bundle = Bundle::new().args(["true"]);
    let socket = ConsoleSocket::new(&bundle);
    bundle
        .create_cmd(&bundle.fresh_id(), &["--console-socket", socket.path()])
        .run()
        .fails_for("cannot use console socket");
    bundle.assert_clean();
}

#[test]
fn console_size_without_a_terminal_is_ignored() {
    let bundle = Bundle::new().edit(|c| c["process"]["consoleSize"] = json!({ "height": 33, "width": 77 }));
    assert_eq!(bundle.facts()["tty"], json!([null, null, null]));
}

#[test]
fn run_ends_with_init_although_the_terminal_is_still_written_to() {
    // In the host's PID namespace they outlive init; after the hangup they open the terminal again.
    let writers = "for i in 1 2 3 4; do (trap '' HUP; while :; do yes yyyyyyyyyyyyyyyy >/dev/pts/0; done) & done";
    let bundle = with_terminal(Bundle::new().sh(&format!("{writers} 2>/dev/null; sleep 0.2; exit 3")));
    let bundle = bundle.without_namespace("pid");
    std::os::unix::fs::symlink("busybox", bundle.inside("/bin/yes")).expect("link an applet");
    // The runtime reads more slowly than they write, so there is always more.
    let (mut reader, writer) = std::io::pipe().expect("pipe");
    let running = bundle.run_cmd(&[]).pass_fd(writer, 1).spawn();
    let slow = std::thread::spawn(move || {
        let mut piece = [0; 1024];
        while std::io::Read::read(&mut reader, &mut piece).is_ok_and(|length| length > 0) {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    });
    assert_eq!(running.wait().code, 3);
    slow.join().expect("the reader");
}

#[test]
fn a_terminal_of_run_in_the_foreground() {
    let (mut master, slave) = pty();
    set_size(&slave, 21, 43);
    let bundle = Bundle::new()
        .sh("busybox tty; busybox stty size; read line; echo got:$line; exit 5")
        .edit(|c| c["process"]["terminal"] = json!(true));
    let copy = || slave.try_clone().unwrap();
    let running = bundle
        .run_cmd(&[])
        .pass_fd(copy(), 0)
        .pass_fd(copy(), 1)
        .pass_fd(copy(), 2)
        .spawn();
    let mut seen = String::new();
    for (text, answer) in [("/dev/pts/0", ""), ("21 43", "typed\r"), ("got:typed", "")] {
        while !seen.contains(text) {
            let mut bytes = [0_u8; 4096];
            let count = master.read(&mut bytes).expect("read the terminal");
            seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        master.write_all(answer.as_bytes()).expect("type");
    }
    assert_eq!(running.wait().code, 5);
}

/// A device of the image instead of the pty multiplexer is not even opened.
#[test]
fn a_terminal_is_only_opened_on_a_devpts() {
    for plant in ["mkfifo", "mknod c 5 2", "touch", "mknod b 7 0"] {
        let bundle = Bundle::new()
            .args(["true"])
            .without_mount("/dev/pts")
            .without_mount("/dev")
            .edit(|c| {
                c["process"]["terminal"] = json!(true);
                c["root"]["readonly"] = json!(false);
            });
        fs::create_dir_all(bundle.inside("/dev/pts")).unwrap();
        let path = bundle.inside("/dev/pts/ptmx");
        let words: Vec<&str> = plant.split(' ').collect();
        let made = std::process::Command::new(words[0])
            .arg(&path)
            .args(&words[1..])
            .status();
        assert!(made.unwrap().success());
        bundle.run().fails_with("not the pseudo-terminal multiplexer");
        bundle.assert_clean();
    }
}

#[test]
fn output_that_does_not_go_to_a_terminal_has_no_carriage_returns() {
    let bundle = Bundle::new()
        .sh("echo one; echo two; sleep 0")
        .edit(|c| c["process"]["terminal"] = json!(true));
    assert_eq!(bundle.run().ok().stdout, "one\ntwo\n");
    let idle = Bundle::new().args(["probe", "sleep"]);
    let c = idle.start();
    let out = idle
        .orlop(["exec", "--tty", &c.id, "sh", "-c", "echo one; echo two"])
        .run()
        .ok();
    assert_eq!(out.stdout, "one\ntwo\n");
}

/// The holder of the master end decides about line ends.
#[test]
fn a_terminal_on_the_console_socket_has_the_kernels_settings() {
    let bundle = Bundle::new()
        .sh("echo one; echo two")
        .edit(|c| c["process"]["terminal"] = json!(true));
    Terminal::of_started(&bundle).until("one\r\ntwo\r\n");
}
