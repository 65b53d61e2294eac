//! The shape of the source tree: modules form an ordered list, files do not depend on each other in circles, and neither
//! files nor functions are long. What counts is what the sources say in `use` lines and in paths, tests inside modules aside.

mod sources;

use std::collections::{BTreeMap, BTreeSet};

use sources::{Source, Tree};

/// The modules of the library from bottom to top: each refers only to modules before it.
const ORDER: &[&str] = &[
    // What any program of this kind could use.
    "sys",
    "error",
    "rfc3339",
    "exit_code",
    "cpu_list",
    "child",
    "own_namespace",
    "spawn",
    "host_program",
    "mountinfo",
    "passwd",
    "interrupt",
    "trace",
    "log",
    "self_protect",
    "timings",
    "progress",
    "protocol",
    "dbus",
    "criu",
    // What a container will become, and what is remembered of it.
    "plan",
    "called_as",
    "host",
    "process_facts",
    "idmap",
    "net",
    "security",
    "state",
    "cgroup",
    "status",
    "bundle",
    "foreground",
    "inherited",
    // The container's side.
    "hooks",
    "rootfs",
    "init",
    // The runtime's side.
    "launch",
    "cli",
    "checkpoint",
    "commands",
    "program",
];

/// All that the plan may refer to: types without behaviour.
const BELOW_THE_PLAN: &[&str] = &["cpu_list", "dbus", "error", "sys"];

/// The longest file, in lines.
const LONGEST_FILE: usize = 500;

/// Files that may be longer because they are tables of data.
const TABLES: &[&str] = &["security/seccomp/table.rs"];

/// The longest function, in lines.
const LONGEST_FUNCTION: usize = 80;

fn place(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}

fn report(title: &str, found: &[String]) {
    assert!(found.is_empty(), "{title}:\n  {}\n", found.join("\n  "));
}

#[test]
fn every_module_is_in_the_ordered_list() {
    let tree = Tree::read();
    let declared: BTreeSet<&str> = tree.get("lib.rs").declared().into_iter().collect();
    let listed: BTreeSet<&str> = ORDER.iter().copied().collect();
    assert_eq!(declared, listed);
    assert_eq!(listed.len(), ORDER.len(), "a module is listed twice");
}

#[test]
fn no_module_refers_to_one_further_up() {
    let tree = Tree::read();
    let mut found = Vec::new();
    for (from, line, to) in tree.references() {
        let (Some(below), Some(above)) = (place(from.top()), place(to.top())) else {
            continue;
        };
        if below < above {
            found.push(format!("{}:{line}: refers to {}", from.path, to.path));
        }
    }
    report("references to modules further up", &found);
}

#[test]
fn the_plan_refers_to_plain_data_only() {
    let tree = Tree::read();
    let references = tree.references();
    let outside = references
        .iter()
        .filter(|(from, _, to)| from.top() == "plan" && to.top() != "plan");
    let found: Vec<_> = outside
        .filter(|(_, _, to)| !BELOW_THE_PLAN.contains(&to.top()))
        .map(|(from, line, to)| format!("{}:{line}: refers to {}", from.path, to.path))
        .collect();
    report("references of the plan", &found);
}

#[test]
fn no_files_refer_to_each_other_in_a_circle() {
    let tree = Tree::read();
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    // A circle of files in several modules has a reference further up, which another test finds.
    for (from, _, to) in tree.references() {
        if from.top() == to.top() {
            edges.entry(&from.path).or_default().insert(&to.path);
        }
    }
    let reached = |from: &str| {
        let mut reached: BTreeSet<&str> = BTreeSet::new();
        let mut next: Vec<&str> = edges.get(from).into_iter().flatten().copied().collect();
        while let Some(file) = next.pop() {
            if reached.insert(file) {
                next.extend(edges.get(file).into_iter().flatten());
            }
        }
        reached
    };
    let all: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|file| (*file, reached(file))).collect();
    let mut found = Vec::new();
    for (from, to) in &edges {
        let circle: Vec<&str> = to
            .iter()
            .copied()
            .filter(|to| all.get(to).is_some_and(|back| back.contains(from)))
            .collect();
        if !circle.is_empty() {
            found.push(format!("{from} refers to {}", circle.join(", ")));
        }
    }
    report("files in circles", &found);
}

#[test]
fn modules_are_where_their_names_say() {
    let tree = Tree::read();
    let found: Vec<_> = tree
        .files()
        .filter(|source| source.code.contains("#[path"))
        .map(|source| source.path.clone())
        .collect();
    report("files with a #[path]", &found);
}

#[test]
fn files_are_short() {
    let tree = Tree::read();
    let found: Vec<_> = tree
        .files()
        .filter(|source| source.lines > LONGEST_FILE && !TABLES.contains(&source.path.as_str()))
        .map(|source| format!("{}: {} lines", source.path, source.lines))
        .collect();
    report("files that are too long", &found);
}

#[test]
fn functions_are_short() {
    let tree = Tree::read();
    let long = |source: &Source| -> Vec<String> {
        let functions = source.functions().into_iter();
        functions
            .filter(|(_, _, lines)| *lines > LONGEST_FUNCTION)
            .map(|(name, line, lines)| format!("{}:{line}: {name} has {lines} lines", source.path))
            .collect()
    };
    report(
        "functions that are too long",
        &tree.files().flat_map(long).collect::<Vec<_>>(),
    );
}
