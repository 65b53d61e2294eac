//! proc, sysfs and mqueue: what may cover them, and what they show without a separate namespace.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::flags::has;
use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Attempts, Bundle, Facts};

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

/// CVE-2023-27561, CVE-2023-28642 with a bind mount of the host's instance instead of a new one.
#[test]
fn a_bound_proc_or_sys_needs_a_directory_in_the_image() {
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

fn without_own(bundle: Bundle, namespace: &str) -> Bundle {
    remapped(bundle.without_namespace(namespace))
}

#[test]
fn sysfs_without_a_network_namespace_is_the_hosts() {
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
        // Mounts of the host below are as read-only as /sys itself; the container's cgroup mount comes later.
        for mount in facts["mounts"].as_array().unwrap() {
            if mount["mountpoint"].as_str().unwrap().starts_with("/sys/") {
                assert!(mount["options"].as_array().unwrap().contains(&json!("ro")), "{mount}");
            }
        }
    }
}

#[test]
fn proc_without_a_pid_namespace_is_the_hosts() {
    let bundle = without_own(Bundle::new(), "pid");
    let facts = bundle.facts();
    assert_eq!(facts.mount("/proc")["fstype"], "proc");
    assert_ne!(facts["pid"], 1);
    // Masks and read-only paths work on it as on any other.
    assert!(has(&facts, "/proc/sys", "ro"));
    let bundle = without_own(
        Bundle::new().args(["probe", "try", "read,/proc/1/comm", "open,/proc/sys/kernel/hostname,w"]),
        "pid",
    );
    let tried = Attempts(bundle.run().ok().json());
    assert_eq!(tried.result("read,/proc/1/comm"), "ok");
    assert_ne!(tried.result("open,/proc/sys/kernel/hostname,w"), "ok");
}

/// With a separate /dev, because not every host has an mqueue mounted.
const WITH_QUEUES: &str = r#"[ "${IN:-}" ] || IN=1 exec unshare --mount --propagation private sh -c '
    mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/zero c 1 5 && mknod -m 666 /dev/tty c 5 0 &&
    mkdir /dev/mqueue && { [ -z "$QUEUES" ] || mount -t mqueue none /dev/mqueue; } && exec "$0" "$@"' "$0" "$@""#;

#[test]
fn mqueue_without_an_ipc_namespace_is_the_hosts() {
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
