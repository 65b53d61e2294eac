//! ID-mapped mounts: `idmap`, `ridmap`, and the `uidMappings` and `gidMappings` of a mount.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::host::kernel_version;
use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Bundle, Facts, HostMount};
use crate::need;

pub const KERNEL: &str = "id-mapped mounts of tmpfs (Linux 6.3)";

/// Whether the file system of the tests' directories can be mapped, according to the kernel, not the runtime.
pub fn tmpfs_can_be_mapped() -> bool {
    kernel_version() >= (6, 3)
}

/// A directory of the host with one file for each owner.
pub fn volume(bundle: &Bundle, owners: &[u32]) -> PathBuf {
    let dir = bundle.path("volume");
    fs::create_dir_all(&dir).unwrap();
    for owner in owners {
        let file = dir.join(format!("of{owner}"));
        fs::write(&file, "").unwrap();
        chown(&file, Some(*owner), Some(owner + 1)).unwrap();
    }
    dir
}

fn with_volume(bundle: Bundle, options: &[&str], uid: Value, gid: Value) -> Bundle {
    // Container root may not be able to create it.
    fs::create_dir_all(bundle.inside("/volume")).unwrap();
    let source = bundle.path("volume").to_str().unwrap().to_owned();
    let mut mount = json!({ "destination": "/volume", "source": source, "options": options });
    for (key, value) in [("uidMappings", uid), ("gidMappings", gid)] {
        if !value.is_null() {
            mount[key] = value;
        }
    }
    bundle.edit(|c| c["mounts"].as_array_mut().unwrap().push(mount))
}

pub fn map(container: u32, host: u32, size: u32) -> Value {
    json!([{ "containerID": container, "hostID": host, "size": size }])
}

#[track_caller]
pub fn owner(facts: &Facts, path: &str) -> (u64, u64) {
    let found = facts.path(path);
    (found["uid"].as_u64().unwrap(), found["gid"].as_u64().unwrap())
}

#[test]
fn idmap_with_own_mappings() {
    need!(tmpfs_can_be_mapped(), KERNEL);
    for options in [
        &["bind", "idmap"] as &[&str],
        &["bind", "ridmap"],
        &["rbind", "idmap"],
        &["bind"],
    ] {
        let bundle = Bundle::new().args(["probe", "facts", "/volume/of1000", "/volume/of7"]);
        volume(&bundle, &[1000, 7]);
        let bundle = with_volume(bundle, options, map(1000, 0, 10), map(1001, 20, 10));
        let facts = bundle.facts();
        assert_eq!(owner(&facts, "/volume/of1000"), (0, 20), "{options:?}");
        assert_eq!(owner(&facts, "/volume/of7"), (65534, 65534), "not mapped");
        assert!(facts.options("/volume").contains(&"idmapped".to_owned()));
    }
}

/// As Podman writes them for `-v /volume:/volume:idmap=uids=…`.
#[test]
fn mappings_in_the_option_apply_to_the_mount() {
    need!(tmpfs_can_be_mapped(), KERNEL);
    let bundle = |option: &str| {
        let bundle = Bundle::new().args(["probe", "facts", "/volume/of1000"]);
        volume(&bundle, &[1000]);
        with_volume(bundle, &["bind", option], Value::Null, Value::Null)
    };
    let option = "idmap=uids=1000-7-10;gids=1001-20-10#1000-30-1";
    let out = bundle(option).run().ok();
    assert!(!out.stderr.contains("without effect"), "{}", out.stderr);
    assert_eq!(owner(&Facts(out.json()), "/volume/of1000"), (7, 20));
    // The second number is in the container's user namespace.
    let relative = bundle("ridmap=uids=@1000-7-10;gids=@1000-8-10");
    assert_eq!(owner(&remapped(relative).facts(), "/volume/of1000"), (7, 9));
    // Some versions of Podman use both ways.
    let both = bundle(option).edit(|c| {
        let mount = c["mounts"].as_array_mut().unwrap().last_mut().unwrap();
        mount["uidMappings"] = map(1000, 1, 10);
        mount["gidMappings"] = map(1000, 2, 10);
    });
    assert_eq!(owner(&both.facts(), "/volume/of1000"), (1, 3));
    bundle("idmap=uids=1000-7-10")
        .run()
        .fails_with("mounts[7].options[1] \"idmap=uids=1000-7-10\": names only one of uids and gids");
}

/// The kernel compares each range with all others.
#[test]
fn more_ranges_than_the_kernel_accepts_are_refused_early() {
    let many: Vec<Value> = (0..100_000)
        .map(|id| json!({ "containerID": id, "hostID": id, "size": 1 }))
        .collect();
    let bundle = Bundle::new();
    volume(&bundle, &[1000]);
    with_volume(bundle, &["bind"], json!(many), map(0, 0, 10))
        .run()
        .fails_with("mounts[7].uidMappings: has 100000 ranges, and the kernel accepts at most 340");
}

#[test]
fn files_made_in_a_mapped_mount_belong_to_the_mapped_owner() {
    need!(tmpfs_can_be_mapped(), KERNEL);
    let bundle = Bundle::new().args(["probe", "try", "create,/volume/new", "create,/volume/more"]);
    let dir = volume(&bundle, &[]);
    chown(&dir, Some(500), Some(600)).unwrap();
    let bundle = with_volume(bundle, &["bind", "idmap"], map(500, 0, 1), map(600, 0, 1));
    assert_eq!(bundle.run().ok().json()[0]["ok"], true);
    let new = fs::metadata(dir.join("new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (500, 600));
}

/// Without mappings of the mount, the container's user namespace is used.
#[test]
fn idmap_of_the_containers_user_namespace() {
    need!(tmpfs_can_be_mapped(), KERNEL);
    let bundle = remapped(Bundle::new().args(["probe", "facts", "/volume/of0", "/volume/of1000", "/volume"]));
    let dir = volume(&bundle, &[0, 1000]);
    let bundle = with_volume(bundle, &["bind", "idmap"], Value::Null, Value::Null);
    let facts = bundle.facts();
    assert_eq!(owner(&facts, "/volume/of0"), (0, 1));
    assert_eq!(owner(&facts, "/volume/of1000"), (1000, 1001));
    assert_eq!(owner(&facts, "/volume"), (0, 0));
    bundle.change(|c| c["process"]["args"] = json!(["probe", "try", "create,/volume/new"]));
    assert_eq!(bundle.run().ok().json()[0]["ok"], true);
    let new = fs::metadata(dir.join("new")).unwrap();
    assert_eq!((new.uid(), new.gid()), (0, 0), "on the host it is root's, not 100000's");
}

#[test]
fn idmap_with_a_mapping_of_its_own_beside_a_user_namespace() {
    need!(tmpfs_can_be_mapped(), KERNEL);
    let bundle = remapped(Bundle::new().args(["probe", "facts", "/volume/of5", "/volume/of0"]));
    volume(&bundle, &[5, 0]);
    let bundle = with_volume(bundle, &["bind", "idmap"], map(5, 100_000, 1), map(6, 100_007, 1));
    let facts = bundle.facts();
    assert_eq!(owner(&facts, "/volume/of5"), (0, 7));
    assert_eq!(owner(&facts, "/volume/of0"), (65534, 65534));
}

#[test]
fn ridmap_applies_to_mounts_below_and_idmap_does_not() {
    need!(tmpfs_can_be_mapped(), KERNEL);
    for user_namespace in [false, true] {
        for (option, below) in [("ridmap", 0), ("idmap", if user_namespace { 65534 } else { 1000 })] {
            let mut bundle = Bundle::new().args(["probe", "facts", "/volume/of1000", "/volume/sub/of1000"]);
            if user_namespace {
                bundle = remapped(bundle);
            }
            let dir = volume(&bundle, &[1000]);
            let sub = HostMount::tmpfs(&dir.join("sub"), 0);
            fs::write(sub.path.join("of1000"), "").unwrap();
            chown(sub.path.join("of1000"), Some(1000), Some(1001)).unwrap();
            let host = if user_namespace { 100_000 } else { 0 };
            let bundle = with_volume(bundle, &["rbind", option], map(1000, host, 10), map(1000, host, 10));
            let facts = bundle.facts();
            assert_eq!(owner(&facts, "/volume/of1000").0, 0, "{option}");
            assert_eq!(owner(&facts, "/volume/sub/of1000").0, below, "{option}");
        }
    }
}

#[test]
fn a_new_file_system_can_be_mapped() {
    need!(tmpfs_can_be_mapped(), KERNEL);
    let mount = json!({
        "destination": "/volume", "type": "tmpfs", "source": "tmpfs", "options": ["idmap", "uid=1000", "gid=1000"],
        "uidMappings": map(1000, 7, 1), "gidMappings": map(1000, 8, 1),
    });
    let bundle = Bundle::new()
        .args(["probe", "facts", "/volume"])
        .edit(|c| c["mounts"].as_array_mut().unwrap().push(mount));
    assert_eq!(owner(&bundle.facts(), "/volume"), (7, 8));
}

#[test]
fn mapped_mounts_keep_their_other_flags() {
    need!(tmpfs_can_be_mapped(), KERNEL);
    for user_namespace in [false, true] {
        let mut bundle = Bundle::new();
        if user_namespace {
            bundle = remapped(bundle);
        }
        volume(&bundle, &[]);
        let bundle = with_volume(
            bundle,
            &["bind", "idmap", "ro", "nosuid", "noexec", "rslave"],
            map(0, 100_000, 9),
            map(0, 100_000, 9),
        );
        let options = bundle.facts().options("/volume");
        for option in ["ro", "nosuid", "noexec", "idmapped"] {
            assert!(options.contains(&option.to_owned()), "{options:?}");
        }
    }
}

/// The kernel fails with a bare EINVAL for a file system that does not support it.
#[test]
fn a_file_system_that_cannot_be_mapped_is_named() {
    let mount = json!({
        "destination": "/volume", "source": "/proc", "options": ["bind", "idmap"],
        "uidMappings": map(0, 1, 1), "gidMappings": map(0, 1, 1),
    });
    let bundle = Bundle::new()
        .args(["true"])
        .edit(|c| c["mounts"].as_array_mut().unwrap().push(mount));
    let out = bundle.run().fails_with("cannot map the owners of its files");
    assert!(
        out.stderr.contains("EINVAL") && out.stderr.contains("hint:"),
        "{}",
        out.stderr
    );
    bundle.assert_clean();
}

#[test]
fn an_unprivileged_user_cannot_map_owners() {
    let bundle = rootless(Bundle::new().args(["true"]));
    volume(&bundle, &[]);
    let bundle = with_volume(bundle, &["bind", "idmap"], map(0, 1000, 1), map(0, 1000, 1));
    as_user(bundle.run_cmd(&[])).run().fails_with("only root can map");
    bundle.assert_clean();
}

#[test]
fn features_lists_mapped_mounts() {
    let bundle = Bundle::new();
    let features = bundle.orlop(["features"]).run().ok().json();
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    for option in ["idmap", "ridmap", "tmpcopyup"] {
        assert!(features["mountOptions"].as_array().unwrap().contains(&json!(option)));
    }
}
