//! Each option that `features` lists has its effect, seen from inside; options of others that it does not list have none.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{chown, symlink};

use serde_json::json;

use super::flags::tree;
use super::idmapped::{KERNEL, map, owner, tmpfs_can_be_mapped};
use super::propagation::OPTIONS as PROPAGATION;
use crate::harness::{Bundle, HostMount};
use crate::need;

const NOSYMFOLLOW: libc::c_ulong = 256;

/// A word for a bind mount of a tree, the flags of the host's mounts, and an option, which the mount and the one below it
/// have afterwards, or not.
const OF_MOUNTS: &[(&str, libc::c_ulong, &str, bool, bool)] = &[
    ("ro", 0, "ro", true, false),
    ("rw", libc::MS_RDONLY, "ro", false, true),
    ("rro", 0, "ro", true, true),
    ("rrw", libc::MS_RDONLY, "ro", false, false),
    ("nosuid", 0, "nosuid", true, false),
    ("suid", libc::MS_NOSUID, "nosuid", false, true),
    ("rnosuid", 0, "nosuid", true, true),
    ("rsuid", libc::MS_NOSUID, "nosuid", false, false),
    ("nodev", 0, "nodev", true, false),
    ("dev", libc::MS_NODEV, "nodev", false, true),
    ("rnodev", 0, "nodev", true, true),
    ("rdev", libc::MS_NODEV, "nodev", false, false),
    ("noexec", 0, "noexec", true, false),
    ("exec", libc::MS_NOEXEC, "noexec", false, true),
    ("rnoexec", 0, "noexec", true, true),
    ("rexec", libc::MS_NOEXEC, "noexec", false, false),
    ("nodiratime", 0, "nodiratime", true, false),
    ("diratime", libc::MS_NODIRATIME, "nodiratime", false, true),
    ("rnodiratime", 0, "nodiratime", true, true),
    ("rdiratime", libc::MS_NODIRATIME, "nodiratime", false, false),
    ("nosymfollow", 0, "nosymfollow", true, false),
    ("symfollow", NOSYMFOLLOW, "nosymfollow", false, true),
    ("rnosymfollow", 0, "nosymfollow", true, true),
    ("rsymfollow", NOSYMFOLLOW, "nosymfollow", false, false),
    ("noatime", 0, "noatime", true, false),
    ("atime", libc::MS_NOATIME, "noatime", false, true),
    ("rnoatime", 0, "noatime", true, true),
    ("ratime", libc::MS_NOATIME, "noatime", false, false),
    ("relatime", libc::MS_NOATIME, "relatime", true, false),
    ("rrelatime", libc::MS_NOATIME, "relatime", true, true),
    ("strictatime", libc::MS_RELATIME, "relatime", false, true),
    ("rstrictatime", libc::MS_RELATIME, "relatime", false, false),
    ("nostrictatime", libc::MS_STRICTATIME, "relatime", true, false),
    ("rnostrictatime", libc::MS_STRICTATIME, "relatime", true, true),
    // These ask for no other mode.
    ("norelatime", libc::MS_STRICTATIME, "relatime", false, false),
    ("rnorelatime", libc::MS_STRICTATIME, "relatime", false, false),
];

type OfFileSystem = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
    &'static str,
    bool,
);

/// A word, the options of a new tmpfs, those of a remount, and an option that it has afterwards, or not.
const OF_FILE_SYSTEMS: &[OfFileSystem] = &[
    ("sync", &["sync"], &[], "sync", true),
    ("async", &["sync"], &["remount", "async"], "sync", false),
    ("dirsync", &["dirsync"], &[], "dirsync", true),
    ("lazytime", &["lazytime"], &[], "lazytime", true),
    (
        "nolazytime",
        &["lazytime"],
        &["remount", "nolazytime"],
        "lazytime",
        false,
    ),
    ("remount", &[], &["remount", "noexec"], "noexec", true),
    // Nothing is seen of these on a tmpfs: they are accepted.
    ("defaults", &["noexec", "defaults"], &[], "noexec", true),
    ("mand", &["mand"], &[], "ro", false),
    ("nomand", &["nomand"], &[], "ro", false),
    ("silent", &["silent"], &[], "ro", false),
    ("loud", &["loud"], &[], "ro", false),
    ("iversion", &["iversion"], &[], "ro", false),
    ("noiversion", &["noiversion"], &[], "ro", false),
];

/// Tested below one by one.
const OTHERS: &[&str] = &[
    "bind",
    "rbind",
    "idmap",
    "ridmap",
    "tmpcopyup",
    "copy-symlink",
    "dest-nofollow",
    "src-nofollow",
];

#[test]
fn the_options_tested_here_are_those_of_features() {
    let tested = OF_MOUNTS.iter().map(|row| row.0);
    let tested = tested.chain(OF_FILE_SYSTEMS.iter().map(|row| row.0));
    // (Their effect is tested beside the table.)
    let tested = tested.chain(PROPAGATION.iter().map(|row| row.0));
    let tested: BTreeSet<&str> = tested.chain(OTHERS.iter().copied()).collect();
    let features = Bundle::new().orlop(["features"]).run().ok().json();
    let listed = features["mountOptions"].as_array().unwrap();
    let listed: BTreeSet<&str> = listed.iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(tested, listed);
}

#[test]
fn every_listed_option_of_a_mount_has_its_effect() {
    for (word, flags, option, top, below) in OF_MOUNTS {
        let (bundle, _hosts) = tree(Bundle::new(), *flags, &["rbind", word]);
        let facts = bundle.facts();
        let seen = ["/volume", "/volume/below"].map(|place| {
            facts.mount(place)["options"]
                .as_array()
                .unwrap()
                .contains(&json!(option))
        });
        assert_eq!(seen, [*top, *below], "{word}");
    }
    for (word, below) in [("bind", false), ("rbind", true)] {
        let (bundle, _hosts) = tree(Bundle::new(), 0, &[word]);
        let mounts = bundle.facts()["mounts"].clone();
        let mounted = |place: &str| {
            mounts
                .as_array()
                .unwrap()
                .iter()
                .any(|mount| mount["mountpoint"] == place)
        };
        assert_eq!((mounted("/volume"), mounted("/volume/below")), (true, below), "{word}");
    }
}

#[test]
fn every_listed_option_of_a_file_system_has_its_effect() {
    for (word, first, again, option, expected) in OF_FILE_SYSTEMS {
        let mut bundle = Bundle::new().mount("/tmp", "tmpfs", "tmpfs", first);
        if !again.is_empty() {
            bundle = bundle.mount("/tmp", "tmpfs", "tmpfs", again);
        }
        let options = bundle.facts().options("/tmp");
        assert_eq!(
            options.contains(&(*option).to_owned()),
            *expected,
            "{word}: {options:?}"
        );
    }
    let bundle = Bundle::new().args(["cat", "/data/file"]);
    fs::create_dir(bundle.inside("/data")).unwrap();
    fs::write(bundle.inside("/data/file"), "of the image").unwrap();
    let bundle = bundle.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    assert_eq!(bundle.run().ok().stdout, "of the image");
}

#[test]
fn listed_options_map_the_owners() {
    need!(tmpfs_can_be_mapped(), KERNEL);
    for (word, below) in [("idmap", 1000), ("ridmap", 0)] {
        let files = ["/volume/file", "/volume/below/file"];
        let bundle = Bundle::new().args([&["probe", "facts"][..], &files].concat().iter().copied());
        let top = HostMount::tmpfs(&bundle.path("volume"), 0);
        let inner = HostMount::tmpfs(&top.path.join("below"), 0);
        for host in [&top, &inner] {
            fs::write(host.path.join("file"), "").unwrap();
            chown(host.path.join("file"), Some(1000), Some(1000)).unwrap();
        }
        let ids = map(1000, 0, 1);
        let mount = json!({ "destination": "/volume", "source": top.as_str(), "options": ["rbind", word], "uidMappings": ids, "gidMappings": ids });
        let facts = bundle.edit(|c| c["mounts"].as_array_mut().unwrap().push(mount)).facts();
        assert_eq!(files.map(|file| owner(&facts, file).0), [0, below], "{word}");
    }
}

#[test]
fn listed_options_about_links_have_their_effect() {
    for (word, target) in [
        ("copy-symlink", "of the image"),
        ("src-nofollow", "of the image"),
        ("bind", "of the host"),
    ] {
        let bundle = Bundle::new().args(["cat", "/here/link"]);
        fs::create_dir(bundle.inside("/here")).unwrap();
        fs::write(bundle.inside("/here/file"), "of the image").unwrap();
        fs::write(bundle.path("file"), "of the host").unwrap();
        symlink("file", bundle.path("link")).unwrap();
        let bundle = bundle.mount("/here/link", "bind", "link", &["bind", word]);
        assert_eq!(bundle.run().ok().stdout, target, "{word}");
    }
    for (word, target) in [("dest-nofollow", "of the image"), ("bind", "of the host")] {
        let bundle = Bundle::new().args(["cat", "/etc/target"]);
        fs::write(bundle.inside("/etc/target"), "of the image").unwrap();
        symlink("target", bundle.inside("/etc/link")).unwrap();
        fs::write(bundle.path("file"), "of the host").unwrap();
        let bundle = bundle.mount("/etc/link", "bind", "file", &["bind", word]);
        assert_eq!(bundle.run().ok().stdout, target, "{word}");
    }
}

/// Words of other runtimes and of mount(8).
#[test]
fn options_that_are_not_listed_are_refused_or_warned_about() {
    for word in [
        "rsync", "rasync", "rdirsync", "rmand", "rnomand", "nofail", "user", "_netdev",
    ] {
        let bundle = Bundle::new().args(["true"]);
        let listed = bundle.orlop(["features"]).run().ok().json()["mountOptions"].clone();
        assert!(!listed.as_array().unwrap().contains(&json!(word)), "{word}");
        bundle.mount("/tmp", "tmpfs", "tmpfs", &[word]).run().fails_with(word);
        let bound = Bundle::new()
            .args(["true"])
            .mount("/tmp", "none", "/usr", &["bind", word]);
        let out = bound.run().ok();
        assert!(out.stderr.contains(word), "{word}: {}", out.stderr);
    }
}
