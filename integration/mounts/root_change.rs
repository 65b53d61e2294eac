//! The change of the root: pivot_root(2), `--no-pivot`, and chroot(2) without a separate mount namespace.

use std::fs::{self};
use std::os::unix::fs::{MetadataExt, symlink};

use serde_json::json;

use crate::harness::{Attempts, Bundle, Canary, Facts, HostMount};

#[test]
fn no_pivot_moves_the_root() {
    let bundle = Bundle::new();
    let facts = Facts(bundle.run_cmd(&["--no-pivot"]).run().ok().json());
    assert_eq!(facts["pid"], 1);
    assert!(facts.options("/").contains(&"ro".to_owned()));
    for place in ["/proc", "/dev", "/sys", "/sys/fs/cgroup"] {
        facts.mount(place);
    }
    assert!(facts.options("/proc/sys").contains(&"ro".to_owned()));
    bundle.change(|c| c["process"]["args"] = json!(["probe", "try", "list,/.."]));
    let out = bundle.run_cmd(&["--no-pivot"]).run().ok();
    assert!(
        !out.stdout.contains("work") && out.stdout.contains("bin"),
        "{}",
        out.stdout
    );
}

/// In a user namespace that the container creates the masks still apply, because the kernel allows no new sysfs where none
/// is fully visible; the host's sysfs below would be fully visible.
#[test]
fn no_pivot_leaves_no_complete_sysfs_of_the_host() {
    // CLONE_NEWUSER, CLONE_NEWNS and CLONE_NEWNET
    let unshare = format!("unshare,{}", 0x1000_0000 + 0x2_0000 + 0x4000_0000);
    for flags in [&[] as &[&str], &["--no-pivot"]] {
        let bundle = Bundle::new().args(["probe", "try", &unshare, "mount,sysfs,/tmp", "mount,tmpfs,/tmp"]);
        let tried = Attempts(bundle.run_cmd(flags).run().ok().json());
        assert_eq!(tried.result(&unshare), "ok", "{flags:?}");
        assert_eq!(tried.result("mount,sysfs,/tmp"), "EPERM", "{flags:?}");
        assert_eq!(tried.result("mount,tmpfs,/tmp"), "ok", "{flags:?}");
    }
}

/// A config without settings that need a mount.
pub fn bare(bundle: Bundle) -> Bundle {
    bundle.without_namespace("mount").edit(|c| {
        c["mounts"] = json!([]);
        for list in ["maskedPaths", "readonlyPaths"] {
            c["linux"][list] = json!([]);
        }
        c["root"]["readonly"] = json!(false);
    })
}

#[test]
fn without_a_mount_namespace_the_root_is_changed_by_chroot() {
    let operations = [
        "list,/",
        "list,/..",
        "write,/dev/null,x",
        "read,/dev/zero",
        "lstat,/dev/fd",
        "create,/new",
        "chroot,/tmp",
    ];
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let bundle = bare(Bundle::new().args([&["probe", "try"], &operations[..]].concat()));
    let out = bundle.run().ok();
    assert!(out.stderr.contains("chroot"), "a warning: {}", out.stderr);
    let tried = Attempts(out.json());
    for list in ["list,/", "list,/.."] {
        let names = tried.detail(list).as_array().unwrap();
        assert!(
            names.contains(&json!("bin")) && !names.contains(&json!("usr")),
            "{names:?}"
        );
    }
    assert_eq!(tried.result("write,/dev/null,x"), "ok");
    assert_eq!(tried.result("read,/dev/zero"), "ok");
    assert_eq!(tried.detail("lstat,/dev/fd")["target"], "/proc/self/fd");
    assert_eq!(tried.result("create,/new"), "ok");
    assert_eq!(tried.result("chroot,/tmp"), "EPERM");
    assert!(bundle.inside("/new").exists());
    let after = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own = |text: &str| {
        text.lines()
            .filter(|line| line.contains(bundle.dir().to_str().unwrap()))
            .count()
    };
    assert_eq!((own(&before), own(&after)), (0, 0));
    // Once more, now that the nodes and links exist.
    bundle.run().ok();
}

/// NOTIFY_SOCKET of the engine is not a reason to mount something where nothing else is mounted.
#[test]
fn without_a_mount_namespace_there_is_no_notify_socket() {
    let bundle = bare(Bundle::new());
    let socket = std::os::unix::net::UnixDatagram::bind(bundle.path("notify.sock")).unwrap();
    let out = bundle
        .run_cmd(&[])
        .env("NOTIFY_SOCKET", bundle.path("notify.sock").to_str().unwrap())
        .run()
        .ok();
    drop(socket);
    assert!(out.stderr.contains("NOTIFY_SOCKET is not passed on"), "{}", out.stderr);
    let facts = Facts(out.json());
    let environment = facts["env"].as_array().unwrap();
    assert!(
        !environment
            .iter()
            .any(|entry| entry.as_str().unwrap().starts_with("NOTIFY_SOCKET"))
    );
    bundle.assert_clean();
}

/// A process of `exec` gets the same root.
#[test]
fn exec_enters_a_root_that_was_moved_or_changed_by_chroot() {
    let list = ["probe", "try", "list,/", "list,/.."];
    let moved = Bundle::new().args(["probe", "sleep"]);
    let changed = bare(Bundle::new().args(["probe", "sleep"]));
    for (bundle, flags) in [(&moved, &["--no-pivot"] as &[&str]), (&changed, &[])] {
        let id = bundle.fresh_id();
        bundle.create_cmd(&id, flags).run().ok();
        bundle.orlop(["start", &id]).run().ok();
        let tried = Attempts(bundle.orlop([&["exec", &id], &list[..]].concat()).run().ok().json());
        for list in &list[2..] {
            let names = tried.detail(list).as_array().unwrap();
            assert!(
                names.contains(&json!("bin")) && !names.contains(&json!("usr")),
                "{flags:?} {names:?}"
            );
        }
    }
}

/// The links of the image with chroot(2) as with pivot_root(2).
#[test]
fn without_a_mount_namespace_links_stay_inside_too() {
    let canary = Canary::dir();
    for target in [
        canary.as_str().to_owned(),
        format!("{}{}", "../".repeat(12).trim_end_matches('/'), canary.as_str()),
    ] {
        let bundle = bare(Bundle::new().args(["true"]));
        fs::remove_dir(bundle.inside("/dev")).unwrap();
        symlink(&target, bundle.inside("/dev")).unwrap();
        let _ = bundle.run();
        canary.assert_untouched();
    }
}

/// No directory is created for the change of the root, no mount of the host is left, and it works with an image
/// that cannot be written to.
#[test]
fn the_root_is_changed_without_creating_a_directory() {
    let list = |bundle: &Bundle| {
        let mut names: Vec<_> = fs::read_dir(bundle.inside(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        (names, fs::metadata(bundle.inside("")).unwrap().mtime_nsec())
    };
    for flags in [&[] as &[&str], &["--no-pivot"]] {
        for read_only_image in [false, true] {
            let bundle = Bundle::new().args(["probe", "try", "list,/", "list,/.."]);
            let image = HostMount::itself(&bundle.inside(""));
            if read_only_image {
                image.flags(libc::MS_RDONLY);
            }
            let before = list(&bundle);
            let tried = bundle.run_cmd(flags).run().ok().json();
            let names: Vec<_> = before.0.iter().map(|name| name.to_str().unwrap()).collect();
            for at in 0..2 {
                let seen = tried[at]["detail"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|name| name.as_str().unwrap());
                assert_eq!(seen.collect::<Vec<_>>(), names, "{flags:?}");
            }
            assert_eq!(list(&bundle), before, "{flags:?}");
        }
    }
    let facts = Bundle::new().facts();
    let roots = facts["mounts"].as_array().unwrap().iter();
    assert_eq!(
        roots.filter(|mount| mount["mountpoint"] == "/").count(),
        1,
        "the old root is gone"
    );
}
