//! Standard streams that are closed, or that end where a terminal's do not.

use std::fs;
use std::io::Error;

use serde_json::json;

use crate::harness::{Bundle, Cmd};

/// The command with one of its standard streams closed, as by `<&-` or a daemon that closed all of its own.
fn without_stream(cmd: Cmd, number: i32) -> Cmd {
    cmd.before_exec(move || match unsafe { libc::close(number) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    })
}

const LOOK: &str =
    "for n in 0 1 2; do busybox readlink /proc/self/fd/$n; done >/tmp/streams; ls /proc/self/fd >/tmp/open";

/// Nothing of the runtime's or the host's takes its place.
#[test]
fn a_closed_stream_is_the_null_device() {
    for number in 0..3 {
        let bundle = Bundle::new().sh(LOOK).edit(|c| c["root"]["readonly"] = json!(false));
        let output = without_stream(bundle.run_cmd(&[]), number).run();
        assert_eq!(output.code, 0, "{output:#?}");
        // The shell has put its own file in the place of standard output.
        let streams = fs::read_to_string(bundle.inside("/tmp/streams")).unwrap();
        let streams: Vec<&str> = streams.lines().collect();
        if number != 1 {
            assert_eq!(streams[number as usize], "/dev/null", "{number}");
        }
        // (The fourth is the directory that ls reads.)
        let open = fs::read_to_string(bundle.inside("/tmp/open")).unwrap();
        assert_eq!(open, "0\n1\n2\n3\n", "{number}");
    }
}

#[test]
fn a_closed_stream_of_exec_is_the_null_device() {
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .edit(|c| c["root"]["readonly"] = json!(false));
    let c = bundle.start();
    for number in 0..3 {
        let exec = bundle.orlop(["exec", &c.id, "sh", "-c", LOOK]);
        let output = without_stream(exec, number).run();
        assert_eq!(output.code, 0, "{output:#?}");
        let open = fs::read_to_string(bundle.inside("/tmp/open")).unwrap();
        assert_eq!(open, "0\n1\n2\n3\n", "{number}");
    }
}

/// What is opened next would take its number, and what is said would be written there: into the state, above all.
#[test]
fn verbs_work_without_a_standard_stream() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    for number in 0..3 {
        for verb in [&["state", &c.id] as &[&str], &["list"], &["kill", &c.id, "0"]] {
            let output = without_stream(bundle.orlop(verb), number).run();
            assert_eq!(output.code, 0, "{output:#?}");
        }
        let refused = without_stream(bundle.orlop(["delete", &c.id]), number).run();
        assert_eq!(refused.code, 1, "{refused:#?}");
        assert_eq!(refused.stderr.is_empty(), number == 2);
    }
    assert_eq!(c.status(), "running");
}

/// As through a pipe, whether or not the last line has an end.
#[test]
fn the_end_of_input_reaches_a_terminal_within_a_line() {
    for (input, lines) in [("", 0), ("line\n", 1), ("line", 1), ("one\ntwo", 2)] {
        let bundle = Bundle::new()
            .sh("busybox stty -echo; busybox sed 's/^/got:/'; echo end")
            .edit(|c| c["process"]["terminal"] = json!(true));
        // Typed before echo is off it is seen twice.
        let out = bundle.run_cmd(&[]).stdin(input).run().ok().stdout;
        assert_eq!(out.matches("got:").count(), lines, "{input:?}: {out:?}");
        assert!(out.trim_end().ends_with("end"), "{input:?}: {out:?}");
    }
}
