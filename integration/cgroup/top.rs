//! `top`, with what every kernel counts without controllers. The controllers are in `guest/`.

use std::fs::{self, File};
use std::os::fd::OwnedFd;

use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use serde_json::{Value, json};

use crate::harness::cgroup::with_leaf;
use crate::harness::{Bundle, Copies, Running, Terminal, controlled_by, eventually, pty, set_size, users};

/// What begins and ends the use of the alternate screen.
const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// `top` on a terminal that controls it.
struct OnTerminal {
    running: Running,
    terminal: Terminal,
    slave: OwnedFd,
    before: Termios,
}

impl OnTerminal {
    fn of(bundle: &Bundle, rows: u16, columns: u16, shell: Option<&str>) -> Self {
        let (master, slave): (File, OwnedFd) = pty();
        set_size(&slave, rows, columns);
        let before = tcgetattr(&slave).unwrap();
        let mut cmd = bundle.orlop(["top", "--interval", "100ms"]);
        if let Some(script) = shell {
            cmd = cmd.through_shell(script);
        }
        let running = controlled_by(cmd.env("TERM", "xterm"), &slave).spawn();
        OnTerminal {
            running,
            terminal: Terminal::over(master),
            slave,
            before,
        }
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.slave).unwrap()
    }

    /// The terminal is as it was, and the screen too.
    #[track_caller]
    fn is_restored(&mut self) {
        self.terminal.until(LEAVE);
        assert_eq!(self.settings(), self.before);
    }
}

fn documents(text: &str) -> Vec<Value> {
    // The last line may not be complete yet.
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    complete
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

#[test]
fn a_table_is_printed_for_each_sample() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let (running, created) = (bundle.start(), bundle.create());
    let output = bundle
        .orlop(["top", "--interval", "50ms", "--count", "2", "--sort", "name"])
        .run()
        .ok();
    assert!(!output.stdout.contains('\x1b'), "{:?}", output.stdout);
    let tables: Vec<&str> = output.stdout.split("\n\n").collect();
    assert_eq!(tables.len(), 2, "{}", output.stdout);
    for table in tables {
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(&lines[0][..4], ["ID", "STATUS", "CPU%", "THR%"]);
        let mut rows = vec![(running.id.as_str(), "running"), (created.id.as_str(), "created")];
        rows.sort_unstable();
        for (line, (id, status)) in lines[1..].iter().zip(rows) {
            assert_eq!(
                (line.len(), line[0], line[1], line[7]),
                (lines[0].len(), id, status, "1")
            );
            assert!(line[2].parse::<f64>().is_ok(), "{line:?}");
        }
    }
}

#[test]
fn rates_cover_the_interval() {
    let bundle = Bundle::new().sh("while :; do :; done");
    let c = bundle.start();
    let words = ["top", "--interval", "200ms", "--count", "2", "--format", "json", &c.id];
    let documents = documents(&bundle.orlop(words).run().ok().stdout);
    assert_eq!(documents.len(), 2);
    for document in documents {
        assert!(
            document["interval"].as_f64().is_some_and(|seconds| seconds > 0.05),
            "{document}"
        );
        let container = &document["containers"][0];
        assert_eq!(
            (&container["id"], &container["status"]),
            (&json!(c.id), &json!("running"))
        );
        // However busy the machine is, it gets some time, and not more than one CPU.
        let percent = container["cpu"]["percent"].as_f64().unwrap();
        assert!((0.5..150.0).contains(&percent), "{document}");
        assert_eq!(container["pids"]["current"], 1);
    }
}

#[test]
fn containers_come_and_go() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let first = bundle.start();
    let top = bundle.orlop(["top", "--interval", "50ms", "--format", "json"]).spawn();
    let shown = || -> Vec<String> {
        let last = documents(&top.stdout()).pop().unwrap_or_default();
        let containers = last["containers"].as_array().cloned().unwrap_or_default();
        containers
            .iter()
            .map(|c| c["id"].as_str().unwrap().to_string())
            .collect()
    };
    eventually("the first is shown", || shown() == [first.id.as_str()]);
    let second = bundle.start();
    eventually("both are shown", || shown().len() == 2);
    first.kill("KILL");
    first.until_stopped();
    first.delete();
    eventually("only the second is shown", || shown() == [second.id.as_str()]);
    top.signal(libc::SIGTERM);
    assert_eq!(top.wait().code, 128 + libc::SIGTERM);
}

#[test]
fn only_the_named_containers_are_shown() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let (first, second, third) = (bundle.start(), bundle.start(), bundle.start());
    let top = |ids: &[&str]| {
        bundle
            .orlop([&["top", "--interval", "10ms", "--count", "1"], ids].concat())
            .run()
    };
    let text = top(&[&first.id, &third.id]).ok().stdout;
    assert!(
        text.contains(&first.id) && text.contains(&third.id) && !text.contains(&second.id),
        "{text}"
    );
    top(&[&first.id, "nobody"]).fails_with("container does not exist");
}

#[test]
fn a_container_without_a_cgroup_has_no_values() {
    let bundle = users::rootless(Bundle::new().args(["probe", "sleep"]));
    let id = bundle.fresh_id();
    users::as_user(bundle.create_cmd(&id, &[])).run().ok();
    let top = |format: &str| {
        let words = ["top", "--interval", "10ms", "--count", "1", "--format", format];
        users::as_user(bundle.orlop(words)).run().ok().stdout
    };
    let table = top("table");
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..2], [id.as_str(), "created"]);
    assert!(row[2..].iter().all(|cell| *cell == "-"), "{table}");
    let none = json!({
        "id": id,
        "status": "created",
        "cpu": { "percent": null, "throttledPercent": null },
        "memory": { "usage": null, "limit": null, "swap": null },
        "pids": { "current": null, "limit": null },
        "io": { "readBytesPerSecond": null, "writtenBytesPerSecond": null },
        "pressure": { "cpu": null, "memory": null, "io": null },
        "oomKills": null
    });
    assert_eq!(documents(&top("json"))[0]["containers"], json!([none]));
    users::as_user(bundle.orlop(["delete", "--force", &id])).run().ok();
}

#[test]
fn the_screen_is_refreshed_in_place_and_sorted_by_keys() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let mut top = OnTerminal::of(&bundle, 24, 160, None);
    top.terminal.until(ENTER);
    top.terminal.until("by cpu");
    top.terminal.until(&c.id);
    // Keys are read at once and not shown, and Ctrl+C is still a signal.
    let flags = top.settings().local_flags;
    assert!(
        !flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO) && flags.contains(LocalFlags::ISIG),
        "{flags:?}"
    );
    for (key, title) in [
        ("m", "by memory"),
        ("p", "by pids"),
        ("i", "by io"),
        ("n", "by name"),
        ("\x1b[A?", "by name"),
        ("c", "by cpu"),
    ] {
        top.terminal.send(key);
        top.terminal.until(title);
    }
    // A whole refresh, from the title on: lines are overwritten, and the screen is never cleared.
    let frame = top.terminal.between("\x1b[H", "\x1b[H");
    assert!(frame.contains(&c.id) && frame.ends_with("\x1b[J"), "{frame:?}");
    assert!(!frame.contains("\x1b[2J"), "{frame:?}");
    top.terminal.send("q");
    top.is_restored();
    assert_eq!(top.running.wait().code, 0);
}

#[test]
fn the_table_fits_the_window_after_every_resize() {
    let (bundle, _) = with_leaf(Bundle::new().args(["probe", "sleep"]));
    let copies = Copies::of(&bundle, 9);
    let mut top = OnTerminal::of(&bundle, 6, 40, None);
    top.terminal.until("... and 7 more");
    let frame = top.terminal.between("\x1b[H", "\x1b[J");
    assert_eq!(frame.matches("\r\n").count(), 5, "{frame:?}");
    // SIGWINCH makes it draw at once; the rows that were hidden are shown.
    top.terminal.resize(20, 160);
    top.terminal.until(copies.ids.last().unwrap());
    top.terminal.resize(3, 40);
    top.terminal.until("... and 10 more");
    top.terminal.send("q");
    top.is_restored();
    assert_eq!(top.running.wait().code, 0);
}

#[test]
fn every_signal_that_ends_it_restores_the_terminal() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    for (key, signal) in [
        ("\x03", libc::SIGINT),
        ("\x1c", libc::SIGQUIT),
        ("", libc::SIGTERM),
        ("", libc::SIGHUP),
        ("", libc::SIGINT),
    ] {
        let mut top = OnTerminal::of(&bundle, 24, 160, None);
        top.terminal.until(&c.id);
        match key {
            "" => top.running.signal(signal),
            key => top.terminal.send(key),
        }
        top.is_restored();
        assert_eq!(top.running.wait().code, 128 + signal, "{signal}");
    }
}

/// The shell gives it a process group of its own, without which Ctrl+Z would have no effect.
#[test]
fn it_can_be_stopped_and_continued() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let script = "set -m; \"$0\" \"$@\"; echo stopped:$?; stty -a; fg; echo ended:$?; exit 0";
    let mut top = OnTerminal::of(&bundle, 24, 160, Some(script));
    top.terminal.until(ENTER);
    top.terminal.until(&c.id);
    top.terminal.send("\x1a");
    top.terminal.until(LEAVE);
    top.terminal.until(&format!("stopped:{}", 128 + libc::SIGTSTP));
    // As stty(1) shows canonical mode and echo; a hyphen would mean that they are off.
    top.terminal.until(" icanon");
    top.terminal.until(" echo ");
    top.terminal.until(ENTER);
    top.terminal.until(&c.id);
    top.terminal.send("q");
    top.terminal.until(LEAVE);
    top.terminal.until("ended:0");
    assert_eq!(top.running.wait().code, 0);
}

#[test]
fn a_dumb_terminal_gets_lines() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let (master, slave) = pty();
    let cmd = bundle
        .orlop(["top", "--interval", "10ms", "--count", "1"])
        .env("TERM", "dumb");
    let running = controlled_by(cmd, &slave).spawn();
    let mut terminal = Terminal::over(master);
    assert_eq!(running.wait().code, 0);
    drop(slave);
    let text = terminal.until_closed();
    assert!(text.contains(&c.id) && !text.contains('\x1b'), "{text:?}");
}

/// It may run for hours.
#[test]
fn memory_does_not_grow_with_the_number_of_samples() {
    let (bundle, _) = with_leaf(Bundle::new().args(["probe", "sleep"]));
    let _copies = Copies::of(&bundle, 4);
    let top = bundle.orlop(["top", "--interval", "1ms", "--format", "json"]).spawn();
    let resident = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", top.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let samples = |number: usize| eventually(&format!("{number} samples"), || top.stdout().lines().count() > number);
    samples(200);
    let early = resident();
    samples(1000);
    let late = resident();
    top.signal(libc::SIGTERM);
    top.wait_quietly();
    // The allocator may use a few more pages at first. A row that was kept of each sample would be hundreds of kB.
    assert!(late <= early + 64, "{early} kB, then {late} kB");
}
