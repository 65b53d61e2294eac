//! Mounts of a container that shares the runtime's mount namespace: the container has them, and the host never sees one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::harness::exec::exec_cmd;
use crate::harness::host::{has_apparmor, kill};
use crate::harness::users::{as_user, remapped};
use crate::harness::{Attempts, Bundle, Canary, Holder, HostMount, Terminal, alive, eventually, own_namespace};
use crate::mounts::root_change::bare;
use crate::need;

/// The default specification, with all its mounts, masks and its read-only root, in the runtime's mount namespace.
fn shared() -> Bundle {
    Bundle::new().without_namespace("mount")
}

/// CLONE_NEWNS, as the probe wants it.
const UNSHARE: &str = "unshare,131072";

/// Lines of a process's mountinfo about this bundle.
fn mounts_of(process: &str, bundle: &Bundle) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap();
    let own = bundle.dir().to_str().unwrap();
    text.lines()
        .filter(|line| line.contains(own))
        .map(String::from)
        .collect()
}

#[track_caller]
fn assert_nothing_on_the_host(bundle: &Bundle) {
    assert_eq!(mounts_of("self", bundle), [""; 0]);
    for place in ["/proc", "/sys"] {
        let left = fs::read_dir(bundle.inside(place)).unwrap().count();
        assert_eq!(left, 0, "{place}");
    }
}

#[test]
fn the_mount_namespace_is_the_runtimes() {
    let bundle = shared();
    let facts = bundle.facts();
    assert_eq!(facts["namespaces"]["mnt"], own_namespace("mount"));
    assert_eq!(facts["cwd"], "/");
    assert_eq!(facts["mounts"], json!([]));
    assert_nothing_on_the_host(&bundle);
    // Also by the name of the namespace in /proc.
    let bundle = Bundle::new().edit(|c| {
        let list = c["linux"]["namespaces"].as_array_mut().unwrap();
        let mount = list.iter_mut().find(|entry| entry["type"] == "mount").unwrap();
        mount["path"] = json!("/proc/self/ns/mnt");
    });
    assert_eq!(bundle.facts()["namespaces"]["mnt"], own_namespace("mount"));
    assert_nothing_on_the_host(&bundle);
}

/// The whole default specification, and mounts that cannot be changed once the tree is complete.
#[test]
fn the_container_has_the_mounts_of_the_config() {
    let host = Canary::dir();
    let operations = [
        "stat-mount,/proc",
        "stat-mount,/dev",
        "stat-mount,/dev/pts",
        "stat-mount,/dev/mqueue",
        "stat-mount,/sys",
        "stat-mount,/sys/fs/cgroup",
        "list,/sys/fs/cgroup/suite",
        "create,/new",
        "create,/dev/shm/new",
        "create,/sealed/new",
        "write,/proc/sys/kernel/hostname,x",
        "read,/proc/uptime",
        "list,/sys/firmware",
        "write,/dev/null,x",
        "list,/data",
        "create,/data/new",
    ];
    let source = host.path.parent().unwrap().to_str().unwrap().to_owned();
    let bundle = shared()
        .mount("/sealed", "tmpfs", "tmpfs", &["ro"])
        .mount("/data", "bind", &source, &["rbind", "rprivate", "ro"])
        .edit(|c| c["linux"]["maskedPaths"] = json!(["/proc/uptime", "/sys/firmware"]))
        .args([&["probe", "try"], &operations[..]].concat());
    for place in ["/data", "/sealed"] {
        fs::create_dir(bundle.inside(place)).unwrap();
    }
    let tried = Attempts(bundle.run().ok().json());
    for (operation, magic) in operations
        .iter()
        .zip(["9fa0", "1021994", "1cd1", "19800202", "62656572", "63677270"])
    {
        assert_eq!(tried.detail(operation), magic, "{operation}");
    }
    // The container sees only its part of the cgroup tree (CVE-2023-25809), and the tests are not in it.
    assert_eq!(tried.result("list,/sys/fs/cgroup/suite"), "ENOENT");
    for read_only in [
        "create,/new",
        "create,/sealed/new",
        "write,/proc/sys/kernel/hostname,x",
        "create,/data/new",
    ] {
        assert_eq!(tried.result(read_only), "EROFS", "{read_only}");
    }
    assert_eq!(tried.result("create,/dev/shm/new"), "ok");
    assert_eq!(tried.detail("read,/proc/uptime"), "");
    assert_eq!(tried.detail("list,/sys/firmware"), &json!([]));
    assert_eq!(tried.result("write,/dev/null,x"), "ok");
    assert!(!tried.detail("list,/data").as_array().unwrap().is_empty());
    host.assert_untouched();
    bundle.assert_clean();
}

/// Neither before it is started nor while it runs nor afterwards; and removing the bundle meanwhile removes only the
/// bundle.
#[test]
fn the_host_sees_none_of_them() {
    let host = Canary::dir();
    let source = host.path.parent().unwrap().to_str().unwrap().to_owned();
    let bundle = shared()
        .args(["probe", "sleep"])
        .mount("/data", "bind", &source, &["rbind"]);
    fs::create_dir(bundle.inside("/data")).unwrap();
    let c = bundle.create();
    assert_nothing_on_the_host(&bundle);
    c.start();
    assert_nothing_on_the_host(&bundle);
    assert_eq!(fs::read_dir(bundle.inside("/data")).unwrap().count(), 0);
    // The content of the container's /data is visible only to the container.
    let inside = exec_cmd(&c, &[], &["ls", "/data"]).run().ok().stdout;
    assert!(!inside.trim().is_empty());
    fs::remove_dir_all(bundle.dir().join("rootfs")).unwrap();
    host.assert_untouched();
    c.kill("KILL");
    c.until_stopped();
    c.delete();
    host.assert_untouched();
    bundle.assert_clean();
}

/// With shared propagation above and below the root, as systemd sets it up.
#[test]
fn nothing_propagates() {
    let bundle = shared().args(["probe", "sleep"]);
    let around = HostMount::itself(bundle.dir()).shared();
    let below = HostMount::tmpfs(&bundle.inside("/data"), 0).shared();
    let bundle = bundle.mount("/data/inner", "tmpfs", "tmpfs", &[]);
    // It shares mounts that are made there from now on.
    let other = Holder::new(libc::CLONE_NEWNS);
    let before = (mounts_of("self", &bundle), mounts_of(&other.pid().to_string(), &bundle));
    let now = || (mounts_of("self", &bundle), mounts_of(&other.pid().to_string(), &bundle));
    assert!(!before.0.is_empty() && !before.1.is_empty());
    let c = bundle.create();
    assert_eq!(now(), before);
    c.start();
    assert_eq!(now(), before);
    c.kill("KILL");
    c.until_stopped();
    c.delete();
    assert_eq!(now(), before);
    drop((other, below, around));
}

#[test]
fn a_create_that_fails_leaves_none() {
    type Edit = fn(&mut Value);
    let cases: [(&str, Edit); 4] = [
        ("/no/such/source", |c| {
            let mount = json!({ "destination": "/data", "source": "/no/such/source", "options": ["bind"] });
            c["mounts"].as_array_mut().unwrap().push(mount);
        }),
        ("createRuntime", |c| {
            c["hooks"] = json!({ "createRuntime": [{ "path": "/bin/false" }] });
        }),
        ("createContainer", |c| {
            c["hooks"] = json!({ "createContainer": [{ "path": "/bin/false" }] });
        }),
        ("process.cwd", |c| c["process"]["cwd"] = json!("/bin/busybox")),
    ];
    for (what, edit) in cases {
        let bundle = shared().edit(edit);
        bundle.create_cmd(&bundle.fresh_id(), &[]).run().fails_with(what);
        assert_nothing_on_the_host(&bundle);
        bundle.assert_clean();
    }
}

/// Runtime and init are killed after all mounts are made and before the root is changed; and the runtime of a
/// running container is killed.
#[test]
fn a_killed_runtime_leaves_none() {
    let bundle = shared().with_host_hook("createRuntime", "cat >/dev/null; echo $$ >$OUT; exec sleep 100");
    let id = bundle.fresh_id();
    let running = bundle.create_cmd(&id, &[]).spawn();
    let log = bundle.path("hooks.log");
    let hook = || fs::read_to_string(&log).unwrap_or_default().trim().parse::<i32>().ok();
    eventually("the hook runs", || hook().is_some());
    assert_nothing_on_the_host(&bundle);
    running.signal(libc::SIGKILL);
    running.wait_quietly();
    kill(hook().unwrap());
    eventually("the hook ends", || !alive(hook().unwrap()));
    assert_nothing_on_the_host(&bundle);
    bundle.orlop(["delete", "--force", &id]).run().ok();
    bundle.assert_clean();
}

/// The kernel ignores set-user-ID bits on a mount that is not in the process's mount namespace.
#[test]
fn set_user_id_bits_have_no_effect() {
    for (bundle, effective) in [(Bundle::new(), 0), (shared(), 1000)] {
        let bundle = bundle.args(["/bin/raised", "facts"]).edit(|c| {
            c["process"]["noNewPrivileges"] = json!(false);
            c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        });
        let raised = bundle.inside("/bin/raised");
        fs::copy(bundle.inside("/bin/probe"), &raised).unwrap();
        fs::set_permissions(&raised, fs::Permissions::from_mode(0o4755)).unwrap();
        assert_eq!(bundle.facts()["uid"][1], effective);
    }
}

/// For AppArmor the paths on such a mount are disconnected.
#[test]
fn a_profile_must_attach_disconnected_paths() {
    need!(has_apparmor(), "AppArmor");
    for (flags, allows) in [("flags=(attach_disconnected)", true), ("", false)] {
        let bundle = shared()
            .sh("cat /proc/self/attr/current")
            .edit(|c| c["process"]["apparmorProfile"] = json!("orlop-shared"));
        let profile =
            format!("profile orlop-shared {flags} {{ file, capability, network, mount, signal, ptrace, unix, }}");
        fs::write(bundle.path("profile"), profile).unwrap();
        let parser = std::process::Command::new("apparmor_parser")
            .args(["--replace", bundle.path("profile").to_str().unwrap()])
            .status();
        need!(parser.is_ok_and(|status| status.success()), "apparmor_parser");
        let out = bundle.run();
        assert_eq!(out.code == 0, allows, "{out:#?}");
        assert!(out.stderr.contains("attach_disconnected"), "{out:#?}");
        if allows {
            assert_eq!(out.stdout.trim(), "orlop-shared (enforce)");
        }
    }
}

/// Not even a process with all capabilities that are needed elsewhere, and not in a new mount namespace.
#[test]
fn the_container_can_mount_nothing() {
    let mount = "mount,tmpfs,/tmp";
    let operations = [
        mount,
        "umount,/dev/shm",
        "remount-rw,/",
        UNSHARE,
        "mount,tmpfs,/dev/shm",
        "create,/new",
    ];
    let bundle = shared()
        .with_caps(&["CAP_SYS_ADMIN"])
        .edit(|c| drop(c["linux"].as_object_mut().unwrap().remove("seccomp")))
        .args([&["probe", "try"], &operations[..]].concat());
    let before = mounts_of("self", &bundle);
    let tried = Attempts(bundle.run().ok().json());
    assert_eq!(tried.result(UNSHARE), "ok");
    for refused in [
        mount,
        "umount,/dev/shm",
        "remount-rw,/",
        "mount,tmpfs,/dev/shm",
        "create,/new",
    ] {
        assert_ne!(tried.result(refused), "ok", "{refused}");
    }
    assert_eq!(mounts_of("self", &bundle), before);
}

/// The classic escape from a chroot ends at the top of the tree, because nothing is above it.
#[test]
fn there_is_nothing_above_the_root() {
    let up = format!("list,{}", "../".repeat(8));
    let tried = shared()
        .with_caps(&["CAP_SYS_CHROOT"])
        .attempt(["list,/", "list,/..", "chroot,/tmp", &up]);
    assert_eq!(tried.result("chroot,/tmp"), "ok");
    for list in ["list,/", "list,/..", &up] {
        let names = tried.detail(list).as_array().unwrap();
        let has = |name: &str| names.contains(&json!(name));
        assert!(has("bin") && has("proc") && !has("usr"), "{list}: {names:?}");
    }
}

#[test]
fn the_working_directory_is_inside() {
    let bundle = shared()
        .mount("/work", "tmpfs", "tmpfs", &[])
        .args(["sh", "-c", "pwd; ls -a; echo x >file; cat /work/sub/file"])
        .edit(|c| c["process"]["cwd"] = json!("/work/sub"));
    fs::create_dir(bundle.inside("/work")).unwrap();
    assert_eq!(bundle.run().ok().stdout, "/work/sub\n.\n..\nx\n");
    assert_eq!(fs::read_dir(bundle.inside("/work")).unwrap().count(), 0);
}

#[test]
fn no_pivot_makes_no_difference() {
    let bundle = shared().args(["probe", "try", "list,/..", "stat-mount,/dev/shm", "create,/new"]);
    let tried = Attempts(bundle.run_cmd(&["--no-pivot"]).run().ok().json());
    let names = tried.detail("list,/..").as_array().unwrap();
    assert!(names.contains(&json!("bin")) && !names.contains(&json!("usr")));
    assert_eq!(tried.detail("stat-mount,/dev/shm"), "1021994");
    assert_eq!(tried.result("create,/new"), "EROFS");
    assert_nothing_on_the_host(&bundle);
}

/// An unprivileged user can mount only in a user namespace, which has a separate mount namespace.
#[test]
fn a_plain_user_cannot_mount() {
    let bundle = shared().edit(|c| c["linux"]["namespaces"] = json!([]));
    let bundle = bundle.edit(|c| {
        c["hostname"] = json!("");
        drop(c["linux"].as_object_mut().unwrap().remove("resources"));
    });
    for path in [bundle.dir().to_path_buf(), bundle.path("config.json")] {
        std::os::unix::fs::chown(path, Some(1000), Some(1000)).unwrap();
    }
    let out = as_user(bundle.run_cmd(&[])).run();
    let out = out.fails_with("linux.namespaces: user 1000 is unprivileged and needs a user namespace");
    assert!(out.stderr.contains("`orlop spec --rootless`"), "{out:#?}");
}

/// From the runtime's mount namespace, and from another one: a process that joins the container's namespace is
/// in the host's root, and still has to enter the container's.
#[test]
fn exec_has_the_mounts_too() {
    let list = [
        "probe",
        "try",
        "list,/",
        "list,/..",
        "stat-mount,/dev/shm",
        "create,/new",
    ];
    for bundle in [bare(Bundle::new()), shared()] {
        let has_mounts = bundle.dir().join("config.json");
        let has_mounts = fs::read_to_string(has_mounts).unwrap().contains("/dev/shm");
        let bundle = bundle.args(["probe", "sleep"]);
        let c = bundle.start();
        for apart in [false, true] {
            let mut command = exec_cmd(&c, &[], &list);
            if apart {
                command = command.before_exec(|| Ok(unshare(CloneFlags::CLONE_NEWNS)?));
            }
            let tried = Attempts(command.run().ok().json());
            for list in ["list,/", "list,/.."] {
                let names = tried.detail(list).as_array().unwrap();
                let has = |name: &str| names.contains(&json!(name));
                assert!(has("bin") && !has("usr"), "{apart} {names:?}");
            }
            if has_mounts {
                assert_eq!(tried.detail("stat-mount,/dev/shm"), "1021994");
                assert_eq!(tried.result("create,/new"), "EROFS");
            }
        }
    }
}

/// As in runc's test: a hook on the runtime's side runs once, and in the usual place.
#[test]
fn hooks_see_the_mounts() {
    let bundle = shared().sh("cat /dev/shm/by-hook; cat /etc/covered");
    fs::write(bundle.inside("/etc/covered"), "the image's\n").unwrap();
    let root = bundle.inside("/").display().to_string();
    // Through init it finds the container's mounts at that moment, as with any container.
    let once = format!(
        "readlink /proc/self/ns/mnt >>$OUT; pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); \
         nsenter --mount --target $pid ls -d {root}/proc/self >>$OUT"
    );
    // It mounts in the container's root, and the mount stays.
    let within = format!(
        "echo written >{root}/dev/shm/by-hook; echo hidden >$OUT.cover; mount --bind $OUT.cover {root}/etc/covered; \
         mount --make-unbindable {root}/etc/covered"
    );
    let bundle = bundle
        .with_host_hook("createRuntime", &once)
        .with_host_hook("createContainer", &within);
    assert_eq!(bundle.run().ok().stdout, "written\nhidden\n");
    let log = fs::read_to_string(bundle.path("hooks.log")).unwrap();
    assert!(log.starts_with(own_namespace("mount").as_str().unwrap()), "{log}");
    assert_eq!(log.matches("mnt:").count(), 1);
    assert!(log.trim_end().ends_with("/proc/self"), "{log}");
    assert_nothing_on_the_host(&bundle);
    assert_eq!(
        fs::read_to_string(bundle.inside("/etc/covered")).unwrap(),
        "the image's\n"
    );
    bundle.assert_clean();
}

#[test]
fn a_terminal() {
    let bundle = shared()
        .args(["probe", "facts", "/dev/console", "/dev/pts/0"])
        .edit(|c| c["process"]["terminal"] = json!(true));
    let facts = Terminal::of_started(&bundle).facts();
    assert!(facts["tty"][0]["rows"].is_number(), "{:?}", facts["tty"]);
    assert_eq!(facts.path("/dev/console")["major"], 136);
    assert_eq!(facts.path("/dev/pts/0")["major"], 136);
    assert_eq!(
        facts["fds"],
        json!({ "0": "/dev/pts/0", "1": "/dev/pts/0", "2": "/dev/pts/0" })
    );
    assert_nothing_on_the_host(&bundle);
}

#[test]
fn the_socket_for_notifications() {
    let bundle = shared().args(["probe", "try", "lstat,/run/notify"]);
    fs::create_dir(bundle.inside("/run")).unwrap();
    let socket = std::os::unix::net::UnixDatagram::bind(bundle.path("notify.sock")).unwrap();
    let command = bundle.run_cmd(&[]);
    let out = command
        .env("NOTIFY_SOCKET", bundle.path("notify.sock").to_str().unwrap())
        .run()
        .ok();
    drop(socket);
    assert_eq!(Attempts(out.json()).detail("lstat,/run/notify")["type"], "directory");
    assert_nothing_on_the_host(&bundle);
}

/// Propagation needs a mount in a namespace, and a user namespace cannot be left again.
#[test]
fn what_needs_a_mount_namespace_is_refused() {
    for word in ["shared", "rshared", "slave", "rslave", "unbindable", "runbindable"] {
        let bundle = shared().edit(|c| c["linux"]["rootfsPropagation"] = json!(word));
        bundle.run().fails_with(&format!(
            "linux.rootfsPropagation {word:?}: requires a separate mount namespace"
        ));
        let bundle = shared().mount("/tmp", "bind", "/tmp", &["rbind", word]);
        bundle
            .run()
            .fails_with("its propagation requires a separate mount namespace");
        bundle.assert_clean();
    }
    for word in ["private", "rprivate"] {
        let bundle = shared().mount("/tmp", "bind", "/tmp", &["rbind", word]);
        let bundle = bundle.edit(|c| c["linux"]["rootfsPropagation"] = json!(word));
        bundle.args(["true"]).run().ok();
    }
    remapped(shared())
        .run()
        .fails_with("linux.namespaces: requires a separate mount namespace");
}

/// CVE-2021-30465, CVE-2019-19921 and similar ones: the mounts are made by the same code.
#[test]
fn links_of_the_image_stay_inside_the_root() {
    let canary = Canary::dir();
    for place in ["/proc", "/dev", "/data", "/etc"] {
        for target in [
            canary.as_str().to_owned(),
            format!("{}{}", "../".repeat(12).trim_end_matches('/'), canary.as_str()),
        ] {
            let bundle = shared()
                .mount("/data", "tmpfs", "tmpfs", &[])
                .edit(|c| c["linux"]["maskedPaths"] = json!(["/etc"]))
                .args(["true"]);
            let _ = fs::remove_dir(bundle.inside(place));
            symlink(&target, bundle.inside(place)).unwrap();
            let _ = bundle.run();
            canary.assert_untouched();
            assert_eq!(mounts_of("self", &bundle), [""; 0]);
        }
    }
}

/// A mount at the root's path belongs to the host, and stays when the container fails.
#[test]
fn a_mount_of_the_host_on_the_root_is_kept() {
    let by_path = |bundle: Bundle| {
        bundle.edit(|c| {
            let list = c["linux"]["namespaces"].as_array_mut().unwrap();
            list.push(json!({ "type": "mount", "path": "/proc/self/ns/mnt" }));
        })
    };
    for bundle in [by_path(bare(Bundle::new())), by_path(shared())] {
        let bundle = bundle.with_hook("createContainer", json!({ "path": "/bin/false" }));
        let host = HostMount::itself(&bundle.inside("/"));
        let before = mounts_of("self", &bundle);
        assert_eq!(before.len(), 1);
        bundle.run().fails_with("createContainer");
        assert_eq!(mounts_of("self", &bundle), before);
        drop(host);
    }
}
