//! The official parser of OpenMetrics, a Python module.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The Python of the distribution, whose package has the parser.
const PYTHON: &str = "/usr/bin/python3";

const SCRIPT: &str = "
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
json.dump([[f.name, f.type, f.unit, f.documentation, [[s.name, s.labels, s.value] for s in f.samples]]
    for f in parse(sys.stdin.read())], sys.stdout)
";

pub fn has_parser() -> bool {
    let status = Command::new(PYTHON)
        .args(["-c", "import prometheus_client.openmetrics.parser"])
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

pub const PARSER: &str = "the parser of OpenMetrics (python3-prometheus-client)";

/// A sample: its name, its labels and its value.
pub type Sample = (String, Value, f64);

/// A family: its type, its unit, and its samples with their labels.
pub struct Family {
    pub kind: String,
    pub unit: String,
    pub samples: Vec<Sample>,
}

/// A document that the parser has accepted.
pub struct Metrics(BTreeMap<String, Family>);

impl Metrics {
    #[track_caller]
    pub fn of(text: &str) -> Metrics {
        let mut python = Command::new(PYTHON)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3");
        python
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .expect("write to the parser");
        let output = python.wait_with_output().expect("wait for the parser");
        assert!(
            output.status.success(),
            "{}\n{text}",
            String::from_utf8_lossy(&output.stderr)
        );
        /// Its name, type, unit, help and samples.
        type Parsed = (String, String, String, String, Vec<Sample>);
        let families: Vec<Parsed> = serde_json::from_slice(&output.stdout).expect("families");
        let all = families.into_iter().map(|(name, kind, unit, help, samples)| {
            assert!(!help.is_empty(), "{name} has no help");
            (name, Family { kind, unit, samples })
        });
        Metrics(all.collect())
    }

    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    #[track_caller]
    pub fn family(&self, name: &str) -> &Family {
        self.0
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.names()))
    }

    /// The value of the first sample of a container.
    pub fn value(&self, family: &str, id: &str) -> Option<f64> {
        let samples = &self.0.get(family)?.samples;
        samples
            .iter()
            .find(|(_, labels, _)| labels["id"] == id)
            .map(|(_, _, value)| *value)
    }
}
