//! Annotations of other runtimes: each is honoured or warned about.

use serde_json::{Value, json};

use crate::harness::host::make_fifo;
use crate::harness::{Bundle, HOOK_POINTS};

fn annotated(bundle: Bundle, key: &str, value: &str) -> Bundle {
    bundle.edit(|c| c["annotations"] = json!({ key: value }))
}

const KEEP: &str = "run.oci.keep_original_groups";

/// Podman uses this for `--group-add keep-groups`.
#[test]
fn the_callers_groups_are_kept_on_request() {
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
fn the_callers_groups_are_kept_for_exec_too() {
    let bundle = annotated(Bundle::new().args(["probe", "sleep"]), KEEP, "1");
    let c = bundle.start();
    let exec = bundle.orlop(["exec", &c.id, "probe", "facts"]).groups(&[4, 27]);
    assert_eq!(exec.run().ok().json()["groups"], json!([4, 27]));
}

#[test]
fn features_lists_the_annotation_for_groups() {
    let features = Bundle::new().orlop(["features"]).run().ok().json();
    let listed = features["potentiallyUnsafeConfigAnnotations"].as_array().unwrap();
    assert!(listed.contains(&json!(KEEP)), "{listed:?}");
}

/// A user who relies on a filter or a virtual machine must learn that there is none.
#[test]
fn an_unsupported_annotation_that_would_confine_is_warned_about() {
    for (key, value) in [
        ("run.oci.handler", "krun"),
        ("run.oci.mount_context_type", "rootcontext"),
        ("run.oci.seccomp.plugins", "/some/plugin.so"),
        ("run.oci.seccomp.receiver", "/some/socket"),
        ("run.oci.seccomp_bpf_data", "BgAAAAAA/38="),
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

#[test]
fn an_unknown_system_call_fails_on_request() {
    let key = "run.oci.seccomp_fail_unknown_syscall";
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        { "names": ["getppid", "no_such_call"], "action": "SCMP_ACT_ERRNO" }
    ]});
    let bundle = || annotated(Bundle::new().args(["true"]), key, "1");
    let out = crate::harness::seccomp::with(bundle(), profile.clone())
        .run()
        .fails_with("no_such_call");
    assert!(out.stderr.contains("linux.seccomp.syscalls[0].names[1]"), "{out:#?}");
    let zero = annotated(Bundle::new().args(["true"]), key, "0");
    crate::harness::seccomp::with(zero, profile.clone()).run().ok();
    crate::harness::seccomp::with(
        bundle(),
        crate::harness::seccomp::denying(&["getppid"], "SCMP_ACT_ERRNO"),
    )
    .run()
    .ok();
}

const STDOUT: &str = "run.oci.hooks.stdout";
const STDERR: &str = "run.oci.hooks.stderr";

/// A hook of every kind that writes a word to each stream.
fn talkative(bundle: Bundle) -> Bundle {
    bundle.edit(|c| {
        let say = |point: &str, shell: &str| {
            let text = format!("echo {point}; echo {point} error >&2");
            json!([{ "path": shell, "args": ["sh", "-c", text] }])
        };
        c["hooks"] = json!({
            "prestart": say("prestart", "/bin/sh"),
            "createRuntime": say("createRuntime", "/bin/sh"),
            "createContainer": say("createContainer", "/bin/sh"),
            "startContainer": say("startContainer", "/bin/sh"),
            "poststart": say("poststart", "/bin/sh"),
            "poststop": say("poststop", "/bin/sh"),
        });
    })
}

#[test]
fn the_output_of_hooks_goes_to_files() {
    for user_namespace in [false, true] {
        let bundle = talkative(Bundle::new().sh("true"));
        let bundle = if user_namespace {
            crate::harness::users::remapped(bundle)
        } else {
            bundle
        };
        let stdout = bundle.path("out.log");
        std::fs::write(&stdout, "before\n").unwrap();
        // A relative path begins in the bundle.
        let bundle = bundle.edit(|c| c["annotations"] = json!({ STDOUT: stdout, STDERR: "err.log" }));
        bundle.run().ok();
        let expected = |begin: &str, end: &str| {
            let lines = HOOK_POINTS.map(|point| format!("{point}{end}\n"));
            format!("{begin}{}", lines.concat())
        };
        let read = |name: &str| std::fs::read_to_string(bundle.path(name)).unwrap();
        assert_eq!(read("out.log"), expected("before\n", ""));
        assert_eq!(read("err.log"), expected("", " error"));
    }
}

/// `create`, `start` and `delete` run in different directories, and each appends; without the other annotation the rest of
/// the output is kept for the error as usual.
#[test]
fn one_file_can_hold_the_output_of_all_hooks() {
    let bundle = talkative(Bundle::new().args(["probe", "sleep"])).edit(|c| {
        c["annotations"] = json!({ STDOUT: "log", STDERR: "log" });
    });
    let c = bundle.start();
    c.bundle.orlop(["delete", "--force", &c.id]).run().ok();
    let log = std::fs::read_to_string(c.bundle.path("log")).unwrap();
    assert_eq!(log.lines().count(), 2 * HOOK_POINTS.len(), "{log}");
}

#[test]
fn a_failing_hooks_error_still_has_its_output() {
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        c["hooks"] = json!({ "createRuntime": [{ "path": "/bin/sh", "args": ["sh", "-c", "echo said; echo wrong >&2; exit 3"] }] });
        c["annotations"] = json!({ STDERR: "err.log" });
    });
    let out = bundle.run().fails_with("exit status 3");
    assert!(out.stderr.contains("said") && out.stderr.contains("wrong"), "{out:#?}");
    assert_eq!(std::fs::read_to_string(bundle.path("err.log")).unwrap(), "wrong\n");
}

/// A FIFO without a reader does not block, and a file that cannot be opened is an error before anything is created.
#[test]
fn a_file_for_hooks_that_cannot_be_opened_is_an_error() {
    let bundle = talkative(Bundle::new().args(["true"]));
    let fifo = bundle.path("fifo");
    make_fifo(&fifo);
    for path in ["/no/such/directory/log", "/", fifo.to_str().unwrap()] {
        let bundle = talkative(Bundle::new().args(["true"]));
        annotated(bundle, STDOUT, path)
            .run()
            .fails_with("annotations.run.oci.hooks.stdout");
    }
    // Without hooks the annotation has no effect.
    annotated(Bundle::new().args(["true"]), STDOUT, "/no/such/directory/log")
        .run()
        .ok();
}
