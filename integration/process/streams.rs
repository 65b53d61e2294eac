//! Standard streams: who owns them, and what happens where one is closed or ends.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::json;

use crate::harness::{Bundle, Cmd};

/// The command with one of its standard streams closed, as by `<&-` or a daemon that closed all of them.
fn without_stream(cmd: Cmd, number: i32) -> Cmd {
    cmd.before_exec(move || Ok(nix::unistd::close(number)?))
}

const LOOK: &str =
    "for n in 0 1 2; do busybox readlink /proc/self/fd/$n; done >/tmp/streams; ls /proc/self/fd >/tmp/open";

/// No descriptor of the runtime or the host takes its number.
#[test]
fn a_closed_stream_is_the_null_device() {
    for number in 0..3 {
        let bundle = Bundle::new().sh(LOOK).edit(|c| c["root"]["readonly"] = json!(false));
        let output = without_stream(bundle.run_cmd(&[]), number).run();
        assert_eq!(output.code, 0, "{output:#?}");
        // The shell has replaced standard output with its own file.
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

/// The null device of the caller is a file of the host; the container has its own.
#[test]
fn the_null_device_is_the_containers() {
    let look = "stat -L -c %d /proc/self/fd/0; stat -c %d /dev/null; grep flags /proc/self/fdinfo/0";
    let bundle = Bundle::new().sh(look);
    let output = bundle.run_cmd(&[]).run().ok();
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines[0], lines[1], "{output:#?}");
    // It is open for reading and writing, and no other flag is set that a program could notice.
    let flags = lines[2].split_whitespace().last().unwrap();
    let flags = i32::from_str_radix(flags, 8).unwrap();
    assert_eq!(
        flags & (libc::O_ACCMODE | libc::O_NONBLOCK | libc::O_APPEND),
        libc::O_RDWR,
        "{output:#?}"
    );
}

/// A container without a null device keeps that of the caller.
#[test]
fn without_a_null_device_the_callers_stays() {
    let bundle = Bundle::new().sh("stat -L -c %t:%T /proc/self/fd/0").edit(|c| {
        let mounts = c["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/dev/null", "type": "bind", "source": "/dev/zero", "options": ["bind"]}));
    });
    let output = bundle.run_cmd(&[]).run().ok();
    assert_eq!(output.stdout, "1:3\n");
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

/// The next file that is opened would get its number, and output would go there: into the state, for example.
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

/// As through a pipe, whether or not the last line ends with a newline.
#[test]
fn the_end_of_input_reaches_a_terminal_in_the_middle_of_a_line() {
    for (input, lines) in [("", 0), ("line\n", 1), ("line", 1), ("one\ntwo", 2)] {
        let bundle = Bundle::new()
            .sh("busybox stty -echo; busybox sed 's/^/got:/'; echo end")
            .edit(|c| c["process"]["terminal"] = json!(true));
        // It appears twice if typed before echo is off.
        let out = bundle.run_cmd(&[]).stdin(input).run().ok().stdout;
        assert_eq!(out.matches("got:").count(), lines, "{input:?}: {out:?}");
        assert!(out.trim_end().ends_with("end"), "{input:?}: {out:?}");
    }
}

/// A program that is not root can open /dev/stdout again.
#[test]
fn pipes_as_standard_streams_belong_to_the_user_of_the_process() {
    for (user, opens) in [(0, true), (1000, true)] {
        let bundle = Bundle::new()
            .sh("echo again >/proc/self/fd/1")
            .edit(|c| c["process"]["user"] = json!({ "uid": user, "gid": user }));
        let (mut reader, writer) = std::io::pipe().unwrap();
        let code = bundle.run_cmd(&[]).pass_fd(writer, 1).run().code;
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert_eq!((code == 0, said.as_str()), (opens, "again\n"), "as user {user}");
    }
}

/// As with `>file` of a shell or an engine's log: the user becomes the owner, and the group stays.
#[test]
fn files_as_standard_streams_belong_to_the_user_of_the_process() {
    let reopen = "read line </dev/stdin && echo $line && echo again >>/dev/stdout && echo error >>/dev/stderr";
    for joins in [false, true] {
        let args = if joins {
            vec!["probe", "sleep"]
        } else {
            vec!["sh", "-c", reopen]
        };
        let bundle = Bundle::new()
            .args(args)
            .edit(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
        let files = ["in", "out", "err"].map(|name| bundle.path(name));
        fs::write(&files[0], "line\n").unwrap();
        let streams = files.each_ref().map(|file| {
            let open = File::options().read(true).append(true).create(true).open(file).unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(file, None, Some(7)).unwrap();
            open
        });
        let container = joins.then(|| bundle.start());
        let mut cmd = match &container {
            Some(c) => bundle.orlop(["exec", &c.id, "sh", "-c", reopen]),
            None => bundle.run_cmd(&[]),
        };
        for (number, stream) in streams.into_iter().enumerate() {
            cmd = cmd.pass_fd(stream, number as i32);
        }
        cmd.run().ok();
        for (file, said) in files.iter().zip(["line\n", "line\nagain\n", "error\n"]) {
            assert_eq!(fs::read_to_string(file).unwrap(), said);
            let found = file.metadata().unwrap();
            assert_eq!((found.uid(), found.gid()), (1000, 7), "{}", file.display());
        }
    }
}

/// CVE-2026-88265: their nodes are the host's, and an owner could make them accessible to everyone.
#[test]
fn devices_as_standard_streams_keep_their_owner() {
    let bundle = Bundle::new()
        .args(["true"])
        .edit(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    for device in ["/dev/null", "/dev/zero"] {
        let stream = File::options().read(true).write(true).open(device).unwrap();
        bundle.run_cmd(&[]).pass_fd(stream, 0).run().ok();
        let owner = fs::metadata(device).unwrap().uid();
        if owner != 0 {
            std::os::unix::fs::chown(device, Some(0), None).unwrap();
        }
        assert_eq!(owner, 0, "{device}");
    }
}

/// A program that could reach the host's node could change its mode for everyone.
#[test]
fn the_null_device_of_exec_is_the_containers() {
    const ARE_THE_SAME: &str =
        "for n in 0 1 2; do test $(stat -Lc %d:%i /proc/$$/fd/$n) = $(stat -c %d:%i /dev/null) || exit 1; done";
    let null = || File::options().read(true).write(true).open("/dev/null").unwrap();
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let exec = bundle.orlop(["exec", &c.id, "sh", "-c", ARE_THE_SAME]);
    let output = exec.pass_fd(null(), 0).pass_fd(null(), 1).pass_fd(null(), 2).run();
    assert_eq!(output.code, 0, "{output:#?}");
}

/// Not a file that the container has put there.
#[test]
fn another_file_in_the_place_of_the_null_device_gets_no_output() {
    let null = || File::options().write(true).open("/dev/null").unwrap();
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let exec = |script| bundle.orlop(["exec", &c.id, "sh", "-c", script]);
    exec("rm /dev/null && touch /dev/null").run().ok();
    let silent = exec("echo out; echo error >&2").pass_fd(null(), 1).pass_fd(null(), 2);
    assert_eq!(silent.run().code, 0);
    assert_eq!(exec("cat /dev/null").run().ok().stdout, "");
}
