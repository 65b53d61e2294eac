//! The terminal of `top`: the alternate screen, single keys, and the way back.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use crate::commands::print;
use crate::error::Result;
use crate::sys::terminal::{self, Settings};

/// The alternate screen, without the cursor and without line wrap.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
const BOLD: &str = "\x1b[1m";
const REVERSE: &str = "\x1b[7m";
const NORMAL: &str = "\x1b[m";

/// The size that is assumed for a terminal that does not know its own.
const USUAL_SIZE: (u16, u16) = (24, 80);

/// Whether standard output is a terminal that can be drawn on.
pub fn is_possible() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// The terminal while it is drawn on. When this is dropped, it is as it was before.
pub struct Screen {
    /// The settings of standard input before; none if it is no terminal, and there are no keys.
    before: Option<Settings>,
}

impl Screen {
    pub fn enter() -> Result<Self> {
        let stdin = std::io::stdin();
        let before = match stdin.is_terminal() {
            true => Some(terminal::settings(stdin.as_fd())?),
            false => None,
        };
        // Made first, so that every failure from here on restores the terminal.
        let screen = Screen { before };
        if let Some(before) = &screen.before {
            terminal::apply(stdin.as_fd(), &before.single_keys())?;
        }
        print(ENTER)?;
        Ok(screen)
    }

    /// Whether there are keys to read.
    pub fn has_keys(&self) -> bool {
        self.before.is_some()
    }

    /// Draws over what is there, so that nothing flickers: a title, the header, and as many rows as fit.
    pub fn draw(&self, title: &str, table: &[String]) -> Result<()> {
        let (rows, columns) = match terminal::size(std::io::stdout().as_fd()) {
            Ok((0, _) | (_, 0)) | Err(_) => USUAL_SIZE,
            Ok(size) => size,
        };
        print(&frame(title, table, usize::from(rows), usize::from(columns)))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // If this fails, the terminal is gone.
        if let Some(before) = &self.before {
            let _ = terminal::apply(std::io::stdin().as_fd(), before);
        }
        let _ = print(LEAVE);
    }
}

/// The bytes that draw a frame. All text is ASCII, so that a byte is a column.
fn frame(title: &str, table: &[String], rows: usize, columns: usize) -> String {
    let mut lines = vec![(BOLD, title.to_string())];
    let mut rest = table.iter();
    lines.extend(rest.next().map(|header| (REVERSE, format!("{header:columns$}"))));
    let room = rows.saturating_sub(lines.len());
    let hidden = match rest.len() > room {
        true => rest.len() - room.saturating_sub(1),
        false => 0,
    };
    lines.extend(rest.clone().take(rest.len() - hidden).map(|row| ("", row.clone())));
    if hidden > 0 {
        lines.push(("", format!("... and {hidden} more")));
    }
    lines.truncate(rows);
    let mut text = String::from("\x1b[H");
    for (index, (style, line)) in lines.iter().enumerate() {
        if index > 0 {
            text.push_str("\r\n");
        }
        let shown = line.get(..columns.min(line.len())).unwrap_or_default();
        text.push_str(&format!("{style}{shown}{NORMAL}\x1b[K"));
    }
    text.push_str("\x1b[J");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a terminal shows of a frame that is drawn on an empty screen.
    fn shown(text: &str) -> Vec<String> {
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('\x1b') {
            plain.push_str(&rest[..at]);
            let end = rest[at..]
                .find(|c: char| c.is_ascii_alphabetic())
                .expect("the end of a sequence");
            rest = &rest[at + end + 1..];
        }
        plain.push_str(rest);
        plain.split("\r\n").map(str::to_string).collect()
    }

    #[test]
    fn a_frame_fits_its_screen() {
        let table: Vec<String> = ["HEADER", "one", "two", "three", "four"].map(String::from).to_vec();
        for rows in 1..8 {
            for columns in 1..12 {
                let lines = shown(&frame("a title", &table, rows, columns));
                assert!(lines.len() <= rows, "{rows}x{columns}: {lines:?}");
                assert!(
                    lines.iter().all(|line| line.len() <= columns),
                    "{rows}x{columns}: {lines:?}"
                );
            }
        }
        assert_eq!(
            shown(&frame("title", &table, 6, 7)),
            ["title", "HEADER ", "one", "two", "three", "four"]
        );
        assert_eq!(shown(&frame("title", &table, 5, 20)).last().unwrap(), "... and 2 more");
        assert_eq!(shown(&frame("title", &table[..1], 5, 6)), ["title", "HEADER"]);
    }
}
