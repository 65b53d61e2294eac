//! `docs/conformance.md` names the tests that prove each requirement, and `docs/security.md` the tests that hold each defence. This
//! checks that the named tests exist, that every requirement and every defence has one, and that the changes of
//! `integration/mutants/list`, which remove the defences, still apply.

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
        .filter(|(_, cells)| !matches!(cells.first(), Some(&"Requirement" | &"Defence")))
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

/// A change that removes a defence.
struct Mutant<'a> {
    name: &'a str,
    file: &'a str,
    /// As the test programs name them.
    tests: Vec<&'a str>,
    search: String,
}

/// The entries of `integration/mutants/list`, which describes its form.
fn mutants(list: &str) -> Vec<Mutant<'_>> {
    let entries = list.split("\n== ").skip(1);
    entries
        .map(|entry| {
            let (head, change) = entry.split_once("\n---\n").expect("the text to search for");
            let (search, _) = change.split_once("\n+++").expect("the replacement");
            let (name, place) = head.split_once('\n').expect("the place");
            let (file, tests) = place.split_once(' ').expect("the tests");
            let tests = tests.split(' ').collect();
            let search = search.to_owned();
            Mutant {
                name,
                file,
                tests,
                search,
            }
        })
        .collect()
}

/// The file and the name of a test as the test programs name it: `security::cwd::name`, or `lib:module::tests::name`.
fn place_of_test(test: &str) -> (String, String) {
    let (path, name) = match test.strip_prefix("lib:") {
        Some(unit) => {
            let (module, name) = unit.split_once("::tests::").expect("a unit test");
            (format!("src/{module}"), name)
        }
        None => {
            let (module, name) = test.rsplit_once("::").expect("a test of integration/");
            (format!("integration/{module}"), name)
        }
    };
    (format!("{}.rs", path.replace("::", "/")), name.to_owned())
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
fn every_defence_has_a_test_and_a_mutant() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap_or_default();
    let (document, list) = (read("docs/security.md"), read("integration/mutants/list"));
    let mut wrong = Vec::new();
    // The tests beside which the document names each mutant.
    let mut named_mutants = BTreeMap::new();
    for (number, cells) in rows(&document) {
        let [_, _, tests, mutants] = cells.as_slice() else {
            continue;
        };
        let tests = named(tests);
        for (file, name) in &tests {
            if !has_test(&read(file), name) {
                wrong.push(format!("line {number}: there is no test {name} in {file}"));
            }
        }
        let mutants: Vec<&str> = mutants.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() || mutants.is_empty() {
            wrong.push(format!("line {number}: a test or a mutant is missing"));
        }
        for mutant in mutants {
            named_mutants.insert(mutant, tests.clone());
        }
    }
    let mutants = mutants(&list);
    for mutant in &mutants {
        let Some(tests) = named_mutants.remove(mutant.name) else {
            wrong.push(format!("the mutant {} is not in the document", mutant.name));
            continue;
        };
        for test in mutant.tests.iter().map(|test| place_of_test(test)) {
            if !tests.contains(&test) {
                wrong.push(format!(
                    "the row of the mutant {} lacks the test {} of {}",
                    mutant.name, test.1, test.0
                ));
            }
        }
        let count = read(mutant.file).matches(&mutant.search).count();
        if count != 1 {
            wrong.push(format!(
                "the mutant {}: its text occurs {count} times in {}",
                mutant.name, mutant.file
            ));
        }
    }
    let unknown = named_mutants.keys();
    wrong.extend(unknown.map(|name| format!("the mutant {name} is not in integration/mutants/list")));
    assert!(wrong.is_empty(), "docs/security.md:\n  {}", wrong.join("\n  "));
    assert!(
        mutants.len() > 30,
        "only {} mutants were found: has the form of the list changed?",
        mutants.len()
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
