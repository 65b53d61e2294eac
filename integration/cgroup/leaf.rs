//! Ownership of cgroups: a leaf belongs to one container, whatever `linux.cgroupsPath` a later container has.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::harness::cgroup::with_leaf;
use crate::harness::host::kill;
use crate::harness::{Bundle, alive, eventually};
use crate::need;

fn sleeping() -> (Bundle, PathBuf) {
    with_leaf(Bundle::new().args(["probe", "sleep"]))
}

#[test]
fn no_other_container_gets_the_cgroup_of_a_stopped_one() {
    let (bundle, leaf) = sleeping();
    let first = bundle.start();
    first.kill("KILL");
    first.until_stopped();
    let refused = bundle.create_cmd(&bundle.fresh_id(), &[]).run();
    let refused = refused.fails_with("linux.cgroupsPath");
    assert!(refused.stderr.contains(&first.id), "{refused:#?}");
    assert!(leaf.exists());
    first.delete();
    let second = bundle.start();
    assert_eq!(second.status(), "running");
}

#[test]
fn deleting_a_container_spares_a_later_one_with_the_same_path() {
    let (bundle, leaf) = sleeping();
    let first = bundle.start();
    first.kill("KILL");
    first.until_stopped();
    // Another program removes it.
    fs::remove_dir(&leaf).expect("remove the empty leaf");
    let second = bundle.start();
    bundle.orlop(["kill", "--all", &first.id, "KILL"]).run().ok();
    bundle.orlop(["kill", "--all", &first.id, "TERM"]).run().ok();
    first.delete();
    assert_eq!(second.status(), "running");
    assert!(alive(second.pid()) && leaf.exists());
    second.kill("KILL");
    second.until_stopped();
    second.delete();
    bundle.assert_clean();
}

/// "MUST consistently attach to the same place", by an absolute and by a relative path.
#[test]
fn the_same_path_is_the_same_cgroup() {
    for slash in ["/", ""] {
        let bundle = Bundle::new().args(["probe", "sleep"]);
        let path = format!("{slash}{}-a//./b/", bundle.fresh_id());
        bundle.change(|c| c["linux"]["cgroupsPath"] = json!(path));
        let place = || {
            let c = bundle.start();
            let place = fs::read_to_string(format!("/proc/{}/cgroup", c.pid())).unwrap();
            c.kill("KILL");
            c.until_stopped();
            c.delete();
            place
        };
        let first = place();
        assert!(first.trim_end().ends_with("-a/b"), "{first}");
        assert_eq!(place(), first);
    }
}

#[test]
fn a_frozen_cgroup_is_refused() {
    let (bundle, leaf) = sleeping();
    fs::create_dir(&leaf).expect("make the leaf");
    fs::write(leaf.join("cgroup.freeze"), "1").expect("freeze");
    let refused = bundle.create_cmd(&bundle.fresh_id(), &[]).run();
    assert!(refused.fails_with("linux.cgroupsPath").stderr.contains("frozen"));
    assert!(leaf.exists(), "it was there before");

    // A new cgroup is frozen like its parent; its processes would stop before their first instruction.
    let name = format!("/{}/below", leaf.file_name().unwrap().to_str().unwrap());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(name));
    let refused = bundle.create_cmd(&bundle.fresh_id(), &[]).run();
    assert!(refused.fails_with("linux.cgroupsPath").stderr.contains("frozen"));
    assert!(!leaf.join("below").exists());
    fs::remove_dir(&leaf).expect("remove the leaf");
}

#[test]
fn a_cgroup_with_processes_is_refused() {
    let (bundle, leaf) = sleeping();
    let first = bundle.start();
    let refused = bundle.create_cmd(&bundle.fresh_id(), &[]).run();
    assert!(refused.fails_with("linux.cgroupsPath").stderr.contains("processes"));
    assert_eq!(first.status(), "running");
    assert!(leaf.exists());
}

/// runtime.md, "Delete": what the container did not create is not deleted.
#[test]
fn a_prepared_empty_cgroup_is_used_and_not_removed() {
    let (bundle, leaf) = sleeping();
    fs::create_dir(&leaf).expect("make the leaf");
    let before = fs::metadata(&leaf).unwrap().ino();
    let is_there = || fs::metadata(&leaf).is_ok_and(|leaf| leaf.ino() == before);
    let odd_device = |allow: bool| {
        bundle.change(|c| {
            let rule = json!({ "allow": allow, "type": "c", "major": 240, "minor": 77, "access": "rwm" });
            c["linux"]["resources"]["devices"] = json!([rule]);
            c["linux"]["devices"] = json!([{ "path": "/dev/odd", "type": "c", "major": 240, "minor": 77 }]);
        })
    };
    odd_device(false);
    let c = bundle.start();
    assert!(is_there());
    // A cgroup of the container is removed with it.
    fs::create_dir(leaf.join("below")).expect("make a cgroup below");
    let pid = c.pid();
    bundle.orlop(["delete", "--force", &c.id]).run().ok();
    assert!(is_there() && !alive(pid) && !leaf.join("below").exists());

    // Neither its mark nor its rules stay, so the next container starts afresh.
    odd_device(true);
    bundle.change(|c| c["process"]["args"] = json!(["sh", "-c", "cat /dev/odd"]));
    let said = bundle.run().stderr;
    assert!(said.contains("No such device or address"), "{said}");
    assert!(is_there());

    // A failed create leaves it as it was, too.
    bundle.change(|c| c["process"]["args"] = json!(["missing"]));
    bundle.run().fails_with("executable file not found");
    assert!(is_there());
    fs::remove_dir(&leaf).expect("remove the leaf");
}

#[test]
fn the_cgroup_of_a_lost_container_is_created_again() {
    // A device without a driver: the cgroup answers EPERM, the kernel without the rule ENXIO.
    let device = |allow: bool| {
        let rule = json!([{ "allow": allow, "type": "c", "major": 240, "minor": 77, "access": "rwm" }]);
        move |c: &mut serde_json::Value| {
            c["linux"]["resources"]["devices"] = rule;
            c["linux"]["devices"] = json!([{ "path": "/dev/odd", "type": "c", "major": 240, "minor": 77 }]);
        }
    };
    let (bundle, leaf) = sleeping();
    bundle.change(device(false));
    let lost = bundle.start();
    lost.kill("KILL");
    lost.until_stopped();
    fs::remove_dir_all(bundle.state_root().join(&lost.id)).expect("lose the state");
    assert!(leaf.exists());

    bundle.change(device(true));
    bundle.change(|c| c["process"]["args"] = json!(["sh", "-c", "cat /dev/odd"]));
    let said = bundle.run().stderr;
    assert!(said.contains("No such device or address"), "{said}");
    assert!(!leaf.exists());
}

#[test]
fn of_several_creators_of_one_cgroup_one_wins() {
    let (bundle, leaf) = sleeping();
    // Sometimes one uses a cgroup that another has just created and not marked yet; it must not outlive the winner.
    for _ in 0..40 {
        let ids: Vec<String> = (0..6).map(|_| bundle.fresh_id()).collect();
        let running: Vec<_> = ids.iter().map(|id| bundle.create_cmd(id, &[]).spawn()).collect();
        let outputs: Vec<_> = running.into_iter().map(|running| running.wait()).collect();
        let (won, lost): (Vec<_>, Vec<_>) = outputs.into_iter().partition(|output| output.code == 0);
        assert_eq!(won.len(), 1, "{won:#?}");
        for output in lost {
            output.fails_with("linux.cgroupsPath");
        }
        let known: Vec<_> = ids
            .iter()
            .filter(|id| bundle.orlop(["state", id]).run().code == 0)
            .collect();
        assert_eq!(known.len(), 1);
        assert_eq!(bundle.orlop(["state", known[0]]).run().json()["status"], "created");
        bundle.orlop(["delete", "--force", known[0]]).run().ok();
        assert!(!leaf.exists());
    }
}

#[test]
fn parents_are_removed_with_the_last_container_that_needs_them() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let name = bundle.fresh_id();
    let top = PathBuf::from(format!("/sys/fs/cgroup/{name}"));
    let create = |place: &str| {
        bundle.change(|c| c["linux"]["cgroupsPath"] = json!(format!("/{name}/{place}")));
        bundle.create()
    };
    let delete = |id: &str| bundle.orlop(["delete", "--force", id]).run().ok();
    let first = create("a/one");
    let second = create("a/two");
    let third = create("b");
    delete(&first.id);
    assert!(top.join("a/two").exists());
    delete(&second.id);
    assert!(!top.join("a").exists() && top.join("b").exists());
    delete(&third.id);
    assert!(!top.exists());

    // A failed create leaves none either; cgroups that another program created stay.
    fs::create_dir(&top).expect("make the parent");
    bundle.change(|c| {
        c["linux"]["cgroupsPath"] = json!(format!("/{name}/c/d"));
        c["process"]["args"] = json!(["missing"]);
    });
    bundle.run().fails_with("executable file not found");
    assert_eq!(
        fs::read_dir(&top)
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().is_dir())
            .count(),
        0
    );
    fs::remove_dir(&top).expect("remove the parent");
}

/// Parents are marked after mkdir(2). Their paths are stored before, for a creator that is killed in between.
#[test]
fn parents_that_a_killed_create_did_not_mark_are_removed() {
    for used_by_another in [false, true] {
        let bundle = Bundle::new()
            .args(["probe", "sleep"])
            .with_host_hook("createRuntime", "echo $$ >$OUT; exec sleep 100");
        let name = bundle.fresh_id();
        let top = PathBuf::from(format!("/sys/fs/cgroup/{name}"));
        bundle.change(|c| c["linux"]["cgroupsPath"] = json!(format!("/{name}/a/one")));
        let id = bundle.fresh_id();
        let create = bundle.create_cmd(&id, &[]).spawn();
        let hook = || fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default();
        eventually("the hook runs", || hook().ends_with('\n'));
        create.signal(libc::SIGKILL);
        create.wait();
        kill(hook().trim().parse().expect("a pid"));
        // As if it had been killed right after the calls that made them.
        for parent in [&top, &top.join("a")] {
            let path = std::ffi::CString::new(parent.to_str().expect("UTF-8")).expect("no NUL");
            // SAFETY: two strings that end with a NUL and outlive the call.
            let removed = unsafe { libc::removexattr(path.as_ptr(), c"trusted.orlop.made".as_ptr()) };
            assert_eq!(removed, 0, "{}", std::io::Error::last_os_error());
        }
        bundle.change(|c| drop(c.as_object_mut().expect("an object").remove("hooks")));
        let delete = || bundle.orlop(["delete", "--force", &id]).run().ok();
        if used_by_another {
            bundle.change(|c| c["linux"]["cgroupsPath"] = json!(format!("/{name}/a/two")));
            let other = bundle.create();
            delete();
            assert!(top.join("a/two").exists() && !top.join("a/one").exists());
            bundle.orlop(["delete", "--force", &other.id]).run().ok();
        } else {
            delete();
        }
        assert!(!top.exists(), "used by another: {used_by_another}");
    }
}

#[test]
fn waiting_for_a_busy_cgroup_takes_little_processor_time() {
    let (bundle, leaf) = with_leaf(Bundle::new().args(["true"]));
    let c = bundle.start();
    c.until_stopped();
    let below = leaf.join("below");
    fs::create_dir(&below).expect("make a cgroup below");
    let mount = |program: &str, arguments: &[&str]| {
        let below = below.to_str().unwrap();
        let done = Command::new(program).args(arguments).arg(below).status();
        assert!(done.expect(program).success(), "{program} {below}");
    };
    mount("mount", &["-t", "tmpfs", "tmpfs"]);
    // It takes less than a second of processor time.
    let delete = bundle.orlop(["delete", &c.id]).through_shell("ulimit -t 1").spawn();
    // The cgroup stays busy for this time, in which a loop without pauses would exceed the limit.
    std::thread::sleep(Duration::from_secs(3));
    mount("umount", &[]);
    delete.wait().ok();
    bundle.assert_clean();
}

/// Engines also read the statistics of containers without limits.
#[test]
fn created_parents_enable_their_controllers_for_children() {
    let top = fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control").unwrap_or_default();
    need!(!top.trim().is_empty(), "a cgroup controller");
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let path = format!("/made-{}/inner/leaf", std::process::id());
    bundle.change(|c| c["linux"]["cgroupsPath"] = json!(path));
    let c = bundle.start();
    let leaf = fs::read_to_string(format!("/sys/fs/cgroup{path}/cgroup.controllers")).unwrap();
    assert_eq!(leaf, top);
    c.kill("KILL");
    c.until_stopped();
    c.delete();
}
