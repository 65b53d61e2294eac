//! The command line of `integration/pure-v2`, as far as it needs no root.

use std::process::Command;

/// An option in the place of the command was taken for one once, and bash, which cannot execute it, began the script again
/// inside of itself, without end.
#[test]
fn what_is_no_command_is_refused_with_the_usage() {
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
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{words:?}: {said}");
        assert!(
            said.ends_with("usage: pure-v2 [--controllers] CMD [ARG...]\n"),
            "{words:?}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{words:?}: {said}");
    }
}
