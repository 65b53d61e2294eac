//! Images of another runtime: what runc or crun saved is restored, and the reverse.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::streams::until;
use crate::harness::checkpoint::{CRIU, Image, Workload, bundle, has_criu, with_criu, with_parts};
use crate::harness::golden::own_texts;
use crate::harness::{Bundle, Cmd, ConsoleSocket, record_skip, runtime};
use crate::need;

/// Another runtime, if it is in PATH and can call CRIU.
fn peer(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"].map(PathBuf::from);
    let mut places = std::env::split_paths(&path).chain(usual).map(|dir| dir.join(name));
    let program = places.find(|path| path.exists())?;
    let version = Command::new(&program).arg("--version").output().ok()?;
    let calls_criu = name == "runc" || String::from_utf8_lossy(&version.stdout).contains("+CRIU");
    calls_criu.then_some(program)
}

fn is_crun(program: &Path) -> bool {
    program.ends_with("crun")
}

/// Flags without which crun writes to the hierarchies of version 1 of a hybrid host. (Older versions of runc do not have them.)
fn extra(from: &Path, to: &Path) -> &'static [&'static str] {
    match is_crun(from) || is_crun(to) {
        true => &["--manage-cgroups-mode", "ignore"],
        false => &[],
    }
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

/// Mounts in the order in which they cover each other, one of them on a symbolic link of the image; masked paths; pipes.
#[track_caller]
fn mounts_and_pipes_passed_on(from: &Path, to: &Path) {
    let bundle = bundle().sh("while read line; do cat /link/name /link/inner/name; echo error >&2; done");
    fs::create_dir_all(bundle.inside("real/there")).unwrap();
    // crun dumps no mount in a mount that it has put behind a link.
    match is_crun(from) || is_crun(to) {
        true => fs::create_dir(bundle.inside("link")).unwrap(),
        false => symlink("/real/there", bundle.inside("link")).unwrap(),
    }
    // It takes only paths that the host has too, and does not know the key of masked files.
    let masked = if is_crun(to) {
        vec![]
    } else {
        vec!["/proc/cmdline", "/proc/fs"]
    };
    let source = |name: &str| {
        fs::create_dir_all(bundle.path(name).join("inner")).unwrap();
        fs::write(bundle.path(name).join("name"), name).unwrap();
        bundle.path(name).to_str().unwrap().to_owned()
    };
    let (outer, inner) = (source("outer"), source("inner"));
    let bundle = bundle
        .mount("/link", "bind", &outer, &["bind"])
        .mount("/link/inner", "bind", &inner, &["bind", "ro"])
        .edit(|c| c["linux"]["maskedPaths"] = json!(masked));
    let dir = bundle.dir().to_str().unwrap();
    let id = bundle.fresh_id();
    let streams = || [(); 3].map(|()| std::io::pipe().expect("pipe"));
    let [(stdin, mut input), (mut output, stdout), (_error, stderr)] = streams();
    let run = command(&bundle, from, &["run", "--detach", "--bundle", dir, &id]);
    let run = run.pass_fd(stdin, 0).pass_fd(stdout, 1).pass_fd(stderr, 2).run();
    assert_eq!(run.code, 0, "{run:#?}");
    input.write_all(b"go\n").unwrap();
    until(&mut output, "outerinner");
    let image = Image::new(&bundle);
    let flags = [&image.flags() as &[&str], extra(from, to)].concat();
    let saved = command(&bundle, from, &[&["checkpoint"], &flags as &[&str], &[&id]].concat()).run();
    assert_eq!(saved.code, 0, "{saved:#?}\n{}", image.logs());
    let [(stdin, mut input), (mut output, stdout), (mut error, stderr)] = streams();
    let restore = [&["restore", "--detach", "--bundle", dir], &flags as &[&str], &[&id]].concat();
    let restore = command(&bundle, to, &restore);
    let restored = restore.pass_fd(stdin, 0).pass_fd(stdout, 1).pass_fd(stderr, 2).run();
    assert_eq!(restored.code, 0, "{restored:#?}\n{}", image.logs());
    input.write_all(b"go\n").unwrap();
    until(&mut output, "outerinner");
    until(&mut error, "error");
    let content = format!("for path in {}; do ls $path/; cat $path; done", masked.join(" "));
    let look = format!("{{ {content}; }} | wc -c; touch /link/inner/no || touch /link/yes");
    let looked = command(&bundle, to, &["exec", &id, "sh", "-c", &look]).run().ok();
    assert_eq!(looked.stdout, "0\n");
    assert!(fs::exists(format!("{outer}/yes")).unwrap());
    command(&bundle, to, &["delete", "--force", &id]).run().ok();
}

/// A terminal is a new one.
#[track_caller]
fn terminal_passed_on(from: &Path, to: &Path) {
    let script = "echo up; while :; do read line && echo got $line; done";
    let bundle = bundle().sh(script).edit(|c| {
        c["process"]["terminal"] = json!(true);
        c["linux"]["maskedPaths"] = json!([]);
    });
    let dir = bundle.dir().to_str().unwrap();
    let id = bundle.fresh_id();
    let socket = ConsoleSocket::new(&bundle);
    let run = [
        "run",
        "--detach",
        "--console-socket",
        socket.path(),
        "--bundle",
        dir,
        &id,
    ];
    command(&bundle, from, &run).run().ok();
    let mut terminal = socket.terminal();
    terminal.until("up");
    let image = Image::new(&bundle);
    let flags = [&image.flags() as &[&str], extra(from, to)].concat();
    let saved = command(&bundle, from, &[&["checkpoint"], &flags as &[&str], &[&id]].concat()).run();
    assert_eq!(saved.code, 0, "{saved:#?}\n{}", image.logs());
    terminal.until_closed();
    let _ = fs::remove_file(socket.path());
    let socket = ConsoleSocket::new(&bundle);
    let restore = [
        "restore",
        "--detach",
        "--console-socket",
        socket.path(),
        "--bundle",
        dir,
    ];
    let restored = command(&bundle, to, &[&restore, &flags as &[&str], &[&id]].concat()).run();
    assert_eq!(restored.code, 0, "{restored:#?}\n{}", image.logs());
    let mut terminal = socket.terminal();
    terminal.send("two\n");
    terminal.until("got two");
    command(&bundle, to, &["delete", "--force", &id]).run().ok();
}

fn both_ways(name: &str, pass_on: fn(&Path, &Path)) {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that is not runc");
    let Some(peer) = peer(name) else {
        return record_skip(&format!("a {name} that can call CRIU"));
    };
    pass_on(&peer, runtime());
    pass_on(runtime(), &peer);
}

#[test]
fn all_parts_and_runc() {
    both_ways("runc", passed_on);
}

#[test]
fn mounts_and_pipes_and_runc() {
    both_ways("runc", mounts_and_pipes_passed_on);
}

#[test]
fn a_terminal_and_runc() {
    both_ways("runc", terminal_passed_on);
}

#[test]
fn mounts_and_pipes_and_crun() {
    both_ways("crun", mounts_and_pipes_passed_on);
}

#[test]
fn a_terminal_and_crun() {
    both_ways("crun", terminal_passed_on);
}
