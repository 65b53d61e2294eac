//! Mounts on mounts: entries that refer to earlier mounts in the root file system, also by its path on the host.

use std::fs::{self};
use std::os::unix::fs::{chown, symlink};

use serde_json::json;

use crate::harness::users::remapped;
use crate::harness::{Bundle, Canary};

fn host(bundle: &Bundle, path: &str) -> String {
    bundle.inside(path).to_str().expect("UTF-8").to_owned()
}

/// Directories `a`, `b` and `c` of the bundle, each with a file that contains its name.
fn sources(bundle: &Bundle) {
    for name in ["a", "b", "c"] {
        let dir = bundle.path(name);
        fs::create_dir_all(dir.join("sub")).unwrap();
        fs::write(dir.join("file"), name).unwrap();
    }
}

/// A separate container each, without and with a user namespace.
fn both(test: impl Fn(fn(Bundle) -> Bundle)) {
    test(|bundle| bundle);
    test(remapped);
}

#[test]
fn a_destination_below_the_roots_host_path_is_inside_it() {
    let bundle = Bundle::new();
    sources(&bundle);
    let place = host(&bundle, "/tmp/place");
    let out = bundle
        .args(["cat", "/tmp/place/file"])
        .mount(&place, "none", "a", &["bind"])
        .run()
        .ok();
    assert_eq!(out.stdout, "a");
    assert!(out.stderr.contains("host's name for \"/tmp/place\""), "{}", out.stderr);
}

#[test]
fn any_other_destination_is_taken_literally() {
    // The root itself, on which nothing can be mounted, and a relative path, which starts at the container's root.
    let bundle = Bundle::new();
    sources(&bundle);
    let root = host(&bundle, "");
    let root = root.trim_end_matches('/').to_owned();
    let relative = format!("{root}/tmp/place");
    let script = format!("cat {root}/file {relative}/file");
    let out = bundle
        .sh(&script)
        .edit(|c| c["root"]["readonly"] = false.into())
        .mount(&root, "none", "a", &["bind"])
        .mount(relative.trim_start_matches('/'), "none", "b", &["bind"])
        .run()
        .ok();
    assert_eq!(out.stdout, "ab");
    assert!(!out.stderr.contains("host's name"), "{}", out.stderr);
}

#[test]
fn a_source_in_the_root_includes_earlier_mounts() {
    both(|namespace| {
        let bundle = namespace(Bundle::new());
        sources(&bundle);
        let (on, above) = (host(&bundle, "/tmp/one"), host(&bundle, "/tmp"));
        let bundle = bundle
            .mount("/tmp", "tmpfs", "tmpfs", &["mode=755"])
            .mount("/tmp/one", "none", "a", &["bind"])
            .mount("/tmp/one/sub", "none", "b", &["bind"])
            .mount("/tmp/two", "none", &on, &["rbind"])
            .mount("/tmp/three", "none", &on, &["bind", "ro"])
            // Later mounts do not matter.
            .mount("/tmp/one", "none", "c", &["bind"])
            .mount("/dev/all", "none", &above, &["rbind"]);
        let script = "cat /tmp/two/file /tmp/two/sub/file /tmp/three/file /dev/all/one/file; ls /tmp/three/sub";
        let out = bundle.sh(script).run().ok();
        assert_eq!(out.stdout, "abac");
    });
}

#[test]
fn owners_of_an_earlier_mount_as_a_source_can_be_mapped() {
    let bundle = remapped(Bundle::new());
    sources(&bundle);
    for name in ["a", "b"] {
        let file = bundle.path(name).join("file");
        chown(file, Some(5), Some(6)).unwrap();
    }
    let source = host(&bundle, "/tmp/one");
    let map = |id: u32, host: u32| json!([{ "containerID": id, "hostID": host, "size": 1 }]);
    let bundle = bundle.mount("/tmp/one", "none", "a", &["bind"]).edit(|c| {
        for (place, source) in [("/tmp/two", source.as_str()), ("/tmp/three", "b")] {
            c["mounts"].as_array_mut().unwrap().push(json!({
                "destination": place, "source": source, "options": ["bind", "idmap", "nosuid"],
                "uidMappings": map(5, 100_001), "gidMappings": map(6, 100_002),
            }));
        }
    });
    let out = bundle
        .sh("for at in one two three; do ls -n /tmp/$at/file; done; cat /tmp/two/file")
        .run()
        .ok();
    let owners: Vec<_> = out
        .stdout
        .lines()
        .filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            Some((*words.get(2)?, *words.get(3)?))
        })
        .collect();
    assert_eq!(owners, [("65534", "65534"), ("1", "2"), ("1", "2")], "{}", out.stdout);
    assert!(out.stdout.ends_with('a'), "{}", out.stdout);
}

/// Links there belong to the image or a volume, and are resolved inside the root.
#[test]
fn a_source_in_the_root_is_resolved_inside_it() {
    both(|namespace| {
        let canary = Canary::dir();
        let bundle = namespace(Bundle::new().args(["cat", "/tmp/place/file"]));
        sources(&bundle);
        symlink(canary.as_str(), bundle.path("a/out")).unwrap();
        let source = host(&bundle, "/tmp/volume/out");
        let bundle =
            bundle
                .mount("/tmp/volume", "none", "a", &["bind"])
                .mount("/tmp/place", "none", &source, &["bind"]);
        let out = bundle.run().fails_with("ENOENT");
        assert!(!out.stdout.contains("canary"), "{}", out.stdout);
        canary.assert_untouched();
    });
}

#[test]
fn mounts_are_made_in_their_order() {
    for (first, second) in [("a", "b"), ("b", "a")] {
        let bundle = Bundle::new();
        for name in ["a", "b"] {
            fs::create_dir(bundle.path(name)).unwrap();
            fs::write(bundle.path(name).join("name"), name).unwrap();
            // Where the second mount of the other tree goes.
            fs::create_dir(bundle.path(name).join("below")).unwrap();
        }
        let bundle = bundle
            .mount("/data", "bind", first, &["bind"])
            .mount("/data/below", "bind", first, &["bind"])
            .mount("/data", "bind", second, &["bind"]);
        let tried = bundle.attempt(["read,/data/name", "read,/data/below/name"]);
        assert_eq!(tried.detail("read,/data/name"), second);
        assert_eq!(tried.result("read,/data/below/name"), "ENOENT", "covered by the later");
    }
}
