//! The command line of `integration/pure-v2`, as far as it does not require root.

use std::process::Command;

/// An option instead of the command was once used as the command. bash could not execute it, and started the script again,
/// endlessly.
#[test]
fn a_missing_command_is_an_error_with_the_usage() {
    for words in [
        &[][..],
        &[""],
        &["--controllers"],
        &["--controllers", ""],
        &["--test-threads=3"],
        &["--controllers", "-x", "true"],
        &["--", "true"],
    ] {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/integration/pure-v2");
        let output = Command::new(script).args(words).output().expect("run the script");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{words:?}: {stderr}");
        assert!(
            stderr.ends_with("usage: pure-v2 [--controllers] CMD [ARG...]\n"),
            "{words:?}: {stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{words:?}: {stderr}");
    }
}
