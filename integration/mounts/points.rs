//! What exists at a mount's destination, or at the path of a device, before it is created.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

use nix::sys::stat::SFlag;
use serde_json::{Value, json};

use crate::harness::host::{make_node, makes_namespaces_of_trees};
use crate::harness::users::remapped;
use crate::harness::{Bundle, Facts, HostMount};

fn device(bundle: Bundle, device: Value) -> Bundle {
    bundle.edit(|c| {
        c["linux"]["devices"] = json!([device]);
        c["linux"]["resources"]["devices"] = json!([{ "allow": true, "access": "rwm" }]);
    })
}

/// `docker run -v /dev/urandom:/dev/random` and the like: a mount of the config replaces a default device.
#[test]
fn a_volume_replaces_a_default_device() {
    for user_namespace in [false, true] {
        let own = |bundle: Bundle| if user_namespace { remapped(bundle) } else { bundle };
        let bundle = Bundle::new().args(["probe", "facts", "/dev/random", "/dev/tty", "/dev/zero", "/dev/full"]);
        fs::write(bundle.path("file"), "content").unwrap();
        let bundle = own(bundle)
            .mount("/dev/random", "bind", "/dev/urandom", &["rbind", "rprivate", "ro"])
            .mount("/dev/tty", "bind", "file", &["bind"])
            .mount("/dev/zero", "tmpfs", "tmpfs", &[]);
        let facts = bundle.facts();
        let random = facts.path("/dev/random");
        assert_eq!((&random["major"], &random["minor"]), (&json!(1), &json!(9)));
        assert_eq!(facts.path("/dev/tty")["type"], "file");
        assert_eq!(facts.path("/dev/zero")["type"], "directory");
        assert_eq!(facts.path("/dev/full")["minor"], 7, "the others are as ever");
    }
}

/// A listed device would then be requested twice, which is a contradiction.
#[test]
fn a_volume_at_the_path_of_a_listed_device_is_refused() {
    for user_namespace in [false, true] {
        let bundle = device(
            Bundle::new().args(["true"]),
            json!({ "path": "/dev/random", "type": "c", "major": 1, "minor": 8 }),
        );
        let bundle = if user_namespace { remapped(bundle) } else { bundle };
        let out = bundle
            .mount("/dev/random", "bind", "/dev/urandom", &["bind"])
            .run()
            .fails_with("linux.devices[0] \"/dev/random\": another file already exists at this path");
        assert!(out.stderr.contains("or the mount from mounts"), "{}", out.stderr);
    }
}

/// config-linux.md: `fileMode`, `uid` and `gid` apply to the device, also if the node exists.
#[test]
fn a_node_of_the_image_gets_the_mode_and_owner_of_the_config() {
    let bundle = device(
        Bundle::new().args(["probe", "facts", "/etc/node"]).writable(),
        json!({ "path": "/etc/node", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8 }),
    );
    let seen = |facts: &Facts| {
        let node = facts.path("/etc/node");
        (node["mode"].clone(), node["uid"].clone(), node["gid"].clone())
    };
    assert_eq!(seen(&bundle.facts()), (json!("0640"), json!(7), json!(8)));
    // The second time on the result of the first.
    bundle.change(|c| {
        c["linux"]["devices"] =
            json!([{ "path": "/etc/node", "type": "c", "major": 1, "minor": 5, "fileMode": 0o604 }]);
    });
    assert_eq!(seen(&bundle.facts()), (json!("0604"), json!(0), json!(0)));
}

/// A volume that contains devices, and the same devices in the list: the nodes of the volume belong to the host.
#[test]
fn a_node_of_a_volume_keeps_its_mode_and_owner() {
    let bundle = Bundle::new()
        .args(["probe", "facts", "/devices/node", "/single"])
        .writable();
    let volume = bundle.path("volume");
    fs::create_dir(&volume).unwrap();
    let node = volume.join("node");
    make_node(&node, SFlag::S_IFCHR, 0o600, (1, 5));
    chown(&node, Some(5), Some(6)).unwrap();
    let bundle = bundle
        .mount("/devices", "bind", "volume", &["bind"])
        .mount("/single", "bind", "volume/node", &["bind"])
        .edit(|c| {
            let wished = |path: &str| json!({ "path": path, "type": "c", "major": 1, "minor": 5, "uid": 7, "gid": 8 });
            c["linux"]["devices"] = json!([wished("/devices/node"), wished("/single")]);
            c["linux"]["resources"]["devices"] = json!([{ "allow": true, "access": "rwm" }]);
        });
    let facts = bundle.facts();
    for path in ["/devices/node", "/single"] {
        assert_eq!(facts.path(path)["uid"], 5, "{path}");
    }
    let after = fs::metadata(&node).unwrap();
    assert_eq!((after.uid(), after.gid(), after.mode() & 0o777), (5, 6, 0o600));
}

/// The mount would never be visible.
#[test]
fn the_root_is_not_mounted_over_through_another_path() {
    for destination in ["/..", "/etc/..", "/link", "/etc/to-link"] {
        for (kind, source, options) in [("tmpfs", "tmpfs", &[] as &[&str]), ("bind", "output", &["bind"])] {
            let bundle = Bundle::new().args(["true"]).mount(destination, kind, source, options);
            symlink("/", bundle.inside("/link")).unwrap();
            symlink("../link/.", bundle.inside("/etc/to-link")).unwrap();
            let out = bundle.run().fails_with("resolves to the root of the container");
            assert!(out.stderr.contains("mounts[7]"), "{destination}: {}", out.stderr);
            bundle.assert_clean();
        }
    }
    // A mount at the target of a link may be the same directory, but is another mount.
    let bundle = Bundle::new().args(["probe", "try", "list,/data/here"]);
    symlink("data", bundle.inside("/link")).unwrap();
    fs::create_dir(bundle.inside("/data")).unwrap();
    fs::create_dir(bundle.path("here")).unwrap();
    let bundle = bundle
        .mount("/data", "bind", "rootfs", &["bind"])
        .mount("/link", "bind", ".", &["bind"]);
    assert_eq!(bundle.run().ok().json()[0]["ok"], true);
}

#[test]
fn masks_of_the_root_through_another_path_are_refused() {
    for list in ["maskedPaths", "readonlyPaths"] {
        let bundle = Bundle::new().edit(|c| c["linux"][list] = json!(["/etc/.."]));
        bundle.run().fails_with("the root itself cannot be covered");
    }
}

#[test]
fn a_file_on_a_directory_is_explained() {
    let bundle = Bundle::new().args(["true"]);
    fs::write(bundle.path("file"), "content").unwrap();
    let bundle = bundle.mount("/etc", "bind", "file", &["bind"]);
    bundle
        .run()
        .fails_with("mounts[7] \"/etc\": the source is not a directory, but the destination is");
    bundle.assert_clean();
}

#[test]
fn places_where_no_mount_point_can_be_made_are_explained() {
    let none = "cannot be created in a file system of the kernel";
    for place in ["/proc/new", "/dev/mqueue/new"] {
        let bundle = Bundle::new().args(["true"]).mount(place, "tmpfs", "tmpfs", &[]);
        let out = bundle.run().fails_with(none);
        assert!(out.stderr.contains(place), "{}", out.stderr);
    }
    // A file in a volume that is read-only.
    let bundle = Bundle::new().args(["true"]);
    fs::create_dir(bundle.path("volume")).unwrap();
    fs::write(bundle.path("file"), "content").unwrap();
    bundle
        .mount("/tmp", "bind", "volume", &["bind", "ro"])
        .mount("/tmp/file", "bind", "file", &["bind"])
        .run()
        .fails_with("cannot be created because the mount around it is read-only");
}

#[test]
fn a_device_without_a_name_is_refused() {
    for path in ["/", "/dev/.."] {
        device(
            Bundle::new(),
            json!({ "path": path, "type": "c", "major": 1, "minor": 5 }),
        )
        .run()
        .fails_with("path must end in the name of the device");
    }
}

#[test]
fn a_mount_on_dev_ptmx_is_explained() {
    let bundle = Bundle::new()
        .args(["true"])
        .mount("/dev/ptmx", "bind", "/dev/null", &["bind"]);
    bundle
        .run()
        .fails_with("/dev/ptmx must be the one of the container's devpts");
}

/// An image without devices on a read-only disk, and no tmpfs on /dev.
#[test]
fn a_read_only_image_without_devices_is_explained() {
    let mut bundle = Bundle::new().args(["true"]);
    for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        bundle = bundle.without_mount(place);
    }
    let image = HostMount::itself(&bundle.inside("/"));
    image.flags(libc::MS_RDONLY);
    bundle
        .run()
        .fails_with("cannot be created on a read-only mount: mount a tmpfs on /dev");
}

/// As for Podman in a container: the kernel does not allow a procfs that shows more than the outer one.
#[test]
fn a_masked_proc_outside_a_user_namespace_is_explained() {
    const MASKED: &str = r#"[ "${IN:-}" ] || IN=1 exec unshare --mount --propagation private sh -c '
        mount -t tmpfs none /proc/fs && exec "$0" "$@"' "$0" "$@""#;
    let bundle = remapped(Bundle::new().args(["true"]));
    let out = bundle
        .run_cmd(&[])
        .through_shell(MASKED)
        .run()
        .fails_with("mounts[0] \"/proc\": fsmount(");
    assert!(
        out.stderr.contains("with nothing in /proc and /sys masked"),
        "{}",
        out.stderr
    );
    // Without a user namespace the kernel has no such rule.
    Bundle::new()
        .args(["true"])
        .run_cmd(&[])
        .through_shell(MASKED)
        .run()
        .ok();
}

#[test]
fn a_runtime_in_a_chroot_is_explained() {
    const CHROOT: &str = r#"[ "${IN:-}" ] || IN=1 exec unshare --mount --propagation private sh -c '
        mount -t tmpfs none /mnt && mkdir /mnt/c && cd /mnt/c && cp "$0" runtime &&
        for d in run proc sys dev; do mkdir $d && mount --rbind /$d $d || exit 99; done &&
        if [ $SELF ]; then mount --rbind . . && cd /mnt/c; fi && exec chroot . /runtime "$@"' "$0" "$@""#;
    let bundle = Bundle::new().args(["true"]);
    let run = |itself: &str| bundle.run_cmd(&[]).through_shell(CHROOT).env("SELF", itself).run();
    match makes_namespaces_of_trees() {
        // The tree is attached nowhere before the root is changed.
        true => drop(run("").ok()),
        false => drop(run("").fails_with("so it runs in a chroot")),
    }
    bundle.assert_clean();
    // As the hint says.
    run("yes").ok();
}

#[test]
fn a_relative_destination_starts_at_the_root_and_is_warned_about() {
    let bundle = Bundle::new().mount("tmp", "tmpfs", "tmpfs", &[]);
    let out = bundle.run().ok();
    assert!(out.stderr.contains("a relative path is deprecated"), "{}", out.stderr);
    Facts(out.json()).mount("/tmp");
}

#[test]
fn a_file_is_bound_on_a_file_and_a_directory_on_a_directory() {
    let bundle = Bundle::new().edit(|c| c["root"]["readonly"] = json!(false));
    fs::create_dir(bundle.path("dir")).unwrap();
    fs::write(bundle.path("file"), "content").unwrap();
    let bundle =
        bundle
            .mount("/new/deeper/file", "bind", "file", &["bind"])
            .mount("/new/dir", "bind", "dir", &["bind"]);
    let tried = bundle.attempt([
        "read,/new/deeper/file",
        "list,/new/dir",
        "lstat,/new",
        "lstat,/new/deeper",
    ]);
    assert_eq!(
        tried.detail("read,/new/deeper/file"),
        "content",
        "the source is relative to the bundle"
    );
    assert_eq!(tried.result("list,/new/dir"), "ok");
    for made in ["lstat,/new", "lstat,/new/deeper"] {
        assert_eq!(tried.detail(made)["mode"], "0755");
    }
}

#[test]
fn a_tmpfs_keeps_the_mode_of_what_it_covers() {
    let bundle = Bundle::new().args(["probe", "facts", "/tmp", "/covered"]);
    fs::create_dir(bundle.inside("/covered")).unwrap();
    fs::set_permissions(bundle.inside("/covered"), fs::Permissions::from_mode(0o2750)).unwrap();
    let facts = bundle
        .mount("/tmp", "tmpfs", "tmpfs", &[])
        .mount("/covered", "tmpfs", "tmpfs", &[])
        .facts();
    assert_eq!(facts.path("/tmp")["mode"], "1777");
    assert_eq!(facts.path("/covered")["mode"], "2750");
}
