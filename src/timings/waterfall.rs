//! The spans of a call as a waterfall: a row for each span, with a bar from its begin to its end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write;

use super::line::Line;
use crate::log::shown;

/// Spans shorter than this are left out of pictures, in nanoseconds.
pub const SHORT: u64 = 1_000;
/// The width of the text if it does not go to a terminal, in characters.
const USUAL_WIDTH: usize = 110;
/// What the columns before the bars take, and what the steps after them should have.
const BEFORE: usize = 33;
const AFTER: usize = 40;

/// One call of a verb.
#[derive(Debug)]
pub struct Call {
    pub name: String,
    /// In the order of their begin.
    pub lines: Vec<Line>,
    /// On the monotonic clock.
    pub begin: u64,
    pub end: u64,
    /// When the program ran in the foreground: this takes no room in a picture, where it would leave none for anything else.
    program: Vec<(u64, u64)>,
}

impl Call {
    fn new(lines: Vec<Line>) -> Self {
        let lines = in_order(lines);
        let name = lines.first().map(|line| format!("{} {}", line.verb, line.id));
        let waits = lines.iter().filter(|line| line.waits_for.as_deref() == Some("program"));
        Call {
            name: escaped(&name.unwrap_or_default()),
            begin: lines.iter().map(|line| line.monotonic).min().unwrap_or_default(),
            end: lines.iter().map(Line::end).max().unwrap_or_default(),
            program: waits.map(|line| (line.monotonic, line.end())).collect(),
            lines,
        }
    }

    pub fn duration(&self) -> u64 {
        self.end - self.begin
    }

    /// How much of the picture is before a time: nanoseconds since the begin, without those in which the program ran.
    pub fn position(&self, time: u64) -> u64 {
        let before = |(begin, end): &(u64, u64)| time.min(*end).saturating_sub(*begin);
        let left_out = self.program.iter().map(before).fold(0, u64::saturating_add);
        time.saturating_sub(self.begin).saturating_sub(left_out)
    }

    /// The rows of a picture, and how many spans are too short for it.
    pub fn rows(&self) -> (Vec<&Line>, usize) {
        let rows = self.lines.iter().filter(|line| line.duration >= SHORT || line.failed);
        let rows: Vec<&Line> = rows.collect();
        let left_out = self.lines.len() - rows.len();
        (rows, left_out)
    }
}

/// The lines by their begin; those with the same begin as they were. A heap of numbers takes a tenth of the code of a sort of lines.
fn in_order(lines: Vec<Line>) -> Vec<Line> {
    let keys = lines.iter().enumerate();
    let mut keys: BinaryHeap<Reverse<(u64, usize)>> =
        keys.map(|(index, line)| Reverse((line.monotonic, index))).collect();
    let mut lines: Vec<Option<Line>> = lines.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(lines.len());
    while let Some(Reverse((_, index))) = keys.pop() {
        ordered.extend(lines.get_mut(index).and_then(Option::take));
    }
    ordered
}

/// The calls that lines belong to, in the order in which they first appear.
pub fn calls(lines: Vec<Line>) -> Vec<Call> {
    let mut calls: Vec<(String, Vec<Line>)> = Vec::new();
    for line in lines {
        // The lines of a call are mostly together.
        match calls.iter_mut().rev().find(|(call, _)| *call == line.call) {
            Some((_, lines)) => lines.push(line),
            None => calls.push((line.call.clone(), vec![line])),
        }
    }
    calls.into_iter().map(|(_, lines)| Call::new(lines)).collect()
}

/// A text on one line, which cannot control a terminal.
pub fn escaped(text: &str) -> String {
    shown(&text.replace('\n', "\\n"))
}

/// Nanoseconds as milliseconds, with three digits after the point.
pub fn millis(nanos: u64) -> String {
    format!("{}.{:03}", nanos / 1_000_000, nanos / 1_000 % 1_000)
}

/// What a row says after its bar.
pub fn label(line: &Line) -> String {
    let mut label = match &line.object {
        // `mounts[0]` says it all.
        Some(object) if object.starts_with(&line.step) => escaped(object),
        Some(object) => format!("{} {}", escaped(&line.step), escaped(object)),
        None => escaped(&line.step),
    };
    if let Some(peer) = &line.waits_for {
        let _ = write!(label, " (waits for {})", escaped(peer));
    }
    if line.failed {
        label.push_str(" FAILED");
    }
    label
}

/// What was too short for a picture.
pub fn remark(left_out: usize) -> Option<String> {
    match left_out {
        0 => None,
        1 => Some("1 step shorter than 1 µs is not shown".into()),
        number => Some(format!("{number} steps shorter than 1 µs are not shown")),
    }
}

/// The waterfalls as text; `width` is that of the terminal, and rows are cut to it.
pub fn text(calls: &[Call], width: Option<usize>) -> String {
    let mut text = String::new();
    for call in calls {
        if !text.is_empty() {
            text.push('\n');
        }
        section(&mut text, call, width);
    }
    text
}

fn section(text: &mut String, call: &Call, width: Option<usize>) {
    let room = width
        .unwrap_or(USUAL_WIDTH)
        .saturating_sub(BEFORE + AFTER)
        .clamp(10, 80);
    let (rows, left_out) = call.rows();
    let _ = writeln!(text, "{}: {} ms", call.name, millis(call.duration()));
    let mut push = |row: String| {
        let cut = width
            .and_then(|width| row.char_indices().nth(width))
            .map(|(end, _)| end);
        text.push_str(cut.and_then(|end| row.get(..end)).unwrap_or(&row).trim_end());
        text.push('\n');
    };
    push(format!(
        "{:>10} {:>12} {:7} {:room$}  STEP",
        "START/ms", "DURATION/ms", "WHO", ""
    ));
    for line in rows {
        push(format!(
            "{:>10} {:>12} {:7} {:room$}  {}",
            millis(line.monotonic - call.begin),
            millis(line.duration),
            escaped(&line.process),
            bar(call, line, room),
            label(line)
        ));
    }
    if let Some(remark) = remark(left_out) {
        push(remark);
    }
}

/// `#` where the process works, `.` where it waits, `!` where it failed. Every bar has at least one character.
fn bar(call: &Call, line: &Line, room: usize) -> String {
    let whole = call.position(call.end).max(1);
    let column = |time: u64| (u128::from(call.position(time)) * room as u128 / u128::from(whole)) as usize;
    let begin = column(line.monotonic).min(room.saturating_sub(1));
    let length = column(line.end()).saturating_sub(begin).clamp(1, room - begin);
    let mark = match (line.failed, &line.waits_for) {
        (true, _) => "!",
        (false, Some(_)) => ".",
        (false, None) => "#",
    };
    format!("{:begin$}{}", "", mark.repeat(length))
}
