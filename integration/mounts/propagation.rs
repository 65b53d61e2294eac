//! Propagation of single mounts and of the whole root: mount_namespaces(7), "SHARED SUBTREES".

use std::fs;

use serde_json::json;

use crate::harness::{Bundle, Container, Facts, HostMount, eventually};

/// A word for a bind mount of a tree of shared mounts, and the propagation that the mount and the one below it have then.
pub(super) const OPTIONS: &[(&str, &str, &str)] = &[
    ("private", "private", "slave"),
    ("rprivate", "private", "private"),
    ("slave", "slave", "slave"),
    ("rslave", "slave", "slave"),
    ("shared", "slave and shared", "slave"),
    ("rshared", "slave and shared", "slave and shared"),
    ("unbindable", "unbindable", "slave"),
    ("runbindable", "unbindable", "unbindable"),
];

/// `shared`, `slave`, `slave and shared`, `private` or `unbindable`, of the optional fields of mountinfo.
fn propagation(facts: &Facts, place: &str) -> String {
    let fields = facts.mount(place)["propagation"].as_array().unwrap();
    let begins = |word: &str| fields.iter().any(|field| field.as_str().unwrap().starts_with(word));
    match (begins("shared:"), begins("master:"), begins("unbindable")) {
        (_, _, true) => "unbindable",
        (true, true, _) => "slave and shared",
        (true, ..) => "shared",
        (_, true, _) => "slave",
        _ => "private",
    }
    .into()
}

fn host_mounts(part: &str) -> usize {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().filter(|line| line.contains(part)).count()
}

/// A volume of the host with a mount below it, both shared.
fn volume(bundle: &Bundle) -> [HostMount; 2] {
    let top = HostMount::tmpfs(&bundle.path("volume"), 0).shared();
    let below = HostMount::tmpfs(&top.path.join("below"), 0).shared();
    [top, below]
}

fn with_volume(bundle: Bundle, host: &HostMount, options: &[&str]) -> Bundle {
    let source = host.as_str().to_owned();
    bundle.mount("/volume", "none", &source, options)
}

#[test]
fn every_propagation_option_has_its_effect() {
    for (word, top, below) in OPTIONS {
        let bundle = Bundle::new();
        let host = volume(&bundle);
        let facts = with_volume(bundle, &host[0], &["rbind", word]).facts();
        assert_eq!(propagation(&facts, "/volume"), *top, "{word}");
        assert_eq!(propagation(&facts, "/volume/below"), *below, "{word}");
    }
    let bundle = Bundle::new();
    let host = volume(&bundle);
    let facts = with_volume(bundle, &host[0], &["rbind"]).facts();
    assert_eq!(
        propagation(&facts, "/volume"),
        "slave",
        "nothing goes back unless asked for"
    );
    let facts = Bundle::new().mount("/tmp", "tmpfs", "tmpfs", &["shared"]).facts();
    assert_eq!(propagation(&facts, "/tmp"), "shared");
}

#[test]
fn every_value_of_rootfs_propagation_has_its_effect() {
    for (value, root, other) in [
        ("", "private", "private"),
        ("private", "private", "private"),
        ("rprivate", "private", "private"),
        ("slave", "slave", "private"),
        ("rslave", "slave", "private"),
        ("shared", "shared", "private"),
        ("rshared", "shared", "shared"),
        ("unbindable", "unbindable", "private"),
        ("runbindable", "unbindable", "unbindable"),
    ] {
        let bundle = Bundle::new().edit(|c| {
            if !value.is_empty() {
                c["linux"]["rootfsPropagation"] = json!(value);
            }
        });
        // The root file system on a mount that propagates, as on most hosts.
        let host = HostMount::itself(bundle.dir()).shared();
        let facts = bundle.facts();
        let root = if value.is_empty() { "slave" } else { root };
        assert_eq!(propagation(&facts, "/"), root, "{value}");
        assert_eq!(propagation(&facts, "/dev"), other, "{value}: a mount that says nothing");
        drop(host);
    }
}

/// With any value, the container's mounts stay in the container, also where the root file system is on a shared mount that
/// is not the host's root.
#[test]
fn no_mount_of_a_container_appears_on_the_host() {
    for value in [
        "private",
        "rprivate",
        "slave",
        "rslave",
        "shared",
        "rshared",
        "unbindable",
        "runbindable",
    ] {
        for flags in [&[] as &[&str], &["--no-pivot"]] {
            let bundle = Bundle::new()
                .args(["probe", "sleep"])
                .edit(|c| c["linux"]["rootfsPropagation"] = json!(value));
            let _host = HostMount::itself(bundle.dir()).shared();
            let place = bundle.dir().to_str().unwrap().to_owned();
            let before = host_mounts(&place);
            let id = bundle.fresh_id();
            bundle.create_cmd(&id, flags).run().ok();
            assert_eq!(host_mounts(&place), before, "{value} {flags:?}");
            bundle.orlop(["delete", "--force", &id]).run().ok();
            assert_eq!(host_mounts(&place), before, "{value} {flags:?}: after the end");
        }
    }
}

/// As engines configure a volume that propagates in both directions: the propagation of the root and of the mount.
#[test]
fn an_rshared_volume_propagates_back_to_the_host() {
    for (root, comes_back) in [("shared", true), ("rshared", true), ("", false), ("rslave", false)] {
        let bundle = Bundle::new()
            .args(["probe", "try", "mount,tmpfs,/volume/new"])
            .with_caps(&["CAP_SYS_ADMIN"])
            .edit(|c| {
                if !root.is_empty() {
                    c["linux"]["rootfsPropagation"] = json!(root);
                }
            });
        let host = HostMount::tmpfs(&bundle.path("volume"), 0).shared();
        fs::create_dir(host.path.join("new")).unwrap();
        let bundle = with_volume(bundle, &host, &["rbind", "rshared"]);
        let new = HostMount::at(&host.path.join("new"));
        assert_eq!(bundle.run().ok().json()[0]["ok"], true);
        assert_eq!(host_mounts(new.as_str()) == 1, comes_back, "rootfsPropagation {root:?}");
    }
}

fn mounts_inside(container: &Container) -> String {
    fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).unwrap()
}

#[test]
fn an_rslave_volume_gets_what_the_host_mounts_later_and_a_private_one_does_not() {
    for (options, arrives) in [
        (&["rbind", "rslave"] as &[&str], true),
        (&["rbind"], true),
        (&["rbind", "rprivate"], false),
    ] {
        let bundle = Bundle::new().args(["probe", "sleep"]);
        let host = HostMount::tmpfs(&bundle.path("volume"), 0).shared();
        let bundle = with_volume(bundle, &host, options);
        let container = bundle.start();
        container.until("ready");
        let later = HostMount::tmpfs(&host.path.join("later"), 0);
        if arrives {
            eventually("the host's mount arrives", || {
                mounts_inside(&container).contains("/volume/later")
            });
        } else {
            assert!(!mounts_inside(&container).contains("/volume/later"), "{options:?}");
        }
        drop(later);
        if arrives {
            eventually("it goes again", || !mounts_inside(&container).contains("/volume/later"));
        }
    }
}

/// The option of a mount overrides the propagation of the root.
#[test]
fn a_mount_keeps_its_propagation_under_a_recursive_root() {
    for (root, word, expected) in [
        ("rshared", "private", "private"),
        ("rslave", "shared", "shared"),
        ("runbindable", "shared", "shared"),
        ("rprivate", "unbindable", "unbindable"),
    ] {
        let facts = Bundle::new()
            .edit(|c| c["linux"]["rootfsPropagation"] = json!(root))
            .mount("/tmp", "tmpfs", "tmpfs", &[word])
            .facts();
        assert_eq!(propagation(&facts, "/tmp"), expected, "{root} {word}");
    }
}
