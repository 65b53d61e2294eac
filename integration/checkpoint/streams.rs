//! Standard streams and the terminal of a restored container, in the background and in the foreground.

use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::poll::{PollFd, PollFlags, poll};
use serde_json::json;

use crate::harness::checkpoint::{
    CRIU, Image, Workload, another, bundle, checkpoint, has_criu, restore_cmd, restore_foreground_cmd, start_with,
    with_parts,
};
use crate::harness::golden::own_texts;
use crate::harness::{Bundle, Cmd, ConsoleSocket, Terminal, eventually, pty, set_size};
use crate::need;

#[test]
fn the_exit_code_comes_back_in_the_foreground() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    let restored = restore_foreground_cmd(&work.container, &image, &[]).spawn();
    work.assert_continues(&before);
    work.exit(7);
    let output = restored.wait();
    assert_eq!(output.code, 7, "{output:#?}\n{}", image.logs());
    bundle.assert_clean();
}

/// Signals of the caller go to the container.
#[test]
fn signals_arrive_in_the_foreground() {
    need!(has_criu(), CRIU);
    let bundle = bundle().sh("trap 'exit 5' TERM; touch /tmp/ready; while :; do sleep 0.01; done");
    let c = crate::harness::checkpoint::start(&bundle);
    eventually("the shell is ready", || bundle.inside("/tmp/ready").exists());
    let image = checkpoint(&c, &[]);
    let mut restored = restore_foreground_cmd(&c, &image, &[]).spawn();
    eventually("the container runs again", || {
        let state = bundle.orlop(["state", &c.id]).run();
        assert!(!restored.has_ended(), "{}", image.logs());
        state.code == 0 && state.json()["status"] == "running"
    });
    restored.signal(libc::SIGTERM);
    let output = restored.wait();
    assert_eq!(output.code, 5, "{output:#?}\n{}", image.logs());
}

/// Reads until `text`; fails after five seconds without anything new.
#[track_caller]
pub fn until(pipe: &mut PipeReader, text: &str) {
    let mut seen = String::new();
    while !seen.contains(text) {
        let ready = poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], 5000_u16);
        assert_eq!(ready, Ok(1), "nothing after {seen:?} instead of {text}");
        let mut bytes = [0; 1000];
        let count = pipe.read(&mut bytes).expect("read");
        assert!(count > 0, "the end after {seen:?} instead of {text}");
        seen += &String::from_utf8_lossy(&bytes[..count]);
    }
}

/// The pipes of the command that restores take the place of the old ones, as an engine needs it.
#[test]
fn pipes_of_the_caller_are_connected_again() {
    need!(has_criu(), CRIU);
    let bundle = bundle().sh("while read line; do echo out $line; echo err $line >&2; done; echo end");
    let pipe = || std::io::pipe().expect("pipe");
    let ([(stdin, mut input), (mut output, stdout), (mut error, stderr)], give) = ([pipe(), pipe(), pipe()], pass);
    let c = start_with(&bundle, &[], |cmd| {
        give(cmd, stdin.into(), stdout.into(), stderr.into())
    });
    input.write_all(b"one\n").unwrap();
    until(&mut output, "out one\n");
    until(&mut error, "err one\n");
    let image = checkpoint(&c, &[]);
    let [(stdin, mut input), (mut output, stdout), (mut error, stderr)] = [pipe(), pipe(), pipe()];
    let restored = pass(restore_cmd(&c, &image, &[]), stdin.into(), stdout.into(), stderr.into()).run();
    assert_eq!(restored.code, 0, "{restored:#?}\n{}", image.logs());
    input.write_all(b"two\n").unwrap();
    until(&mut output, "out two\n");
    until(&mut error, "err two\n");
    drop(input);
    until(&mut output, "end\n");
    c.until_stopped();
}

/// A program may have moved its streams, as a shell does around a redirection.
#[test]
fn pipes_that_have_other_numbers_now() {
    need!(has_criu(), CRIU);
    let bundle = bundle()
        .sh("exec 5>&1 >/dev/null 6<&0 </dev/null; touch /tmp/ready; while read line <&6; do echo $line >&5; done");
    let pipe = || std::io::pipe().expect("pipe");
    let [(stdin, _input), (_output, stdout), (_error, stderr)] = [pipe(), pipe(), pipe()];
    let c = start_with(&bundle, &[], |cmd| {
        pass(cmd, stdin.into(), stdout.into(), stderr.into())
    });
    eventually("the shell is ready", || bundle.inside("/tmp/ready").exists());
    let image = checkpoint(&c, &[]);
    let [(stdin, mut input), (mut output, stdout), (_error, stderr)] = [pipe(), pipe(), pipe()];
    let restored = pass(restore_cmd(&c, &image, &[]), stdin.into(), stdout.into(), stderr.into()).run();
    assert_eq!(restored.code, 0, "{restored:#?}\n{}", image.logs());
    input.write_all(b"two\n").unwrap();
    until(&mut output, "two\n");
    drop(input);
    c.until_stopped();
}

/// The null device is the container's own, and stays what it is whatever the command that restores has.
#[test]
fn the_null_device_stays_one() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    let [(stdin, _input), (mut output, stdout), (_error, stderr)] = [(); 3].map(|()| std::io::pipe().expect("pipe"));
    let cmd = restore_cmd(&work.container, &image, &[]);
    let restored = pass(cmd, stdin.into(), stdout.into(), stderr.into()).run();
    assert_eq!(restored.code, 0, "{restored:#?}\n{}", image.logs());
    work.assert_continues(&before);
    // The container does not keep the pipe open.
    assert_eq!(output.read(&mut [0]).unwrap(), 0);
}

/// CRIU would set the position in it.
#[test]
fn a_file_is_not_replaced_by_a_pipe() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that saves a file of the host");
    let bundle = with_parts(bundle(), &["memory"]);
    let log = || {
        File::options()
            .append(true)
            .create(true)
            .open(bundle.path("log"))
            .unwrap()
    };
    let work = Workload::of(start_with(&bundle, &[], |cmd| cmd.pass_fd(log(), 1).pass_fd(log(), 2)));
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    let (_output, stdout) = std::io::pipe().expect("pipe");
    let refused = restore_cmd(&work.container, &image, &[]).pass_fd(stdout, 1).run();
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(refused.stderr.contains("file descriptor 1 was a file"), "{refused:#?}");
    let restored = restore_cmd(&work.container, &image, &[])
        .pass_fd(log(), 1)
        .pass_fd(log(), 2)
        .run();
    assert_eq!(restored.code, 0, "{restored:#?}\n{}", image.logs());
    work.assert_continues(&before);
}

fn pass(cmd: Cmd, stdin: OwnedFd, stdout: OwnedFd, stderr: OwnedFd) -> Cmd {
    cmd.pass_fd(stdin, 0).pass_fd(stdout, 1).pass_fd(stderr, 2)
}

/// A shell script that talks on its terminal.
fn on_terminal() -> Bundle {
    let script = "trap 'echo resized $(busybox stty size)' WINCH; trap 'echo interrupted' INT; echo up; \
        while :; do read line && echo got $line; done";
    bundle().sh(script).edit(|c| c["process"]["terminal"] = json!(true))
}

/// Checkpoints the container of a started terminal, and restores it with a new terminal.
#[track_caller]
fn with_new_terminal(c: &crate::harness::Container, image: &Image) -> Terminal {
    let _ = std::fs::remove_file(c.bundle.path("console.sock"));
    let socket = ConsoleSocket::new(c.bundle);
    let restored = restore_cmd(c, image, &["--console-socket", socket.path()]).run();
    assert_eq!(restored.code, 0, "{restored:#?}\n{}", image.logs());
    socket.terminal()
}

#[test]
fn a_new_terminal_for_the_container() {
    need!(has_criu(), CRIU);
    let bundle = on_terminal();
    let socket = ConsoleSocket::new(&bundle);
    let c = start_with(&bundle, &["--console-socket", socket.path()], |cmd| cmd);
    let mut terminal = socket.terminal();
    terminal.until("up");
    terminal.send("one\n");
    terminal.until("got one");
    terminal.resize(21, 43);
    terminal.until("resized 21 43");
    let image = checkpoint(&c, &[]);
    terminal.until_closed();
    let mut terminal = with_new_terminal(&c, &image);
    terminal.send("two\n");
    terminal.until("got two");
    terminal.resize(22, 44);
    terminal.until("resized 22 44");
    // It controls the session again.
    terminal.send("\u{3}");
    terminal.until("interrupted");
    let exec = crate::harness::exec::exec_cmd(&c, &[], &["sh", "-c", "echo on the console >/dev/console"]);
    exec.run().ok();
    terminal.until("on the console");
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
}

#[test]
fn a_terminal_in_the_foreground() {
    need!(has_criu(), CRIU);
    let bundle = on_terminal();
    let socket = ConsoleSocket::new(&bundle);
    let c = start_with(&bundle, &["--console-socket", socket.path()], |cmd| cmd);
    // It stays open: a terminal that has been hung up cannot be saved.
    let mut first = socket.terminal();
    first.until("up");
    let image = checkpoint(&c, &[]);
    let (mut master, slave) = pty();
    set_size(&slave, 31, 61);
    let copy = || slave.try_clone().unwrap();
    let restored = pass(restore_foreground_cmd(&c, &image, &[]), copy(), copy(), copy()).spawn();
    let mut seen = String::new();
    master.write_all(b"typed\r").unwrap();
    until_terminal(&mut master, &mut seen, "got typed", &image);
    set_size(&master, 32, 62);
    restored.signal(libc::SIGWINCH);
    until_terminal(&mut master, &mut seen, "resized 32 62", &image);
    bundle.orlop(["kill", &c.id, "KILL"]).run().ok();
    assert_eq!(restored.wait().code, 137);
}

#[track_caller]
fn until_terminal(master: &mut File, seen: &mut String, text: &str, image: &Image) {
    while !seen.contains(text) {
        let ready = poll(&mut [PollFd::new(master.as_fd(), PollFlags::POLLIN)], 5000_u16);
        assert_eq!(
            ready,
            Ok(1),
            "nothing after {seen:?} instead of {text}\n{}",
            image.logs()
        );
        let mut bytes = [0; 4096];
        let count = master.read(&mut bytes).expect("read the terminal");
        *seen += &String::from_utf8_lossy(&bytes[..count]);
    }
}

/// Makes this process the leader of a session that the terminal controls, as a login shell's is.
fn control(terminal: RawFd) -> std::io::Result<()> {
    nix::unistd::setsid()?;
    // SAFETY: the call takes a number.
    match unsafe { libc::ioctl(terminal, libc::TIOCSCTTY, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// `run` in a shell: the container has the caller's terminal itself.
#[test]
fn the_callers_terminal_as_a_shell_job() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that gives CRIU its standard input");
    let bundle = bundle().sh("echo up; while read line; do echo got $line; done; exit 6");
    let (mut master, slave) = pty();
    let copy = || slave.try_clone().unwrap();
    let terminal = slave.as_raw_fd();
    let controlled = |cmd: Cmd| {
        cmd.before_exec(move || control(terminal))
            .pass_fd(copy(), 0)
            .pass_fd(copy(), 1)
    };
    let c = another(&bundle);
    let run = ["run", "--bundle", bundle.dir().to_str().unwrap(), &c.id];
    let run = controlled(bundle.orlop(run)).pass_fd(copy(), 2).spawn();
    let mut seen = String::new();
    until_terminal(&mut master, &mut seen, "up", &Image::new(&bundle));
    let image = checkpoint(&c, &["--shell-job"]);
    run.wait();
    let restored = controlled(restore_foreground_cmd(&c, &image, &["--shell-job"])).spawn();
    master.write_all(b"typed\r").unwrap();
    until_terminal(&mut master, &mut seen, "got typed", &image);
    // The end of input.
    master.write_all(b"\x04").unwrap();
    let output = restored.wait();
    assert_eq!(output.code, 6, "{output:#?}\n{}", image.logs());
}

/// The output of a detached container may go to a file of the host, as that of `nohup`.
#[test]
fn files_of_the_host() {
    need!(has_criu(), CRIU);
    need!(
        own_texts(),
        "a runtime that restores a file of the host as standard output"
    );
    let bundle = with_parts(bundle(), &["memory"]).sh("i=0; while :; do i=$((i + 1)); echo line $i; sleep 0.01; done");
    let log = |name: &str| File::create_new(bundle.path(name)).unwrap();
    let c = start_with(&bundle, &[], |cmd| {
        cmd.pass_fd(log("first.log"), 1).pass_fd(log("first.err"), 2)
    });
    let content = |name: &str| std::fs::read_to_string(bundle.path(name)).unwrap();
    eventually("it writes", || content("first.log").contains("line 3\n"));
    let image = checkpoint(&c, &[]);
    let first = content("first.log");
    let last: u32 = first
        .lines()
        .last()
        .unwrap()
        .strip_prefix("line ")
        .unwrap()
        .parse()
        .unwrap();
    // CRIU compares the length of a file with that at the checkpoint, so it must be the same file.
    let again = File::options().append(true).open(bundle.path("first.log")).unwrap();
    let restored = restore_cmd(&c, &image, &[]).pass_fd(again, 1).run();
    assert_eq!(restored.code, 0, "{restored:#?}\n{}", image.logs());
    // The next line, neither lost nor written twice.
    eventually("it goes on", || {
        content("first.log").contains(&format!("{first}line {}\n", last + 1))
    });
}

/// A container in the background, brought back by somebody at a terminal.
#[test]
fn the_null_device_stays_one_whatever_the_caller_has() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    let (_master, slave) = pty();
    let copy = || slave.try_clone().unwrap();
    let pipe = std::io::pipe().unwrap();
    let log = File::create_new(bundle.path("log")).unwrap();
    for (stdin, stdout) in [(copy(), copy()), (pipe.0.into(), OwnedFd::from(log))] {
        let restored = restore_cmd(&work.container, &image, &[])
            .pass_fd(stdin, 0)
            .pass_fd(stdout, 1)
            .run();
        assert_eq!(restored.code, 0, "{restored:#?}\n{}", image.logs());
        work.assert_continues(&before);
        bundle.orlop(["delete", "--force", &work.container.id]).run().ok();
    }
}
