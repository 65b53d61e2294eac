//! The man pages, as man(1) shows them.

use std::fs;
use std::process::Command;

use orlop::bundle::validate::annotations;
use orlop_manual::verbs::{Verb, program};
use orlop_manual::{File, files};
use tempfile::TempDir;

/// What man(1) shows of a page, with all white space made one blank. A warning is a failure.
fn shown(page: &File) -> String {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("page.1");
    fs::write(&path, &page.text).expect("write the page");
    let output = Command::new("man")
        .args(["--warnings", "--local-file", "--pager=cat"])
        .arg(&path)
        // One line a paragraph.
        .env("MANWIDTH", "4000")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("man(1): apt install man-db");
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && warnings.is_empty(),
        "{}: {warnings}",
        page.path
    );
    one_line(&String::from_utf8(output.stdout).expect("UTF-8"))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn page(name: &str) -> File {
    let path = format!("share/man/man{}/{name}", &name[name.len() - 1..]);
    files()
        .into_iter()
        .find(|file| file.path == path)
        .unwrap_or_else(|| panic!("no page {path}"))
}

#[test]
fn every_page_is_shown_without_a_warning() {
    let mut pages = 0;
    for file in files().iter().filter(|file| file.path.starts_with("share/man/")) {
        let text = shown(file);
        assert!(
            text.contains("NAME") && text.contains("SEE ALSO"),
            "{}: {text}",
            file.path
        );
        pages += 1;
    }
    assert_eq!(pages, program().verbs.len() + 2);
}

/// What `--help` says: of the options, and the page.
fn texts(verb: &Verb) -> Vec<String> {
    let page = verb.page;
    let mut texts: Vec<String> = page.usage.iter().map(ToString::to_string).collect();
    texts.extend(page.description.split("\n\n").map(str::to_string));
    for (purpose, lines) in page.examples {
        texts.push(purpose.to_string());
        texts.extend(lines.iter().map(ToString::to_string));
    }
    // The page of a verb tells about exit status, environment and files for all of its verbs.
    if verb.path.len() < 2 {
        for (name, text) in [page.exit_status, page.environment, page.files].concat() {
            texts.extend([name.to_string(), text.to_string()]);
        }
    }
    for arg in verb.command.get_arguments().filter(|arg| !arg.is_hide_set()) {
        texts.extend(arg.get_long().map(|long| format!("--{long}")));
        texts.extend(arg.get_help().map(ToString::to_string));
        texts.extend(
            arg.get_help_heading()
                .filter(|_| !arg.is_positional())
                .map(str::to_string),
        );
    }
    texts.push(verb.about());
    texts
}

/// The help and the man page have one source; this finds what the page leaves out.
#[test]
fn a_page_says_all_that_the_help_says() {
    let program = program();
    for verb in program.verbs.iter().chain([&program]) {
        let shown = shown(&page(&format!("{}.1", verb.name("-"))));
        let parts = if verb.path.is_empty() { vec![verb] } else { verb.all() };
        for text in parts.into_iter().flat_map(texts) {
            let text = one_line(&text.replace('`', ""));
            assert!(shown.contains(&text), "orlop {:?} lacks {text:?}: {shown}", verb.path);
        }
    }
}

#[test]
fn the_page_of_the_program_lists_all_verbs() {
    let shown = shown(&page("orlop.1"));
    for (verb, about) in orlop::cli::Verb::ALL {
        let entry = format!("orlop-{verb}(1) {}", about.replace('`', ""));
        assert!(shown.contains(&entry), "{entry}: {shown}");
        page(&format!("orlop-{verb}.1"));
    }
}

/// Of the annotations that change something, and of those that do not although other runtimes know them.
#[test]
fn the_page_of_the_configuration_names_every_annotation() {
    let shown = shown(&page("orlop-config.5"));
    let features = orlop::commands::features::document();
    let known = features["potentiallyUnsafeConfigAnnotations"]
        .as_array()
        .expect("a list");
    let known = known.iter().map(|name| name.as_str().expect("a name"));
    let unsupported = annotations::UNSUPPORTED.iter().map(|(name, _)| *name);
    for name in known.chain(unsupported) {
        assert!(shown.contains(name), "{name}: {shown}");
    }
}
