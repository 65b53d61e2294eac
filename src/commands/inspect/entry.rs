//! What `inspect` finds: entries, each with what was asked for, what is in force, and whether the two are the same.

use serde_json::{Value, json};

/// Whether what was found is what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing was asked for, or there is nothing to compare.
    NotAsked,
    Equal,
    Differs,
    /// It was asked for, and is not there.
    Missing,
    /// It is there, and was not asked for.
    Additional,
    /// It cannot be known, for this reason. Never taken for equal.
    Unknown(String),
}

impl Verdict {
    /// The word that marks a difference.
    pub fn difference(&self) -> Option<&'static str> {
        match self {
            Verdict::Differs => Some("differs"),
            Verdict::Missing => Some("missing"),
            Verdict::Additional => Some("additional"),
            Verdict::NotAsked | Verdict::Equal | Verdict::Unknown(_) => None,
        }
    }

    pub fn of(equal: bool) -> Self {
        if equal { Verdict::Equal } else { Verdict::Differs }
    }
}

/// One thing that is asked for or in force.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    /// `null` if nothing was asked for.
    pub asked: Value,
    /// `null` if nothing was found, or if it cannot be known.
    pub found: Value,
    pub verdict: Verdict,
}

impl Entry {
    /// What is in force. Nothing was asked for.
    pub fn found(name: impl Into<String>, found: impl Into<Value>) -> Self {
        Entry::new(name, Value::Null, found, Verdict::NotAsked)
    }

    /// What was asked for. It is not looked for.
    pub fn asked(name: impl Into<String>, asked: impl Into<Value>) -> Self {
        Entry::new(name, asked, Value::Null, Verdict::NotAsked)
    }

    /// Both, compared as they are. `null` was not asked for.
    pub fn compared(name: impl Into<String>, asked: impl Into<Value>, found: impl Into<Value>) -> Self {
        let (asked, found) = (asked.into(), found.into());
        let verdict = match &asked {
            Value::Null => Verdict::NotAsked,
            asked => Verdict::of(*asked == found),
        };
        Entry::new(name, asked, found, verdict)
    }

    pub fn unknown(name: impl Into<String>, asked: impl Into<Value>, reason: impl Into<String>) -> Self {
        Entry::new(name, asked, Value::Null, Verdict::Unknown(reason.into()))
    }

    pub fn new(name: impl Into<String>, asked: impl Into<Value>, found: impl Into<Value>, verdict: Verdict) -> Self {
        Entry {
            name: name.into(),
            asked: asked.into(),
            found: found.into(),
            verdict,
        }
    }

    fn document(&self) -> Value {
        let equal = match self.verdict {
            Verdict::NotAsked | Verdict::Unknown(_) => None,
            Verdict::Equal => Some(true),
            Verdict::Differs | Verdict::Missing | Verdict::Additional => Some(false),
        };
        let mut document = json!({ "name": self.name, "asked": self.asked, "found": self.found, "equal": equal });
        if let Some(difference) = self.verdict.difference() {
            document["difference"] = difference.into();
        }
        if let Verdict::Unknown(reason) = &self.verdict {
            document["unknown"] = reason.as_str().into();
        }
        document
    }
}

/// Entries about one subject.
#[derive(Debug)]
pub struct Section {
    /// Its key in the JSON.
    pub key: &'static str,
    pub title: &'static str,
    pub entries: Vec<Entry>,
}

impl Section {
    pub fn new(key: &'static str, title: &'static str, entries: Vec<Entry>) -> Self {
        Section { key, title, entries }
    }

    pub fn document(&self) -> Value {
        self.entries.iter().map(Entry::document).collect()
    }
}
