//! The hooks of a container that is saved and restored.

use std::fs;

use serde_json::Value;

use crate::harness::checkpoint::{CRIU, Workload, bundle, checkpoint, has_criu, restore, with_parts};
use crate::harness::golden::own_texts;
use crate::harness::{Bundle, HOOK_POINTS};
use crate::need;

/// Every hook notes its point.
fn noting(bundle: Bundle) -> Bundle {
    HOOK_POINTS.iter().fold(bundle, |bundle, point| match *point {
        // It runs in the container.
        "startContainer" => bundle,
        _ => bundle.with_host_hook(point, &format!("cat >$OUT.{point}; echo {point} >>$OUT")),
    })
}

/// The points since the last call.
fn noted(bundle: &Bundle) -> Vec<String> {
    let log = bundle.path("hooks.log");
    let text = fs::read_to_string(&log).unwrap_or_default();
    let _ = fs::remove_file(&log);
    text.lines().map(str::to_owned).collect()
}

/// Hooks that make a network run again, those of the container's side do not: its processes come back as they were.
#[test]
fn hooks_of_the_runtime_run_at_a_restore() {
    need!(has_criu(), CRIU);
    let bundle = noting(with_parts(bundle(), &["memory"]));
    let work = Workload::start(&bundle);
    let before = work.report();
    assert_eq!(
        noted(&bundle),
        ["prestart", "createRuntime", "createContainer", "poststart"]
    );
    let image = checkpoint(&work.container, &[]);
    assert_eq!(noted(&bundle), ["poststop"]);
    restore(&work.container, &image, &[]);
    let at_restore = noted(&bundle);
    assert_eq!(at_restore[..2], ["prestart", "createRuntime"]);
    assert!(
        !at_restore.iter().any(|point| point == "createContainer"),
        "{at_restore:?}"
    );
    work.assert_continues(&before);
    let text = fs::read_to_string(bundle.path("hooks.log.createRuntime")).unwrap();
    let state: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(state["id"], work.container.id.as_str());
    assert_eq!(state["pid"], work.container.pid());
    bundle.orlop(["delete", "--force", &work.container.id]).run().ok();
    assert_eq!(noted(&bundle), ["poststop"]);
}

/// The container has not ended.
#[test]
fn no_hook_runs_if_the_container_goes_on() {
    need!(has_criu(), CRIU);
    let bundle = noting(with_parts(bundle(), &["memory"]));
    let work = Workload::start(&bundle);
    noted(&bundle);
    checkpoint(&work.container, &["--leave-running"]);
    assert_eq!(noted(&bundle), [""; 0]);
}

/// The network exists when a hook configures it, before any process runs.
#[test]
fn a_hook_can_configure_the_new_network() {
    need!(has_criu(), CRIU);
    // `ip netns` is not needed: the state has the PID.
    let script = "pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p' | head -n 1); nsenter --net=/proc/$pid/ns/net \
        ip link add hooked type dummy 2>$OUT.error || nsenter --net=/proc/$pid/ns/net ip link set lo up; echo $pid >>$OUT";
    let bundle = with_parts(bundle(), &["memory"]).with_host_hook("createRuntime", script);
    let work = Workload::start(&bundle);
    let image = checkpoint(&work.container, &[]);
    noted(&bundle);
    restore(&work.container, &image, &[]);
    assert_eq!(noted(&bundle), [work.container.pid().to_string()]);
    if own_texts() {
        work.report();
    }
}
