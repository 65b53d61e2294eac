//! What one process has recorded, and what a runtime has received from others.

use super::file::{self, Sink};
use super::line::{Line, VERSION};
use super::span::{Clocks, Peer, Role, Span};
use crate::error::Step;
use crate::rfc3339;
use crate::sys::process;
use crate::{log, trace};

/// As many spans as a start has, so that the list need not grow.
const USUAL: usize = 128;
/// The longest object that is recorded, in characters.
const LONGEST: usize = 400;
/// The rest of a step after a wait is left out if it is shorter than this, in nanoseconds, and so is a gap between two waits.
const REST: u64 = 2_000;

pub struct Recorder {
    /// Whether this process was cloned by the one that did the steps before.
    born: bool,
    /// Those of the runtime at the beginning of the call.
    base: Clocks,
    spans: Vec<Span>,
    /// The span that has not ended.
    open: Option<Open>,
    failed: bool,
    call: Call,
    sink: Sink,
}

struct Open {
    span: Span,
    /// It continues a step after a wait.
    rest: bool,
}

/// What the lines of a call have in common.
struct Call {
    /// Those of which all spans have been recorded. Its process and pid are the runtime's.
    common: Line,
    /// What init is called.
    child: Role,
    /// The pids of the processes that are cloned: first, and at the end.
    pids: [Option<i32>; 2],
    heard: Vec<(bool, Vec<Span>)>,
    /// For the screen.
    lines: Vec<Line>,
}

impl Recorder {
    /// In the runtime. `age`: how long ago it was started, in nanoseconds.
    pub fn of_call(verb: &str, id: &str, sink: Sink, clocks: Clocks, age: u64) -> Self {
        let pid = process::pid();
        let trace = trace::context();
        let common = Line {
            version: VERSION,
            call: format!("{pid}-{}", clocks.monotonic),
            verb: verb.into(),
            id: id.into(),
            process: Role::Runtime.name().into(),
            pid: Some(pid),
            trace_id: trace.map(|trace| trace.trace_id.clone()),
            parent_span_id: trace.map(|trace| trace.parent_span_id.clone()),
            ..Line::default()
        };
        let mut recorder = Recorder::new(clocks, sink);
        recorder.call.child = if verb == "exec" { Role::Exec } else { Role::Init };
        recorder.call.common = common;
        recorder.spans.reserve(USUAL);
        recorder.begin(Step::StartUp, None, None, clocks.monotonic.saturating_sub(age), false);
        recorder
    }

    /// In an init that a runtime has started which records.
    pub fn of_init(clocks: Clocks) -> Self {
        Recorder::new(clocks, Sink::Runtime)
    }

    fn new(base: Clocks, sink: Sink) -> Self {
        Recorder {
            born: false,
            base,
            spans: Vec::new(),
            open: None,
            failed: false,
            call: Call {
                common: Line::default(),
                child: Role::Init,
                pids: [None, None],
                heard: Vec::new(),
                lines: Vec::new(),
            },
            sink,
        }
    }

    pub fn clocks(&self) -> Clocks {
        self.base
    }

    pub fn rename(&mut self, id: &str) {
        self.call.common.id = id.into();
    }

    fn begin(&mut self, step: Step, object: Option<String>, waits_for: Option<Peer>, begin: u64, rest: bool) {
        let span = Span {
            step,
            object,
            waits_for,
            begin,
            duration: 0,
            failed: false,
        };
        self.open = Some(Open { span, rest });
    }

    /// Ends the open span. Returns the time, and what the span was.
    fn close(&mut self, clocks: Clocks) -> (u64, Option<(Step, Option<String>)>) {
        let now = clocks.on(self.base);
        let Some(Open { mut span, rest }) = self.open.take() else {
            return (now, None);
        };
        span.duration = now.saturating_sub(span.begin);
        let closed = (span.step, span.object.clone());
        if !rest || span.failed || span.duration >= REST {
            self.spans.push(span);
        }
        (now, Some(closed))
    }

    pub fn step(&mut self, step: Step, clocks: Clocks) {
        let (now, _) = self.close(clocks);
        self.begin(step, None, None, now, false);
    }

    pub fn object(&mut self, object: String, clocks: Clocks) {
        let (now, closed) = self.close(clocks);
        if let Some((step, _)) = closed {
            let object = match object.char_indices().nth(LONGEST) {
                Some((end, _)) => format!("{}…", object.get(..end).unwrap_or_default()),
                None => object,
            };
            self.begin(step, Some(object), None, now, false);
        }
    }

    pub fn wait_for(&mut self, peer: Option<Peer>, clocks: Clocks) {
        let (now, closed) = self.close(clocks);
        let Some((step, object)) = closed else { return };
        let continues = |last: &mut Span| {
            peer.is_some()
                && (last.step, &last.object, last.waits_for) == (step, &object, peer)
                && now.saturating_sub(last.begin.saturating_add(last.duration)) < REST
        };
        match self.spans.pop_if(continues) {
            Some(span) => self.open = Some(Open { span, rest: false }),
            None => self.begin(step, object, peer, now, peer.is_none()),
        }
    }

    pub fn fail(&mut self) {
        self.failed = true;
        let Some(Open { span, rest }) = &mut self.open else {
            return;
        };
        // A failure that was waited for is that of the wait.
        match self.spans.last_mut() {
            Some(last) if *rest && (last.step, &last.object) == (span.step, &span.object) => last.failed = true,
            _ => span.failed = true,
        }
    }

    /// For a failure that was perhaps noted where it happened.
    pub fn fail_once(&mut self) {
        if !self.failed {
            self.fail();
        }
    }

    /// For a copy of the runtime: closes the file, and forgets what the runtime has done.
    pub fn forget(&mut self) {
        *self = Recorder::new(self.base, Sink::Runtime);
    }

    pub fn set_born(&mut self) {
        self.born = true;
        self.spans.clear();
        self.open = None;
    }

    pub fn set_pid(&mut self, born: bool, pid: i32) {
        if let Some(slot) = self.call.pids.get_mut(usize::from(born)) {
            *slot = Some(pid);
        }
    }

    pub fn take(&mut self, clocks: Clocks) -> (bool, Vec<Span>) {
        // What comes next is sending them.
        self.step(Step::Timings, clocks);
        (self.born, std::mem::take(&mut self.spans))
    }

    pub fn receive(&mut self, born: bool, spans: Vec<Span>) {
        self.call.heard.push((born, spans));
    }

    /// What has been recorded and received since the last call, as lines.
    fn lines(&mut self) -> Vec<Line> {
        let call = &mut self.call;
        let child = call.child.name();
        let mut lines: Vec<Line> = Vec::with_capacity(USUAL);
        lines.extend(self.spans.drain(..).map(|span| call.common.clone().of(&span, child)));
        for (born, spans) in call.heard.drain(..) {
            let common = Line {
                process: child.into(),
                pid: call.pids.get(usize::from(born)).copied().flatten(),
                ..call.common.clone()
            };
            lines.extend(spans.iter().map(|span| common.clone().of(span, child)));
        }
        for line in &mut lines {
            let real = std::time::Duration::from_nanos(self.base.real_at(line.monotonic));
            line.begin = rfc3339::format(std::time::UNIX_EPOCH + real);
        }
        lines
    }

    /// Writes what has been recorded and received so far, if there is a file. This is a step of its own.
    pub fn write(&mut self, now: impl Fn() -> Clocks) {
        self.step(Step::Timings, now());
        let lines = self.lines();
        if !matches!(self.sink, Sink::File(_)) {
            return self.call.lines.extend(lines);
        }
        self.append(&texts(&lines));
        self.step(Step::Timings, now());
        let rest = texts(&self.lines());
        self.append(&rest);
    }

    fn append(&mut self, lines: &[String]) {
        if let Sink::File(file) = &self.sink
            && let Err(error) = file::write(file, lines)
        {
            // The container must not suffer from a full disk.
            log::warning(&format!("the timings are incomplete: {error}"));
            self.sink = Sink::Runtime;
        }
    }

    /// The lines for standard error, if they go there.
    pub fn shown(&mut self) -> Option<Vec<Line>> {
        match self.sink {
            Sink::Screen => Some(std::mem::take(&mut self.call.lines)),
            Sink::File(_) | Sink::Runtime => None,
        }
    }
}

fn texts(lines: &[Line]) -> Vec<String> {
    let text = |line: &Line| serde_json::to_string(line).map(|text| text + "\n");
    lines.iter().filter_map(|line| text(line).ok()).collect()
}
