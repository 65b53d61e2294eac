//! `linux.devices`, /dev, and masks.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::Path;

use nix::sys::stat::SFlag;
use serde_json::{Value, json};

use crate::harness::host::make_node;
use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Bundle, Canary, Facts};

fn with_devices(bundle: Bundle, devices: Value) -> Bundle {
    bundle.edit(|c| {
        c["linux"]["devices"] = devices;
        c["linux"]["resources"]["devices"] = json!([{ "allow": true, "access": "rwm" }]);
    })
}

/// A root file system that is owned by container root in a user namespace.
fn owned(bundle: Bundle) -> Bundle {
    for place in ["/", "/dev", "/etc", "/tmp"] {
        chown(bundle.inside(place), Some(100_000), Some(100_000)).unwrap();
    }
    bundle
}

#[test]
fn every_type_of_device_is_made() {
    let devices = json!([
        { "path": "/dev/character", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8 },
        { "path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 3 },
        { "path": "/dev/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600 },
        { "path": "/dev/fifo", "type": "p", "fileMode": 0o620, "uid": 9, "gid": 10 },
        { "path": "/srv/new/node", "type": "c", "major": 1, "minor": 9 },
    ]);
    let expected = [
        ("/dev/character", "character device", 1, 5, "0640", 7, 8),
        ("/dev/unbuffered", "character device", 1, 3, "0666", 0, 0),
        ("/dev/block", "block device", 7, 200, "0600", 0, 0),
        ("/dev/fifo", "fifo", 0, 0, "0620", 9, 10),
        ("/srv/new/node", "character device", 1, 9, "0666", 0, 0),
    ];
    for user_namespace in [false, true] {
        let args = ["probe", "facts"].into_iter().chain(expected.iter().map(|row| row.0));
        let mut bundle = with_devices(Bundle::new().args(args).writable(), devices.clone());
        if user_namespace {
            bundle = owned(remapped(bundle));
        }
        let out = bundle.run_cmd(&[]).umask(0o077).run().ok();
        let facts = Facts(out.json());
        for (path, kind, major, minor, mode, uid, gid) in expected {
            let node = facts.path(path);
            assert_eq!(node["type"], kind, "{path}");
            if kind != "fifo" {
                assert_eq!(
                    (&node["major"], &node["minor"]),
                    (&json!(major), &json!(minor)),
                    "{path}"
                );
            }
            assert_eq!(node["mode"], mode, "{path} user namespace {user_namespace}");
            assert_eq!(
                (&node["uid"], &node["gid"]),
                (&json!(uid), &json!(gid)),
                "{path}: container ids, user namespace {user_namespace}"
            );
        }
    }
}

/// In a user namespace no node can be created. The bound device must work, belong to the container, and exist
/// whether or not the host has such a path.
#[test]
fn devices_of_a_user_namespace_work_and_belong_to_its_root() {
    let devices = json!([{ "path": "/dev/not-on-the-host", "type": "c", "major": 1, "minor": 5 }]);
    let bundle = with_devices(
        remapped(Bundle::new().args([
            "probe",
            "try",
            "read,/dev/not-on-the-host",
            "write,/dev/null,x",
            "lstat,/dev/null",
            "chmod,/dev/null,600",
            "open,/dev/full,rw",
        ])),
        devices,
    );
    let tried = crate::harness::Attempts(bundle.run().ok().json());
    assert_eq!(tried.result("read,/dev/not-on-the-host"), "ok");
    assert_eq!(tried.result("write,/dev/null,x"), "ok");
    assert_eq!(tried.result("open,/dev/full,rw"), "ok");
    let null = tried.detail("lstat,/dev/null");
    assert_eq!((&null["uid"], &null["gid"]), (&json!(0), &json!(0)));
    // A separate node: changes to it affect no other.
    assert_eq!(tried.result("chmod,/dev/null,600"), "ok");
    assert_eq!(fs::metadata("/dev/null").unwrap().mode() & 0o777, 0o666);
    let facts = remapped(Bundle::new()).facts();
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let options = facts.options(&format!("/dev/{name}"));
        for option in ["nosuid", "noexec"] {
            assert!(options.contains(&option.to_owned()), "{name}: {options:?}");
        }
    }
    let under = |mount: &Value| mount["source"] == "devices" && mount["root"] == "/";
    assert!(
        !facts["mounts"].as_array().unwrap().iter().any(under),
        "the nodes' directory is gone"
    );
}

#[test]
fn an_unprivileged_users_devices_are_the_hosts() {
    let bundle = rootless(Bundle::new().args(["probe", "try", "write,/dev/null,x", "read,/dev/zero"]));
    let report = as_user(bundle.run_cmd(&[])).run().ok().json();
    assert_eq!((&report[0]["ok"], &report[1]["ok"]), (&json!(true), &json!(true)));
    let other = |path: &str, uid: u32| {
        let device = json!([{ "path": path, "type": "c", "major": 1, "minor": 5, "uid": uid }]);
        rootless(Bundle::new().args(["true"])).edit(|c| c["linux"]["devices"] = device)
    };
    as_user(other("/dev/elsewhere", 0).run_cmd(&[]))
        .run()
        .fails_with("open_tree");
    as_user(other("/dev/null", 0).run_cmd(&[]))
        .run()
        .fails_with("the host has no such device at this path");
}

#[test]
fn an_owner_that_is_not_mapped_is_refused() {
    let device = json!([{ "path": "/dev/x", "type": "c", "major": 1, "minor": 5, "uid": 70_000 }]);
    let bundle = with_devices(remapped(Bundle::new().args(["true"])), device);
    bundle.run().fails_with("uid 70000 is not mapped");
    bundle.assert_clean();
}

/// config-linux.md: "If a file already exists at path that does not match the requested device, the runtime MUST generate
/// an error."
#[test]
fn an_existing_file_that_does_not_match_is_an_error() {
    type Plant = fn(&Path);
    let plants: [(&str, Plant); 7] = [
        ("a file", |path| fs::write(path, "text").unwrap()),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a link to nowhere", |path| symlink("/nowhere", path).unwrap()),
        ("a link to a device", |path| symlink("/dev/zero", path).unwrap()),
        ("another minor number", |path| {
            make_node(path, SFlag::S_IFCHR, 0o666, (1, 7))
        }),
        ("another major number", |path| {
            make_node(path, SFlag::S_IFCHR, 0o666, (2, 5))
        }),
        ("a block device", |path| make_node(path, SFlag::S_IFBLK, 0o666, (1, 5))),
    ];
    for user_namespace in [false, true] {
        for (what, plant) in plants {
            let device = json!([{ "path": "/etc/node", "type": "c", "major": 1, "minor": 5 }]);
            let mut bundle = with_devices(Bundle::new().args(["true"]).writable(), device);
            if user_namespace {
                bundle = owned(remapped(bundle));
            }
            let path = bundle.inside("/etc/node");
            plant(&path);
            let before = fs::symlink_metadata(&path).unwrap();
            let out = bundle.run().fails_with("another file already exists at this path");
            assert!(out.stderr.contains("linux.devices[0]"), "{what}: {}", out.stderr);
            let after = fs::symlink_metadata(&path).unwrap();
            assert_eq!(
                (before.ino(), before.uid(), before.mode()),
                (after.ino(), after.uid(), after.mode()),
                "{what}"
            );
            bundle.assert_clean();
        }
    }
}

/// As Docker lists it for a privileged container.
#[test]
fn a_listed_ptmx_is_the_one_of_the_containers_devpts() {
    let listed = json!([{ "path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2 }]);
    for user_namespace in [false, true] {
        let mut bundle = with_devices(Bundle::new().sh("busybox readlink /dev/ptmx"), listed.clone());
        if user_namespace {
            bundle = remapped(bundle);
        }
        assert_eq!(bundle.run().ok().stdout, "pts/ptmx\n");
    }
}

#[test]
fn an_existing_device_is_not_an_error() {
    for user_namespace in [false, true] {
        let device = json!([{ "path": "/etc/node", "type": "c", "major": 1, "minor": 5 }]);
        let mut bundle = with_devices(
            Bundle::new().args(["probe", "try", "read,/etc/node"]).writable(),
            device,
        );
        if user_namespace {
            bundle = owned(remapped(bundle));
        }
        // The second time on the result of the first.
        for _ in 0..2 {
            assert_eq!(bundle.run().ok().json()[0]["ok"], true);
        }
        let _ = fs::remove_file(bundle.inside("/etc/node"));
        make_node(&bundle.inside("/etc/node"), SFlag::S_IFCHR, 0o666, (1, 5));
        assert_eq!(bundle.run().ok().json()[0]["ok"], true);
    }
}

/// A bound /dev: nothing is created, removed or changed in it.
#[test]
fn a_bound_dev_is_not_changed() {
    let canary = Canary::dir();
    let source = canary.as_str().to_owned();
    let bind = |devices: Value| {
        let mut bundle = Bundle::new().args(["true"]);
        for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            bundle = bundle.without_mount(place);
        }
        with_devices(bundle.mount("/dev", "bind", &source, &["bind", "rw"]), devices)
    };
    bind(json!([])).run().ok();
    canary.assert_untouched();
    let device = |path: &str| json!([{ "path": path, "type": "c", "major": 1, "minor": 5, "uid": 5 }]);
    bind(device("/dev/new"))
        .run()
        .fails_with("the bind-mounted /dev has no such device");
    bind(device("/dev//./sub/new"))
        .run()
        .fails_with("the bind-mounted /dev has no such device");
    bind(device("/dev/file"))
        .run()
        .fails_with("the bind-mounted /dev has another file at this path");
    canary.assert_untouched();

    // The /dev of the host, as for a privileged container: its devices are there.
    let mut bundle = Bundle::new().args(["probe", "facts", "/dev/zero"]);
    for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        bundle = bundle.without_mount(place);
    }
    let bundle = with_devices(
        bundle.mount("/dev", "bind", "/dev", &["rbind"]),
        json!([{ "path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "uid": 5, "gid": 5 }]),
    );
    let facts = bundle.facts();
    assert_eq!(facts.path("/dev/zero")["uid"], 0, "not given away");
}

/// The engine has already bound the host's /dev into the image. A tmpfs of this test stands in for the host's.
#[test]
fn a_dev_of_the_host_in_the_image_is_not_changed() {
    const DEV: &str = r#"[ "${IN:-}" ] || IN=1 exec unshare --mount --propagation private sh -c '
        mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/ptmx c 5 2 && mkdir /dev/pts &&
        mount -t devpts -o newinstance,ptmxmode=666 none /dev/pts && mount --rbind /dev "$ROOTFS/dev" && "$0" "$@"
        code=$?
        [ -c /dev/ptmx ] && [ ! -e /dev/fd ] && [ ! -e /dev/zero ] && exit $code
        echo spoiled >&2; exit 99' "$0" "$@""#;
    let mut bundle = Bundle::new().args(["probe", "try", "write,/dev/null,x"]).writable();
    for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        bundle = bundle.without_mount(place);
    }
    let rootfs = bundle.inside("/");
    let cmd = bundle
        .run_cmd(&[])
        .through_shell(DEV)
        .env("ROOTFS", rootfs.to_str().unwrap());
    let report = cmd.run().ok().json();
    assert_eq!(report[0]["ok"], true);
}

/// CVE-2026-41579, CVE-2026-47766 in a user namespace, with and without a mount on /dev.
#[test]
fn a_linked_dev_stays_inside_the_root_in_a_user_namespace() {
    // Writable for container root, so that only the resolution of the path keeps it out.
    let canary = Canary::open_dir();
    let climbing = format!("{}{}", "../".repeat(12).trim_end_matches('/'), canary.as_str());
    for target in [canary.as_str(), climbing.as_str()] {
        for mounted in [true, false] {
            let mut bundle = owned(remapped(Bundle::new().args(["true"]).writable()));
            if !mounted {
                for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                    bundle = bundle.without_mount(place);
                }
            }
            let bundle = with_devices(
                bundle,
                json!([{ "path": "/dev/extra", "type": "c", "major": 1, "minor": 3 }]),
            );
            fs::remove_dir(bundle.inside("/dev")).unwrap();
            symlink(target, bundle.inside("/dev")).unwrap();
            let _ = bundle.run();
            canary.assert_untouched();
        }
    }
}

/// CVE-2025-31133 in a user namespace: nodes of the image are not used for binding or masking.
#[test]
fn links_of_the_image_are_not_followed_in_a_user_namespace() {
    let canary = Canary::file();
    for name in ["null", "zero", "tty", "extra"] {
        let bundle = owned(remapped(Bundle::new().args(["true"]).writable())).without_mount("/dev");
        let bundle = with_devices(
            bundle,
            json!([{ "path": "/dev/extra", "type": "c", "major": 1, "minor": 3 }]),
        );
        symlink(canary.as_str(), bundle.inside("/dev").join(name)).unwrap();
        bundle.run().fails_for("another file already exists at this path");
        canary.assert_untouched();
    }
}

#[test]
fn masked_directories_share_one_file_system_and_duplicates_are_harmless() {
    let bundle = Bundle::new();
    for name in ["one", "two", "three"] {
        fs::create_dir(bundle.inside("/etc").join(name)).unwrap();
        fs::write(bundle.inside("/etc").join(name).join("secret"), "").unwrap();
    }
    fs::write(bundle.inside("/etc/file"), "secret").unwrap();
    symlink("one", bundle.inside("/etc/link")).unwrap();
    let masked = [
        "/etc/one",
        "/etc/one/",
        "/etc//one",
        "/etc/two",
        "/etc/link",
        "/etc/three",
        "/etc/one",
        "/etc/file",
        "/etc/file",
    ];
    let bundle = bundle.edit(|c| c["linux"]["maskedPaths"] = json!(masked));
    let facts = bundle.facts();
    let device = &facts.mount("/etc/one")["device"];
    for place in ["/etc/two", "/etc/three"] {
        assert_eq!(&facts.mount(place)["device"], device);
    }
    let on_file = facts["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|mount| mount["mountpoint"] == "/etc/file");
    assert_eq!(on_file.count(), 1);
    let operations = [
        "list,/etc/one",
        "list,/etc/two",
        "list,/etc/three",
        "list,/etc/link",
        "read,/etc/file",
    ];
    let tried = bundle.attempt(operations);
    for operation in &operations[..4] {
        assert_eq!(tried.detail(operation), &json!([]), "{operation}");
    }
    assert_eq!(tried.detail("read,/etc/file"), "");
}

#[test]
fn read_only_paths_cover_what_is_mounted_below() {
    let tried = Bundle::new()
        .mount("/tmp", "tmpfs", "tmpfs", &[])
        .mount("/tmp/sub", "tmpfs", "tmpfs", &["noexec"])
        .edit(|c| c["linux"]["readonlyPaths"] = json!(["/tmp", "/tmp/", "/no/such/path"]))
        .attempt(["create,/tmp/x", "create,/tmp/sub/x"]);
    assert_eq!(tried.result("create,/tmp/x"), "EROFS");
    assert_eq!(tried.result("create,/tmp/sub/x"), "EROFS");
}
