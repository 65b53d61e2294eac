//! Mounts of a restored container: external ones from the config, and what CRIU saves.

use std::fs;

use nix::mount::MsFlags;
use serde_json::{Value, json};

use super::{networked, round_trip};
use crate::harness::checkpoint::{CRIU, Workload, bundle, checkpoint, has_criu, restore, with_parts};
use crate::harness::exec::exec_cmd;
use crate::harness::golden::own_texts;
use crate::harness::{Attempts, Bundle, Container, HostMount};
use crate::mounts::idmapped::{KERNEL, map, tmpfs_can_be_mapped, volume};
use crate::need;

/// What operations of `probe try` come to in a container.
#[track_caller]
fn tried(c: &Container, operations: &[&str]) -> Attempts {
    Attempts(
        exec_cmd(c, &[], &[&["probe", "try"], operations].concat())
            .run()
            .ok()
            .json(),
    )
}

/// A directory in the bundle with a file `name`, which contains its own path.
fn source(bundle: &Bundle, name: &str) -> String {
    let path = bundle.path(name);
    fs::create_dir_all(&path).unwrap();
    let text = path.to_str().unwrap().to_owned();
    fs::write(path.join("name"), &text).unwrap();
    text
}

/// Binds of directories and files, side by side and in each other.
#[test]
fn directories_and_files_of_the_host() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["identity"]);
    let [outer, inner, read_only] = ["outer", "inner", "read-only"].map(|name| source(&bundle, name));
    for (dir, point) in [(&outer, "inner"), (&outer, "again")] {
        fs::create_dir(format!("{dir}/{point}")).unwrap();
    }
    fs::write(format!("{inner}/file"), "").unwrap();
    let file = format!("{read_only}/name");
    let bundle = bundle
        .mount("/outer", "bind", &outer, &["bind"])
        .mount("/outer/inner", "bind", &inner, &["bind", "nosuid", "nodev"])
        .mount("/outer/inner/file", "bind", &file, &["bind", "ro"])
        // The same source at a second place, and one that the config gives relative to the bundle.
        .mount("/outer/again", "bind", &inner, &["rbind", "noexec"])
        .mount("/read-only", "bind", "read-only", &["bind", "ro"]);
    let (bundle, _holder) = networked(bundle);
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    fs::write(format!("{outer}/late"), "made between").unwrap();
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
    let tried = tried(
        &work.container,
        &[
            "read,/outer/name",
            "read,/outer/inner/name",
            "read,/outer/inner/file",
            "read,/outer/again/file",
            "read,/outer/late",
            "create,/outer/inner/made",
            "write,/outer/inner/file,x",
            "create,/read-only/made",
        ],
    );
    for (operation, text) in [
        ("read,/outer/name", outer.as_str()),
        ("read,/outer/inner/name", &inner),
        ("read,/outer/inner/file", &read_only),
        ("read,/outer/again/file", ""),
        ("read,/outer/late", "made between"),
    ] {
        assert_eq!(tried.detail(operation), text, "{operation}");
    }
    assert_eq!(tried.result("create,/outer/inner/made"), "ok");
    for operation in ["write,/outer/inner/file,x", "create,/read-only/made"] {
        assert_eq!(tried.result(operation), "EROFS", "{operation}");
    }
    assert!(fs::exists(format!("{inner}/made")).unwrap());
}

/// A process of the container has a file in such a mount open.
#[test]
fn open_files_in_a_directory_of_the_host() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["files"]);
    let dir = source(&bundle, "shared");
    let bundle = bundle.mount("/tmp", "bind", &dir, &["rbind"]);
    let c = crate::harness::checkpoint::start(&bundle);
    let work = Workload::at(c, dir.as_ref());
    let before = work.report();
    let image = checkpoint(&work.container, &["--file-locks"]);
    restore(&work.container, &image, &["--file-locks"]);
    work.assert_continues(&before);
}

/// Submounts of the source are in the container before and after.
#[test]
fn a_recursive_bind_with_mounts_below_it() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that restores submounts of a bind");
    let bundle = with_parts(bundle(), &["memory"]);
    let dir = source(&bundle, "tree");
    let below = HostMount::tmpfs(&bundle.path("tree/below"), 0);
    fs::write(below.path.join("deep"), "deep").unwrap();
    for option in ["rbind", "rro"] {
        bundle.change(|c| {
            c["mounts"]
                .as_array_mut()
                .unwrap()
                .retain(|mount| mount["destination"] != "/tree")
        });
        bundle.change(|c| {
            let mount = json!({ "destination": "/tree", "type": "bind", "source": dir, "options": ["rbind", option] });
            c["mounts"].as_array_mut().unwrap().push(mount);
        });
        let _ = fs::remove_dir_all(bundle.inside("/tmp"));
        fs::create_dir(bundle.inside("/tmp")).unwrap();
        let work = Workload::start(&bundle);
        let before = work.report();
        let image = checkpoint(&work.container, &[]);
        restore(&work.container, &image, &[]);
        work.assert_continues(&before);
        let create = format!("create,/tree/below/{option}");
        let tried = tried(&work.container, &["read,/tree/below/deep", &create]);
        assert_eq!(tried.detail("read,/tree/below/deep"), "deep");
        let expected = if option == "rro" { "EROFS" } else { "ok" };
        assert_eq!(tried.result(&create), expected, "{option}");
        bundle.orlop(["delete", "--force", &work.container.id]).run().ok();
    }
}

/// Files, directories, links and modes on a tmpfs of the container, and how it is mounted.
#[test]
fn the_content_of_a_tmpfs() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["identity"]).mount(
        "/scratch",
        "tmpfs",
        "tmpfs",
        &["nosuid", "noexec", "size=1m", "mode=1771", "gid=4"],
    );
    let bundle = bundle.mount("/scratch/deeper", "tmpfs", "tmpfs", &["ro"]);
    let (bundle, _holder) = networked(bundle);
    let work = Workload::start(&bundle);
    let script = "cd /scratch && mkdir -p a/b && echo text >a/b/file && ln -s file a/b/link && ln a/b/file hard && \
        chmod 4711 a/b/file && chown 7:8 a/b && mkfifo pipe && touch -d @1000000000 a/b/file; ls -lanR /scratch | grep -v ^total";
    let made = exec_cmd(&work.container, &[], &["sh", "-c", &shell(script)]).run().ok();
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
    let list = "ls -lanR /scratch | grep -v ^total; cat /scratch/hard";
    let found = exec_cmd(&work.container, &[], &["sh", "-c", &shell(list)]).run().ok();
    assert_eq!(found.stdout, format!("{}text\n", made.stdout));
}

/// Applets that the root file system has no links for.
fn shell(script: &str) -> String {
    let applets = ["mkdir", "ln", "chmod", "chown", "mkfifo", "grep", "ls", "cat", "touch"];
    let functions = applets.map(|name| format!("{name}() {{ busybox {name} \"$@\"; }};"));
    functions.concat() + script
}

#[test]
fn masked_and_read_only_paths() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory"]);
    for (path, text) in [
        ("/secret/file", "secret"),
        ("/hidden", "hidden"),
        ("/fixed/file", "fixed"),
    ] {
        fs::create_dir_all(bundle.inside(path).parent().unwrap()).unwrap();
        fs::write(bundle.inside(path), text).unwrap();
    }
    let bundle = bundle.edit(|c| {
        let add = |list: &mut Value, paths: &[&str]| {
            list.as_array_mut()
                .unwrap()
                .extend(paths.iter().map(|path| json!(path)))
        };
        add(&mut c["linux"]["maskedPaths"], &["/secret", "/hidden", "/no/such/path"]);
        add(&mut c["linux"]["readonlyPaths"], &["/fixed"]);
    });
    let look = |c: &Container| {
        tried(
            c,
            &[
                "list,/secret",
                "read,/hidden",
                "read,/proc/keys",
                "list,/sys/firmware",
                "create,/fixed/new",
                "write,/proc/sysrq-trigger,h",
                "write,/proc/sys/kernel/domainname,x",
                "write,/proc/self/oom_score_adj,0",
            ],
        )
    };
    let work = Workload::start(&bundle);
    let (before, report) = (look(&work.container), work.report());
    assert_eq!(before.detail("list,/secret"), &json!([]));
    assert_eq!(before.detail("read,/hidden"), "");
    assert_eq!(before.result("create,/fixed/new"), "EROFS");
    let image = checkpoint(&work.container, &[]);
    restore(&work.container, &image, &[]);
    work.assert_continues(&report);
    assert_eq!(look(&work.container).0, before.0);
}

/// With every mount of the default config, its options and those of its superblock.
#[test]
fn a_read_only_root_and_the_default_mounts() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(Bundle::new(), &["identity", "memory"]).mount("/tmp", "bind", "control", &["bind"]);
    fs::create_dir(bundle.path("control")).unwrap();
    let (bundle, _holder) = networked(bundle);
    let work = Workload::at(crate::harness::checkpoint::start(&bundle), &bundle.path("control"));
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
    let tried = tried(
        &work.container,
        &[
            "create,/new",
            "create,/dev/new",
            "create,/dev/shm/new",
            "open,/dev/null,rw",
            "list,/sys/fs/cgroup",
        ],
    );
    for (operation, result) in [
        ("create,/new", "EROFS"),
        ("create,/dev/new", "ok"),
        ("create,/dev/shm/new", "ok"),
        ("open,/dev/null,rw", "ok"),
        ("list,/sys/fs/cgroup", "ok"),
    ] {
        assert_eq!(tried.result(operation), result, "{operation}");
    }
}

/// As engines prepare it.
#[test]
fn a_root_on_an_overlay() {
    need!(has_criu(), CRIU);
    let bundle = with_parts(bundle(), &["memory", "files"]);
    let layers = ["lower", "upper", "work"].map(|name| bundle.path(name));
    fs::rename(bundle.inside("/"), &layers[0]).unwrap();
    for dir in [&layers[1], &layers[2], &bundle.inside("/")] {
        fs::create_dir(dir).unwrap();
    }
    let merged = HostMount::at(&bundle.inside("/"));
    let [lower, upper, work] = layers.map(|path| path.to_str().unwrap().to_owned());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    nix::mount::mount(
        Some("overlay"),
        &merged.path,
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .unwrap();
    round_trip(&bundle, &["--file-locks"]);
}

/// Mounts that propagate: the host's later mounts reach the container again after a restore.
#[test]
fn propagation_of_a_bind() {
    need!(has_criu(), CRIU);
    need!(own_texts(), "a runtime that restores propagation");
    let bundle = with_parts(bundle(), &["memory"]);
    let dir = HostMount::tmpfs(&bundle.path("shared"), 0).shared();
    let bundle = bundle.mount("/shared", "bind", dir.as_str(), &["rbind", "rslave"]);
    let work = Workload::start(&bundle);
    let before = work.report();
    let image = checkpoint(&work.container, &[]);
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
    let late = HostMount::tmpfs(&dir.path.join("late"), 0);
    fs::write(late.path.join("file"), "seen").unwrap();
    let tried = tried(&work.container, &["read,/shared/late/file"]);
    assert_eq!(tried.detail("read,/shared/late/file"), "seen");
    bundle.orlop(["delete", "--force", &work.container.id]).run().ok();
}

/// Mounts that other runtimes do not have or do not restore.
#[test]
fn mapped_ids_copied_content_and_devices() {
    need!(has_criu(), CRIU);
    need!(tmpfs_can_be_mapped(), KERNEL);
    need!(own_texts(), "a runtime that restores ID-mapped mounts");
    let bundle = with_parts(bundle(), &["memory"]);
    let volume = volume(&bundle, &[1000]);
    fs::create_dir(bundle.inside("/seed")).unwrap();
    fs::write(bundle.inside("/seed/file"), "seed").unwrap();
    let bundle = bundle.edit(|c| {
        let mounts = c["mounts"].as_array_mut().unwrap();
        mounts.push(
            json!({ "destination": "/volume", "type": "bind", "source": volume, "options": ["bind", "idmap"],
            "uidMappings": map(1000, 2000, 10), "gidMappings": map(1001, 3000, 10) }),
        );
        mounts.push(json!({ "destination": "/seed", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] }));
        c["linux"]["devices"] = json!([
            { "path": "/dev/extra", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 3, "gid": 4 },
        ]);
    });
    let look = |c: &Container| {
        let operations = ["lstat,/volume/of1000", "read,/seed/file", "lstat,/dev/extra"];
        let tried = tried(c, &operations);
        let [volume, seed, device] = operations.map(|operation| tried.detail(operation).clone());
        assert_eq!(seed, "seed");
        let owner = |value: &Value| [value["uid"].clone(), value["gid"].clone(), value["mode"].clone()];
        (owner(&volume), owner(&device), device["minor"].clone())
    };
    let work = Workload::start(&bundle);
    let (before, seen) = (work.report(), look(&work.container));
    let image = checkpoint(&work.container, &[]);
    restore(&work.container, &image, &[]);
    work.assert_continues(&before);
    assert_eq!(look(&work.container), seen);
}
