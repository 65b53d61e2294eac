//! `docs/errors.md` is what the golden files and the recorded words make of it.

use std::fs;
use std::path::Path;

use orlop_manual::errors::{count, document};

#[test]
fn the_messages_in_the_document_are_those_of_today() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = repository.join("docs/errors.md");
    let made = document(&repository);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &made).expect("write docs/errors.md");
        return;
    }
    let written = fs::read_to_string(&path).expect("docs/errors.md");
    assert!(
        made == written,
        "docs/errors.md is not up to date: UPDATE_GOLDEN=1 cargo test -p orlop-manual --test errors writes it"
    );
    assert!(count() >= 60);
}

/// What is volatile, or belongs to one machine, has no place in it.
#[test]
fn the_document_names_no_place_of_a_machine() {
    let text = document(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    let home = std::env::var("HOME").unwrap_or_default();
    for line in text.lines() {
        for place in [
            "/run/tmp/",
            "/tmp/.tmp",
            "orlop-manual",
            "time=\"20",
            &format!("{home}/"),
        ] {
            assert!(place == "/" || !line.contains(place), "{place}: {line}");
        }
    }
}
