//! `state`: the document and the states from create to delete.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::harness::host::kill;
use crate::harness::{Bundle, alive};

#[test]
fn the_states_from_create_to_delete() {
    let bundle = Bundle::new().args(["probe", "signals"]);
    let c = bundle.create();
    assert_eq!(c.status(), "created");
    assert!(alive(c.pid()));
    // Time for the program to run too early.
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!(c.stdout(), "", "the program ran before start");
    c.start();
    c.until("ready");
    assert_eq!(c.status(), "running");
    c.kill("TERM");
    c.until("TERM");
    c.until_stopped();
    c.delete();
    bundle.orlop(["state", &c.id]).run().fails_with("does not exist");
    bundle.assert_clean();
}

#[test]
fn state_has_the_fields_of_the_specification() {
    let bundle = Bundle::new().args(["probe", "sleep"]).edit(|c| {
        c["annotations"] = json!({ "org.example.key": "value", "with=equals": "a=b" });
    });
    let c = bundle.start();
    let state = c.state();
    assert_eq!(state["id"], json!(c.id));
    assert_eq!(state["status"], "running");
    assert_eq!(state["bundle"], json!(bundle.dir()));
    assert_eq!(
        state["annotations"],
        json!({ "org.example.key": "value", "with=equals": "a=b" })
    );
    assert!(alive(state["pid"].as_i64().unwrap() as i32));
    let version = state["ociVersion"].as_str().unwrap();
    assert!(
        version.starts_with("1.") && version.split('.').count() >= 3,
        "{version}"
    );
    let cmdline = fs::read_to_string(format!("/proc/{}/cmdline", state["pid"])).unwrap();
    assert_eq!(cmdline, "probe\0sleep\0");
}

#[test]
fn a_stopped_container_has_no_pid() {
    let bundle = Bundle::new().args(["true"]);
    let c = bundle.start();
    c.until_stopped();
    let pid = &c.state()["pid"];
    assert!(pid.is_null() || pid == 0, "{pid}");
    c.delete();
}

#[test]
fn a_killed_init_is_a_stopped_container() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let pid = c.pid();
    kill(pid);
    c.until_stopped();
    c.try_kill(&["TERM"]).fails_with("not running");
    c.delete();
}
