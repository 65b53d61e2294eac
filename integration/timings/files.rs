//! Where the timings go: a file, a file per call, or nowhere because it cannot be opened; and the verb that shows them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::{assert_has, of, option, spans};
use crate::harness::exec::idle;
use crate::harness::host::make_fifo;
use crate::harness::{Bundle, Running};

const VARIABLE: &str = "ORLOP_TIMINGS";

#[test]
fn the_environment_names_a_file() {
    let bundle = idle();
    let path = bundle.path("timings");
    let named = path.to_str().unwrap();
    let id = bundle.fresh_id();
    bundle.create_cmd(&id, &[]).env(VARIABLE, named).run().ok();
    bundle.orlop(["start", &id]).env(VARIABLE, named).run().ok();
    bundle.orlop(["exec", &id, "true"]).env(VARIABLE, named).run().ok();
    // These are not timed.
    bundle.orlop(["state", &id]).env(VARIABLE, named).run().ok();
    bundle.orlop(["delete", "--force", &id]).env(VARIABLE, named).run().ok();
    let verbs: BTreeSet<String> = spans(&path).iter().map(|span| span["verb"].to_string()).collect();
    assert_eq!(
        verbs.into_iter().collect::<Vec<_>>(),
        ["\"create\"", "\"exec\"", "\"start\""]
    );
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let empty = bundle.run_cmd(&[]).env(VARIABLE, "");
    drop(empty);
}

#[test]
fn the_environment_names_a_directory() {
    let bundle = Bundle::new().args(["true"]);
    let directory = bundle.path("timings");
    fs::create_dir(&directory).unwrap();
    let named = directory.to_str().unwrap();
    for _ in 0..2 {
        bundle.run_cmd(&[]).env(VARIABLE, named).run().ok();
    }
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let entry = entry.unwrap();
        let spans = spans(&entry.path());
        let (id, pid) = (
            spans[0]["id"].as_str().unwrap().to_owned(),
            &of(&spans, "runtime")[0]["pid"],
        );
        assert_eq!(
            entry.file_name().to_str(),
            Some(format!("run-{id}-{pid}.jsonl").as_str())
        );
        assert_has(&spans, "init", &["execve"]);
        ids.insert(id);
    }
    assert_eq!(ids.len(), 2);
}

#[test]
fn the_option_takes_precedence() {
    let bundle = Bundle::new().args(["true"]);
    let (flag, path) = option(&bundle);
    let other = bundle.path("other");
    let named = other.to_str().unwrap();
    bundle.run_cmd(&[&flag]).env(VARIABLE, named).run().ok();
    let shown = bundle.run_cmd(&["--timings"]).env(VARIABLE, named).run().ok();
    assert!(shown.stderr.contains("START/ms"), "{shown:#?}");
    assert!(path.exists() && !other.exists());
    // An empty variable is as good as none.
    let nothing = bundle.run_cmd(&[]).env(VARIABLE, "").run().ok();
    assert_eq!(nothing.stderr, "");
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_before_anything_is_made() {
    let bundle = idle();
    let c = bundle.start();
    let directory = bundle.path("a-directory");
    fs::create_dir(&directory).unwrap();
    let fifo = bundle.path("fifo");
    make_fifo(&fifo);
    let missing = bundle.path("missing/file");
    let table = [
        (
            directory,
            "EISDIR",
            "hint: name a file in it; ORLOP_TIMINGS may name a directory",
        ),
        (fifo, "ENXIO", "hint: start the reader of the pipe first"),
        (missing, "ENOENT", "hint: create its directory first"),
    ];
    let before = fs::read_dir(bundle.state_root()).unwrap().count();
    for (path, errno, hint) in table {
        let flag = format!("--timings={}", path.display());
        let id = bundle.fresh_id();
        let verbs = [
            bundle.run_cmd(&[&flag]),
            bundle.create_cmd(&id, &[&flag]),
            bundle.orlop(["start", &flag, &c.id]),
            bundle.orlop(["exec", &flag, &c.id, "true"]),
        ];
        for cmd in verbs {
            let output = cmd.run().fails();
            for text in [flag.as_str(), "cannot open the file for timings", errno, hint] {
                assert!(output.stderr.contains(text), "{text}: {output:#?}");
            }
        }
        assert_eq!(fs::read_dir(bundle.state_root()).unwrap().count(), before);
    }
    let variable = bundle.run_cmd(&[]).env(VARIABLE, "/proc/nowhere").run().fails();
    assert!(variable.stderr.contains("ORLOP_TIMINGS=/proc/nowhere"), "{variable:#?}");
    assert_eq!(fs::read_dir(bundle.state_root()).unwrap().count(), before);
}

/// Others may be allowed to write to the directory that the environment names.
#[test]
fn a_link_in_the_directory_is_not_followed() {
    let bundle = Bundle::new().args(["true"]);
    let directory = bundle.path("timings");
    fs::create_dir(&directory).unwrap();
    let target = bundle.path("target");
    let id = bundle.fresh_id();
    let dir = bundle.dir().to_str().unwrap();
    // The shell's pid is that of the runtime.
    let script = format!("ln -s {} {}/run-{id}-$$.jsonl", target.display(), directory.display());
    let output = bundle
        .orlop(["run", "--bundle", dir, &id])
        .through_shell(&script)
        .env(VARIABLE, directory.to_str().unwrap())
        .run()
        .fails();
    assert!(
        output.stderr.contains("ELOOP") && output.stderr.contains("hint: a symbolic link"),
        "{output:#?}"
    );
    assert!(!target.exists());
    // A link that the caller names is the caller's.
    symlink(&target, bundle.path("link")).unwrap();
    let flag = format!("--timings={}", bundle.path("link").display());
    bundle.run_cmd(&[&flag]).run().ok();
    assert_has(&spans(&target), "init", &["execve"]);
}

#[test]
fn eight_creates_at_once_write_to_one_file() {
    let bundle = idle();
    let (flag, path) = option(&bundle);
    let ids: Vec<String> = (0..8).map(|_| bundle.fresh_id()).collect();
    let all: Vec<Running> = ids.iter().map(|id| bundle.create_cmd(id, &[&flag]).spawn()).collect();
    for running in all {
        running.wait().ok();
    }
    let spans = spans(&path);
    for id in &ids {
        let own: Vec<_> = spans.iter().filter(|span| span["id"] == id.as_str()).cloned().collect();
        assert_has(&own, "runtime", &["start-up", "clone", "wait"]);
        assert_has(&own, "init", &["mounts", "pivot", "program"]);
        let calls: BTreeSet<String> = own.iter().map(|span| span["call"].to_string()).collect();
        assert_eq!(calls.len(), 1);
    }
    let shown = bundle.orlop(["timings", path.to_str().unwrap()]).run().ok();
    assert_eq!(shown.stdout.matches("START/ms").count(), 8);
    bundle.orlop(["delete", "--force", "--regex", "."]).run().ok();
}

/// A full disk is a warning, and the container does not suffer.
#[test]
fn a_file_that_cannot_be_written_is_a_warning() {
    let bundle = Bundle::new().sh("exit 7");
    let output = bundle.run_cmd(&["--timings=/dev/full"]).run();
    assert_eq!(output.code, 7, "{output:#?}");
    assert_eq!(
        output.stderr.matches("the timings are incomplete").count(),
        1,
        "{output:#?}"
    );
    assert!(output.stderr.contains("ENOSPC"), "{output:#?}");
}

#[test]
fn the_verb_shows_what_was_written() {
    let bundle = Bundle::new().args(["true"]);
    let (flag, path) = option(&bundle);
    let file = path.to_str().unwrap();
    bundle.run_cmd(&[&flag]).run().ok();
    bundle.run_cmd(&[&flag]).run().ok();
    let text = bundle.orlop(["timings", file]).run().ok().stdout;
    assert_eq!(text.matches("START/ms").count(), 2);
    assert!(text.contains("mounts[0] \"/proc\""), "{text}");
    let calls = bundle.orlop(["timings", "--format", "json", file]).run().ok().json();
    assert_eq!(calls.as_array().map(Vec::len), Some(2));
    let all: usize = calls
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["spans"].as_array().unwrap().len())
        .sum();
    assert_eq!(all, spans(&path).len());
    let picture = bundle.orlop(["timings", "--svg", file]).run().ok().stdout;
    let check = "import sys, xml.etree.ElementTree as tree; tree.fromstring(sys.stdin.read())";
    let mut python = std::process::Command::new("python3")
        .args(["-c", check])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("python3");
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), picture.as_bytes()).unwrap();
    assert!(python.wait().unwrap().success(), "{picture}");
    // One file that is broken, after one that is not.
    let broken = bundle.path("broken");
    fs::write(
        &broken,
        format!(
            "{}\nnonsense\n",
            fs::read_to_string(&path).unwrap().lines().next().unwrap()
        ),
    )
    .unwrap();
    let output = bundle.orlop(["timings", file, broken.to_str().unwrap()]).run().fails();
    assert_eq!(output.stdout, "");
    let expected = format!("{:?}: line 2: not JSON, from column 2 on", broken);
    assert!(output.stderr.contains(&expected), "{expected}: {output:#?}");
    bundle
        .orlop(["timings", "/no/such/file"])
        .run()
        .fails_with("/no/such/file");
    bundle
        .orlop(["timings", "/dev/null"])
        .run()
        .fails_with("it has no timings");
}
