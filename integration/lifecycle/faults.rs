//! System calls that fail in the middle of a verb: through a low limit of open files, or through fault injection by strace.
//! The exit code is correct, the runtime does not abort, and what is left of a container is known and can be deleted.

use serde_json::json;

use crate::harness::host::{has_strace, kill};
use crate::harness::{Bundle, Container, Output, alive, eventually};
use crate::need;

/// How a verb is disturbed: a shell command that starts it.
struct Fault {
    words: String,
    name: String,
}

/// Every limit of open files, from only the standard streams to one that is high enough.
fn limits() -> Vec<Fault> {
    let fault = |descriptors| Fault {
        words: format!("ulimit -n {descriptors}"),
        name: format!("{descriptors} descriptors"),
    };
    (3..=33).map(fault).collect()
}

/// For each of these calls: the first ones fail in turn, and then all from one of them on.
fn injections() -> Vec<Fault> {
    let calls = [
        ("flock", "ENOLCK"),
        ("newfstatat,fstat", "EIO"),
        ("poll", "ENOMEM"),
        ("waitid", "ENOMEM"),
        ("read,pread64", "EIO"),
        ("openat", "EMFILE"),
        ("getrandom", "EIO"),
        ("getdents64", "EIO"),
        ("recvmsg", "ENOMEM"),
        ("unlinkat", "EIO"),
        ("pidfd_open", "EMFILE"),
    ];
    let mut faults = Vec::new();
    for (call, errno) in calls {
        for when in ["1", "2", "3", "5", "1+", "3+"] {
            faults.push(injection(call, errno, when));
        }
    }
    faults
}

/// It does not follow children: only calls of the runtime fail.
fn injection(call: &str, errno: &str, when: &str) -> Fault {
    Fault {
        words: format!("exec strace -qq -o /dev/null -e inject={call}:error={errno}:when={when} \"$0\" \"$@\""),
        name: format!("{call} {errno} {when}"),
    }
}

fn faults() -> impl Iterator<Item = Fault> {
    limits().into_iter().chain(injections())
}

fn disturbed(bundle: &Bundle, arguments: &[&str], fault: &Fault) -> Output {
    eprintln!("{arguments:?} with {}", fault.name);
    let output = bundle.orlop(arguments).through_shell(&fault.words).run();
    assert!(
        output.code < 128 || output.code == 255,
        "{}: it was ended: {output:#?}",
        fault.name
    );
    assert!(!output.stderr.contains("panicked"), "{}: {output:#?}", fault.name);
    // (7 is the container's own.)
    if !matches!(output.code, 0 | 7) {
        assert!(!output.stderr.trim().is_empty(), "{}: no word: {output:#?}", fault.name);
    }
    output
}

/// The status that an undisturbed `state` reports; none if the ID is free.
fn status(bundle: &Bundle, id: &str) -> Option<String> {
    if !bundle.state_root().join(id).exists() {
        return None;
    }
    let output = bundle.orlop(["state", id]).run();
    if output.code != 0 {
        assert!(output.stderr.contains("has no state"), "{output:#?}");
        return Some("stopped".into());
    }
    Some(output.json()["status"].as_str().expect("a status").into())
}

fn delete_all_that_is_left(bundle: &Bundle, id: &str, what: &str) {
    if bundle.state_root().join(id).exists() {
        bundle.orlop(["delete", "--force", id]).run().ok();
    }
    let left = || bundle.leaks();
    eventually(&format!("{what}: nothing is left but {:?}", left()), || {
        left().is_empty()
    });
}

#[test]
fn create_and_run_do_all_or_nothing() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let dir = bundle.dir().to_str().unwrap().to_owned();
    for (verb, then) in [(&["create"][..], "created"), (&["run", "--detach"], "running")] {
        let mut failed = 0;
        for fault in faults() {
            let id = bundle.fresh_id();
            let output = disturbed(&bundle, &[verb, &["--bundle", &dir, &id]].concat(), &fault);
            let status = status(&bundle, &id);
            let what = format!("{verb:?} with {}: {output:#?}", fault.name);
            if output.code == 0 {
                assert_eq!(status.as_deref(), Some(then), "{what}");
            } else {
                failed += 1;
                // A container that could not be removed is known.
                assert!(
                    matches!(status.as_deref(), None | Some("stopped")),
                    "{status:?}: {what}"
                );
            }
            delete_all_that_is_left(&bundle, &id, &what);
        }
        assert!(failed > 20, "{failed}");
    }
}

/// Among the reads is the one that waits for the hook's execve.
#[test]
fn a_failing_read_around_a_hook_is_an_error() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["probe", "sleep"]).with_hook(
        "createRuntime",
        json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo from the hook"] }),
    );
    let dir = bundle.dir().to_str().unwrap().to_owned();
    let mut failed = 0;
    for when in 1..=30 {
        let fault = injection("read", "EIO", &when.to_string());
        let id = bundle.fresh_id();
        let output = disturbed(&bundle, &["create", "--bundle", &dir, &id], &fault);
        let what = format!("create with {}: {output:#?}", fault.name);
        if output.code == 0 {
            assert_eq!(status(&bundle, &id).as_deref(), Some("created"), "{what}");
        } else {
            failed += usize::from(output.stderr.contains("hooks.createRuntime[0]"));
        }
        delete_all_that_is_left(&bundle, &id, &what);
    }
    assert!(failed > 0, "no read of the hook's failed");
}

#[test]
fn run_ends_with_its_container() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["probe", "exit", "7"]);
    let dir = bundle.dir().to_str().unwrap().to_owned();
    for fault in faults() {
        let id = bundle.fresh_id();
        let output = disturbed(&bundle, &["run", "--bundle", &dir, &id], &fault);
        let status = status(&bundle, &id);
        let what = format!("run with {}: {output:#?}", fault.name);
        assert!(matches!(output.code, 1 | 7), "{what}");
        assert!(
            matches!(status.as_deref(), None | Some("stopped")),
            "{status:?}: {what}"
        );
        if status.is_some() {
            // The failed call was in the removal itself.
            assert!(output.stderr.contains(&id), "left without a word: {what}");
        }
        delete_all_that_is_left(&bundle, &id, &what);
    }
}

#[test]
fn start_reports_whether_the_program_runs() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    for fault in faults() {
        let c = bundle.create();
        let output = disturbed(&bundle, &["start", &c.id], &fault);
        let what = format!("start with {}: {output:#?}", fault.name);
        if output.code == 0 {
            assert_eq!(c.status(), "running", "{what}");
        } else {
            eventually(&what, || matches!(&*c.status(), "created" | "stopped"));
        }
        delete_all_that_is_left(&bundle, &c.id, &what);
    }
}

#[test]
fn delete_removes_everything_or_keeps_the_container() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    for force in [false, true] {
        let mut failed = 0;
        for fault in faults() {
            let c = if force { bundle.start() } else { bundle.create() };
            let pid = c.pid();
            let flags: &[&str] = if force { &["--force"] } else { &[] };
            let output = disturbed(&bundle, &[&["delete"], flags, &[&*c.id]].concat(), &fault);
            let what = format!("delete {flags:?} with {}: {output:#?}", fault.name);
            if output.code == 0 {
                assert!(!alive(pid) && status(&bundle, &c.id).is_none(), "{what}");
            } else {
                failed += 1;
                assert!(status(&bundle, &c.id).is_some(), "{what}");
            }
            delete_all_that_is_left(&bundle, &c.id, &what);
        }
        assert!(failed > 20, "{failed}");
    }
}

#[test]
fn other_verbs_report_what_is_true() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let pid = c.pid();
    let root = |fault: &Fault, arguments: &[&str]| disturbed(&bundle, arguments, fault);
    // The descriptor stays open, so this does not apply to verbs that wait for the end of a channel.
    let close = ["1", "2", "3", "1+"].map(|when| injection("close", "EIO", when));
    for fault in faults().chain(close) {
        let state = root(&fault, &["state", &c.id]);
        if state.code == 0 {
            assert_eq!(
                (&state.json()["status"], &state.json()["pid"]),
                (&"running".into(), &pid.into())
            );
        }
        let list = root(&fault, &["list", "--format", "json"]);
        if list.code == 0 {
            assert_eq!(list.json()[0]["status"], "running", "{}: {list:#?}", fault.name);
        }
        let quiet = root(&fault, &["list", "--quiet"]);
        if quiet.code == 0 {
            assert_eq!(quiet.stdout, format!("{}\n", c.id), "{}", fault.name);
        }
        let ps = root(&fault, &["ps", "--format", "json", &c.id]);
        if ps.code == 0 {
            assert_eq!(ps.stdout, format!("[{pid}]\n"), "{}", fault.name);
        }
        root(&fault, &["kill", &c.id, "0"]);
        root(&fault, &["kill", "--all", &c.id, "CONT"]);
        root(&fault, &["update", "--unified", "cgroup.max.depth=5", &c.id]);
        root(&fault, &["events", "--stats", &c.id]);
        assert_eq!(c.status(), "running", "{}", fault.name);
    }
}

fn frozen(c: &Container) -> bool {
    c.status() == "paused"
}

#[test]
fn pause_and_resume_report_whether_the_container_runs() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    for fault in faults() {
        let output = disturbed(&bundle, &["pause", &c.id], &fault);
        assert_eq!(frozen(&c), output.code == 0, "{}: {output:#?}", fault.name);
        if !frozen(&c) {
            bundle.orlop(["pause", &c.id]).run().ok();
        }
        let output = disturbed(&bundle, &["resume", &c.id], &fault);
        assert_eq!(frozen(&c), output.code != 0, "{}: {output:#?}", fault.name);
        if frozen(&c) {
            bundle.orlop(["resume", &c.id]).run().ok();
        }
    }
}

#[test]
fn exec_does_all_or_nothing() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let processes = || bundle.orlop(["ps", "--format", "json", &c.id]).run().ok().json();
    let init = processes();
    for fault in faults() {
        let output = disturbed(&bundle, &["exec", "--detach", &c.id, "sleep", "100"], &fault);
        let what = format!("exec with {}: {output:#?}", fault.name);
        let now = processes();
        let joined: Vec<i64> = now.as_array().unwrap().iter().filter_map(|pid| pid.as_i64()).collect();
        if output.code == 0 {
            assert_eq!(joined.len(), 2, "{what}");
            for pid in joined.iter().filter(|pid| init[0] != **pid) {
                kill(*pid as i32);
            }
        }
        eventually(&what, || processes() == init);
    }
}

/// The container ends while a verb runs: the error says so, and not which call failed.
#[test]
fn a_container_that_ends_meanwhile_is_reported_as_such() {
    need!(has_strace(), "strace");
    let cases: [(&[&str], &str); 4] = [
        (&["exec"], "clone3"),
        (&["exec"], "sendmsg"),
        (&["start"], "connect"),
        (&["start"], "sendmsg"),
    ];
    for (verb, call) in cases {
        for delete in [false, true] {
            let bundle = Bundle::new().args(["probe", "sleep"]);
            let c = if verb == ["start"] {
                bundle.create()
            } else {
                bundle.start()
            };
            let pid = c.pid();
            let rest: &[&str] = if verb == ["exec"] { &["true"] } else { &[] };
            let held = bundle.path("held");
            let words = format!(
                "exec strace -qq -o {} -e trace={call} -e inject={call}:delay_enter=1000000:when=1 \"$0\" \"$@\"",
                held.display()
            );
            let running = bundle
                .orlop([verb, &[&*c.id], rest].concat())
                .through_shell(&words)
                .spawn();
            // strace writes the beginning of a call that it holds.
            eventually("the call is reached", || {
                std::fs::read_to_string(&held).is_ok_and(|text| text.contains(call))
            });
            if delete && verb == ["exec"] {
                bundle.orlop(["delete", "--force", &c.id]).run().ok();
            } else {
                kill(pid);
            }
            let output = running.wait().fails_with("container not running");
            assert!(
                output.stderr.contains("ended meanwhile"),
                "{verb:?} {call} {delete}: {output:#?}"
            );
        }
    }
}
