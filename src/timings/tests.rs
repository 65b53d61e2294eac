//! The whole way of a span: recorded, sent, written as a line, read again, and drawn.

use super::file::{self, Sink};
use super::line::Line;
use super::recorder::Recorder;
use super::span::{Clocks, Peer, Span};
use super::{read, svg, waterfall};
use crate::error::Step;
use crate::sys::memfd;

const BASE: Clocks = Clocks {
    monotonic: 1_000_000_000,
    real: 1_764_000_000_000_000_000,
};

/// Some microseconds after the begin of a call.
fn at(micros: u64) -> Clocks {
    Clocks {
        monotonic: BASE.monotonic + micros * 1_000,
        real: BASE.real + micros * 1_000,
    }
}

/// A run that records a runtime and an init with fixed times.
fn recorded(sink: Sink) -> Recorder {
    let mut runtime = Recorder::of_call("run", "web", sink, at(0), 200_000);
    runtime.set_pid(false, 42);
    runtime.step(Step::Bundle, at(100));
    runtime.step(Step::Clone, at(300));
    let mut init = Recorder::of_init(runtime.clocks());
    runtime.step(Step::Wait, at(500));
    runtime.wait_for(Some(Peer::Child), at(500));
    init.step(Step::Mounts, at(400));
    init.object("mounts[0] \"/proc\"".into(), at(410));
    init.object("mounts[1] \"/a\u{1b}[2J<&>\n    x\"".into(), at(600));
    init.step(Step::Umask, at(900));
    init.step(Step::Program, at(900));
    init.fail();
    let (born, spans) = init.take(at(950));
    runtime.receive(born, spans);
    runtime.wait_for(None, at(1_000));
    runtime.fail();
    runtime.step(Step::Rollback, at(1_001));
    runtime
}

fn lines() -> Vec<Line> {
    let mut runtime = recorded(Sink::Screen);
    runtime.write(|| at(1_200));
    runtime.shown().expect("lines for the screen")
}

fn spans(mut recorder: Recorder, end: u64) -> Vec<Span> {
    recorder.take(at(end)).1
}

#[test]
fn every_span_ends_where_the_next_begins() {
    let lines = lines();
    let runtime: Vec<&Line> = lines.iter().filter(|line| line.process == "runtime").collect();
    for pair in runtime.windows(2) {
        let gap = pair[1].monotonic - pair[0].end();
        assert!(gap <= 1_000, "{pair:?}");
    }
    let steps: Vec<&str> = runtime.iter().map(|line| line.step.as_str()).collect();
    assert_eq!(steps, ["start-up", "bundle", "clone", "wait", "wait", "rollback"]);
    assert!(runtime[4].failed, "{runtime:?}");
    let start = &runtime[0];
    assert_eq!(
        start.monotonic,
        BASE.monotonic - 200_000,
        "the processor time before the call"
    );
    assert_eq!(start.begin, "2025-11-24T15:59:59.9998Z");
    let init: Vec<_> = lines.iter().filter(|line| line.process == "init").collect();
    assert!(init.iter().all(|line| line.pid == Some(42)), "{init:?}");
    assert_eq!(init.iter().filter(|line| line.failed).count(), 1);
    assert!(init.iter().any(|line| line.step == "program" && line.failed));
}

#[test]
fn waits_that_follow_each_other_are_one() {
    let mut recorder = Recorder::of_init(BASE);
    recorder.step(Step::Start, at(0));
    recorder.wait_for(Some(Peer::Start), at(1));
    recorder.wait_for(None, at(20));
    recorder.wait_for(Some(Peer::Start), at(21));
    recorder.wait_for(None, at(40));
    recorder.wait_for(Some(Peer::Runtime), at(41));
    recorder.wait_for(None, at(50));
    recorder.wait_for(Some(Peer::Runtime), at(60));
    let found: Vec<_> = spans(recorder, 70)
        .into_iter()
        .map(|span| (span.waits_for, span.duration / 1_000))
        .collect();
    let expected = [
        (None, 1),
        (Some(Peer::Start), 39),
        (Some(Peer::Runtime), 9),
        (None, 10),
        (Some(Peer::Runtime), 10),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_process_of_its_own_has_none_of_the_runtimes_spans() {
    let mut recorder = recorded(Sink::Screen);
    recorder.forget();
    recorder.step(Step::Mounts, at(2_000));
    recorder.object("x".repeat(10_000), at(2_001));
    assert!(recorder.shown().is_none());
    let spans = spans(recorder, 2_002);
    assert_eq!(spans.len(), 2, "{spans:?}");
    assert_eq!(spans[1].object.as_ref().map(|object| object.chars().count()), Some(401));
}

#[test]
fn what_is_written_can_be_read() {
    let memory = memfd::create(c"timings", false, false).expect("a file in memory");
    let mut recorder = recorded(Sink::File(memory.try_clone().expect("a copy")));
    recorder.write(|| at(1_100));
    recorder.write(|| at(1_200));
    let mut text = String::new();
    let mut file = std::fs::File::from(memory);
    std::io::Seek::rewind(&mut file).expect("rewind");
    std::io::Read::read_to_string(&mut file, &mut text).expect("read");
    let read = read::lines(text.as_bytes()).expect("valid lines");
    let calls = waterfall::calls(read);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].name, "run web");
    assert_eq!(calls[0].duration(), 1_400_000);
    let work = |lines: &[Line]| lines.iter().filter(|line| line.step != "timings").count();
    assert_eq!(work(&calls[0].lines), work(&lines()));
}

#[test]
fn lines_are_written_whole() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let lines: Vec<String> = (0..100).map(|number| format!("{number:0>200}\n")).collect();
    let reading = std::thread::spawn(move || {
        let mut reader = reader;
        let mut calls = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match std::io::Read::read(&mut reader, &mut buffer).expect("read") {
                0 => return calls,
                length => calls.push(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            }
        }
    });
    file::write(&writer.into(), &lines).expect("write");
    let read = reading.join().expect("the reader").concat();
    assert_eq!(read, lines.concat());
}

const TEXT: &str = "\
run web: 1.400 ms
  START/ms  DURATION/ms WHO                             STEP
     0.000        0.300 runtime ####                    start-up
     0.300        0.200 runtime     ###                 bundle
     0.500        0.200 runtime        ####             clone
     0.600        0.010 init             #              mounts
     0.610        0.190 init             ###            mounts[0] \"/proc\"
     0.700        0.500 runtime            !!!!!!!      wait (waits for init) FAILED
     0.800        0.300 init                #####       mounts[1] \"/a\\x1b[2J<&>\\n    x\"
     1.100        0.050 init                     !      program FAILED
     1.201        0.199 runtime                   ####  rollback
2 steps shorter than 1 µs are not shown
";

#[test]
fn the_text_is_a_waterfall() {
    let calls = waterfall::calls(lines());
    let text = waterfall::text(&calls, Some(95));
    assert_eq!(text, TEXT, "\n{text}");
    for width in [1, 20, 50, 200] {
        let text = waterfall::text(&calls, Some(width));
        assert!(text.lines().skip(1).all(|row| row.chars().count() <= width), "{text}");
    }
    assert!(waterfall::text(&calls, None).contains("/a\\x1b[2J"));
}

/// Otherwise the start of a container that ran for an hour would be one column wide.
#[test]
fn the_time_of_the_program_takes_no_room() {
    let mut recorder = Recorder::of_call("run", "web", Sink::Screen, at(0), 0);
    recorder.step(Step::Bundle, at(0));
    recorder.step(Step::Foreground, at(1_000));
    recorder.wait_for(Some(Peer::Program), at(1_000));
    recorder.wait_for(None, at(3_600_000_000));
    recorder.step(Step::Removal, at(3_600_000_000));
    recorder.write(|| at(3_600_001_000));
    let calls = waterfall::calls(recorder.shown().expect("lines"));
    let text = waterfall::text(&calls, Some(93));
    let bar = |step: &str| {
        let row = text.lines().find(|row| row.contains(step)).expect("a row");
        row.chars().filter(|c| *c == '#').count()
    };
    assert_eq!((bar(" bundle"), bar(" removal")), (10, 10), "{text}");
    assert!(text.contains("3600000.000"), "{text}");
}

#[test]
fn each_call_has_a_section() {
    let other: Vec<Line> = lines()
        .into_iter()
        .map(|line| Line {
            call: "other".into(),
            verb: "exec".into(),
            ..line
        })
        .collect();
    // Two processes that write to one file at the same time.
    let mixed: Vec<Line> = lines().into_iter().zip(other).flat_map(<[Line; 2]>::from).collect();
    let calls = waterfall::calls(mixed);
    let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["run web", "exec web"]);
    assert_eq!(calls[0].lines.len(), calls[1].lines.len());
    assert_eq!(waterfall::text(&calls, None).matches("START/ms").count(), 2);
    assert_eq!(svg::picture(&calls).matches("class=\"h\"").count(), 2);
}

/// A check of what XML demands, for the few constructs that the pictures use: elements are closed in order, and text and
/// attributes contain neither markup nor control characters.
fn assert_is_xml(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        assert!(!before.contains('>'), "{before}");
        let (tag, next) = after.split_once('>').expect("a complete tag");
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().expect("a name"));
        }
        rest = next;
    }
    assert!(open.is_empty(), "{open:?}");
    for entity in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;"];
        assert!(known.iter().any(|name| entity.starts_with(name)), "&{entity:.20}");
    }
    assert!(
        !text.contains(|c: char| c.is_control() && c != '\n'),
        "a control character"
    );
}

#[test]
fn the_picture_is_valid_and_self_contained() {
    let picture = svg::picture(&waterfall::calls(lines()));
    assert_is_xml(&picture);
    assert!(picture.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    assert!(picture.contains("prefers-color-scheme:dark"));
    assert!(picture.contains("&lt;&amp;&gt;"), "{picture}");
    assert!(
        picture.contains("class=\"init f\"") && picture.contains("class=\"runtime f\""),
        "{picture}"
    );
    for link in ["href", "url(", "@import", "<script"] {
        assert!(!picture.contains(link), "{link}");
    }
    assert_eq!(picture.matches("http").count(), 1, "the name of the namespace only");
}

#[test]
fn errors_name_the_line() {
    let good = serde_json::to_string(&lines()[0]).expect("a line");
    let table = [
        ("{", "line 2: not JSON, from column 1 on"),
        ("[]", "line 2: not a line of timings: it has no version"),
        (
            "{\"version\":\"1\"}",
            "line 2: not a line of timings: it has no version",
        ),
        (
            "{\"version\":2}",
            "line 2: unknown version 2: another version of orlop wrote it",
        ),
        ("{\"version\":1}", "line 2: not a line of timings: call is missing"),
        (
            &good.replace("\"pid\":", "\"pid\":1e3,\"x\":"),
            "line 2: not a line of timings: pid: expected a PID, found 1000.0",
        ),
        (
            &good.replace("\"step\":", "\"step\":7,\"x\":"),
            "line 2: not a line of timings: step: expected a string, found 7",
        ),
        (
            &good.replace("\"duration\":", "\"duration\":-"),
            "line 2: not a line of timings: duration: expected a number of nanoseconds, found -300000",
        ),
    ];
    for (bad, expected) in table {
        let error = read::lines(format!("{good}\n{bad}\n").as_bytes()).expect_err(bad);
        assert_eq!(format!("{error:#}"), expected, "{bad}");
    }
    assert_eq!(
        read::lines(format!("\n{good}\n \n").as_bytes())
            .expect("empty lines")
            .len(),
        1
    );
    let later = good.replace("{\"version\"", "{\"added\":[1],\"version\"");
    assert_eq!(read::lines(later.as_bytes()).expect("a field that was added").len(), 1);
}

/// Nothing is looked at, let alone made, unless timings are wanted.
#[test]
fn nothing_is_recorded_unless_it_is_wanted() {
    struct Never;
    impl std::fmt::Display for Never {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("an object was turned into text");
        }
    }
    super::step(Step::Mounts);
    super::object(Never);
    drop(super::wait_for(Peer::Runtime));
    assert_eq!(super::take(), None);
    assert_eq!(super::clocks(), None);
    super::end(true);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        if let Ok(lines) = read::lines(&bytes) {
            assert!(lines.is_empty());
        }
    }

    /// The numbers and texts of a file may be anything.
    #[test]
    fn any_lines_can_be_drawn(
        spans in proptest::collection::vec((0u64.., 0u64.., ".{0,20}", proptest::option::of("program|init|.{0,5}"), proptest::bool::ANY), 1..8),
        width in 0usize..300,
    ) {
        let lines: Vec<Line> = spans
            .into_iter()
            .enumerate()
            .map(|(number, (monotonic, duration, text, waits_for, failed))| Line {
                version: 1,
                call: (number % 2).to_string(),
                verb: text.clone(),
                process: text.clone(),
                step: text.clone(),
                object: Some(text),
                waits_for,
                failed,
                monotonic,
                duration,
                ..Line::default()
            })
            .collect();
        let text: String = lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect();
        let read = read::lines(text.as_bytes()).unwrap();
        assert_eq!(read, lines);
        let calls = waterfall::calls(read);
        let shown = waterfall::text(&calls, Some(width));
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{:?}", shown);
        assert_is_xml(&svg::picture(&calls));
    }
}
