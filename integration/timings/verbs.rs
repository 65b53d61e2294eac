//! What is recorded of each verb.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{added, assert_has, end, number, of, option, spans, steps};
use crate::harness::checkpoint::{self, CRIU, Image, Workload, has_criu};
use crate::harness::exec::{exec_cmd, idle};
use crate::harness::host::{has_strace, traced};
use crate::harness::{Bundle, Container};
use crate::need;

/// The rest of a step after a wait is left out if it is shorter; nothing else is.
const GAP: u64 = 2_000;

/// The spans of the runtime follow each other without gaps.
#[track_caller]
fn assert_covered(spans: &[Value]) {
    let runtime = of(spans, "runtime");
    let mut last = number(runtime[0], "monotonic");
    let (begin, mut covered) = (last, 0);
    for span in runtime {
        let begin = number(span, "monotonic");
        assert!(begin >= last && begin - last < GAP, "a gap before {span}");
        last = end(span);
        covered += number(span, "duration");
    }
    assert!(covered * 100 >= (last - begin) * 95, "{covered} of {}", last - begin);
}

/// The spans of another process lie within the call, by the same clock.
#[track_caller]
fn assert_within(spans: &[Value], process: &str) {
    let runtime = of(spans, "runtime");
    let (begin, end_of_call) = (number(runtime[0], "monotonic"), end(runtime[runtime.len() - 1]));
    for span in of(spans, process) {
        let inside = number(span, "monotonic") >= begin && end(span) <= end_of_call;
        assert!(inside, "{begin} to {end_of_call}: {span}");
    }
}

#[test]
fn run_shows_every_step_of_both_processes() {
    let bundle = Bundle::new().args(["true"]);
    let (flag, path) = option(&bundle);
    let before = SystemTime::now();
    let spans = added(&path, bundle.run_cmd(&[&flag]));
    let runtime = [
        "start-up",
        "bundle",
        "claim",
        "cgroup",
        "state",
        "resources",
        "mount sources",
        "clone",
        "device rules",
        "wait",
        "start",
        "foreground",
        "removal",
    ];
    assert_has(&spans, "runtime", &runtime);
    let init = [
        "descriptors",
        "mounts",
        "devices",
        "masks",
        "pivot",
        "capabilities",
        "program",
        "start",
        "execve",
    ];
    assert_has(&spans, "init", &init);
    assert_covered(&spans);
    assert_within(&spans, "init");
    let objects: Vec<&Value> = steps(&spans, "init", "mounts")
        .iter()
        .map(|span| &span["object"])
        .collect();
    for mount in ["mounts[0] \"/proc\"", "mounts[1] \"/dev\""] {
        assert!(objects.contains(&&json!(mount)), "{objects:?}");
    }
    let waits: Vec<_> = spans
        .iter()
        .filter_map(|span| Some((span["process"].as_str()?, span["waitsFor"].as_str()?)))
        .collect();
    for wait in [("runtime", "init"), ("runtime", "program"), ("init", "start")] {
        assert!(waits.contains(&wait), "{waits:?}");
    }
    let id = &spans[0]["id"];
    for span in &spans {
        assert_eq!(
            (&span["version"], &span["verb"], &span["id"]),
            (&json!(1), &json!("run"), id)
        );
        assert_eq!(span["call"], spans[0]["call"]);
        assert!(span["pid"].as_i64().is_some_and(|pid| pid > 1), "{span}");
        assert!(span.get("failed").is_none(), "{span}");
        assert!(span.get("traceId").is_none(), "{span}");
    }
    // The begin is a time of the day; the year of it will do.
    let year = |time: &str| time[..2].to_owned();
    let now = orlop_time(before);
    assert_eq!(year(spans[0]["begin"].as_str().unwrap()), year(&now));
}

/// The time as `date` shows it, which is not our own code.
fn orlop_time(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let date = std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%S", "-d", &format!("@{seconds}")])
        .output();
    String::from_utf8(date.expect("date").stdout).unwrap()
}

#[test]
fn without_a_file_the_waterfall_comes_after_the_program() {
    let bundle = Bundle::new().sh("echo out; echo err >&2");
    let output = bundle.run_cmd(&["--timings"]).run().ok();
    assert_eq!(output.stdout, "out\n");
    let (first, rest) = output.stderr.split_once('\n').expect("lines");
    assert_eq!(first, "err");
    assert!(rest.starts_with("run "), "{rest}");
    for word in [
        "START/ms",
        "runtime",
        "init",
        "clone",
        "mounts[0] \"/proc\"",
        "execve",
        "(waits for program)",
        "#",
    ] {
        assert!(rest.contains(word), "{word}: {rest}");
    }
    let quiet = bundle.run().ok();
    assert_eq!(quiet.stderr, "err\n");
}

#[test]
fn create_and_start_show_their_parts_of_init() {
    let bundle = idle();
    let (flag, path) = option(&bundle);
    let id = bundle.fresh_id();
    let created = added(&path, bundle.create_cmd(&id, &[&flag]));
    assert_has(&created, "init", &["mounts", "pivot", "program"]);
    assert!(steps(&created, "init", "execve").is_empty());
    assert_covered(&created);
    assert_within(&created, "init");
    let started = added(&path, bundle.orlop(["start", &flag, &id]));
    assert_has(&started, "runtime", &["start-up", "state", "start"]);
    assert_has(&started, "init", &["execve"]);
    assert!(steps(&started, "init", "mounts").is_empty());
    assert_covered(&started);
    assert_within(&started, "init");
    let pid = bundle.orlop(["state", &id]).run().ok().json()["pid"].clone();
    for span in of(&created, "init").into_iter().chain(of(&started, "init")) {
        assert_eq!(span["pid"], pid);
    }
    assert_ne!(created[0]["call"], started[0]["call"]);
    bundle.orlop(["delete", "--force", &id]).run().ok();
}

/// Each call decides for itself, whatever the other one did.
#[test]
fn start_is_timed_whether_or_not_create_was() {
    let bundle = idle();
    let (flag, path) = option(&bundle);
    let plain = bundle.create();
    let started = added(&path, bundle.orlop(["start", &flag, &plain.id]));
    assert_has(&started, "init", &["execve"]);
    assert_within(&started, "init");
    let id = bundle.fresh_id();
    added(&path, bundle.create_cmd(&id, &[&flag]));
    let nothing = added(&path, bundle.orlop(["start", &id]));
    assert_eq!(nothing, [] as [Value; 0]);
    bundle.orlop(["delete", "--force", "--regex", "."]).run().ok();
}

#[test]
fn exec_shows_the_process_that_joins() {
    let bundle = idle();
    let c = bundle.start();
    let (flag, path) = option(&bundle);
    let foreground = added(&path, exec_cmd(&c, &[&flag], &["true"]));
    let pid_file = bundle.path("pid");
    let flags = ["-d", "--pid-file", pid_file.to_str().unwrap(), &flag];
    let detached = added(&path, exec_cmd(&c, &flags, &["sleep", "1000"]));
    for spans in [&foreground, &detached] {
        assert_has(
            spans,
            "runtime",
            &["start-up", "state", "bundle", "clone", "wait", "start"],
        );
        assert_has(
            spans,
            "exec",
            &["namespaces", "capabilities", "birth", "session", "program", "execve"],
        );
        assert_covered(spans);
        assert_within(spans, "exec");
        assert!(of(spans, "init").is_empty());
    }
    assert_has(&foreground, "runtime", &["foreground"]);
    let pid: Value = serde_json::from_str(&fs::read_to_string(pid_file).unwrap()).unwrap();
    assert_eq!(steps(&detached, "exec", "execve")[0]["pid"], pid);
    assert_ne!(steps(&detached, "exec", "namespaces")[0]["pid"], pid, "the exec parent");
    let shown = exec_cmd(&c, &["-d", "--timings"], &["true"]).run().ok();
    assert!(shown.stderr.starts_with("exec "), "{shown:#?}");
}

#[test]
fn restore_shows_how_long_criu_takes() {
    need!(has_criu(), CRIU);
    let bundle = checkpoint::with_parts(checkpoint::bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let c: &Container = &work.container;
    let image: Image = checkpoint::checkpoint(c, &[]);
    let (flag, path) = option(&bundle);
    let restored = added(&path, checkpoint::restore_cmd(c, &image, &[&flag]));
    assert_has(
        &restored,
        "runtime",
        &["start-up", "bundle", "claim", "cgroup", "state", "criu"],
    );
    assert!(restored.iter().any(|span| span["waitsFor"] == "criu"), "{restored:#?}");
    assert_covered(&restored);
}

#[test]
fn every_hook_is_a_span() {
    let mut bundle = Bundle::new().args(["true"]);
    let points = [
        ("prestart", "runtime"),
        ("createRuntime", "runtime"),
        ("createContainer", "init"),
        ("startContainer", "init"),
        ("poststart", "runtime"),
        ("poststop", "runtime"),
    ];
    for (point, _) in points {
        let program = if point == "startContainer" {
            "/bin/busybox"
        } else {
            "/bin/sh"
        };
        for _ in 0..2 {
            let hook = json!({ "path": program, "args": ["sh", "-c", "sleep 0.05"], "env": ["PATH=/bin:/usr/bin"] });
            bundle = bundle.with_hook(point, hook);
        }
    }
    let (flag, path) = option(&bundle);
    let spans = added(&path, bundle.run_cmd(&[&flag]));
    for (point, process) in points {
        let hooks: Vec<&Value> = steps(&spans, process, &format!("{point} hooks"))
            .into_iter()
            .filter(|span| span["waitsFor"] == "hook")
            .collect();
        assert_eq!(hooks.len(), 2, "{point}: {hooks:#?}");
        for (index, span) in hooks.iter().enumerate() {
            let object = span["object"].as_str().unwrap_or_default();
            assert!(object.starts_with(&format!("hooks.{point}[{index}]")), "{object}");
            let duration = Duration::from_nanos(number(span, "duration"));
            assert!(duration >= Duration::from_millis(10), "{point}: {duration:?}");
        }
    }
    let waits = steps(&spans, "init", "runtime hooks");
    assert!(waits.iter().any(|span| span["waitsFor"] == "runtime"), "{waits:?}");
    assert_covered(&spans);
}

/// The failed step is marked in the process that took it, and in the one that waited for it.
#[test]
fn a_failing_create_shows_where_it_failed() {
    let failed = |spans: &[Value]| -> Vec<(String, String)> {
        let failed = spans.iter().filter(|span| span["failed"] == true);
        failed
            .map(|span| {
                let text = |field: &str| span[field].as_str().unwrap().to_owned();
                (text("process"), text("step"))
            })
            .collect()
    };
    let pair = |process: &str, step: &str| (process.to_owned(), step.to_owned());
    let table = [
        (
            json!(["/no/such/program"]),
            vec![pair("runtime", "wait"), pair("init", "program")],
        ),
        (json!([]), vec![pair("runtime", "bundle")]),
    ];
    for (args, expected) in table {
        let bundle = Bundle::new().edit(|c| c["process"]["args"] = args);
        let (flag, path) = option(&bundle);
        bundle.create_cmd(&bundle.fresh_id(), &[&flag]).run().fails();
        let spans = spans(&path);
        assert_eq!(failed(&spans), expected, "{spans:#?}");
        assert_covered(&spans);
        if expected.len() > 1 {
            assert_has(&spans, "runtime", &["rollback"]);
            assert_has(&spans, "init", &["mounts", "pivot"]);
        }
        let shown = bundle.create_cmd(&bundle.fresh_id(), &["--timings"]).run().fails();
        let (waterfall, error) = shown.stderr.split_once("orlop: error").expect("the error comes last");
        assert!(waterfall.contains("FAILED"), "{waterfall}");
        assert!(!error.contains("FAILED"), "{error}");
        bundle.assert_clean();
    }
}

/// The program executes itself again before it reads its arguments, and may have to wait for that: here for strace.
#[test]
fn the_time_before_the_second_start_counts() {
    need!(has_strace(), "strace");
    let bundle = Bundle::new().args(["true"]);
    let (flag, path) = option(&bundle);
    let delay = "-e trace=execveat -e inject=execveat:delay_enter=80ms";
    traced(bundle.run_cmd(&[&flag]), false, delay).run().ok();
    let spans = spans(&path);
    let start = number(steps(&spans, "runtime", "start-up")[0], "duration");
    assert!(start >= 80_000_000, "{start}");
    assert_covered(&spans);
}

/// In a time namespace the monotonic clock is another.
#[test]
fn an_init_with_shifted_clocks_is_on_the_same_scale() {
    need!(std::path::Path::new("/proc/self/ns/time").exists(), "time namespaces");
    let bundle = idle().edit(|c| {
        let namespaces = c["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({ "type": "time" }));
        c["linux"]["timeOffsets"] = json!({ "monotonic": { "secs": 604_800 }, "boottime": { "secs": 604_800 } });
    });
    let (flag, path) = option(&bundle);
    let id = bundle.fresh_id();
    let created = added(&path, bundle.create_cmd(&id, &[&flag]));
    assert_has(&created, "init", &["mounts"]);
    assert_within(&created, "init");
    let started = added(&path, bundle.orlop(["start", &flag, &id]));
    assert_has(&started, "init", &["execve"]);
    assert_within(&started, "init");
    let joined = added(&path, bundle.orlop(["exec", &flag, &id, "true"]));
    assert_has(&joined, "exec", &["execve"]);
    assert_within(&joined, "exec");
    bundle.orlop(["delete", "--force", &id]).run().ok();
}
