//! The waterfalls as a picture: one SVG without links, for light and dark pages.

use std::fmt::Write;

use super::line::Line;
use super::waterfall::{Call, escaped, label, millis, remark};

/// All in pixels.
const WIDTH: usize = 1000;
const ROW: usize = 18;
const MARGIN: usize = 12;
/// Where the bars begin, and how long the longest is.
const BARS: usize = 470;
const LONGEST: usize = 440;
/// How many characters fit before the bars.
const ROOM: usize = 62;

const STYLE: &str = "\
text{font:12px ui-monospace,monospace;fill:#1f2328}.h{font-weight:bold}.d{fill:#656d76}
.runtime{fill:#0969da}.init{fill:#1a7f37}.exec{fill:#8250df}.other{fill:#656d76}.w{opacity:.35}.f{fill:#cf222e}
.line{stroke:#d1d9e0}.page{fill:#fff}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.d{fill:#9198a1}.page{fill:#0d1117}.line{stroke:#3d444d}
.runtime{fill:#4493f8}.init{fill:#3fb950}.exec{fill:#ab7df8}.other{fill:#9198a1}.f{fill:#f85149}}";

/// A picture of the calls, one below the other.
pub fn picture(calls: &[Call]) -> String {
    let mut body = String::new();
    let mut y = MARGIN;
    for call in calls {
        y = section(&mut body, call, y) + ROW;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" role=\"img\">\n\
         <title>Timings of orlop</title>\n<style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{y}\"/>\n{body}</svg>\n"
    )
}

/// Text inside of an element or an attribute. Characters that XML does not allow have been escaped before.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Noncharacters, and what cannot be written in XML at all.
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn class(line: &Line) -> &'static str {
    match line.process.as_str() {
        "runtime" => "runtime",
        "init" => "init",
        "exec" => "exec",
        _ => "other",
    }
}

/// Draws one call from `y` on. Returns where it ends.
fn section(body: &mut String, call: &Call, y: usize) -> usize {
    let (rows, left_out) = call.rows();
    let top = y + ROW;
    let _ = writeln!(
        body,
        "<text class=\"h\" x=\"{MARGIN}\" y=\"{}\">{}: {} ms</text>\n\
         <path class=\"line\" d=\"M{BARS} {top}V{}\"/>",
        y + 13,
        xml(&call.name),
        millis(call.duration()),
        top + rows.len() * ROW
    );
    let mut y = top;
    for line in rows {
        row(body, call, line, y);
        y += ROW;
    }
    if let Some(remark) = remark(left_out) {
        let _ = writeln!(
            body,
            "<text class=\"d\" x=\"{MARGIN}\" y=\"{}\">{remark}</text>",
            y + 13
        );
        y += ROW;
    }
    y
}

fn row(body: &mut String, call: &Call, line: &Line, y: usize) {
    let whole = call.position(call.end).max(1);
    // In tenths of a pixel.
    let place = |time: u64| (u128::from(call.position(time)) * (LONGEST as u128 * 10) / u128::from(whole)) as usize;
    let (begin, end) = (place(line.monotonic), place(line.end()));
    let length = end.saturating_sub(begin).max(10);
    let label = label(line);
    let process = escaped(&line.process);
    let text = format!("{process:7} {label}");
    let cut = match text.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.clone(),
    };
    let more = match (line.failed, &line.waits_for) {
        (true, _) => " f",
        (false, Some(_)) => " w",
        (false, None) => "",
    };
    let duration = millis(line.duration);
    let at = BARS * 10 + begin;
    let _ = writeln!(
        body,
        "<g><title>{}: {duration} ms from {} ms on</title><text xml:space=\"preserve\" x=\"{MARGIN}\" y=\"{}\">{}</text>\
         <rect class=\"{}{more}\" x=\"{}.{}\" y=\"{}\" width=\"{}.{}\" height=\"{}\"/><text class=\"d\" x=\"{}\" y=\"{}\">{duration}</text></g>",
        xml(&text),
        millis(line.monotonic - call.begin),
        y + 13,
        xml(&cut),
        class(line),
        at / 10,
        at % 10,
        y + 3,
        length / 10,
        length % 10,
        ROW - 6,
        (at + length) / 10 + 5,
        y + 13,
    );
}
