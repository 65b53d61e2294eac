//! A `run` that must fail, and what is said about it word by word, for the tests of the other files.

#[path = "../tests/golden/check.rs"]
#[allow(clippy::duplicate_mod)]
mod golden;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Bundle, Cmd, Output, record_skip, runtime};

/// Whether the runtime under test is the one whose words are golden.
fn own_texts() -> bool {
    let name = runtime().file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b"orlop")
}

/// The golden text of a `run` that leaves nothing behind. `prepare` may change how it is called.
#[track_caller]
pub fn refused(bundle: &Bundle, name: &str, prepare: impl FnOnce(Cmd) -> Cmd) -> Output {
    let log = bundle.path("log.json");
    fs::write(&log, "").expect("make the log");
    // For whoever runs the command.
    fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).expect("chmod");
    let id = bundle.fresh_id();
    let dir = bundle.dir().to_str().expect("a UTF-8 path").to_owned();
    let arguments = ["run", "--bundle", &dir, &id];
    let global = ["--log", log.to_str().expect("a UTF-8 path"), "--log-format", "json"];
    let output = prepare(bundle.orlop(global.iter().chain(&arguments))).run().fails();
    bundle.assert_clean();
    if !own_texts() {
        record_skip("a runtime whose texts these are");
        return output;
    }
    golden::check(
        name,
        &golden::Said {
            command: format!("orlop {}", arguments.join(" ")),
            code: output.code,
            stderr: output.stderr.clone(),
            log: fs::read_to_string(&log).expect("read the log"),
            placeholders: &[(&id, "ID"), (&dir, "DIR")],
        },
    );
    output
}
