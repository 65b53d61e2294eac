//! The other verbs on a restored container, on a paused one, and the configuration file.

use std::fs;

use serde_json::json;

use crate::harness::checkpoint::{
    CRIU, Image, Workload, bundle, checkpoint, checkpoint_cmd, has_criu, restore, with_parts,
};
use crate::harness::exec::{detached, exec_cmd};
use crate::harness::{Bundle, alive, cgroup_of, eventually};
use crate::need;

/// A workload that has been restored.
fn restored<'a>(bundle: &'a Bundle) -> Workload<'a> {
    let work = Workload::start(bundle);
    let image = checkpoint(&work.container, &[]);
    restore(&work.container, &image, &[]);
    work
}

#[test]
fn exec_ps_and_kill() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory", "children"]);
    let work = restored(&bundle);
    let c = &work.container;
    assert_eq!(exec_cmd(c, &[], &["sh", "-c", "exit 9"]).run().code, 9);
    let process = detached(c, &[]);
    let all = bundle.orlop(["ps", "--format", "json", &c.id]).run().ok().json();
    let pids = all.as_array().expect("a list");
    for pid in [c.pid(), process] {
        assert!(pids.contains(&json!(pid)), "{pid}: {all}");
    }
    // Init, two of memory's and children's each, and the new one, at least.
    assert!(pids.len() >= 6, "{all}");
    c.kill("KILL");
    c.until_stopped();
    eventually("all processes have ended", || !alive(process));
    c.delete();
    bundle.assert_clean();
}

#[test]
fn pause_and_resume() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = restored(&bundle);
    let before = work.report();
    bundle.orlop(["pause", &work.container.id]).run().ok();
    assert_eq!(work.container.status(), "paused");
    bundle.orlop(["resume", &work.container.id]).run().ok();
    work.assert_continues(&before);
}

#[test]
fn update_and_state() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]).edit(|c| c["annotations"] = json!({ "org.example": "kept" }));
    let work = restored(&bundle);
    let c = &work.container;
    let state = c.state();
    assert_eq!(state["status"], "running");
    assert_eq!(state["annotations"]["org.example"], "kept");
    assert_eq!(state["bundle"], json!(bundle.dir()));
    let update = bundle.orlop(["update", "--resources", "-", &c.id]);
    update.stdin("{}").run().ok();
    work.report();
}

#[test]
fn delete_by_force() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory", "children"]);
    let work = restored(&bundle);
    bundle.orlop(["delete", &work.container.id]).run().fails();
    work.report();
    bundle.orlop(["delete", "--force", &work.container.id]).run().ok();
    bundle.assert_clean();
}

/// The end of init is noticed, as that of any container.
#[test]
fn the_container_stops_by_itself() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = restored(&bundle);
    work.report();
    work.exit(3);
    work.container.until_stopped();
    work.container.delete();
}

#[test]
fn a_paused_container_stays_paused() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory", "children"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let id = work.container.id.as_str();
    bundle.orlop(["pause", id]).run().ok();
    let image = checkpoint(&work.container, &["--leave-running"]);
    assert_eq!(work.container.status(), "paused");
    let frozen = fs::read_to_string(cgroup_of(work.container.pid()).join("cgroup.events")).unwrap();
    assert!(frozen.contains("frozen 1"), "{frozen}");
    bundle.orlop(["resume", id]).run().ok();
    work.assert_continues(&before);
    bundle.orlop(["delete", "--force", id]).run().ok();
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
}

/// A checkpoint of a paused container that fails leaves it paused.
#[test]
fn a_paused_container_stays_paused_after_a_failure() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["files"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let id = work.container.id.as_str();
    bundle.orlop(["pause", id]).run().ok();
    checkpoint_cmd(&work.container, &Image::new(&bundle), &[]).run().fails();
    assert_eq!(work.container.status(), "paused");
    bundle.orlop(["resume", id]).run().ok();
    work.assert_continues(&before);
}

/// CRIU reads the file that the annotation names, as runc has it.
#[test]
fn a_configuration_file_by_annotation() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["files"]);
    let file = bundle.path("criu.conf");
    fs::write(&file, "# Options of CRIU, one a line.\nfile-locks\n").unwrap();
    let bundle = bundle.edit(|c| c["annotations"] = json!({ "org.criu.config": file }));
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
}
