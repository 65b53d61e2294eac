//! What a release says about itself: its version, its changes and its licences.

use std::fs;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A library that is added, left out or updated changes them; `make licences` writes them.
#[test]
fn the_lists_of_libraries_are_current() {
    let output = Command::new(Path::new(ROOT).join("packaging/licences"))
        .arg("--check")
        .output()
        .expect("packaging/licences");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_version_has_one_place() {
    for manifest in ["Cargo.toml", "docs/generate/Cargo.toml"] {
        let text = read(manifest);
        let package = text.split("\n[").next().unwrap();
        assert!(package.contains("\nversion.workspace = true\n"), "{manifest}");
    }
    let bill: serde_json::Value = serde_json::from_str(&read("orlop.cdx.json")).unwrap();
    assert_eq!(bill["metadata"]["component"]["version"], VERSION);
}

#[test]
fn the_changes_of_this_version_are_listed() {
    let changes = read("CHANGELOG.md");
    let released = format!("\n## [{VERSION}] - ");
    let planned = format!("\n## [Unreleased]\n\nTo become {VERSION}.\n");
    assert!(
        changes.contains(&released) || changes.contains(&planned),
        "CHANGELOG.md has no entry for {VERSION}"
    );
}

/// The two tools that read licences accept the same.
#[test]
fn the_accepted_licences_agree() {
    let script = read("packaging/licences");
    let accepted = |text: &str, before: &str| -> Vec<String> {
        let list = text.split(before).nth(1).expect("the list").split(']').next().unwrap();
        list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let ours = accepted(&script, "\nACCEPTED = [");
    assert!(ours.len() > 3, "{ours:?}");
    assert_eq!(accepted(&read("deny.toml"), "\nallow = ["), ours);
}
