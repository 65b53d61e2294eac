//! Container ids: which are valid, which are taken, and which are unknown.

use std::fs::{self};

use crate::harness::Bundle;

#[test]
fn verbs_name_an_unknown_container() {
    let bundle = Bundle::new();
    for verb in ["state", "start", "kill", "delete"] {
        bundle.orlop([verb, "never-existed"]).run().fails_with("does not exist");
    }
    bundle.orlop(["state"]).run().fails_for("missing <ID>");
}

#[test]
fn a_taken_id_is_refused_and_its_container_untouched() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.create();
    let before = c.state();
    bundle.create_cmd(&c.id, &[]).run().fails_with("exist");
    assert_eq!(c.state(), before);
    c.start();
    c.until("ready");
    bundle.create_cmd(&c.id, &[]).run().fails_with("exist");
    bundle
        .orlop(["run", "--bundle", bundle.dir().to_str().unwrap(), &c.id])
        .run()
        .fails_with("exist");
    assert_eq!(c.status(), "running");
    assert_eq!(c.pid(), before["pid"].as_i64().unwrap() as i32);
}

#[test]
fn of_eight_racing_creates_one_wins() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    for _ in 0..3 {
        let id = bundle.fresh_id();
        let racing: Vec<_> = (0..8).map(|_| bundle.create_cmd(&id, &[]).spawn()).collect();
        let outputs: Vec<_> = racing.into_iter().map(|r| r.wait()).collect();
        let winners = outputs.iter().filter(|o| o.code == 0).count();
        assert_eq!(winners, 1, "{outputs:#?}");
        assert_eq!(bundle.orlop(["state", &id]).run().ok().json()["status"], "created");
        bundle.orlop(["start", &id]).run().ok();
        bundle.orlop(["delete", "--force", &id]).run().ok();
        bundle.assert_clean();
    }
}

#[test]
fn invalid_ids_are_refused_by_every_verb() {
    let bundle = Bundle::new().args(["true"]);
    // The target of a path traversal.
    let victim = bundle.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("state.json"), "{}").unwrap();
    let long = "x".repeat(1025);
    let dir = bundle.dir().to_str().unwrap();
    for id in ["", ".", "..", "../victim", "a/b", "/victim", "a b", "a\nb", "ä", &long] {
        for verb in ["state", "start", "kill", "delete"] {
            bundle.orlop([verb, "--", id]).run().fails_for("container id");
        }
        bundle
            .orlop(["create", "--bundle", dir, "--", id])
            .run()
            .fails_for("container id");
        // `run` also takes the path of a bundle there.
        let reason = if id.is_empty() {
            "flag needs an argument"
        } else {
            "container id"
        };
        bundle.orlop(["run", "--bundle", dir, "--", id]).run().fails_for(reason);
    }
    assert!(victim.join("state.json").exists());
    bundle.assert_clean();
}

#[test]
fn ids_of_all_allowed_characters_work() {
    let bundle = Bundle::new().args(["true"]);
    let id = format!("{}_A-z+0.9", bundle.fresh_id());
    bundle
        .orlop(["run", "--bundle", bundle.dir().to_str().unwrap(), &id])
        .run()
        .ok();
}

#[test]
fn containers_are_known_to_their_state_root_only() {
    let (one, other) = (Bundle::new().args(["probe", "sleep"]), Bundle::new());
    let c = one.start();
    for verb in ["state", "start", "kill", "delete"] {
        other.orlop([verb, &c.id]).run().fails_with("does not exist");
    }
    std::fs::create_dir_all(other.state_root()).unwrap();
    assert_eq!(other.orlop(["list", "--quiet"]).run().ok().stdout, "");
    assert_eq!(c.status(), "running");
}
