//! Where a container is restored: its id, bundle, root file system, image directories; more than once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::checkpoint::{
    CRIU, Image, Workload, another, bundle, checkpoint, checkpoint_cmd, has_criu, restore, restore_cmd, with_criu,
    with_parts,
};
use crate::harness::golden::own_texts;
use crate::harness::users::remapped;
use crate::harness::{Bundle, Container, HostMount};
use crate::need;

/// Copies a tree with owners and modes.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.expect("cp").success());
}

#[test]
fn under_another_id() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    let new = another(&bundle);
    // Other runtimes leave the cgroup of the old one.
    bundle.tolerate_leaks.set(!own_texts());
    restore(&new, &image, &[]);
    work.assert_continues(&before);
    assert_eq!(new.status(), "running");
    work.container.bundle.orlop(["state", &work.container.id]).run().fails();
}

#[test]
fn in_another_bundle_without_mount_points() {
    need!(has_criu(), CRIU);
    let bundle =
        with_parts(bundle(), &["memory", "files"]).mount("/new/file", "bind", "/etc/hostname", &["bind", "ro"]);
    let bundle = bundle.mount("/new/dir", "tmpfs", "tmpfs", &[]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &["--file-locks"]);
    let other = Bundle::new();
    other.change(|c| *c = bundle.config());
    fs::remove_dir_all(other.inside("/")).unwrap();
    copy(&bundle.inside("/"), &other.inside("/"));
    for made in ["proc", "sys", "dev", "new"] {
        fs::remove_dir_all(other.inside(made)).unwrap();
    }
    let new = another(&other);
    bundle.tolerate_leaks.set(!own_texts());
    restore(&new, &image, &["--file-locks"]);
    work.moved_to(&other.inside("/"));
    work.assert_continues(&before);
    assert_eq!(new.state()["bundle"], json!(other.dir()));
}

#[test]
fn twice_from_one_image() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    for _ in 0..2 {
        restore(&work.container, &image, &[]);
        work.assert_continues(&before);
        work.container
            .bundle
            .orlop(["delete", "--force", &work.container.id])
            .run()
            .ok();
    }
}

#[test]
fn a_restored_container_can_be_checkpointed() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory", "children"]);
    let work = Workload::start(&bundle);
    let mut before = work.report();
    for _ in 0..3 {
        let image = checkpoint(&work.container, &[]);
        restore(&work.container, &image, &[]);
        before = work.assert_continues(&before);
    }
}

#[test]
fn the_container_goes_on_if_it_is_to() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory", "children", "timers"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let state = work.container.state();
    let image = checkpoint(&work.container, &["--leave-running"]);
    assert_eq!(work.container.state(), state);
    let later = work.assert_continues(&before);
    work.container
        .bundle
        .orlop(["delete", "--force", &work.container.id])
        .run()
        .ok();
    restore(&work.container, &image, &[]);
    let restored = work.assert_continues(&before);
    // What happened after the checkpoint did not happen in this life.
    assert!(restored.grows("memory.counter") < later.grows("memory.counter") + 1_000_000);
}

#[test]
fn the_default_image_directory_is_in_the_working_directory() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let id = work.container.id.as_str();
    with_criu(bundle.orlop(["checkpoint", id]), &[])
        .cwd(bundle.dir())
        .run()
        .ok();
    assert!(bundle.path("checkpoint/inventory.img").exists());
    let dir = bundle.dir().to_str().unwrap();
    let command = bundle.orlop(["restore", "--detach", "--bundle", dir, id]);
    with_criu(command, &[]).cwd(bundle.dir()).run().ok();
    work.assert_continues(&before);
}

#[test]
fn images_and_logs_are_where_they_were_asked_for() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    // An existing directory is used, a missing one is made.
    let image = Image::new(&bundle);
    fs::create_dir(&image.dir).unwrap();
    checkpoint_cmd(&work.container, &image, &[]).run().ok();
    for (dir, file, there) in [
        (&image.dir, "inventory.img", true),
        (&image.dir, "dump.log", false),
        (&image.work, "dump.log", true),
    ] {
        assert_eq!(dir.join(file).exists(), there, "{}", dir.join(file).display());
    }
    restore(&work.container, &image, &[]);
    assert!(image.work.join("restore.log").exists());
}

#[test]
fn the_pid_file_has_the_new_pid() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let image = checkpoint(&work.container, &[]);
    let file = bundle.path("pid");
    restore(&work.container, &image, &["--pid-file", file.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&file).unwrap(), work.container.pid().to_string());
}

/// The state of a container that has been restored is that of the old one where it is the same container.
#[test]
fn the_state_has_the_new_pid_and_the_old_time() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that keeps the time of creation");
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let of = |c: &Container| {
        let list = bundle.orlop(["list", "--format", "json"]).run().ok().json();
        let mut state = c.state();
        let listed = list.as_array().unwrap().iter().find(|entry| entry["id"] == state["id"]);
        state["created"] = listed.expect("listed")["created"].clone();
        state
    };
    let before = of(&work.container);
    let image = checkpoint(&work.container, &[]);
    restore(&work.container, &image, &[]);
    let mut after = of(&work.container);
    assert_ne!(after["pid"], before["pid"]);
    after["pid"] = before["pid"].clone();
    assert_eq!(after, before);
}

#[test]
fn an_id_in_use_is_refused() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &["--leave-running"]);
    restore_cmd(&work.container, &image, &[]).run().fails_with("exist");
    work.assert_continues(&before);
}

/// Three bind mounts are slaves of one mount of the host.
#[track_caller]
fn sources_in_one_shared_mount(mut bundle: Bundle) {
    let shared = HostMount::tmpfs(&bundle.path("shared"), 0).shared();
    for name in ["one", "two", "three"] {
        let source = shared.path.join(name);
        fs::create_dir(&source).unwrap();
        bundle = bundle.mount(
            &format!("/{name}"),
            "bind",
            source.to_str().unwrap(),
            &["rbind", "rslave"],
        );
    }
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    // Other runtimes cannot restore a user namespace from these images.
    bundle.tolerate_leaks.set(!own_texts());
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
    // What is mounted on the host later appears in the container.
    let _later = HostMount::tmpfs(&shared.path.join("two/later"), 0);
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", work.container.state()["pid"])).unwrap();
    assert!(mounts.contains(" /two/later "), "{mounts}");
}

#[test]
fn sources_in_one_shared_mount_of_the_host() {
    need!(has_criu(), CRIU);
    sources_in_one_shared_mount(with_parts(bundle(), &["memory"]));
}

#[test]
fn sources_in_one_shared_mount_for_a_user_namespace() {
    need!(has_criu(), CRIU);
    let bundle = remapped(with_parts(bundle(), &["memory"]));
    for owned in ["/", "/tmp"] {
        std::os::unix::fs::chown(bundle.inside(owned), Some(100_000), Some(100_000)).unwrap();
    }
    sources_in_one_shared_mount(bundle);
}

#[test]
fn images_that_only_root_can_access_for_a_user_namespace() {
    need!(has_criu(), CRIU);
    need!(
        own_texts(),
        "a runtime that restores a user namespace from private images"
    );
    let bundle = remapped(with_parts(bundle(), &["memory", "children"]));
    std::os::unix::fs::chown(bundle.inside("/tmp"), Some(100_000), Some(100_000)).unwrap();
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    for entry in fs::read_dir(&image.dir).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::set_permissions(&image.dir, fs::Permissions::from_mode(0o700)).unwrap();
    // Other runtimes give CRIU the directory as it is.
    bundle.tolerate_leaks.set(!own_texts());
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
}
