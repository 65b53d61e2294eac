//! Running hooks without a container: their timeout and their output.

use std::time::{Duration, Instant};

use oci_spec::runtime::Hook;

use orlop::hooks;
use orlop::plan::HookPoint;
use orlop::status::Document;

fn run(hook: serde_json::Value) -> Result<(), String> {
    let hook: Hook = serde_json::from_value(hook).unwrap();
    let state = Document {
        oci_version: "1.3.0",
        id: "c",
        pid: 1,
        status: "creating",
        bundle: "/bundle".as_ref(),
        rootfs: None,
        created: None,
        annotations: &Default::default(),
        owner: None,
        step: None,
    };
    hooks::run(HookPoint::Prestart, &[hook], &state, &Default::default()).map_err(|error| format!("{error:#}"))
}

fn shell(script: &str, timeout: Option<i64>) -> Result<(), String> {
    run(serde_json::json!({"path": "/bin/sh", "args": ["sh", "-c", script], "timeout": timeout}))
}

#[test]
fn a_hook_with_endless_output_ends_at_its_timeout() {
    let start = Instant::now();
    let error = shell("while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done", Some(1)).unwrap_err();
    assert!(error.contains("did not end within its timeout of 1 s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn the_error_contains_the_output() {
    assert_eq!(shell("exit 0", None), Ok(()));
    let error = shell("echo one; echo two >&2; exit 3", Some(60)).unwrap_err();
    assert_eq!(
        error,
        "error running prestart hook #0: hooks.prestart[0] \"/bin/sh\": exit status 3, output: one\ntwo"
    );
    assert_eq!(
        shell("kill -9 $$", None).unwrap_err(),
        "error running prestart hook #0: hooks.prestart[0] \"/bin/sh\": killed by signal 9"
    );
}

#[test]
fn a_hook_ends_even_if_its_output_is_closed_or_kept_open() {
    assert_eq!(shell("exec >&- 2>&-; exit 0", Some(60)), Ok(()));
    let start = Instant::now();
    assert_eq!(shell("sleep 5 & exit 0", None), Ok(()));
    assert!(start.elapsed() < Duration::from_secs(4));
}
