//! Every command in README.md and docs/ is run, or has a reason not to be.

use std::fs;
use std::path::Path;

use super::blocks::{Step, steps};
use super::session;
use crate::harness::golden::{OWN_TEXTS, own_texts};
use crate::need;

/// README.md and docs/*.md, by their paths in the repository.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = vec!["README.md".to_string(), "CONTRIBUTING.md".to_string()];
    for entry in fs::read_dir(root.join("docs")).expect("docs") {
        let name = entry.expect("docs").file_name().into_string().expect("UTF-8");
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names.sort();
    let text = |name: &String| fs::read_to_string(root.join(name)).expect("a document");
    names.iter().map(|name| (name.clone(), text(name))).collect()
}

#[test]
fn the_commands_of_the_documents_work() {
    need!(own_texts(), OWN_TEXTS);
    let (mut run, mut not_run, mut failed) = (0, Vec::new(), Vec::new());
    for (name, text) in documents() {
        let mut blocks = Vec::new();
        for (line, step) in steps(&text) {
            let place = format!("{name}:{line}");
            match step {
                Step::Setup(commands) => blocks.push((format!("{place} (setup)"), commands)),
                Step::Run(commands) => {
                    blocks.push((place, commands));
                    run += 1;
                }
                Step::NotRun { reason } => {
                    assert!(!reason.is_empty(), "{place}: no reason not to run it");
                    not_run.push(format!("{place}: {reason}"));
                }
            }
        }
        if !blocks.is_empty() {
            failed.extend(session::run(&blocks).err());
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    println!(
        "{run} blocks run, {} not run:\n  {}",
        not_run.len(),
        not_run.join("\n  ")
    );
    assert!(run > 0);
}
