//! Where in the text of a JSON document values stand. Only needed for errors, so the text is read once more for them, and
//! documents without mistakes cost nothing.

use std::ops::Range;

use crate::error::Position;

/// The positions of the values at these paths, as errors write paths (`mounts[3].options`, `linux.sysctl["net.ipv4.ip_forward"]`).
/// If a value is missing, its position is that of the innermost object or list around it. `text` must be JSON. It is read once
/// for all paths.
pub fn of(text: &str, paths: &[&str]) -> Vec<Position> {
    let mut wanted: Vec<Wanted> = paths
        .iter()
        .enumerate()
        .map(|(index, path)| Wanted {
            path: sortable(path),
            index,
            length: 0,
            offset: 0,
        })
        .collect();
    wanted.sort_by(|one, other| one.path.cmp(&other.path));
    let all = 0..wanted.len();
    let mut scanner = Scanner { text, at: 0, wanted };
    scanner.blank();
    scanner.search(String::new(), all);
    positions(text, scanner.wanted)
}

/// Line and column of what was found, in characters, in the order in which it was asked for.
fn positions(text: &str, mut found: Vec<Wanted>) -> Vec<Position> {
    found.sort_by_key(|wanted| wanted.offset);
    let mut positions = vec![Position { line: 1, column: 1 }; found.len()];
    let (mut here, mut at) = (Position { line: 1, column: 1 }, 0);
    for wanted in found {
        let passed = text.get(at..wanted.offset).unwrap_or_default();
        if let Some((_, line)) = passed.rsplit_once('\n') {
            here.line += passed.bytes().filter(|byte| *byte == b'\n').count();
            here.column = 1 + line.chars().count();
        } else {
            here.column += passed.chars().count();
        }
        at = wanted.offset;
        if let Some(position) = positions.get_mut(wanted.index) {
            *position = here;
        }
    }
    positions
}

/// A path, with its separators before all other characters, so that in a sorted list a path is followed by those inside it.
fn sortable(path: &str) -> String {
    path.replace('.', "\0").replace('[', "\u{1}")
}

struct Wanted {
    /// As [`sortable`] writes it.
    path: String,
    /// Its place among the paths that were asked for.
    index: usize,
    /// How much of the path the innermost value found so far covers.
    length: usize,
    /// Where that value begins.
    offset: usize,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Sorted by path.
    wanted: Vec<Wanted>,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes over white space, and over what separates members.
    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t' | b',' | b':') = self.peek() {
            self.at += 1;
        }
    }

    /// Passes over a string, and returns it with its quotes.
    fn string(&mut self) -> &str {
        let begin = self.at;
        self.at += 1;
        while let Some(byte) = self.peek() {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                break;
            }
        }
        self.text.get(begin..self.at).unwrap_or_default()
    }

    /// Passes over a value. Not recursive: a value can be nested deeply.
    fn value(&mut self) {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                None => return,
                Some(b'"') => drop(self.string().len()),
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b'}' | b']') => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                Some(b' ' | b'\n' | b'\r' | b'\t' | b',' | b':') => {
                    self.at += 1;
                    continue;
                }
                Some(_) => {
                    while let Some(byte) = self.peek()
                        && !matches!(byte, b'}' | b']' | b',' | b' ' | b'\n' | b'\r' | b'\t')
                    {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Searches the value that begins here, whose path is `here`, for the paths of a range, which are all inside it. Keys may
    /// contain dots, so several values can fit a path: the one that covers most of it counts.
    fn search(&mut self, here: String, range: Range<usize>) {
        for wanted in self.wanted.get_mut(range.clone()).unwrap_or_default() {
            if here.len() >= wanted.length {
                (wanted.length, wanted.offset) = (here.len(), self.at);
            }
        }
        let is_object = match self.peek() {
            Some(b'{') => true,
            Some(b'[') => false,
            _ => return self.value(),
        };
        self.at += 1;
        for index in 0.. {
            self.blank();
            let names = match self.peek() {
                None => break,
                Some(b'}' | b']') => {
                    self.at += 1;
                    break;
                }
                Some(_) if is_object => {
                    let key: String = serde_json::from_str(self.string()).unwrap_or_default();
                    self.blank();
                    let dot = if here.is_empty() { "" } else { "\0" };
                    [
                        format!("{here}{dot}{}", sortable(&key)),
                        format!("{here}{}", sortable(&format!("[{key:?}]"))),
                    ]
                }
                Some(_) => [format!("{here}\u{1}{index}]"), String::new()],
            };
            let begin = self.at;
            for name in names {
                let inside = self.inside(&name, &range);
                if !inside.is_empty() {
                    self.at = begin;
                    self.search(name, inside);
                }
            }
            if self.at == begin {
                self.value();
            }
        }
    }

    /// The paths of a range that are this place or inside it.
    fn inside(&self, place: &str, range: &Range<usize>) -> Range<usize> {
        let paths = self.wanted.get(range.clone()).unwrap_or_default();
        // An empty key cannot be told from the whole document.
        if place.is_empty() {
            return range.start..range.start;
        }
        let after = format!("{place}\u{2}");
        let first = paths.partition_point(|wanted| *wanted.path < *place);
        let last = paths.partition_point(|wanted| *wanted.path < *after);
        range.start + first..range.start + last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, path: &str) -> (usize, usize) {
        let found = of(text, &[path]);
        (found[0].line, found[0].column)
    }

    #[test]
    fn a_value_is_found_by_its_path() {
        let text = "{\n  \"a\": 1,\n  \"mounts\": [\n    {\"x\": \"}\"},\n    {\"options\": [\"ä\\\"\", \"ro\"]}\n  ],\n  \
                    \"linux\": {\"sysctl\": {\"net.a\": \"1\", \"net\": {\"b\": 2}}}\n}";
        assert_eq!(at(text, "a"), (2, 8));
        assert_eq!(at(text, "mounts"), (3, 13));
        assert_eq!(at(text, "mounts[0].x"), (4, 11));
        assert_eq!(at(text, "mounts[1].options[1]"), (5, 25));
        assert_eq!(at(text, "linux.sysctl[\"net.a\"]"), (7, 33));
        assert_eq!(at(text, "linux.sysctl.net.a"), (7, 33));
        assert_eq!(at(text, "linux.sysctl.net.b"), (7, 51));
    }

    #[test]
    fn positions_come_in_the_order_of_the_paths() {
        let text = "{\"b\": [1, 22,\n \"é\", 4], \"a\": 5, \"b.c\": 6}";
        let paths = ["a", "b[3]", "b[1]", "b[1]", "b.c", "b.d", "c", "b[2]"];
        let found: Vec<_> = of(text, &paths).into_iter().map(|at| (at.line, at.column)).collect();
        assert_eq!(
            found,
            [(2, 16), (2, 7), (1, 11), (1, 11), (2, 26), (1, 7), (1, 1), (2, 2)]
        );
        let alone: Vec<_> = paths.iter().map(|path| at(text, path)).collect();
        assert_eq!(found, alone);
        assert!(of(text, &[]).is_empty());
    }

    #[test]
    fn a_missing_value_is_looked_for_around_it() {
        let text = "{\n  \"process\": {\"user\": {}},\n  \"processes\": 1\n}";
        assert_eq!(at(text, "process.user.uid"), (2, 23));
        assert_eq!(at(text, "process.args[3]"), (2, 14));
        assert_eq!(at(text, "root.path"), (1, 1));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ \n{}\\[\\]\":,0-9aé\\\\.]{0,80}", path in "[a\\.\\[\\]0]{0,9}") {
            of(&text, &[&path, "a", "a.a[0]"]);
        }
    }
}
