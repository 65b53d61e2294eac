//! `update`, killed at any point: the state is either the old or the new one, complete, and the limits match it.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::Bundle;

const FILE: &str = "cgroup.max.depth";

#[test]
fn an_update_killed_at_any_point_leaves_a_state_that_can_be_read() {
    let bundle = Bundle::new().args(["probe", "sleep"]).edit(|c| {
        c["linux"]["resources"]["unified"] = json!({ FILE: "1" });
    });
    let name = format!("/{}-leaf", bundle.fresh_id());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(name));
    let c = bundle.start();
    let leaf = PathBuf::from(format!("/sys/fs/cgroup{name}"));
    let written = || {
        fs::read_to_string(leaf.join(FILE))
            .expect("the limit")
            .trim()
            .to_owned()
    };
    let state = bundle.state_root().join(&c.id).join("state.json");
    let remembered = || -> Option<String> {
        let text = fs::read(&state).expect("state.json");
        let state: Value = serde_json::from_slice(&text).expect("state.json is JSON");
        Some(
            state
                .pointer(&format!("/resources/unified/{FILE}"))?
                .as_str()?
                .to_owned(),
        )
    };
    // The duration of an update that is not killed.
    let begun = Instant::now();
    bundle
        .orlop(["update", "--unified", &format!("{FILE}=2"), &c.id])
        .run()
        .ok();
    let whole = begun.elapsed();
    assert_eq!((written(), remembered()), ("2".into(), Some("2".into())));

    let (mut before, mut cut_short) = ("2".to_owned(), 0);
    const TIMES: u32 = 100;
    for time in 0..TIMES {
        let asked = (time + 3).to_string();
        let update = bundle
            .orlop(["update", "--unified", &format!("{FILE}={asked}"), &c.id])
            .spawn();
        // A later moment of the update each time, not a wait for something.
        std::thread::sleep(whole * time / TIMES);
        update.signal(libc::SIGKILL);
        let code = update.wait().code;
        assert!(code == 0 || code == 128 + libc::SIGKILL, "{code}");
        cut_short += i32::from(code != 0);
        let now = remembered().expect("what it was updated to");
        assert!(now == before || now == asked, "{now}");
        assert!(code != 0 || now == asked, "{now}");
        // The next command restores what the killed one has changed.
        if time % 2 == 0 {
            assert_eq!(c.status(), "running");
        } else {
            let other = bundle.orlop(["update", "--cpu-quota", "-1", &c.id]);
            other.run().ok();
        }
        assert_eq!(Some(written()), remembered());
        assert_eq!(remembered().as_ref(), Some(&now));
        before = now;
    }
    assert!(cut_short > 0, "none was killed in time, of {whole:?}");
    // Its lock is free, and no partly written file is in the way.
    bundle
        .orlop(["update", "--unified", &format!("{FILE}=max"), &c.id])
        .run()
        .ok();
    assert_eq!((written(), remembered()), ("max".into(), Some("max".into())));
}

/// Killed after its last write and before the new state was in place.
#[test]
fn limits_written_by_a_killed_update_are_restored() {
    let bundle = Bundle::new().args(["probe", "sleep"]).edit(|c| {
        c["linux"]["resources"]["unified"] = json!({ FILE: "1" });
    });
    let name = format!("/{}-leaf", bundle.fresh_id());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(name));
    let leaf = PathBuf::from(format!("/sys/fs/cgroup{name}"));
    let c = bundle.start();
    let file = bundle.state_root().join(&c.id).join("state.json");
    let state = || -> Value { serde_json::from_slice(&fs::read(&file).expect("state.json")).expect("JSON") };
    let written = || {
        fs::read_to_string(leaf.join(FILE))
            .expect("the limit")
            .trim()
            .to_owned()
    };
    for command in [
        &["state"] as &[&str],
        &["events", "--stats"],
        &["update", "--cpu-quota", "-1"],
    ] {
        let mut left = state();
        left["unfinished"] = json!({ "files": [{ "file": FILE, "lines": ["1"] }], "devices": true });
        fs::write(&file, left.to_string()).expect("write state.json");
        fs::write(leaf.join(FILE), "9").expect("write the limit");
        bundle.orlop([command, &[c.id.as_str()]].concat()).run().ok();
        assert_eq!(written(), "1", "{command:?}");
        assert_eq!(state().get("unfinished"), None, "{command:?}");
    }
    // An update in progress is left alone.
    let mut left = state();
    left["unfinished"] = json!({ "files": [{ "file": FILE, "lines": ["1"] }] });
    fs::write(&file, left.to_string()).expect("write state.json");
    fs::write(leaf.join(FILE), "9").expect("write the limit");
    let directory = fs::File::open(bundle.state_root().join(&c.id)).expect("the container's directory");
    directory.lock().expect("its lock");
    assert_eq!(c.status(), "running");
    assert_eq!(written(), "9");
    // Not by closing it: a process that another test starts at this moment may hold a copy of it until its execve(2).
    directory.unlock().expect("unlock it");
    assert_eq!(c.status(), "running");
    assert_eq!(written(), "1");
}
