//! Hooks that fail, take too long or cannot be run: what the error says, and what becomes of the container.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Bundle, alive, eventually};

#[test]
fn a_failing_start_container_hook_is_the_error_of_start() {
    let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", "echo why it failed >&2; exit 7"] });
    let bundle = Bundle::new()
        .args(["probe", "print", "must not run"])
        .with_hook("startContainer", hook);
    let c = bundle.create();
    let pid = c.pid();
    c.try_start().fails_with("startContainer");
    // Nothing can run after this.
    eventually("init has ended", || !alive(pid));
    assert!(!c.stdout().contains("must not run"));
}

#[test]
fn a_failing_create_hook_is_named() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let bundle = Bundle::new()
            .args(["true"])
            .with_host_hook(kind, "echo why it failed >&2; exit 77");
        let out = bundle.create_cmd(&bundle.fresh_id(), &[]).run().fails_with("hook");
        assert!(
            out.stderr
                .split(|c: char| !c.is_alphanumeric())
                .any(|word| word == "77"),
            "the exit status is missing: {out:#?}"
        );
        bundle.assert_clean();
    }
}

#[test]
fn a_failing_create_still_runs_poststop() {
    // "The container is destroyed, and the lifecycle continues with the poststop hooks."
    let bundle = Bundle::new()
        .args(["true"])
        .with_host_hook("poststop", "echo ran >>$OUT");
    let bundle = bundle.with_host_hook("createRuntime", "exit 1");
    bundle
        .create_cmd(&bundle.fresh_id(), &[])
        .run()
        .fails_for("createRuntime hook #0");
    assert_eq!(
        fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default(),
        "ran\n"
    );
}

#[test]
fn a_failing_poststart_hook_stops_the_container() {
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .with_host_hook("poststart", "exit 1");
    let bundle = bundle.with_host_hook("poststop", "echo poststop >>$OUT");
    let c = bundle.create();
    let pid = c.pid();
    c.try_start().fails_for("poststart hook #0");
    assert!(!alive(pid));
    bundle.orlop(["state", &c.id]).run().fails_with("does not exist");
    assert_eq!(
        fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default(),
        "poststop\n"
    );
}

#[test]
fn a_failing_poststop_hook_is_only_a_warning() {
    let bundle = Bundle::new().args(["true"]).with_host_hook("poststop", "exit 1");
    let bundle = bundle.with_host_hook("poststop", "echo second >>$OUT");
    let c = bundle.start();
    c.until_stopped();
    let out = c.try_delete().ok();
    assert!(out.stderr.contains("poststop"), "no warning: {out:#?}");
    assert_eq!(
        fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default(),
        "second\n"
    );
    bundle.assert_clean();
}

#[test]
fn a_hook_that_takes_too_long_is_killed() {
    let bundle = Bundle::new().args(["true"]);
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "exec sleep 100"], "timeout": 1, "env": [format!("OUT={}", bundle.path("x").display())] });
    let bundle = bundle.with_hook("createRuntime", hook);
    let begun = std::time::Instant::now();
    bundle
        .create_cmd(&bundle.fresh_id(), &[])
        .run()
        .fails_for("did not end within its timeout");
    assert!(begun.elapsed() < Duration::from_secs(5));
    bundle.assert_clean();
}

#[test]
fn hook_paths_and_timeouts_are_validated() {
    for hook in [
        json!({ "path": "bin/true" }),
        json!({ "path": "/bin/true", "timeout": 0 }),
        json!({ "path": "/bin/true", "timeout": -1 }),
    ] {
        let bundle = Bundle::new().args(["true"]).with_hook("poststop", hook.clone());
        bundle
            .create_cmd(&bundle.fresh_id(), &[])
            .run()
            .fails_for("hooks.poststop[0]");
        bundle.assert_clean();
    }
}

#[test]
fn the_output_of_a_failing_hook_is_in_the_error() {
    for kind in ["prestart", "createRuntime", "createContainer", "poststart"] {
        let bundle = Bundle::new()
            .args(["probe", "sleep"])
            .with_host_hook(kind, "echo to the one; echo to the other >&2; exit 9");
        let out = bundle.run().fails_with(&format!("hooks.{kind}[0]"));
        for text in ["to the one", "to the other", "9"] {
            assert!(out.stderr.contains(text), "{kind}: no {text:?}: {out:#?}");
        }
        bundle.assert_clean();
    }
    let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", "echo from inside >&2; exit 9"] });
    let bundle = Bundle::new().args(["true"]).with_hook("startContainer", hook);
    let out = bundle.run().fails_with("hooks.startContainer[0]");
    assert!(out.stderr.contains("from inside"), "{out:#?}");
}

/// "If any startContainer hook fails, the runtime MUST generate an error, stop the container, and continue the lifecycle at
/// step 12": it is destroyed, and poststop hooks run.
#[test]
fn a_failing_start_container_hook_removes_the_container() {
    let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", "exit 7"] });
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .with_hook("startContainer", hook)
        .with_host_hook("poststart", "echo poststart >>$OUT")
        .with_host_hook("poststop", "echo poststop >>$OUT");
    let c = bundle.create();
    let pid = c.pid();
    c.try_start().fails_with("startContainer");
    assert!(!alive(pid));
    bundle.orlop(["state", &c.id]).run().fails_with("does not exist");
    assert_eq!(
        fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default(),
        "poststop\n"
    );
    bundle.assert_clean();
}

/// Hooks after one that has failed do not run, except those of poststop.
#[test]
fn after_a_failing_hook_the_others_of_its_kind_do_not_run() {
    for kind in ["prestart", "createRuntime", "createContainer", "poststart"] {
        let bundle = Bundle::new()
            .args(["probe", "sleep"])
            .with_host_hook(kind, "echo first >>$OUT; exit 1")
            .with_host_hook(kind, "echo second >>$OUT")
            .with_host_hook("poststop", "echo poststop >>$OUT");
        bundle.run().fails_with(kind);
        let log = fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default();
        assert_eq!(log, "first\npoststop\n", "{kind}");
    }
}

#[test]
fn the_timeout_applies_to_every_kind() {
    for kind in ["prestart", "createContainer", "poststart", "startContainer"] {
        let path = if kind == "startContainer" {
            "/bin/busybox"
        } else {
            "/bin/sh"
        };
        let hook = json!({ "path": path, "args": ["sh", "-c", "exec sleep 100"], "timeout": 1,
                           "env": ["PATH=/usr/bin:/bin"] });
        let bundle = Bundle::new().args(["probe", "sleep"]).with_hook(kind, hook);
        let begun = std::time::Instant::now();
        bundle.run().fails_with("timeout of 1 s");
        let taken = begun.elapsed();
        assert!(
            taken > Duration::from_millis(900) && taken < Duration::from_secs(8),
            "{kind}: {taken:?}"
        );
        bundle.assert_clean();
    }
    // The runtime does not wait longer for a hook that ends in time.
    let hook = json!({ "path": "/bin/true", "timeout": 1000 });
    Bundle::new().args(["true"]).with_hook("createRuntime", hook).run().ok();
}

/// A startContainer hook is a program of the image, so its output is not trusted.
#[test]
fn the_output_of_a_hook_is_escaped_in_the_error() {
    let script = r"printf '\033[2Jred\r\norlop: error: forged\n\302\233mtail'; exit 1";
    let hook = json!({ "path": "/bin/busybox", "args": ["sh", "-c", script] });
    let bundle = Bundle::new().args(["true"]).with_hook("startContainer", hook);
    let out = bundle
        .run()
        .fails_with(r"output: \x1b[2Jred\r\norlop: error: forged\n\u009bmtail");
    assert!(!out.stderr.contains(['\u{1b}', '\r', '\u{9b}']), "{:?}", out.stderr);
    assert!(!out.stderr.contains("\norlop: error: forged"), "{:?}", out.stderr);
    // Nor the terminal of an engine's user.
    let log = bundle.path("log");
    let (id, dir) = (bundle.fresh_id(), bundle.dir().to_str().unwrap());
    let run = [
        "--log",
        log.to_str().unwrap(),
        "--log-format",
        "json",
        "run",
        "--bundle",
        dir,
        &id,
    ];
    bundle.orlop(run).run().fails_with("forged");
    let line: Value = serde_json::from_str(fs::read_to_string(&log).unwrap().lines().last().unwrap()).unwrap();
    let message = line["msg"].as_str().unwrap();
    assert!(!message.contains(['\u{1b}', '\r', '\n']), "{message}");
}
