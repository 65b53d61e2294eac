//! Where in the text of a JSON document a value stands. Only needed for errors, so the text is read once more for it, and
//! documents without mistakes cost nothing.

use crate::error::Position;

/// The position of the value at a path, as errors write paths (`mounts[3].options`, `linux.sysctl["net.core.somaxconn"]`).
/// If the value is missing, this is the position of the innermost object or list around it. `text` must be JSON.
pub fn of(text: &str, path: &str) -> Position {
    let mut scanner = Scanner { text, at: 0 };
    scanner.blank();
    let found = scanner.deepest(String::new(), path);
    position(text, found.offset)
}

/// Line and column of a byte, in characters.
fn position(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    Position {
        line: before.bytes().filter(|byte| *byte == b'\n').count() + 1,
        column: line.chars().count() + 1,
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// The innermost value found so far on the way to a path.
struct Found {
    /// How much of the path it covers.
    length: usize,
    offset: usize,
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

    /// Searches the value that begins here, whose path is `here`. Keys may contain dots, so several can fit: the one that
    /// covers most of the path counts.
    fn deepest(&mut self, here: String, path: &str) -> Found {
        let mut best = Found {
            length: here.len(),
            offset: self.at,
        };
        let is_object = match self.peek() {
            Some(b'{') => true,
            Some(b'[') => false,
            _ => {
                self.value();
                return best;
            }
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
                    let quoted = format!("{here}[{key:?}]");
                    match here.is_empty() {
                        true => [key, quoted],
                        false => [format!("{here}.{key}"), quoted],
                    }
                }
                Some(_) => [format!("{here}[{index}]"), String::new()],
            };
            match names.into_iter().find(|name| leads_to(name, path)) {
                Some(name) => {
                    let found = self.deepest(name, path);
                    if found.length >= best.length {
                        best = found;
                    }
                }
                None => self.value(),
            }
        }
        best
    }
}

/// Whether a path is this place or is inside it.
fn leads_to(place: &str, path: &str) -> bool {
    let rest = path.strip_prefix(place).filter(|_| !place.is_empty());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, path: &str) -> (usize, usize) {
        let Position { line, column } = of(text, path);
        (line, column)
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
    fn a_missing_value_is_looked_for_around_it() {
        let text = "{\n  \"process\": {\"user\": {}},\n  \"processes\": 1\n}";
        assert_eq!(at(text, "process.user.uid"), (2, 23));
        assert_eq!(at(text, "process.args[3]"), (2, 14));
        assert_eq!(at(text, "root.path"), (1, 1));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ \n{}\\[\\]\":,0-9aé\\\\.]{0,80}", path in "[a\\.\\[\\]0]{0,9}") {
            of(&text, &path);
        }
    }
}
