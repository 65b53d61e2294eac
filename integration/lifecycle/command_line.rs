//! Spellings of the command line that reach a real container: several ids, patterns, another config, places of the log.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::harness::{Bundle, Output, eventually};

/// A bundle whose containers wait for a signal.
fn sleeping() -> Bundle {
    Bundle::new().args(["probe", "sleep"])
}

fn started(bundle: &Bundle) -> String {
    let id = bundle.fresh_id();
    bundle.create_cmd(&id, &[]).run().ok();
    bundle.orlop(["start", &id]).run().ok();
    id
}

fn status(bundle: &Bundle, id: &str) -> String {
    let state = bundle.orlop(["state", id]).run().ok().json();
    state["status"].as_str().expect("a status").to_string()
}

fn until_stopped(bundle: &Bundle, id: &str) {
    eventually("the container has stopped", || status(bundle, id) == "stopped");
}

#[test]
fn several_containers_are_killed_and_deleted_at_once() {
    let bundle = sleeping();
    let [one, two, three] = [(); 3].map(|()| started(&bundle));
    // The word at the end is the signal; one that is not there hinders nobody.
    let out = bundle.orlop(["kill", &one, "nobody", &two, "KILL"]).run();
    out.fails_with("kill \"nobody\": container does not exist");
    until_stopped(&bundle, &one);
    until_stopped(&bundle, &two);
    assert_eq!(status(&bundle, &three), "running");
    // All failures are told, and the rest is done.
    let out = bundle.orlop(["delete", &one, "nobody", &three, &two]).run().fails();
    for text in [
        "delete \"nobody\": container does not exist",
        &format!("delete {three:?}: cannot delete"),
    ] {
        assert!(out.stderr.contains(text), "{}", out.stderr);
    }
    assert_eq!(bundle.orlop(["list", "-q"]).run().ok().stdout.trim(), three);
    bundle.orlop(["delete", "-f", "nobody", &three]).run().ok();
    assert_eq!(bundle.orlop(["list", "-q"]).run().ok().stdout, "");
}

#[test]
fn a_signal_is_given_in_any_place() {
    let bundle = sleeping();
    for line in ["ID -9", "-KILL ID", "-s kill ID", "ID SIGKILL"] {
        let id = started(&bundle);
        let words = line.split(' ').map(|word| if word == "ID" { &id } else { word });
        let line = std::iter::once("kill").chain(words);
        bundle.orlop(line).run().ok();
        until_stopped(&bundle, &id);
        bundle.orlop(["delete", &id]).run().ok();
    }
}

#[test]
fn patterns_choose_containers() {
    let bundle = sleeping();
    let [one, two] = [(); 2].map(|()| started(&bundle));
    let exactly = format!("^{one}$");
    bundle.orlop(["kill", "--regex", &exactly, "KILL"]).run().ok();
    until_stopped(&bundle, &one);
    assert_eq!(status(&bundle, &two), "running");
    // Those that have stopped get no signal, and that is no failure.
    bundle.orlop(["kill", "-r", ".*", "-0"]).run().ok();
    bundle.orlop(["delete", "--regex", &exactly, "no such id"]).run().ok();
    assert_eq!(bundle.orlop(["list", "-q"]).run().ok().stdout.trim(), two);
    bundle
        .orlop(["delete", "--regex", "("])
        .run()
        .fails_with("is not a regular expression");
    bundle.orlop(["delete", "-rf", "."]).run().ok();
    assert_eq!(bundle.orlop(["list", "-q"]).run().ok().stdout, "");
}

#[test]
fn another_file_can_be_the_config() {
    let bundle = Bundle::new().args(["probe", "exit", "3"]);
    let other = bundle.path("other.json");
    fs::rename(bundle.path("config.json"), &other).expect("rename");
    let id = bundle.fresh_id();
    // From the working directory on; the root file system is the bundle's as ever.
    let out = bundle
        .orlop([
            "run",
            "-f",
            "other.json",
            "--bundle",
            bundle.dir().to_str().unwrap(),
            &id,
        ])
        .cwd(bundle.dir())
        .run();
    assert_eq!(out.code, 3, "{}", out.stderr);
    let out = bundle
        .create_cmd(&bundle.fresh_id(), &["--config", "/nowhere.json"])
        .run();
    out.fails_with("open(\"/nowhere.json\"): ENOENT");
    fs::rename(other, bundle.path("config.json")).expect("rename");
}

#[test]
fn go_s_spelling_reaches_the_container() {
    let bundle = Bundle::new().sh("exit 4");
    let id = bundle.fresh_id();
    let bundle_dir = bundle.dir().to_str().unwrap();
    let out = bundle
        .orlop([
            "-debug=false",
            "run",
            "-no-subreaper",
            "-bundle",
            bundle_dir,
            "-detach=false",
            "-no-pivot=0",
            &id,
        ])
        .run();
    assert_eq!(out.code, 4, "{}", out.stderr);
}

#[test]
fn exec_takes_habits_and_fails_with_its_own_code() {
    let bundle = sleeping();
    let c = bundle.start();
    let out = bundle
        .orlop(["exec", "-i", "--tty=false", &c.id, "/bin/cat"])
        .stdin("through")
        .run()
        .ok();
    assert_eq!(out.stdout, "through");
    let out = bundle.orlop(["exec", "--tyt", &c.id, "/bin/true"]).run();
    assert_eq!(out.code, 255);
    assert!(out.stderr.contains("did you mean --tty?"), "{}", out.stderr);
    c.kill("KILL");
    c.until_stopped();
    c.delete();
}

/// A socket where a log service would listen. /run and /dev are private to the tests, or the place is taken.
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
fn the_log_goes_where_crun_s_would() {
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
