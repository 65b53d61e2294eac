//! Several containers named by one command line, by their ids or by a pattern.

use crate::harness::{Bundle, eventually};

/// A bundle whose containers wait for a signal.
pub(super) fn sleeping() -> Bundle {
    Bundle::new().args(["probe", "sleep"])
}

pub(super) fn started(bundle: &Bundle) -> String {
    let id = bundle.fresh_id();
    bundle.create_cmd(&id, &[]).run().ok();
    bundle.orlop(["start", &id]).run().ok();
    id
}

fn status(bundle: &Bundle, id: &str) -> String {
    let state = bundle.orlop(["state", id]).run().ok().json();
    state["status"].as_str().expect("a status").to_string()
}

pub(super) fn until_stopped(bundle: &Bundle, id: &str) {
    eventually("the container has stopped", || status(bundle, id) == "stopped");
}

#[test]
fn several_containers_are_killed_and_deleted_at_once() {
    let bundle = sleeping();
    let [one, two, three] = [(); 3].map(|()| started(&bundle));
    // The last word is the signal; a missing container does not affect the others.
    let out = bundle.orlop(["kill", &one, "nobody", &two, "KILL"]).run();
    out.fails_with("kill \"nobody\": container does not exist");
    until_stopped(&bundle, &one);
    until_stopped(&bundle, &two);
    assert_eq!(status(&bundle, &three), "running");
    // All failures are reported, and the rest is done.
    let out = bundle.orlop(["delete", &one, "nobody", &three, &two]).run().fails();
    for text in [
        "delete \"nobody\": container does not exist",
        &format!("delete {three:?}: cannot delete"),
    ] {
        assert!(out.stderr.contains(text), "{}", out.stderr);
    }
    assert_eq!(bundle.orlop(["list", "-q"]).run().ok().stdout.trim(), three);
    bundle.orlop(["delete", "-f", "nobody", &three]).run().ok();
    assert_eq!(bundle.orlop(["list", "-q"]).run().ok().stdout, "");
}

#[test]
fn patterns_select_containers() {
    let bundle = sleeping();
    let [one, two] = [(); 2].map(|()| started(&bundle));
    let exactly = format!("^{one}$");
    bundle.orlop(["kill", "--regex", &exactly, "KILL"]).run().ok();
    until_stopped(&bundle, &one);
    assert_eq!(status(&bundle, &two), "running");
    // Stopped containers get no signal, which is not a failure.
    bundle.orlop(["kill", "-r", ".*", "-0"]).run().ok();
    bundle.orlop(["delete", "--regex", &exactly, "no such id"]).run().ok();
    assert_eq!(bundle.orlop(["list", "-q"]).run().ok().stdout.trim(), two);
    bundle
        .orlop(["delete", "--regex", "("])
        .run()
        .fails_with("is not a valid regular expression");
    bundle.orlop(["delete", "-rf", "."]).run().ok();
    assert_eq!(bundle.orlop(["list", "-q"]).run().ok().stdout, "");
}
