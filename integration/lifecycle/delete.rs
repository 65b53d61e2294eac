//! `delete`: what it ends, what it removes and what it leaves alone.

use std::fs::{self};

use serde_json::json;

use crate::harness::{Bundle, Holder, HostMount, alive};

#[test]
fn delete_ends_a_created_container() {
    let bundle = Bundle::new()
        .args(["probe", "sleep"])
        .with_host_hook("poststop", "echo poststop >>$OUT");
    let c = bundle.create();
    let pid = c.pid();
    c.delete();
    assert!(!alive(pid), "delete returned before the process was gone");
    assert_eq!(fs::read_to_string(bundle.path("hooks.log")).unwrap(), "poststop\n");
    bundle.assert_clean();
}

#[test]
fn a_strict_delete_refuses_a_created_container() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.create();
    let pid = c.pid();
    bundle
        .orlop(["--strict", "delete", &c.id])
        .run()
        .fails_with("not stopped: created");
    assert_eq!(c.status(), "created");
    assert_eq!(c.pid(), pid);
    c.start();
    c.until("ready");
}

#[test]
fn delete_refuses_a_running_container() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let pid = c.pid();
    c.try_delete().fails_for("not stopped: running");
    assert_eq!(c.status(), "running");
    assert!(alive(pid));
}

#[test]
fn delete_by_force_ends_created_and_running_containers() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    for started in [false, true] {
        let c = bundle.create();
        if started {
            c.start();
        }
        let pid = c.pid();
        bundle.orlop(["delete", "--force", &c.id]).run().ok();
        assert!(!alive(pid), "delete returned before the process was gone");
        bundle.assert_clean();
    }
}

#[test]
fn delete_by_force_of_an_unknown_container_is_silent() {
    let bundle = Bundle::new();
    let out = bundle.orlop(["delete", "--force", "never-existed"]).run().ok();
    assert_eq!((out.stdout.as_str(), out.stderr.as_str()), ("", ""));
}

#[test]
fn without_a_pid_namespace_the_end_of_init_leaves_no_process() {
    let bundle = Bundle::new().args(["probe", "fork-tree", "5"]).without_namespace("pid");
    let c = bundle.start();
    c.until("ready");
    c.kill("KILL");
    c.until_stopped();
    c.delete();
    bundle.assert_clean();
}

/// What the container used stays as it was: the image, bind sources, joined namespaces.
#[test]
fn delete_removes_only_what_create_made() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let volume = HostMount::tmpfs(&bundle.path("volume"), 0).shared();
    fs::write(volume.path.join("content"), "content").unwrap();
    let holder = Holder::new(libc::CLONE_NEWNET | libc::CLONE_NEWIPC);
    fs::write(bundle.path("init.pid.neighbour"), "").unwrap();
    let source = volume.as_str().to_owned();
    let bundle = bundle.mount("/tmp", "bind", &source, &["rbind", "rw"]).edit(|c| {
        for namespace in c["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "network" || namespace["type"] == "ipc" {
                namespace["path"] = json!(holder.path(namespace["type"].as_str().unwrap()));
            }
        }
    });
    let before = ["network", "ipc"].map(|kind| holder.namespace(kind));
    let names = |bundle: &Bundle| {
        let mut names: Vec<_> = fs::read_dir(bundle.dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let other = bundle.start();
    let files = names(&bundle);
    let c = bundle.start();
    c.kill("KILL");
    c.until_stopped();
    c.delete();
    assert_eq!(names(&bundle), files);
    assert_eq!(fs::read_to_string(volume.path.join("content")).unwrap(), "content");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(mounts.contains(&format!(" {source} ")), "{mounts}");
    assert_eq!(["network", "ipc"].map(|kind| holder.namespace(kind)), before);
    // The other container, in the same state root, still runs.
    assert_eq!(other.status(), "running");
}
