//! Error messages of the runtime, word by word: `tests/golden/errors/NAME.txt`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Bundle, Cmd, Output, record_skip, runtime};

mod check {
    include!("../../tests/golden/check.rs");
}

pub const OWN_TEXTS: &str = "a runtime whose texts these are";

/// Whether the runtime under test is orlop, whose messages the golden files contain.
pub fn own_texts() -> bool {
    let name = runtime().file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b"orlop")
}

pub const AS_SHIPPED: &str = "a runtime of the profile dist";

/// Whether the runtime under test was built with the profile of the packages, as far as its directory tells.
pub fn is_as_shipped() -> bool {
    runtime().parent().is_some_and(|directory| directory.ends_with("dist"))
}

/// Runs a command with a JSON log and compares all its output. `prepare` may change how it is started.
#[track_caller]
pub fn said(bundle: &Bundle, name: &str, arguments: &[&str], id: &str, prepare: impl FnOnce(Cmd) -> Cmd) -> Output {
    let log = bundle.path("log.json");
    let _ = fs::remove_file(&log);
    // Writable for the user who runs the command.
    fs::write(&log, "").expect("make the log");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).expect("chmod");
    let log_path = log.to_str().expect("a UTF-8 path");
    let global = ["--log", log_path, "--log-format", "json"];
    let output = prepare(bundle.orlop(global.iter().chain(arguments))).run();
    let dir = bundle.dir().to_str().expect("a UTF-8 path");
    let said = check::Said {
        command: format!("orlop {}", arguments.join(" ")),
        code: output.code,
        stderr: output.stderr.clone(),
        log: fs::read_to_string(&log).expect("read the log"),
        placeholders: &[(id, "ID"), (dir, "DIR")],
    };
    if own_texts() {
        check::check(name, &said);
    } else if let Some(file) = check::record_file() {
        check::record(&file, name, &said);
    } else {
        record_skip(OWN_TEXTS);
    }
    output
}

/// The golden text of `run` with further flags, which leaves nothing behind.
#[track_caller]
pub fn run(bundle: &Bundle, name: &str, flags: &[&str], prepare: impl FnOnce(Cmd) -> Cmd) -> Output {
    let id = bundle.fresh_id();
    let dir = bundle.dir().to_str().expect("a UTF-8 path").to_owned();
    let arguments = [&["run", "--bundle", &dir], flags, &[&id]].concat();
    let output = said(bundle, name, &arguments, &id, prepare);
    bundle.assert_clean();
    output
}

/// The golden text of a `run` that must fail.
#[track_caller]
pub fn refused(bundle: &Bundle, name: &str, prepare: impl FnOnce(Cmd) -> Cmd) -> Output {
    run(bundle, name, &[], prepare).fails()
}

/// The golden text of a verb about a container.
#[track_caller]
pub fn verb(bundle: &Bundle, name: &str, words: &[&str], id: &str) -> Output {
    said(bundle, name, words, id, |cmd| cmd)
}
