//! `mounts add` and `mounts remove`: mounts of an existing container.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::exec::{exec_cmd, exec_facts, idle};
use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Bundle, Canary, Cmd, Container, Facts, HostMount};
use crate::mounts::idmapped;
use crate::need;

/// The command with a file of these mounts.
fn mounts(c: &Container, action: &str, list: &Value) -> Cmd {
    let file = c.bundle.path("added.json");
    fs::write(&file, list.to_string()).unwrap();
    c.bundle.orlop(["mounts", action, &c.id, file.to_str().unwrap()])
}

fn list(c: &Container) -> Vec<Value> {
    exec_facts(c, &[])["mounts"].as_array().expect("a list").clone()
}

/// The root is read-only, so the mount points must exist.
fn with_places(bundle: Bundle, places: &[&str]) -> Bundle {
    for place in places {
        fs::create_dir_all(bundle.inside(place)).unwrap();
    }
    bundle
}

/// A directory of the host with a file in it, to be bound.
fn volume(bundle: &Bundle) -> Value {
    let dir = bundle.path("volume");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("file"), "of the host").unwrap();
    json!(dir)
}

/// As for mounts of config.json: types, flags, data, created mount points.
#[test]
fn mounts_are_added_and_removed() {
    for user_namespace in [false, true] {
        let bundle = if user_namespace { remapped(idle()) } else { idle() };
        let bundle = with_places(bundle, &["/tmpfs", "/bound"]);
        fs::write(bundle.inside("/one"), "").unwrap();
        let added = json!([
            { "destination": "/tmpfs", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "nosuid", "size=64k"] },
            { "destination": "/bound", "source": volume(&bundle), "options": ["rbind", "ro", "nodev", "noexec"] },
            { "destination": "/one", "source": bundle.path("volume").join("file"), "options": ["bind"] },
            { "destination": "/bound", "type": "tmpfs", "options": ["mode=711"] },
        ]);
        let c = bundle.start();
        let before = list(&c);
        let output = mounts(&c, "add", &added).run().ok();
        assert_eq!(output.stderr, "");
        let facts = ["probe", "facts", "/bound", "/one"];
        let facts = Facts(exec_cmd(&c, &[], &facts).run().ok().json());
        let tmpfs = facts.options("/tmpfs");
        for option in ["ro", "nosuid", "size=64k"] {
            assert!(tmpfs.iter().any(|found| found == option), "{option}: {tmpfs:?}");
        }
        assert_eq!(facts.path("/bound")["mode"], "0711");
        assert_eq!(facts.path("/one")["type"], "file");
        assert_eq!(list(&c).len(), before.len() + 4);
        // The last first, because it covers the other.
        mounts(&c, "remove", &json!([{ "destination": "/bound" }])).run().ok();
        let read = exec_cmd(&c, &[], &["cat", "/bound/file"]).run().ok();
        assert_eq!(read.stdout, "of the host");
        let options = exec_facts(&c, &[]).options("/bound");
        for option in ["ro", "nodev", "noexec"] {
            assert!(options.iter().any(|found| found == option), "{option}: {options:?}");
        }
        mounts(&c, "remove", &json!(added.as_array().unwrap()[..3])).run().ok();
        assert_eq!(list(&c), before);
        assert_eq!(fs::read_to_string(bundle_file(&c)).unwrap(), "of the host");
    }
}

fn bundle_file(c: &Container) -> std::path::PathBuf {
    c.bundle.path("volume").join("file")
}

#[test]
fn a_created_container_and_a_paused_one_get_mounts_too() {
    let bundle = with_places(Bundle::new().sh("cat /new/file; sleep 1000"), &["/new"]);
    let volume = volume(&bundle);
    let added = json!([{ "destination": "/new", "source": volume, "options": ["bind"] }]);
    let c = bundle.create();
    mounts(&c, "add", &added).run().ok();
    c.start();
    c.until("of the host");
    c.bundle.orlop(["pause", &c.id]).run().ok();
    mounts(&c, "remove", &added).run().ok();
    mounts(&c, "add", &added).run().ok();
    c.bundle.orlop(["resume", &c.id]).run().ok();
    assert_eq!(
        exec_cmd(&c, &[], &["cat", "/new/file"]).run().ok().stdout,
        "of the host"
    );
}

/// The helper of an unprivileged user opens the source as root of the user namespace.
#[test]
fn an_unprivileged_user_adds_mounts() {
    let bundle = with_places(rootless(idle()), &["/new", "/tmp"]);
    let added = json!([
        { "destination": "/new", "source": volume(&bundle), "options": ["bind", "ro"] },
        { "destination": "/tmp", "type": "tmpfs" },
    ]);
    let id = bundle.fresh_id();
    as_user(bundle.create_cmd(&id, &[])).run().ok();
    as_user(bundle.orlop(["start", &id])).run().ok();
    let file = bundle.path("added.json");
    fs::write(&file, added.to_string()).unwrap();
    let change = |action: &str| as_user(bundle.orlop(["mounts", action, &id, file.to_str().unwrap()])).run();
    change("add").ok();
    let read = as_user(bundle.orlop(["exec", &id, "cat", "/new/file"])).run().ok();
    assert_eq!(read.stdout, "of the host");
    change("remove").ok();
    as_user(bundle.orlop(["exec", &id, "cat", "/new/file"]))
        .run()
        .fails_with("No such file or directory");
    as_user(bundle.orlop(["delete", "--force", &id])).run().ok();
}

/// Links of the image in any component of a destination are resolved inside the root, also on removal.
#[test]
fn no_link_leads_a_mount_out_of_the_container() {
    for user_namespace in [false, true] {
        let canary = Canary::dir();
        let host = canary.path.to_str().unwrap();
        let bundle = if user_namespace { remapped(idle()) } else { idle() };
        let bundle = with_places(bundle, &[host, "/place"]);
        symlink(host, bundle.inside("/absolute")).unwrap();
        symlink(format!("../../../../../../../..{host}"), bundle.inside("/relative")).unwrap();
        symlink("/proc/1/root", bundle.inside("/magic")).unwrap();
        symlink("/proc/self/cwd", bundle.inside("/own")).unwrap();
        let c = bundle.start();
        for place in ["/absolute", "/relative", "/place/../absolute", "/../../absolute"] {
            let added = json!([{ "destination": place, "type": "tmpfs", "options": ["size=64k"] }]);
            mounts(&c, "add", &added).run().ok();
            let facts = exec_facts(&c, &[]);
            assert!(facts.options(host).iter().any(|option| option == "size=64k"), "{place}");
            assert!(!is_mounted_on_host(host), "{place}");
            mounts(&c, "remove", &added).run().ok();
        }
        // The process that looks for a mount is not in the container's PID namespace, so /proc/self has no target for it.
        for (place, removal) in [
            ("/magic/new", "ELOOP"),
            ("/own/new", "ENOENT"),
            ("/proc/1/root/new", "ELOOP"),
            ("/proc/self/fd/0", "ENOENT"),
        ] {
            let added = json!([{ "destination": place, "type": "tmpfs" }]);
            mounts(&c, "add", &added).run().fails_with("ELOOP");
            mounts(&c, "remove", &added).run().fails_with(removal);
            assert!(!is_mounted_on_host("/new") && !Path::new("/new").exists(), "{place}");
        }
    }
}

fn is_mounted_on_host(place: &str) -> bool {
    let list = fs::read_to_string("/proc/self/mountinfo").unwrap();
    list.lines().any(|line| line.split(' ').nth(4) == Some(place))
}

/// Mounts below a volume that is shared on the host do not propagate to the host.
#[test]
fn nothing_propagates_to_the_host() {
    let bundle = with_places(idle(), &["/new"]);
    let shared = bundle.path("shared");
    fs::create_dir(&shared).unwrap();
    let _shared = HostMount::tmpfs(&shared, 0).shared();
    fs::create_dir(shared.join("below")).unwrap();
    let c = bundle.start();
    let added = json!([{ "destination": "/new", "source": shared, "options": ["rbind"] }]);
    mounts(&c, "add", &added).run().ok();
    let tmpfs = json!([{ "destination": "/new/below", "type": "tmpfs" }]);
    mounts(&c, "add", &tmpfs).run().ok();
    assert_eq!(exec_facts(&c, &[]).mount("/new/below")["fstype"], "tmpfs");
    assert!(!is_mounted_on_host(shared.join("below").to_str().unwrap()));
}

/// All of them or none.
#[test]
fn when_one_mount_fails_none_is_added() {
    let bundle = with_places(idle(), &["/first", "/second"]);
    let c = bundle.start();
    let before = list(&c);
    let added = json!([
        { "destination": "/first", "source": volume(&bundle), "options": ["bind"] },
        { "destination": "/second", "type": "tmpfs", "options": ["size=nonsense"] },
    ]);
    let output = mounts(&c, "add", &added).run().fails_with("mounts[1]");
    assert!(output.stderr.contains("/second"), "{output:#?}");
    assert_eq!(list(&c), before);
    let added = json!([
        { "destination": "/first", "type": "tmpfs" },
        { "destination": "/second", "source": "/no/such", "options": ["bind"] },
    ]);
    let output = mounts(&c, "add", &added).run().fails_with("mounts[1].source");
    assert!(output.stderr.contains("ENOENT"), "{output:#?}");
    assert_eq!(list(&c), before);
    let removed = json!([{ "destination": "/proc" }, { "destination": "/nothing" }]);
    mounts(&c, "remove", &removed).run().fails_with("mounts[1]");
    assert_eq!(list(&c), before);
}

#[test]
fn mounts_that_cannot_be_added_or_removed_are_named() {
    let bundle = with_places(idle(), &["/plain", "/new"]).edit(|c| {
        c["linux"]["maskedPaths"] = json!(["/proc/uptime", "/no/such"]);
    });
    let c = bundle.start();
    let before = list(&c);
    let entry = |destination: &str, kind: &str, options: &[&str]| json!([{ "destination": destination, "type": kind, "source": "x", "options": options }]);
    for (list, text) in [
        (entry("/new", "proc", &[]), "proc cannot be added"),
        (entry("/new", "cgroup", &[]), "the cgroup hierarchy cannot be added"),
        (
            entry("/new", "overlay", &["lowerdir=/a:/b"]),
            "type \"overlay\" cannot be added",
        ),
        (entry("/", "tmpfs", &[]), "the root itself cannot be mounted over"),
        (entry("/proc/sys", "tmpfs", &[]), "inside /proc"),
        (entry("/tmp", "tmpfs", &["remount"]), "remove the mount, and add it"),
        (entry("/new", "", &[]), "type is missing"),
        (json!([{ "type": "tmpfs" }]), "destination"),
        (json!({ "mounts": [] }), "added.json"),
        (json!(["/new"]), "mounts[0]"),
    ] {
        mounts(&c, "add", &list).run().fails_with(text);
    }
    for (place, text) in [
        ("/", "the root file system cannot be removed"),
        ("/plain", "nothing is mounted at this path"),
        ("/missing", "ENOENT"),
        ("/proc/uptime", "confines the container"),
        ("/proc/sys", "confines the container"),
    ] {
        let removed = json!([{ "destination": place }]);
        mounts(&c, "remove", &removed).run().fails_with(text);
    }
    mounts(&c, "remove", &json!([{}]))
        .run()
        .fails_with("mounts[0].destination");
    assert_eq!(list(&c), before);
    c.kill("KILL");
    c.until_stopped();
    mounts(&c, "add", &json!([])).run().fails_with("container not running");
    let missing = c.bundle.path("missing.json");
    let missing = missing.to_str().unwrap();
    c.bundle
        .orlop(["mounts", "add", &c.id, missing])
        .run()
        .fails_with("ENOENT");
    c.bundle
        .orlop(["mounts", "change", &c.id, missing])
        .run()
        .fails_with("add");
}

#[test]
fn no_mounts_are_added_in_the_callers_mount_namespace() {
    let bundle = idle().edit(|c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .retain(|namespace| namespace["type"] != "mount");
    });
    let c = bundle.start();
    let added = json!([{ "destination": "/new", "type": "tmpfs" }]);
    mounts(&c, "add", &added).run().fails_with("mount namespace");
    assert!(!is_mounted_on_host("/new"));
    assert!(!Path::new("/new").exists());
}

#[test]
fn owners_are_mapped_as_for_mounts_of_the_config() {
    need!(idmapped::tmpfs_can_be_mapped(), idmapped::KERNEL);
    let bundle = with_places(idle(), &["/new"]);
    let volume = idmapped::volume(&bundle, &[1000, 7]);
    let c = bundle.start();
    let added = json!([{ "destination": "/new", "source": volume, "options": ["bind", "idmap"],
                         "uidMappings": idmapped::map(1000, 0, 10), "gidMappings": idmapped::map(1001, 20, 10) }]);
    mounts(&c, "add", &added).run().ok();
    let facts = ["probe", "facts", "/new/of1000", "/new/of7"];
    let facts = Facts(exec_cmd(&c, &[], &facts).run().ok().json());
    assert_eq!(idmapped::owner(&facts, "/new/of1000"), (0, 20));
    assert_eq!(idmapped::owner(&facts, "/new/of7"), (65534, 65534), "not mapped");
}
