//! What a user namespace may mount, and what it may not change.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::json;

use super::flags::{FLAGS, bound, has, tree};
use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Bundle, Facts, HostMount};

/// Flags of a more privileged mount namespace cannot be cleared: that is an error that names the flag, not a silent `ro`.
#[test]
fn a_locked_flag_is_named() {
    for (name, clear, flag) in FLAGS.iter().filter(|(name, ..)| *name != "noatime") {
        let (bundle, _host) = bound(rootless(Bundle::new().args(["true"])), *flag, &["bind", clear]);
        let out = as_user(bundle.run_cmd(&[]))
            .run()
            .fails_with(&format!("{name} is locked"));
        assert!(
            out.stderr.contains("EPERM") && out.stderr.contains(clear),
            "{}",
            out.stderr
        );
    }
    let (bundle, _host) = bound(
        rootless(Bundle::new().args(["true"])),
        libc::MS_NOATIME,
        &["bind", "strictatime"],
    );
    as_user(bundle.run_cmd(&[]))
        .run()
        .fails_with("access time mode is locked");
}

#[test]
fn locked_flags_that_stay_are_not_an_error() {
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    let (bundle, _host) = bound(rootless(Bundle::new()), flags, &["bind", "noexec"]);
    let facts = Facts(as_user(bundle.run_cmd(&[])).run().ok().json());
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(has(&facts, "/volume", option), "{option}");
    }
}

/// Container root is an unprivileged user on the host and cannot access the source; the caller of the runtime can.
#[test]
fn sources_that_only_the_host_can_reach_are_bound() {
    for kind in ["file", "directory"] {
        let bundle = remapped(Bundle::new().args(["probe", "try", "read,/volume", "list,/volume"]));
        let hidden = bundle.path("hidden");
        fs::create_dir_all(hidden.join("directory")).unwrap();
        fs::write(hidden.join("directory/inside"), "").unwrap();
        fs::write(hidden.join("file"), "content").unwrap();
        chown(bundle.inside("/"), Some(100_000), Some(100_000)).unwrap();
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o700)).unwrap();
        let source = format!("hidden/{kind}");
        let bundle = bundle.mount("/volume", "bind", &source, &["rbind", "ro"]);
        let report = bundle.run().ok().json();
        if kind == "file" {
            assert_eq!(report[0]["detail"], "content");
        } else {
            assert_eq!(report[1]["detail"], json!(["inside"]));
        }
    }
}

/// Mounts below must not be uncovered for a user namespace, and the kernel fails with EINVAL.
#[test]
fn a_bind_mount_without_rbind_of_a_locked_tree_is_explained() {
    let (bundle, _host) = tree(rootless(Bundle::new().args(["true"])), 0, &["bind"]);
    let out = as_user(bundle.run_cmd(&[])).run().fails_with("EINVAL");
    assert!(out.stderr.contains("\"rbind\" includes them"), "{}", out.stderr);
}

#[test]
fn a_mount_point_that_container_root_may_not_create_is_explained() {
    let bundle = remapped(Bundle::new().args(["true"])).mount("/missing", "tmpfs", "tmpfs", &[]);
    let out = bundle.run().fails_with("EACCES");
    assert!(out.stderr.contains("the mount point does not exist"), "{}", out.stderr);
}

#[test]
fn binds_in_a_user_namespace_do_not_propagate_to_the_host() {
    let bundle =
        remapped(Bundle::new().args(["probe", "try", "mount,tmpfs,/volume/new"])).with_caps(&["CAP_SYS_ADMIN"]);
    let host = HostMount::tmpfs(&bundle.path("volume"), 0).shared();
    fs::create_dir(host.path.join("new")).unwrap();
    let source = host.as_str().to_owned();
    chown(bundle.inside("/"), Some(100_000), Some(100_000)).unwrap();
    let bundle = bundle.mount("/volume", "bind", &source, &["rbind", "rshared"]);
    assert_eq!(bundle.run().ok().json()[0]["ok"], true);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&format!("{source}/new")), "{mounts}");
}
