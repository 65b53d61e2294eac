//! Annotations of other runtimes: what they ask for is had, or it is said that it is not.

use serde_json::{Value, json};

use crate::harness::Bundle;

fn annotated(bundle: Bundle, key: &str, value: &str) -> Bundle {
    bundle.edit(|c| c["annotations"] = json!({ key: value }))
}

const KEEP: &str = "run.oci.keep_original_groups";

/// Podman asks for it so (`--group-add keep-groups`).
#[test]
fn the_callers_groups_stay_where_that_is_asked_for() {
    for (value, kept) in [("1", true), ("0", false)] {
        let bundle = annotated(Bundle::new(), KEEP, value).edit(|c| {
            c["process"]["user"] = json!({ "uid": 1000, "gid": 1000, "additionalGids": [7] });
        });
        let facts: Value = bundle.run_cmd(&[]).groups(&[4, 27]).run().ok().json();
        let expected = if kept { json!([4, 27]) } else { json!([7]) };
        assert_eq!(facts["groups"], expected, "{value:?}");
    }
}

#[test]
fn the_callers_groups_stay_for_exec_too() {
    let bundle = annotated(Bundle::new().args(["probe", "sleep"]), KEEP, "1");
    let c = bundle.start();
    let exec = bundle.orlop(["exec", &c.id, "probe", "facts"]).groups(&[4, 27]);
    assert_eq!(exec.run().ok().json()["groups"], json!([4, 27]));
}

#[test]
fn features_tells_of_the_groups() {
    let features = Bundle::new().orlop(["features"]).run().ok().json();
    let listed = features["potentiallyUnsafeConfigAnnotations"].as_array().unwrap();
    assert!(listed.contains(&json!(KEEP)), "{listed:?}");
}

/// Whoever trusts in a filter or a virtual machine that is not there must hear of it.
#[test]
fn an_annotation_that_would_confine_is_warned_of() {
    for (key, value) in [
        ("run.oci.handler", "krun"),
        ("run.oci.mount_context_type", "rootcontext"),
        ("run.oci.seccomp.plugins", "/some/plugin.so"),
        ("run.oci.seccomp.receiver", "/some/socket"),
        ("run.oci.seccomp_bpf_data", "BgAAAAAA/38="),
        ("run.oci.seccomp_fail_unknown_syscall", "1"),
    ] {
        let output = annotated(Bundle::new().args(["true"]), key, value).run().ok();
        let warned = format!("warning: annotations.{key} is not supported: ");
        assert!(output.stderr.contains(&warned), "{output:#?}");
        assert_eq!(
            annotated(Bundle::new().args(["true"]), key, "0").run().ok().stderr,
            "",
            "{key}"
        );
    }
}
