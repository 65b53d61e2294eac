//! `docs/conformance.md` names the tests that prove each requirement. This checks that the named tests exist, and that every
//! requirement has one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The rows of the document's tables, without headings.
fn rows(document: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let numbered = document.lines().enumerate().map(|(n, line)| (n + 1, line));
    let lines = numbered.filter(|(_, line)| line.starts_with('|') && !line.starts_with("|--"));
    lines
        .map(|(n, line)| {
            (
                n,
                line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>(),
            )
        })
        .filter(|(_, cells)| cells.first() != Some(&"Requirement"))
}

/// The tests in backquotes: `folder/file.rs: name`, and further tests of the same file as `name`.
fn named(cell: &str) -> Vec<(String, String)> {
    let mut file = None;
    let mut tests = Vec::new();
    for quoted in cell.split('`').skip(1).step_by(2) {
        let name = match quoted.split_once(": ") {
            Some((path, name)) => {
                file = Some(path.to_owned());
                name
            }
            None => quoted,
        };
        let file = file.clone().expect("the first test of a row names its file");
        tests.push((file, name.to_owned()));
    }
    tests
}

/// Whether the file has a test with this name: a function with the attribute, or an entry in a table of golden texts, from
/// which a macro generates one.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let function = format!("fn {name}(");
    let entry = format!("{name}: ");
    let has_attribute = |at: usize| {
        lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.starts_with("#[") || line.starts_with("//"))
            .any(|line| *line == "#[test]")
    };
    let has_tables = source.contains("fn $name()");
    lines.iter().enumerate().any(|(at, line)| {
        (line.starts_with(&function) && has_attribute(at)) || (has_tables && line.starts_with(&entry))
    })
}

#[test]
fn every_named_test_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/conformance.md")).expect("read the document");
    let mut sources = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (number, cells) in rows(&document) {
        let [requirement, proof] = cells.as_slice() else {
            wrong.push(format!("line {number}: {} columns instead of two", cells.len()));
            continue;
        };
        if proof.starts_with("Deviation: ") || proof.starts_with("Not yet: ") {
            continue;
        }
        let tests = named(proof);
        if tests.is_empty() {
            wrong.push(format!("line {number}: {requirement:?} names no test"));
        }
        for (file, name) in tests {
            count += 1;
            let source = sources
                .entry(file.clone())
                .or_insert_with(|| fs::read_to_string(root.join(&file)).unwrap_or_default());
            if !has_test(source, &name) {
                wrong.push(format!("line {number}: there is no test {name} in {file}"));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/conformance.md:\n  {}", wrong.join("\n  "));
    assert!(
        count > 300,
        "only {count} tests were found in the tables: has their form changed?"
    );
}

#[test]
fn only_tests_are_recognized_as_tests() {
    let source = "#[test]\nfn one() {}\n/// Helper.\nfn two() {}\n#[test]\n// Why.\nfn three() {}\n  four: |c| c,\n";
    let tables = format!("{source}fn $name() {{}}\n");
    assert!(has_test(source, "one") && has_test(source, "three") && has_test(&tables, "four"));
    assert!(!has_test(source, "two") && !has_test(source, "on") && !has_test(source, "four"));
    assert_eq!(
        named("`a/b.rs: one`, `two`; `c.rs: three`, and words"),
        [("a/b.rs", "one"), ("a/b.rs", "two"), ("c.rs", "three")].map(|(f, n)| (f.to_owned(), n.to_owned()))
    );
}
