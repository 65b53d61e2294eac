//! The terminal of a process that joins, and descriptors sent over sockets.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::sys::termios::tcgetattr;
use serde_json::{Value, json};

use crate::harness::exec::{detached, exec_cmd, exec_facts, idle, process_file};
use crate::harness::{ConsoleSocket, eventually, pty, receive_with_descriptor, set_size};

#[test]
fn a_terminal_over_the_console_socket() {
    let bundle = idle().edit(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    let c = bundle.start();
    let socket = ConsoleSocket::new(&bundle);
    exec_cmd(
        &c,
        &["--tty", "--detach", "--console-socket", socket.path()],
        &[
            "sh",
            "-c",
            "read line </dev/tty; echo got $line; probe facts /dev/pts/0; exec probe signals",
        ],
    )
    .run()
    .ok();
    let mut terminal = socket.terminal();
    terminal.send("a line\n");
    terminal.until("got a line");
    terminal.until("/dev/pts/0");
    terminal.until("\"uid\": 1000");
    terminal.until("ready");
    terminal.send("\u{3}");
    terminal.until("INT");
    terminal.resize(10, 20);
    terminal.until("WINCH");
}

/// The terminal of the config is for init; its size applies to every terminal that is requested.
#[test]
fn a_terminal_only_on_request() {
    let bundle = idle();
    let c = bundle.start();
    assert_eq!(exec_facts(&c, &[])["tty"], json!([null, null, null]));
    let process = json!({ "args": ["probe", "facts"], "cwd": "/", "env": ["PATH=/bin"], "terminal": true,
        "consoleSize": { "height": 33, "width": 77 }, "user": { "uid": 0, "gid": 0 } });
    let file = process_file(&bundle, &process);
    let socket = ConsoleSocket::new(&bundle);
    exec_cmd(
        &c,
        &["--process", &file, "--detach", "--console-socket", socket.path()],
        &[],
    )
    .run()
    .ok();
    let facts: Value = serde_json::from_str(&socket.terminal().until_closed()).expect("the probe's report");
    let size = json!({ "rows": 33, "columns": 77 });
    assert_eq!(facts["tty"], json!([size, size, size]));
}

#[test]
fn a_terminal_and_its_socket_need_each_other() {
    let bundle = idle();
    let c = bundle.start();
    let socket = bundle.path("nobody.sock");
    let socket = socket.to_str().unwrap();
    for flags in [
        ["-t", "-d"].as_slice(),
        &["-t", "--console-socket", socket],
        &["-d", "--console-socket", socket],
        &["--console-socket", socket],
    ] {
        let out = exec_cmd(&c, flags, &["true"]).run().fails_with("console");
        assert_eq!(out.code, 255);
    }
}

fn settings(fd: &OwnedFd) -> Vec<u32> {
    let termios: libc::termios = tcgetattr(fd).expect("the settings of a terminal").into();
    vec![termios.c_iflag, termios.c_oflag, termios.c_cflag, termios.c_lflag]
}

#[test]
fn a_terminal_in_the_foreground() {
    let bundle = idle();
    let c = bundle.start();
    let (mut master, slave) = pty();
    set_size(&slave, 21, 43);
    let before = settings(&slave);
    let copy = || slave.try_clone().unwrap();
    let script = "while busybox stty size; read line; do echo got:$line; [ \"$line\" != end ] || kill -KILL $$; done";
    let running = exec_cmd(&c, &["--tty"], &["sh", "-c", script])
        .pass_fd(copy(), 0)
        .pass_fd(copy(), 1)
        .pass_fd(copy(), 2)
        .spawn();
    let mut seen = String::new();
    let mut until = |master: &mut File, text: &str| {
        while !seen.contains(text) {
            let mut bytes = [0_u8; 4096];
            let count = master.read(&mut bytes).expect("read the terminal");
            seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        let end = seen.find(text).expect("just found") + text.len();
        seen.drain(..end).collect::<String>()
    };
    until(&mut master, "21 43");
    assert_ne!(settings(&slave), before, "raw mode");
    set_size(&slave, 10, 20);
    running.signal(libc::SIGWINCH);
    std::io::Write::write_all(&mut master, b"typed\r").unwrap();
    until(&mut master, "got:typed");
    // The signal takes another path than keys, and may arrive later.
    let mut answer = String::new();
    while !answer.contains("10 20") {
        std::io::Write::write_all(&mut master, b"\r").unwrap();
        answer = until(&mut master, "got:\r\n");
    }
    std::io::Write::write_all(&mut master, b"end\r").unwrap();
    assert_eq!(running.wait().code, 137);
    assert_eq!(settings(&slave), before, "put back as it was");
}

/// The message of the next client.
fn receive(listener: &UnixListener) -> (String, OwnedFd) {
    receive_with_descriptor(listener.accept().expect("accept").0)
}

/// The PID that a pidfd refers to.
fn pid_behind(pidfd: &OwnedFd) -> i32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    let pid = info
        .lines()
        .find_map(|line| line.strip_prefix("Pid:"))
        .expect("a pidfd");
    pid.trim().parse().unwrap()
}

#[test]
fn a_pidfd_over_its_socket() {
    let bundle = idle();
    let path = bundle.path("pidfd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let path = path.to_str().unwrap();
    let id = bundle.fresh_id();
    bundle.create_cmd(&id, &["--pidfd-socket", path]).run().ok();
    let (word, pidfd) = receive(&listener);
    let state = bundle.orlop(["state", &id]).run().ok().json();
    assert_eq!(
        (word.as_str(), json!(pid_behind(&pidfd))),
        ("standard", state["pid"].clone())
    );
    let c = bundle.start();
    let pid = detached(&c, &["--pidfd-socket", path]);
    let (word, pidfd) = receive(&listener);
    assert_eq!((word.as_str(), pid_behind(&pidfd)), ("setns", pid));
    bundle.run_cmd(&["--detach", "--pidfd-socket", path]).run().ok();
    assert_eq!(receive(&listener).0, "standard");
}

/// An address has room for 107 bytes; engines keep their sockets below directories named after long ids.
#[test]
fn sockets_are_reached_by_paths_of_any_length() {
    let bundle = idle();
    let deep = bundle.path(&"d".repeat(200));
    fs::create_dir(&deep).unwrap();
    let long = deep.join("s".repeat(200));
    let path = long.to_str().unwrap();
    let moved = |name: &str| {
        let listener = UnixListener::bind(bundle.path(name)).unwrap();
        fs::rename(bundle.path(name), &long).unwrap();
        listener
    };
    let listener = moved("pidfd.sock");
    let id = bundle.fresh_id();
    bundle.create_cmd(&id, &["--pidfd-socket", path]).run().ok();
    assert_eq!(receive(&listener).0, "standard");
    bundle.orlop(["start", &id]).run().ok();
    bundle
        .orlop(["exec", "--detach", "--pidfd-socket", path, &id, "true"])
        .run()
        .ok();
    assert_eq!(receive(&listener).0, "setns");
    let listener = moved("console.sock");
    bundle
        .orlop(["exec", "--detach", "--tty", "--console-socket", path, &id, "true"])
        .run()
        .ok();
    receive(&listener);
    drop(listener);
    // A child that another test is just starting may hold a copy of the descriptor, until it executes its program.
    let near = bundle.path("near.sock");
    fs::rename(&long, &near).unwrap();
    eventually("nothing listens any more", || UnixStream::connect(&near).is_err());
    fs::rename(&near, &long).unwrap();
    bundle
        .orlop(["exec", "--detach", "--pidfd-socket", path, &id, "true"])
        .run()
        .fails_with("ECONNREFUSED");
}

#[test]
fn a_terminal_needs_no_procfs_in_the_container() {
    let bundle = idle().without_mount("/proc").edit(|c| {
        for paths in ["maskedPaths", "readonlyPaths"] {
            c["linux"].as_object_mut().unwrap().remove(paths);
        }
    });
    let c = bundle.start();
    let out = exec_cmd(&c, &["-t"], &["sh", "-c", "[ -t 0 ] && echo terminal"])
        .run()
        .ok();
    assert_eq!(out.stdout, "terminal\n");
}
