//! Mounts that only mount(2) can make: long values, and flags that fsconfig(2) lacks.

use std::fs;

use serde_json::{Value, json};

use crate::harness::users::remapped;
use crate::harness::{Bundle, Facts};
use crate::need;

fn layer(bundle: &Bundle, name: &str) -> String {
    // A path that alone is longer than 255 bytes.
    let path = bundle.path("layers").join(name.repeat(150)).join("x".repeat(150));
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join(name), name).unwrap();
    fs::write(path.join("name"), name).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_layers_of_an_overlay_have_paths_of_any_length() {
    let kinds = fs::read_to_string("/proc/filesystems").unwrap();
    need!(kinds.contains("\toverlay\n"), "overlay");
    for user_namespace in [false, true] {
        let bundle = Bundle::new();
        let layers = ["a", "b", "c"].map(|name| layer(&bundle, name)).join(":");
        assert!(layers.len() > 900);
        let bundle = if user_namespace { remapped(bundle) } else { bundle };
        let lower = format!("lowerdir={layers}");
        let bundle = bundle
            .mount("/tmp", "overlay", "overlay", &["nosuid", "noatime", &lower])
            .args([
                "probe",
                "try",
                "read,/tmp/a",
                "read,/tmp/b",
                "read,/tmp/c",
                "read,/tmp/name",
                "list,/",
            ]);
        let tried = bundle.run().ok().json();
        let details: Vec<&Value> = (0..4).map(|at| &tried[at]["detail"]).collect();
        assert_eq!(details, ["a", "b", "c", "a"], "{tried:#}");
        assert!(
            tried[4]["detail"].as_array().unwrap().contains(&json!("bin")),
            "nothing lies over the root"
        );
        bundle.change(|c| c["process"]["args"] = json!(["probe", "facts"]));
        let facts = bundle.facts();
        let options = facts.options("/tmp");
        for option in ["nosuid", "noatime"] {
            assert!(options.contains(&option.to_owned()), "{options:?}");
        }
        let mounts = facts["mounts"].as_array().unwrap();
        assert_eq!(mounts.iter().filter(|mount| mount["mountpoint"] == "/").count(), 1);
        bundle.assert_clean();
    }
}

#[test]
fn a_missing_layer_is_an_error_with_its_call() {
    let kinds = fs::read_to_string("/proc/filesystems").unwrap();
    need!(kinds.contains("\toverlay\n"), "overlay");
    let lower = format!("lowerdir=/{0}:/{0}", "x".repeat(200));
    let bundle = Bundle::new()
        .args(["true"])
        .mount("/tmp", "overlay", "overlay", &[&lower]);
    let out = bundle.run().fails_with("mounts[");
    assert!(
        out.stderr.contains("ENOENT") && out.stderr.contains("mount("),
        "{}",
        out.stderr
    );
    bundle.assert_clean();
}

/// `silent` and `iversion` together with everything that the newer calls support: both ways have the same effect.
#[test]
fn options_that_need_mount2_combine_with_all_others() {
    let others = [
        "nosuid",
        "nodev",
        "noexec",
        "nodiratime",
        "sync",
        "dirsync",
        "lazytime",
        "size=64k",
        "mode=0710",
    ];
    for words in [
        &["silent"][..],
        &["iversion"],
        &["silent", "iversion"],
        &["loud", "noiversion"],
    ] {
        for time in ["relatime", "noatime", "strictatime"] {
            let options = [words, &[time], &others].concat();
            let run = |options: &[&str]| {
                let bundle = Bundle::new()
                    .args(["probe", "facts", "/tmp"])
                    .mount("/tmp", "tmpfs", "source", options);
                let out = bundle.run().ok();
                assert!(!out.stderr.contains("no effect"), "{}", out.stderr);
                Facts(out.json())
            };
            let (with, without) = (run(&options), run(&options[words.len()..]));
            let sorted = |facts: &Facts| {
                let mut options = facts.options("/tmp");
                options.sort();
                options
            };
            assert_eq!(sorted(&with), sorted(&without), "{options:?}");
            assert_eq!(with.path("/tmp")["mode"], "0710");
        }
    }
    // It is populated and made read-only like any other, and covers its destination.
    let bundle = Bundle::new().mount("/tmp", "tmpfs", "tmpfs", &["silent", "ro", "tmpcopyup"]);
    fs::write(bundle.inside("/tmp/copied"), "content").unwrap();
    let tried = bundle.attempt(["read,/tmp/copied", "create,/tmp/new"]);
    assert_eq!(tried.detail("read,/tmp/copied"), "content");
    assert_eq!(tried.result("create,/tmp/new"), "EROFS");
    for kind in ["proc", "sysfs", "mqueue", "devpts"] {
        Bundle::new()
            .mount("/tmp", kind, kind, &["silent", "nosuid"])
            .facts()
            .mount("/tmp");
    }
    let out = Bundle::new()
        .args(["true"])
        .mount("/tmp", "cgroup", "cgroup", &["iversion"])
        .run()
        .ok();
    assert!(out.stderr.contains("\"iversion\" has no effect here"), "{}", out.stderr);
}
