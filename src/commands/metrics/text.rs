//! The text format of OpenMetrics 1.0. The types and names that are used here also mean the same in the older text format of
//! Prometheus, which the textfile collector of node_exporter reads: so there is no family of type `info` or `stateset`.

use std::fmt::Write;

/// The types of families in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

/// The description of a family.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Without the `_total` of a counter's samples. It ends with the unit, if it has one.
    pub name: &'static str,
    pub kind: Kind,
    pub help: &'static str,
}

/// A number, printed without rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    Count(u64),
    /// Microseconds, printed as seconds.
    Microseconds(u64),
}

const UNITS: [&str; 2] = ["seconds", "bytes"];

/// A document in the making.
#[derive(Debug, Default)]
pub struct Document {
    text: String,
    /// The family whose samples come next.
    family: Option<Family>,
    /// Whether its description has been written.
    described: bool,
}

impl Document {
    /// Begins a family. It is left out unless samples follow.
    pub fn begin(&mut self, family: Family) {
        self.family = Some(family);
        self.described = false;
    }

    /// Adds a sample of the family. `labels` come from [`labels`].
    pub fn sample(&mut self, labels: &str, number: Number) {
        let Some(Family { name, kind, help }) = self.family else {
            return;
        };
        if !self.described {
            self.described = true;
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            let unit = UNITS.iter().find(|unit| name.rsplit('_').next() == Some(unit));
            if let Some(unit) = unit {
                let _ = writeln!(self.text, "# UNIT {name} {unit}");
            }
        }
        let suffix = if kind == Kind::Counter { "_total" } else { "" };
        let _ = match number {
            Number::Count(count) => writeln!(self.text, "{name}{suffix}{{{labels}}} {count}"),
            Number::Microseconds(time) => {
                let (seconds, rest) = (time / 1_000_000, time % 1_000_000);
                writeln!(self.text, "{name}{suffix}{{{labels}}} {seconds}.{rest:06}")
            }
        };
    }

    /// The whole document.
    pub fn end(mut self) -> String {
        self.text.push_str("# EOF\n");
        self.text
    }
}

/// Labels, as they are written between braces.
pub fn labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{name}=\"{}\"", escaped(value));
    }
    text
}

/// The value of a label, as it is written between quotes: any text that is UTF-8.
pub fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text
}

/// The label for an annotation: every character that a label cannot have becomes `_`, as in kube-state-metrics.
pub fn annotation_label(key: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = key.chars().map(allowed).collect();
    format!("annotation_{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: Family = Family {
        name: "work_seconds",
        kind: Kind::Counter,
        help: "Time spent working",
    };
    const ITEMS: Family = Family {
        name: "items",
        kind: Kind::Gauge,
        help: "Items at hand",
    };

    #[test]
    fn a_family_is_described_once_and_only_if_it_has_samples() {
        let mut document = Document::default();
        document.begin(ITEMS);
        document.begin(SECONDS);
        document.sample(
            &labels([("id", "a"), ("device", "sda")]),
            Number::Microseconds(1_000_020),
        );
        document.sample(&labels([("id", "b")]), Number::Microseconds(u64::MAX));
        assert_eq!(
            document.end(),
            "# HELP work_seconds Time spent working\n# TYPE work_seconds counter\n# UNIT work_seconds seconds\n\
             work_seconds_total{id=\"a\",device=\"sda\"} 1.000020\n\
             work_seconds_total{id=\"b\"} 18446744073709.551615\n# EOF\n"
        );
        let mut document = Document::default();
        document.begin(ITEMS);
        document.sample("", Number::Count(7));
        assert_eq!(
            document.end(),
            "# HELP items Items at hand\n# TYPE items gauge\nitems{} 7\n# EOF\n"
        );
    }

    /// What a reader of the format makes of a value.
    fn unescaped(text: &str) -> Option<String> {
        let mut value = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            value.push(match c {
                '\\' => match chars.next()? {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    _ => return None,
                },
                '"' | '\n' => return None,
                c => c,
            });
        }
        Some(value)
    }

    proptest::proptest! {
        #[test]
        fn values_of_labels_survive_their_escaping(value in "(\\\\|\"|\n|n|\\PC|\\p{Cc}|é){0,30}") {
            assert_eq!(unescaped(&escaped(&value)), Some(value));
        }

        #[test]
        fn every_annotation_has_a_valid_label(key in "\\PC{0,20}") {
            let label = annotation_label(&key);
            assert!(label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{label}");
            assert!(!label.starts_with(|c: char| c.is_ascii_digit()));
        }
    }
}
