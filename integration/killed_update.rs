//! `update`, killed at any point: what is known of the container is as before or as asked, and whole.

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
    // How long one takes that is not killed.
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
        let (asked, last) = ((time + 3).to_string(), written());
        let update = bundle
            .orlop(["update", "--unified", &format!("{FILE}={asked}"), &c.id])
            .spawn();
        std::thread::sleep(whole * time / TIMES);
        update.signal(libc::SIGKILL);
        let code = update.wait().code;
        assert!(code == 0 || code == 128 + libc::SIGKILL, "{code}");
        cut_short += i32::from(code != 0);
        let now = remembered().expect("what it was updated to");
        assert!(now == before || now == asked, "{now}");
        assert!(code != 0 || now == asked, "{now}");
        // What one that was killed has written stays until the next one, which writes all that it was asked for.
        assert!([&last, &asked].contains(&&written()), "{} after {last}", written());
        assert_eq!(c.status(), "running");
        before = now;
    }
    assert!(cut_short > 0, "none was killed in time, of {whole:?}");
    // Its lock is free, and nothing that was half written is in the way.
    bundle
        .orlop(["update", "--unified", &format!("{FILE}=max"), &c.id])
        .run()
        .ok();
    assert_eq!((written(), remembered()), ("max".into(), Some("max".into())));
}
