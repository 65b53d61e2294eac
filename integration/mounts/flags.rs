//! The flags of mounts: set, cleared, recursive, and changed by a remount.

use std::fs;

use serde_json::json;

use crate::harness::{Bundle, Facts, HostMount};

pub(super) fn has(facts: &Facts, place: &str, option: &str) -> bool {
    let options = facts.mount(place)["options"].as_array().unwrap();
    options.contains(&json!(option))
}

/// The bind mount of a host's directory that is mounted with these flags.
pub(super) fn bound(bundle: Bundle, flags: libc::c_ulong, options: &[&str]) -> (Bundle, HostMount) {
    let host = HostMount::tmpfs(&bundle.path("volume"), flags);
    let source = host.as_str().to_owned();
    fs::create_dir_all(bundle.inside("/volume")).unwrap();
    (bundle.mount("/volume", "bind", &source, options), host)
}

pub(super) const FLAGS: &[(&str, &str, libc::c_ulong)] = &[
    ("ro", "rw", libc::MS_RDONLY),
    ("nosuid", "suid", libc::MS_NOSUID),
    ("nodev", "dev", libc::MS_NODEV),
    ("noexec", "exec", libc::MS_NOEXEC),
    ("nodiratime", "diratime", libc::MS_NODIRATIME),
    ("noatime", "atime", libc::MS_NOATIME),
];

#[test]
fn flags_cleared_on_a_bind_are_cleared() {
    for (name, clear, flag) in FLAGS {
        let (bundle, _host) = bound(Bundle::new(), *flag, &["bind", clear]);
        assert!(!has(&bundle.facts(), "/volume", name), "{clear} on a {name} source");
        let (bundle, _host) = bound(Bundle::new(), *flag, &["bind"]);
        assert!(has(&bundle.facts(), "/volume", name), "a {name} source stays {name}");
        let (bundle, _host) = bound(Bundle::new(), 0, &["bind", name]);
        assert!(has(&bundle.facts(), "/volume", name), "{name}");
    }
}

#[test]
fn a_new_file_system_has_its_flags() {
    for (name, ..) in FLAGS {
        let facts = Bundle::new().mount("/tmp", "tmpfs", "tmpfs", &[name]).facts();
        assert!(has(&facts, "/tmp", name), "{name}");
    }
    let facts = Bundle::new()
        .mount(
            "/tmp",
            "tmpfs",
            "tmpfs",
            &["sync", "dirsync", "lazytime", "nosymfollow"],
        )
        .facts();
    let options = facts.options("/tmp");
    for option in ["sync", "dirsync", "lazytime", "nosymfollow"] {
        assert!(options.contains(&option.to_owned()), "{option}: {options:?}");
    }
}

/// Every option that `features` lists is accepted for a new file system and for a bind mount, as the specification
/// requires; only the kernel decides about its effect.
#[test]
fn every_word_is_accepted_on_new_file_systems_and_on_binds() {
    let bundle = Bundle::new().mount("/tmp", "tmpfs", "tmpfs", &[]);
    let features = bundle.orlop(["features"]).run().ok().json();
    fs::create_dir(bundle.path("source")).unwrap();
    let mut places = Vec::new();
    let mut bundle = bundle;
    for word in features["mountOptions"].as_array().unwrap() {
        let word = word.as_str().unwrap();
        if ["remount", "idmap", "ridmap"].contains(&word) {
            continue;
        }
        if !["bind", "rbind", "copy-symlink", "dest-nofollow", "src-nofollow"].contains(&word) {
            let place = format!("/tmp/new-{word}");
            bundle = bundle.mount(&place, "tmpfs", "tmpfs", &[word]);
            places.push((place, "tmpfs"));
        }
        if word != "tmpcopyup" {
            let place = format!("/tmp/bound-{word}");
            bundle = bundle.mount(&place, "none", "source", &["bind", word]);
            places.push((place, "tmpfs"));
        }
    }
    assert!(places.len() > 110, "{places:?}");
    let facts = bundle.facts();
    for (place, kind) in places {
        assert_eq!(facts.mount(&place)["fstype"], kind, "{place}");
    }
}

/// A directory of the host with a mount below it, both with these flags.
pub(super) fn tree(bundle: Bundle, flags: libc::c_ulong, options: &[&str]) -> (Bundle, [HostMount; 2]) {
    let top = HostMount::tmpfs(&bundle.path("volume"), 0);
    let below = HostMount::tmpfs(&top.path.join("below"), flags);
    top.flags(flags);
    let source = top.as_str().to_owned();
    fs::create_dir_all(bundle.inside("/volume")).unwrap();
    (bundle.mount("/volume", "none", &source, options), [top, below])
}

#[test]
fn recursive_flags_reach_every_mount_below() {
    for (name, clear, flag) in FLAGS {
        let (set, cleared) = (format!("r{name}"), format!("r{clear}"));
        let (bundle, _host) = tree(Bundle::new(), 0, &["rbind", &set]);
        let facts = bundle.facts();
        assert!(
            has(&facts, "/volume", name) && has(&facts, "/volume/below", name),
            "{set}"
        );
        let (bundle, _host) = tree(Bundle::new(), 0, &["rbind", name]);
        let facts = bundle.facts();
        assert!(
            has(&facts, "/volume", name) && !has(&facts, "/volume/below", name),
            "{name}"
        );
        let (bundle, _host) = tree(Bundle::new(), *flag, &["rbind", &cleared]);
        let facts = bundle.facts();
        assert!(
            !has(&facts, "/volume", name) && !has(&facts, "/volume/below", name),
            "{cleared}"
        );
    }
    let (bundle, _host) = tree(Bundle::new(), 0, &["rbind", "rnosymfollow"]);
    assert!(has(&bundle.facts(), "/volume/below", "nosymfollow"));
}

#[test]
fn a_remount_takes_recursive_flags_too() {
    let (bundle, _host) = tree(Bundle::new(), 0, &["rbind"]);
    let bundle = bundle.mount(
        "/volume",
        "none",
        "none",
        &["remount", "bind", "rro", "rnoexec", "nosuid"],
    );
    let facts = bundle.facts();
    for place in ["/volume", "/volume/below"] {
        assert!(has(&facts, place, "ro") && has(&facts, place, "noexec"), "{place}");
    }
    assert!(has(&facts, "/volume", "nosuid") && !has(&facts, "/volume/below", "nosuid"));

    let (bundle, _host) = tree(Bundle::new(), libc::MS_RDONLY, &["rbind"]);
    let facts = bundle
        .mount("/volume", "none", "none", &["remount", "bind", "rrw"])
        .facts();
    assert!(!has(&facts, "/volume", "ro") && !has(&facts, "/volume/below", "ro"));
}

#[test]
fn a_remount_changes_flags_and_options() {
    let facts = Bundle::new()
        .mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "size=1m"])
        .mount("/tmp", "tmpfs", "tmpfs", &["remount", "suid", "noexec", "size=2m"])
        .facts();
    assert!(!has(&facts, "/tmp", "nosuid") && has(&facts, "/tmp", "noexec"));
    assert!(facts.options("/tmp").contains(&"size=2048k".to_owned()));
}

#[test]
fn a_remount_without_a_mount_is_refused() {
    let bundle = Bundle::new()
        .args(["true"])
        .mount("/tmp", "none", "none", &["remount", "ro"]);
    bundle.run().fails_with("nothing is mounted at this path");
}

#[test]
fn a_read_only_tmpfs_and_dev_are_populated_first() {
    let bundle = Bundle::new().edit(|c| {
        for mount in c["mounts"].as_array_mut().unwrap() {
            if mount["destination"] == "/dev" {
                mount["options"].as_array_mut().unwrap().push(json!("ro"));
            }
        }
    });
    let bundle = bundle
        .mount("/tmp", "tmpfs", "tmpfs", &["ro"])
        .mount("/tmp/below", "tmpfs", "tmpfs", &[]);
    let tried = bundle.attempt([
        "create,/dev/x",
        "write,/dev/null,x",
        "lstat,/dev/fd",
        "create,/tmp/x",
        "create,/tmp/below/x",
    ]);
    assert_eq!(tried.result("create,/dev/x"), "EROFS");
    assert_eq!(tried.result("write,/dev/null,x"), "ok");
    assert_eq!(tried.detail("lstat,/dev/fd")["target"], "/proc/self/fd");
    assert_eq!(tried.result("create,/tmp/x"), "EROFS");
    assert_eq!(tried.result("create,/tmp/below/x"), "ok");
}
