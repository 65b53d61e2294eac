//! Mount options and what becomes of mounts: flags set and cleared, recursive ones, remounts, labels, and what a user
//! namespace may not mount.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use serde_json::json;

use crate::harness::{Attempts, Bundle, Facts, HostMount};
use crate::namespaces::user::{as_user, remapped, rootless};
use crate::need;

pub fn has(facts: &Facts, place: &str, option: &str) -> bool {
    let options = facts.mount(place)["options"].as_array().unwrap();
    options.contains(&json!(option))
}

/// The bind mount of a host's directory that is mounted with these flags.
pub fn bound(bundle: Bundle, flags: libc::c_ulong, options: &[&str]) -> (Bundle, HostMount) {
    let host = HostMount::tmpfs(&bundle.path("volume"), flags);
    let source = host.as_str().to_owned();
    fs::create_dir_all(bundle.inside("/volume")).unwrap();
    (bundle.mount("/volume", "bind", &source, options), host)
}

// ---- flags --------------------------------------------------------------------------------------------------------------

const FLAGS: &[(&str, &str, libc::c_ulong)] = &[
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
fn a_new_file_system_gets_its_flags() {
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

/// Every word that `features` names is taken on a new file system and on a bind mount, as the specification wants, and
/// nobody but the kernel decides what it is worth there.
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
        if !["bind", "rbind"].contains(&word) {
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

/// What a more privileged mount namespace has set cannot be taken away: an error that says what, not a silent `ro`.
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
fn flags_of_a_locked_mount_that_are_left_alone_are_no_error() {
    let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    let (bundle, _host) = bound(rootless(Bundle::new()), flags, &["bind", "noexec"]);
    let facts = Facts(as_user(bundle.run_cmd(&[])).run().ok().json());
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(has(&facts, "/volume", option), "{option}");
    }
}

/// A directory of the host with a mount below it, both with these flags.
pub fn tree(bundle: Bundle, flags: libc::c_ulong, options: &[&str]) -> (Bundle, [HostMount; 2]) {
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
fn a_remount_of_nothing_is_refused() {
    let bundle = Bundle::new()
        .args(["true"])
        .mount("/tmp", "none", "none", &["remount", "ro"]);
    bundle.run().fails_with("nothing is mounted at this path");
}

#[test]
fn options_without_effect_are_told() {
    let (bundle, _host) = bound(Bundle::new().args(["true"]), 0, &["bind", "sync", "silent"]);
    let out = bundle.run().ok();
    assert!(out.stderr.contains("\"sync\" has no effect here"), "{}", out.stderr);
    assert!(!out.stderr.contains("silent"), "{}", out.stderr);
    let id = bundle.fresh_id();
    let dir = bundle.dir().to_str().unwrap();
    let out = bundle.orlop(["--debug", "run", "--bundle", dir, &id]).run().ok();
    let line = r#"option \"silent\" has no effect here""#;
    assert!(out.stderr.contains(line), "{}", out.stderr);
}

/// A label without SELinux would protect nothing.
#[test]
fn a_mount_label_without_selinux_is_refused() {
    let kinds = fs::read_to_string("/proc/filesystems").unwrap();
    need!(!kinds.contains("selinuxfs"), "a kernel without SELinux");
    let bundle = Bundle::new()
        .args(["true"])
        .edit(|c| c["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0:c1,c2"));
    let out = bundle.run().fails_with("SELinux is not enabled");
    assert!(out.stderr.contains("linux.mountLabel"), "{}", out.stderr);
    bundle.assert_clean();
    Bundle::new()
        .args(["true"])
        .edit(|c| c["linux"]["mountLabel"] = json!(""))
        .run()
        .ok();
}

/// Where there is SELinux, what a container makes in its own file systems has the label.
#[test]
fn new_file_systems_get_the_mount_label() {
    let kinds = fs::read_to_string("/proc/filesystems").unwrap();
    need!(kinds.contains("selinuxfs"), "SELinux");
    let label = "system_u:object_r:container_file_t:s0:c1,c2";
    let tried = Bundle::new()
        .edit(|c| c["linux"]["mountLabel"] = json!(label))
        .mount("/tmp", "tmpfs", "tmpfs", &[])
        .attempt(
            ["/tmp", "/dev", "/dev/shm", "/dev/mqueue", "/dev/pts"]
                .map(|place| format!("getxattr,{place},security.selinux")),
        );
    for place in ["/tmp", "/dev", "/dev/shm", "/dev/mqueue", "/dev/pts"] {
        let found = tried.detail(&format!("getxattr,{place},security.selinux"));
        assert_eq!(found.as_str().unwrap_or("").trim_end_matches('\0'), label, "{place}");
    }
}

// ---- places -------------------------------------------------------------------------------------------------------------

#[test]
fn a_relative_destination_starts_at_the_root_and_is_warned_about() {
    let bundle = Bundle::new().mount("tmp", "tmpfs", "tmpfs", &[]);
    let out = bundle.run().ok();
    assert!(out.stderr.contains("a relative path is deprecated"), "{}", out.stderr);
    Facts(out.json()).mount("/tmp");
}

#[test]
fn a_file_is_bound_on_a_file_and_a_directory_on_a_directory() {
    let bundle = Bundle::new().edit(|c| c["root"]["readonly"] = json!(false));
    fs::create_dir(bundle.path("dir")).unwrap();
    fs::write(bundle.path("file"), "content").unwrap();
    let bundle =
        bundle
            .mount("/new/deeper/file", "bind", "file", &["bind"])
            .mount("/new/dir", "bind", "dir", &["bind"]);
    let tried = bundle.attempt([
        "read,/new/deeper/file",
        "list,/new/dir",
        "lstat,/new",
        "lstat,/new/deeper",
    ]);
    assert_eq!(
        tried.detail("read,/new/deeper/file"),
        "content",
        "the source is relative to the bundle"
    );
    assert_eq!(tried.result("list,/new/dir"), "ok");
    for made in ["lstat,/new", "lstat,/new/deeper"] {
        assert_eq!(tried.detail(made)["mode"], "0755");
    }
}

#[test]
fn a_tmpfs_keeps_the_mode_of_what_it_covers() {
    let bundle = Bundle::new().args(["probe", "facts", "/tmp", "/covered"]);
    fs::create_dir(bundle.inside("/covered")).unwrap();
    fs::set_permissions(bundle.inside("/covered"), fs::Permissions::from_mode(0o2750)).unwrap();
    let facts = bundle
        .mount("/tmp", "tmpfs", "tmpfs", &[])
        .mount("/covered", "tmpfs", "tmpfs", &[])
        .facts();
    assert_eq!(facts.path("/tmp")["mode"], "1777");
    assert_eq!(facts.path("/covered")["mode"], "2750");
}

#[test]
fn a_read_only_tmpfs_and_dev_are_filled_first() {
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

/// The files that lxcfs replaces may be covered, and no others.
#[test]
fn only_harmless_files_of_proc_can_be_covered() {
    let source = |bundle: &Bundle| {
        fs::write(bundle.path("fake"), "fake").unwrap();
        fs::create_dir_all(bundle.path("faked")).unwrap();
    };
    for name in ["cpuinfo", "meminfo", "uptime", "loadavg", "stat", "swaps", "diskstats"] {
        let bundle = Bundle::new();
        source(&bundle);
        let place = format!("/proc/{name}");
        let read = format!("read,{place}");
        let tried = bundle
            .mount(&place, "bind", "fake", &["bind", "ro"])
            .attempt([read.as_str()]);
        assert_eq!(tried.detail(&read), "fake", "{name}");
    }
    for (place, from) in [
        ("/proc/self/attr/exec", "fake"),
        ("/proc/sysrq-trigger", "fake"),
        ("/proc/sys/kernel/hostname", "fake"),
        ("/proc/sys", "faked"),
        ("/proc/1", "faked"),
        ("/proc", "faked"),
        ("/proc/self/../sys", "faked"),
    ] {
        let bundle = Bundle::new().args(["true"]);
        source(&bundle);
        bundle.mount(place, "bind", from, &["bind"]).run().fails_with("/proc");
    }
    // The same by a link of the image.
    let bundle = Bundle::new().args(["true"]);
    source(&bundle);
    symlink("/proc/sys", bundle.inside("/link")).unwrap();
    bundle
        .mount("/link", "bind", "faked", &["bind"])
        .run()
        .fails_with("inside /proc");
}

/// CVE-2023-27561, CVE-2023-28642 with the host's instance bound in the place of a new one.
#[test]
fn a_bound_proc_or_sys_needs_a_directory_of_the_image_too() {
    for place in ["/proc", "/sys"] {
        let bundle = Bundle::new()
            .args(["true"])
            .without_mount(place)
            .without_mount("/sys/fs/cgroup");
        fs::remove_dir(bundle.inside(place)).unwrap();
        symlink("/tmp", bundle.inside(place)).unwrap();
        bundle
            .mount(place, "bind", place, &["rbind"])
            .run()
            .fails_with("ordinary directory");
    }
}

// ---- user namespaces ----------------------------------------------------------------------------------------------------

/// Container root is nobody on the host, and cannot even look at the source; whoever wrote the config can.
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

/// What is mounted below must not come off for a user namespace, and the kernel says EINVAL.
#[test]
fn a_plain_bind_of_a_tree_that_must_stay_whole_is_explained() {
    let (bundle, _host) = tree(rootless(Bundle::new().args(["true"])), 0, &["bind"]);
    let out = as_user(bundle.run_cmd(&[])).run().fails_with("EINVAL");
    assert!(out.stderr.contains("\"rbind\" takes those along"), "{}", out.stderr);
}

#[test]
fn a_mount_point_that_the_containers_root_may_not_make_is_explained() {
    let bundle = remapped(Bundle::new().args(["true"])).mount("/missing", "tmpfs", "tmpfs", &[]);
    let out = bundle.run().fails_with("EACCES");
    assert!(out.stderr.contains("the mount point does not exist"), "{}", out.stderr);
}

#[test]
fn what_a_user_namespace_binds_gets_nothing_back_to_the_host() {
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

fn without_own(bundle: Bundle, namespace: &str) -> Bundle {
    remapped(bundle.without_namespace(namespace))
}

#[test]
fn sysfs_without_an_own_network_namespace_is_the_hosts() {
    for as_plain_user in [false, true] {
        let out = if as_plain_user {
            let bundle = rootless(Bundle::new()).without_mount("/sys");
            let bundle = bundle.mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]);
            as_user(bundle.run_cmd(&[])).run().ok()
        } else {
            without_own(Bundle::new(), "network").run().ok()
        };
        let facts = Facts(out.json());
        let sys = facts.mount("/sys");
        assert_eq!((&sys["fstype"], &sys["root"]), (&json!("sysfs"), &json!("/")));
        for option in ["ro", "nosuid", "noexec", "nodev"] {
            assert!(has(&facts, "/sys", option), "{option}");
        }
        // What the host has mounted below is as read-only as /sys itself; the container's own cgroup mount comes later.
        for mount in facts["mounts"].as_array().unwrap() {
            if mount["mountpoint"].as_str().unwrap().starts_with("/sys/") {
                assert!(mount["options"].as_array().unwrap().contains(&json!("ro")), "{mount}");
            }
        }
    }
}

#[test]
fn proc_without_an_own_pid_namespace_is_the_hosts() {
    let bundle = without_own(Bundle::new(), "pid");
    let facts = bundle.facts();
    assert_eq!(facts.mount("/proc")["fstype"], "proc");
    assert_ne!(facts["pid"], 1);
    // Masks and read-only parts stand on it as on any other.
    assert!(has(&facts, "/proc/sys", "ro"));
    let bundle = without_own(
        Bundle::new().args(["probe", "try", "read,/proc/1/comm", "open,/proc/sys/kernel/hostname,w"]),
        "pid",
    );
    let tried = Attempts(bundle.run().ok().json());
    assert_eq!(tried.result("read,/proc/1/comm"), "ok");
    assert_ne!(tried.result("open,/proc/sys/kernel/hostname,w"), "ok");
}

/// With a /dev of its own, because not every host has an mqueue mounted.
const WITH_QUEUES: &str = r#"[ "${IN:-}" ] || IN=1 exec unshare --mount --propagation private sh -c '
    mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/zero c 1 5 && mknod -m 666 /dev/tty c 5 0 &&
    mkdir /dev/mqueue && { [ -z "$QUEUES" ] || mount -t mqueue none /dev/mqueue; } && exec "$0" "$@"' "$0" "$@""#;

#[test]
fn mqueue_without_an_own_ipc_namespace_is_the_hosts() {
    let bundle = without_own(Bundle::new(), "ipc");
    let run = |queues| {
        bundle
            .run_cmd(&[])
            .through_shell(WITH_QUEUES)
            .env("QUEUES", queues)
            .run()
    };
    let facts = Facts(run("1").ok().json());
    assert_eq!(facts.mount("/dev/mqueue")["fstype"], "mqueue");
    for option in ["nosuid", "noexec", "nodev"] {
        assert!(has(&facts, "/dev/mqueue", option), "{option}");
    }
    let out = run("").fails_with("the host has none at /dev/mqueue");
    assert!(
        out.stderr.contains("EPERM") && out.stderr.contains("ipc for mqueue"),
        "{}",
        out.stderr
    );
}

/// CVE-2023-25809: without a cgroup namespace nothing of the host's tree but the container's own cgroup is writable.
#[test]
fn without_a_cgroup_namespace_only_the_own_cgroup_is_writable() {
    let wide = |bundle: Bundle| {
        bundle
            .without_namespace("cgroup")
            .without_mount("/sys/fs/cgroup")
            .mount(
                "/sys/fs/cgroup",
                "cgroup",
                "cgroup",
                &["nosuid", "noexec", "nodev", "rw"],
            )
    };
    let operations = [
        "list,/sys/fs/cgroup",
        "read,/sys/fs/cgroup/cgroup.procs",
        "mkdir,/sys/fs/cgroup/../orlop-escape",
        "open,/sys/fs/cgroup/suite/cgroup.procs,w",
        "open,/sys/fs/cgroup/../cgroup.procs,w",
    ];
    for user_namespace in [false, true] {
        let mut bundle = wide(Bundle::new().with_caps(&["CAP_DAC_OVERRIDE"]));
        if user_namespace {
            bundle = remapped(bundle);
        }
        let tried = bundle.attempt(operations);
        assert!(
            tried
                .detail("list,/sys/fs/cgroup")
                .as_array()
                .unwrap()
                .contains(&json!("cgroup.procs"))
        );
        let processes = tried
            .detail("read,/sys/fs/cgroup/cgroup.procs")
            .as_str()
            .unwrap()
            .trim();
        assert_eq!(processes, "1", "its own processes and no others");
        for operation in &operations[2..] {
            assert_ne!(tried.result(operation), "ok", "{operation}");
        }
    }
    // A plain user's container with no cgroup of its own at all: nothing to see, and nothing to write.
    let bundle = rootless(Bundle::new()).without_namespace("cgroup");
    let bundle = wide(bundle).args([&["probe", "try"], &operations[..], &["create,/sys/fs/cgroup/x"]].concat());
    let tried = Attempts(as_user(bundle.run_cmd(&[])).run().ok().json());
    assert_eq!(tried.detail("list,/sys/fs/cgroup"), &json!([]));
    for operation in operations[1..].iter().chain(&["create,/sys/fs/cgroup/x"]) {
        assert_ne!(tried.result(operation), "ok", "{operation}");
    }
    let host = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    assert!(host.into_iter().all(|entry| entry.file_name() != "orlop-escape"));
}

/// Programs join /sys/fs/cgroup and the path in /proc/self/cgroup. Without a cgroup namespace that path starts at the root of
/// the host's tree.
#[test]
fn without_a_cgroup_namespace_a_read_only_tree_is_whole() {
    let script = "own=$(sed -n 's/^0:://p' /proc/self/cgroup); echo \"$own\"; cat \"/sys/fs/cgroup$own/cgroup.procs\"";
    let shared = |options: &[&str]| {
        Bundle::new()
            .without_namespace("cgroup")
            .without_mount("/sys/fs/cgroup")
            .mount("/sys/fs/cgroup", "cgroup", "cgroup", options)
            .with_caps(&["CAP_DAC_OVERRIDE"])
    };
    for options in [&["ro", "nosuid"] as &[&str], &["rro"], &["rw", "ro"]] {
        let bundle = shared(options);
        std::os::unix::fs::symlink("busybox", bundle.inside("/bin/sed")).expect("an applet");
        let said = bundle.sh(script).run().ok().stdout;
        let lines: Vec<&str> = said.lines().collect();
        assert!(
            lines[0].ends_with("-c0") && lines[1..].contains(&"1"),
            "{options:?}: {said}"
        );
    }
    let tried = shared(&["ro"]).attempt([
        "mkdir,/sys/fs/cgroup/x",
        "open,/sys/fs/cgroup/cgroup.procs,w",
        "open,/sys/fs/cgroup/suite/cgroup.procs,w",
    ]);
    for operation in [
        "mkdir,/sys/fs/cgroup/x",
        "open,/sys/fs/cgroup/cgroup.procs,w",
        "open,/sys/fs/cgroup/suite/cgroup.procs,w",
    ] {
        assert_eq!(tried.result(operation), "EROFS", "{operation}");
    }
    // In a user namespace it stays the container's own.
    let tried = remapped(shared(&["ro"])).attempt(["list,/sys/fs/cgroup", "mkdir,/sys/fs/cgroup/x"]);
    let listed = tried.detail("list,/sys/fs/cgroup").as_array().expect("a list").clone();
    assert!(
        listed.contains(&json!("cgroup.procs")) && !listed.contains(&json!("suite")),
        "{listed:?}"
    );
    assert_eq!(tried.result("mkdir,/sys/fs/cgroup/x"), "EROFS");
}
