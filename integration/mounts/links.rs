//! Links of the image are resolved inside the root, in every property that names a path.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use serde_json::json;

use crate::harness::Bundle;
use crate::harness::users::remapped;

/// Links to a directory that exists inside and, with other content, on the host.
fn linked() -> Bundle {
    let bundle = Bundle::new().edit(|c| c["root"]["readonly"] = json!(false));
    fs::create_dir_all(bundle.inside("/srv/real")).unwrap();
    fs::write(bundle.inside("/srv/real/secret"), "secret").unwrap();
    for (name, target) in [
        ("absolute", "/srv/real"),
        ("relative", "srv/real"),
        ("climbing", "../../../../srv/real"),
        ("second", "absolute"),
    ] {
        symlink(target, bundle.inside(&format!("/{name}"))).unwrap();
    }
    bundle
}

const LINKS: [&str; 4] = ["absolute", "relative", "climbing", "second"];

#[test]
fn mounts_follow_links_inside_the_root() {
    for link in LINKS {
        for (destination, place) in [
            (format!("/{link}"), "/srv/real"),
            (format!("/{link}/new/deeper"), "/srv/real/new/deeper"),
            (format!("/{link}/../beside"), "/srv/beside"),
        ] {
            let facts = linked().mount(&destination, "tmpfs", "mark", &[]).facts();
            assert_eq!(facts.mount(place)["source"], "mark", "{destination}");
        }
        let bundle = linked();
        fs::write(bundle.path("file"), "bound").unwrap();
        let tried = bundle
            .mount(&format!("/{link}/file"), "bind", "file", &["bind"])
            .attempt(["read,/srv/real/file"]);
        assert_eq!(tried.detail("read,/srv/real/file"), "bound", "{link}");
    }
}

#[test]
fn devices_follow_links_inside_the_root() {
    for link in LINKS {
        let bundle = linked().args(["probe", "facts", "/srv/real/sub/node"]);
        let path = format!("/{link}/sub/node");
        let bundle = bundle.edit(|c| {
            c["linux"]["devices"] = json!([{ "path": path, "type": "c", "major": 1, "minor": 5 }]);
        });
        assert_eq!(
            bundle.facts().path("/srv/real/sub/node")["type"],
            "character device",
            "{link}"
        );
    }
}

#[test]
fn masked_and_readonly_paths_follow_links_inside_the_root() {
    for link in LINKS {
        let masked = linked().edit(|c| c["linux"]["maskedPaths"] = json!([format!("/{link}/secret")]));
        let tried = masked.attempt(["read,/srv/real/secret", "lstat,/srv/real/secret"]);
        assert_eq!(tried.detail("read,/srv/real/secret"), "", "{link}");
        assert_eq!(tried.detail("lstat,/srv/real/secret")["minor"], 3);
        let masked = linked().edit(|c| c["linux"]["maskedPaths"] = json!([format!("/{link}")]));
        assert_eq!(
            masked.attempt(["list,/srv/real"]).detail("list,/srv/real"),
            &json!([]),
            "{link}"
        );
        let read_only = linked().edit(|c| c["linux"]["readonlyPaths"] = json!([format!("/{link}")]));
        let tried = read_only.attempt(["create,/srv/real/new", "create,/srv/new"]);
        assert_eq!(tried.result("create,/srv/real/new"), "EROFS", "{link}");
        assert_eq!(tried.result("create,/srv/new"), "ok");
    }
}

#[test]
fn the_working_directory_follows_links_inside_the_root() {
    for link in LINKS {
        for (cwd, place) in [
            (format!("/{link}"), "/srv/real"),
            (format!("/{link}/new"), "/srv/real/new"),
        ] {
            let bundle = linked().edit(|c| c["process"]["cwd"] = json!(cwd));
            assert_eq!(bundle.facts()["cwd"], place, "{cwd}");
        }
    }
}

/// Podman uses this for `--mount type=bind,…,no-dereference`.
#[test]
fn a_source_that_is_a_link_is_copied_on_request() {
    for user_namespace in [false, true] {
        let bundle = Bundle::new().args(["busybox", "readlink", "/zone/local"]);
        symlink("../usr/share/zoneinfo/Sea", bundle.path("link")).unwrap();
        fs::write(bundle.path("file"), "content").unwrap();
        let own = |bundle: Bundle| if user_namespace { remapped(bundle) } else { bundle };
        fs::create_dir(bundle.inside("/zone")).unwrap();
        chown(bundle.inside("/zone"), Some(100_000), Some(100_000)).unwrap();
        let bundle = own(bundle).mount("/zone/local", "bind", "link", &["bind", "copy-symlink", "ro"]);
        // The second time on the result of the first.
        for _ in 0..2 {
            let out = bundle.run().ok();
            assert_eq!((&*out.stdout, &*out.stderr), ("../usr/share/zoneinfo/Sea\n", ""));
        }
        fs::remove_file(bundle.inside("/zone/local")).unwrap();
        fs::write(bundle.inside("/zone/local"), "").unwrap();
        bundle
            .run()
            .fails_with("the destination exists and is not the same link");
    }
    // For a source that is not a link the option has no effect.
    let bundle = Bundle::new().args(["cat", "/tmp/file"]);
    fs::write(bundle.path("file"), "content").unwrap();
    let out = bundle
        .mount("/tmp/file", "bind", "file", &["bind", "copy-symlink"])
        .run()
        .ok();
    assert_eq!((&*out.stdout, &*out.stderr), ("content", ""));
}

/// crun's options about links: the link itself is mounted, or is the mount point.
#[test]
fn links_are_mounted_themselves_on_request() {
    for user_namespace in [false, true] {
        let own = |bundle: Bundle| if user_namespace { remapped(bundle) } else { bundle };
        let linked = |destination: &str, source: &str, words: &[&str], shown: &str| {
            let bundle = own(Bundle::new());
            fs::write(bundle.path("file"), "of the host").unwrap();
            fs::write(bundle.inside("/etc/file"), "of the image").unwrap();
            symlink("/etc/file", bundle.path("link")).unwrap();
            symlink("/etc/file", bundle.inside("/etc/link")).unwrap();
            fs::create_dir(bundle.inside("/here")).unwrap();
            chown(bundle.inside("/here"), Some(100_000), Some(100_000)).unwrap();
            let bundle = bundle.mount(destination, "bind", source, words);
            let script = format!("readlink {destination}; cat {destination}; cat /etc/file");
            let bundle = bundle.args(["sh", "-c", &*script]);
            assert_eq!(bundle.run().ok().stdout, shown, "{destination} {words:?}");
            // The image's link is as it was.
            assert_eq!(
                fs::read_link(bundle.inside("/etc/link")).unwrap(),
                Path::new("/etc/file")
            );
        };
        // A link of the host is resolved inside.
        linked(
            "/here/new",
            "link",
            &["bind", "src-nofollow"],
            "/etc/file\nof the imageof the image",
        );
        // If followed, the file at its target is the source; the target of the destination is covered.
        linked("/etc/link", "file", &["bind"], "/etc/file\nof the hostof the host");
        linked(
            "/etc/link",
            "file",
            &["bind", "dest-nofollow"],
            "of the hostof the image",
        );
        linked(
            "/etc/link",
            "link",
            &["rbind", "ro", "src-nofollow", "dest-nofollow"],
            "/etc/file\nof the imageof the image",
        );
        // There is no link: the options have no effect.
        linked(
            "/here/file",
            "file",
            &["bind", "src-nofollow", "dest-nofollow"],
            "of the hostof the image",
        );
    }
    let bundle = Bundle::new();
    symlink("/tmp", bundle.inside("/etc/directory")).unwrap();
    bundle
        .mount("/etc/directory", "bind", "/usr", &["bind", "dest-nofollow"])
        .run()
        .fails_with("a directory can only be mounted on a directory");
}

/// A mount on a dangling link is at the target of the link, and nowhere else.
#[test]
fn a_mount_point_may_be_a_dangling_link() {
    for (link, to, place) in [
        ("/etc/data", "/tmp/there", "/tmp/there"),
        ("/etc/data", "../tmp/a/b/there", "/tmp/a/b/there"),
        ("/etc/data", "../../../../../tmp/there", "/tmp/there"),
        ("/etc/data", "/jump/there", "/tmp/x/y/there"),
    ] {
        for directory in [false, true] {
            let bundle = Bundle::new().args(["cat", &format!("{place}{}", if directory { "/file" } else { "" })]);
            symlink("/tmp/x/y", bundle.inside("/jump")).unwrap();
            symlink(to, bundle.inside(link)).unwrap();
            let source = bundle.path("source");
            if directory {
                fs::create_dir(&source).unwrap();
                fs::write(source.join("file"), "of the source\n").unwrap();
            } else {
                fs::write(&source, "of the source\n").unwrap();
            }
            let bundle = bundle.mount(link, "bind", source.to_str().unwrap(), &["bind"]);
            assert_eq!(bundle.run().ok().stdout, "of the source\n", "{link} -> {to}");
        }
    }
    let bundle = Bundle::new().mount("/etc/data", "bind", "/etc/passwd", &["bind"]);
    symlink("data", bundle.inside("/etc/data")).unwrap();
    bundle.run().fails_with("ELOOP");
}
