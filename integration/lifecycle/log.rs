//! `--log`: destinations, formats and levels.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::harness::{Bundle, Output};

#[test]
fn errors_reach_the_log_file_as_json() {
    let bundle = Bundle::new().edit(|c| c["root"]["path"] = json!("no-such-directory"));
    let log = bundle.path("log.json");
    let dir = bundle.dir().to_str().unwrap();
    let id = bundle.fresh_id();
    let args = [
        "--log",
        log.to_str().unwrap(),
        "--log-format",
        "json",
        "create",
        "--bundle",
        dir,
        &id,
    ];
    let out = bundle.orlop(args).run();
    assert_ne!(out.code, 0);
    let text = fs::read_to_string(&log).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "error");
    assert!(last["msg"].as_str().unwrap().contains("no-such-directory"), "{last}");
    assert!(last["time"].as_str().unwrap().contains('T'), "{last}");
}

#[test]
fn errors_before_the_log_is_open_are_logged_too() {
    let bundle = Bundle::new().args(["true"]);
    let log = bundle.path("log.json");
    let dir = bundle.dir().to_str().unwrap();
    let global = ["--log", log.to_str().unwrap(), "--log-format=json"];
    let last = || -> Value {
        let text = fs::read_to_string(&log).unwrap_or_default();
        serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap_or_default()
    };
    let said = |words: &[&str], text: &str| {
        let _ = fs::remove_file(&log);
        bundle.orlop([&global, words].concat()).run().fails();
        assert!(
            last()["msg"].as_str().unwrap_or_default().contains(text),
            "{words:?}: {}",
            last()
        );
        assert_eq!(last()["level"], "error");
    };
    said(&["create", "--bundle", dir, "--no-such-flag", "c"], "--no-such-flag");
    said(&["--no-such-flag", "create", "--bundle", dir, "c"], "--no-such-flag");
    said(
        &["create", "--bundle", dir, "--preserve-fds", "5", "c"],
        "descriptor 3 is not open",
    );

    // Without /proc the runtime's binary cannot be protected.
    let _ = fs::remove_file(&log);
    let create = bundle.orlop([&global, &["create", "--bundle", dir, "c"][..]].concat());
    let without_proc = create.before_exec(|| {
        let none = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        Ok(mount(none, "/proc", Some("tmpfs"), MsFlags::empty(), none)?)
    });
    without_proc.run().fails();
    assert!(
        last()["msg"]
            .as_str()
            .unwrap_or_default()
            .contains("the runtime's binary"),
        "{}",
        last()
    );
}

/// A socket where a log service would listen. /run and /dev are private to the tests; otherwise the path is in use.
fn service(path: &Path) -> Option<UnixDatagram> {
    fs::create_dir_all(path.parent()?).ok()?;
    let socket = UnixDatagram::bind(path).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    Some(socket)
}

fn message(socket: &UnixDatagram) -> String {
    let mut buffer = vec![0; 64 << 10];
    let length = socket.recv(&mut buffer).expect("a message");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

fn failing(bundle: &Bundle, log: &str, more: &[&str]) -> Output {
    let words = ["--log", log]
        .into_iter()
        .chain(more.iter().copied())
        .chain(["state", "nobody"]);
    bundle.orlop(words).run().fails()
}

#[test]
fn the_log_destinations_of_crun_are_supported() {
    let bundle = Bundle::new();
    let file = bundle.path("log");
    failing(&bundle, &format!("file:{}", file.display()), &["--log-format=json"]);
    let text = fs::read_to_string(&file).expect("the log");
    assert!(
        text.contains("\"level\":\"error\"") && text.contains("container does not exist"),
        "{text}"
    );
    fs::remove_file(file).expect("remove the log");

    let journal = PathBuf::from("/run/systemd/journal/socket");
    failing(&bundle, "journald:web", &[]).fails_with("connect(\"/run/systemd/journal/socket\"): ENOENT");
    let socket = service(&journal).expect("a private /run");
    failing(&bundle, "journald:web", &[]);
    let entry = message(&socket);
    for field in [
        "MESSAGE\n",
        "state \"nobody\": container does not exist",
        "PRIORITY\n",
        "SYSLOG_IDENTIFIER\n\u{3}",
        "web\n",
    ] {
        assert!(entry.contains(field), "{field:?} in {entry:?}");
    }
    drop(socket);
    fs::remove_file(&journal).expect("remove the socket");
    fs::remove_dir_all("/run/systemd/journal").expect("remove its directory");
}

#[test]
fn the_level_decides_what_is_logged() {
    // A config with a warning.
    let bundle = Bundle::new().args(["probe", "exit", "0"]);
    bundle.change(|config| config["process"]["capabilities"]["bounding"] = json!(["CAP_NO_SUCH"]));
    let run = |level: &[&str]| {
        let id = bundle.fresh_id();
        let words = level
            .iter()
            .copied()
            .chain(["run", "--bundle", bundle.dir().to_str().unwrap(), &id]);
        bundle.orlop(words).run().ok().stderr
    };
    let quiet = run(&["--log-level=error"]);
    assert!(!quiet.contains("warning"), "{quiet}");
    let all = run(&["--log-level", "debug"]);
    assert!(all.contains("level=debug"), "{all}");
    let usual = run(&[]);
    assert!(
        usual.contains("orlop: warning: ") && !usual.contains("level=debug"),
        "{usual}"
    );
}
