//! Images and configurations that try to escape. Each is a published escape or a close variant; a file of the
//! host serves as a canary and must stay untouched, whether the runtime refuses the
//! container (which is always right) or runs it safely.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::harness::host::swap_until;
use crate::harness::{Bundle, Canary, ConsoleSocket};

/// Targets of a link in the image: the path on the host, and relative paths that climb up.
fn ways_to(host: &str) -> [String; 3] {
    [
        host.to_owned(),
        format!("{}{}", "../".repeat(12).trim_end_matches('/'), host),
        format!("/proc/self/root{host}"),
    ]
}

pub(super) fn replace_with_link(bundle: &Bundle, path: &str, target: &str) {
    let place = bundle.inside(path);
    let _ = fs::remove_dir(&place);
    let _ = fs::remove_file(&place);
    symlink(target, place).expect("plant a symbolic link");
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867.
#[test]
fn proc_and_sys_must_be_directories_of_the_image() {
    let canary = Canary::dir();
    for place in ["/proc", "/sys"] {
        for target in
            ways_to(canary.as_str())
                .iter()
                .map(String::as_str)
                .chain(["/etc", "etc", "/no/such/target", "/tmp/fake"])
        {
            let bundle = Bundle::new().args(["true"]);
            replace_with_link(&bundle, place, target);
            bundle.run().fails_for("must be mounted on ordinary directory");
            bundle.assert_clean();
            canary.assert_untouched();
        }
    }
}

/// CVE-2026-41579, CVE-2026-47766.
#[test]
fn a_linked_dev_stays_inside_the_root() {
    let canary = Canary::dir();
    for target in ways_to(canary.as_str()) {
        for mounted in [true, false] {
            let mut bundle = Bundle::new().args(["true"]).writable();
            if !mounted {
                for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                    bundle = bundle.without_mount(place);
                }
            }
            let device = json!([{ "path": "/dev/extra", "type": "c", "major": 1, "minor": 3 }]);
            let bundle = bundle.edit(|c| c["linux"]["devices"] = device);
            replace_with_link(&bundle, "/dev", &target);
            let _ = bundle.run();
            canary.assert_untouched();
        }
    }
}

/// CVE-2026-88265, CVE-2025-31133, CVE-2025-62161, and every other name that the runtime creates below /dev.
#[test]
fn links_inside_the_images_dev_are_not_followed() {
    let canary = Canary::file();
    for name in [
        "null", "zero", "full", "tty", "ptmx", "console", "fd", "stdin", "stdout", "core", "extra", "pts", "shm",
        "mqueue",
    ] {
        for target in ways_to(canary.as_str()) {
            let bundle = Bundle::new().args(["true"]).writable().without_mount("/dev").edit(|c| {
                c["linux"]["devices"] =
                    json!([{ "path": "/dev/extra", "type": "c", "major": 1, "minor": 3, "uid": 12, "gid": 13 }]);
                c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
            });
            replace_with_link(&bundle, &format!("/dev/{name}"), &target);
            let _ = bundle.run();
            canary.assert_untouched();
        }
    }
}

/// The same file, made visible inside by a volume: no mask, chown or redirection may reach it.
#[test]
fn a_linked_null_device_does_not_reach_a_volume() {
    let canary = Canary::file();
    for shared in ["/volume/file", "/proc/sys/kernel/core_pattern"] {
        let dir = canary.path.parent().unwrap().to_str().unwrap();
        let bundle = Bundle::new()
            .writable()
            .args([
                "probe",
                "try",
                "read,/proc/kcore",
                "write,/proc/kcore,x",
                "write,/dev/null,spoiled",
                "read,/proc/self/fd/0",
            ])
            .without_mount("/dev")
            .mount("/volume", "bind", dir, &["bind", "rw"])
            .edit(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
        replace_with_link(&bundle, "/dev/null", shared);
        let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        let out = bundle.run();
        assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
        canary.assert_untouched();
        if out.code == 0 {
            // If accepted, the host's null device is used as the mask, not a file of the image.
            let report = out.json();
            assert_ne!(report[0]["detail"], "canary\n");
            assert!(report[0]["detail"].as_str().unwrap_or("").is_empty(), "{report}");
        }
    }
}

/// The specification: an existing file that is not the requested device is an error.
#[test]
fn a_default_device_of_another_type_is_refused() {
    let bundle = Bundle::new().args(["true"]).writable().without_mount("/dev");
    fs::write(bundle.inside("/dev/null"), "a plain file").unwrap();
    bundle.run().fails_with("/dev/null");
    assert_eq!(fs::read_to_string(bundle.inside("/dev/null")).unwrap(), "a plain file");
}

/// CVE-2026-88264, CVE-2025-52565.
#[test]
fn the_console_is_not_mounted_on_a_link() {
    let canary = Canary::file();
    for target in ways_to(canary.as_str()) {
        for readonly in [true, false] {
            let bundle = Bundle::new().args(["probe", "facts"]).without_mount("/dev").edit(|c| {
                c["process"]["terminal"] = json!(true);
                c["root"]["readonly"] = json!(readonly);
            });
            replace_with_link(&bundle, "/dev/console", &target);
            fs::create_dir(bundle.inside("/dev/pts")).unwrap();
            let socket = ConsoleSocket::new(&bundle);
            let id = bundle.fresh_id();
            let out = bundle.create_cmd(&id, &["--console-socket", socket.path()]).run();
            if out.code == 0 {
                let mut terminal = socket.terminal();
                if bundle.orlop(["start", &id]).run().code == 0 {
                    let _ = terminal.until_closed();
                }
            }
            canary.assert_untouched();
        }
    }
}

/// CVE-2019-18837 and related ones: whatever is created below a link is created inside the root.
#[test]
fn mount_points_are_made_inside_the_root() {
    let canary = Canary::dir();
    let source = Bundle::new();
    let file = source.path("config.json");
    for target in ways_to(canary.as_str()) {
        for (kind, from, options) in [
            ("tmpfs", "tmpfs", &[] as &[&str]),
            ("bind", source.dir().to_str().unwrap(), &["bind"]),
            ("bind", file.to_str().unwrap(), &["bind"]),
        ] {
            for destination in ["/link", "/link/new", "/link/new/deeper", "/link/file", "/link/../new"] {
                let bundle = Bundle::new()
                    .args(["true"])
                    .writable()
                    .mount(destination, kind, from, options);
                replace_with_link(&bundle, "/link", &target);
                let _ = bundle.run();
                canary.assert_untouched();
            }
        }
    }
}

#[test]
fn dots_in_a_destination_stay_inside() {
    let canary = Canary::dir();
    let up = "/..".repeat(12);
    for destination in [
        format!("{up}{}/new", canary.as_str()),
        format!("/tmp{up}{}/new", canary.as_str()),
        format!("{}{}/new", &up[1..], canary.as_str()),
    ] {
        let bundle = Bundle::new()
            .args(["true"])
            .writable()
            .mount(&destination, "tmpfs", "tmpfs", &[]);
        let _ = bundle.run();
        canary.assert_untouched();
    }
}

#[test]
fn device_paths_stay_inside() {
    let canary = Canary::dir();
    let up = "/..".repeat(12);
    for path in [
        format!("/dev{up}{}/node", canary.as_str()),
        "/link/node".into(),
        "/link/deeper/node".into(),
        "relative".into(),
    ] {
        let bundle = Bundle::new().args(["true"]).writable().edit(|c| {
            c["linux"]["devices"] = json!([{ "path": path, "type": "c", "major": 1, "minor": 3 }]);
        });
        replace_with_link(&bundle, "/link", canary.as_str());
        let _ = bundle.run();
        canary.assert_untouched();
    }
}

#[test]
fn masked_and_readonly_paths_stay_inside() {
    let canary = Canary::dir();
    let file = format!("{}/file", canary.as_str());
    for target in ways_to(&file) {
        let bundle = Bundle::new().args(["probe", "cat", "/bin/true"]).writable().edit(|c| {
            c["linux"]["maskedPaths"] = json!(["/link", "/link/x", &file]);
            c["linux"]["readonlyPaths"] = json!(["/link", canary.as_str()]);
        });
        replace_with_link(&bundle, "/link", &target);
        let _ = bundle.run();
        canary.assert_untouched();
        assert_eq!(fs::read_to_string(&file).unwrap(), "canary\n");
    }
}

/// CVE-2021-30465, CVE-2024-45310: part of a shared volume is swapped while mounts are made below it.
#[test]
fn a_racing_link_swap_creates_nothing_outside() {
    let canary = Canary::dir();
    let volume = Bundle::new();
    let shared = volume.path("volume");
    fs::create_dir_all(shared.join("a")).unwrap();
    let outside = format!("{}{}", "../".repeat(12).trim_end_matches('/'), canary.as_str());
    symlink(&outside, shared.join("b")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flipper = swap_until(stop.clone(), shared.join("a"), shared.join("b"));
    for round in 0..40 {
        let below = format!("/volume/a/new{round}/deeper");
        let bundle = Bundle::new()
            .args(["true"])
            .mount("/volume", "bind", shared.to_str().unwrap(), &["bind", "rw"])
            .mount(&below, "tmpfs", "tmpfs", &[]);
        let _ = bundle.run();
    }
    stop.store(true, Ordering::Relaxed);
    flipper.join().unwrap();
    canary.assert_untouched();
}

/// CVE-2019-16884, CVE-2025-52881, CVE-2025-62596: writes to /proc go to the kernel, whatever files are there.
#[test]
fn a_fake_proc_is_never_written_to() {
    let canary = Canary::file();
    for point in ["/proc", "/proc/sys", "/proc/self"] {
        let bundle = Bundle::new().args(["true"]);
        let fake = bundle.path("fake");
        for dir in [
            "self/attr",
            "self/fd",
            "self/task",
            "thread-self/attr",
            "sys/net/ipv4",
            "sys/kernel",
            "net/ipv4",
            "attr",
        ] {
            fs::create_dir_all(fake.join(dir)).unwrap();
        }
        for name in [
            "self/attr/exec",
            "self/attr/current",
            "thread-self/attr/exec",
            "attr/exec",
            "self/oom_score_adj",
            "oom_score_adj",
            "self/setgroups",
            "self/uid_map",
            "self/timens_offsets",
            "sys/net/ipv4/ip_forward",
            "net/ipv4/ip_forward",
            "sys/kernel/shmmax",
        ] {
            symlink("/canary", fake.join(name)).unwrap();
        }
        let bundle = bundle
            .mount(point, "bind", fake.to_str().unwrap(), &["bind", "rw"])
            .mount("/canary", "bind", canary.as_str(), &["bind", "rw"]);
        let bundle = bundle.edit(|c| {
            c["process"]["oomScoreAdj"] = json!(100);
            c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
            // The canary must exist before the fake.
            c["mounts"].as_array_mut().unwrap().reverse();
        });
        let _ = bundle.run();
        canary.assert_untouched();
    }
}

/// CVE-2019-16884, CVE-2025-52881: an image with files in /proc, and a config that mounts no procfs.
#[test]
fn a_proc_directory_of_the_image_is_never_written_to() {
    let bundle = Bundle::new()
        .args(["cat", "/real/sys/net/ipv4/ip_default_ttl", "/real/self/oom_score_adj"])
        .without_mount("/proc")
        .mount("/real", "proc", "proc", &["nosuid"])
        .edit(|c| {
            c["process"]["oomScoreAdj"] = json!(321);
            c["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "33" });
        });
    let fakes = [
        "sys/net/ipv4/ip_default_ttl",
        "self/oom_score_adj",
        "1/oom_score_adj",
        "self/attr/exec",
    ];
    for fake in fakes {
        let path = bundle.inside("/proc").join(fake);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "untouched").unwrap();
    }
    assert_eq!(bundle.run().ok().stdout, "33\n321\n");
    for fake in fakes {
        assert_eq!(
            fs::read_to_string(bundle.inside("/proc").join(fake)).unwrap(),
            "untouched",
            "{fake}"
        );
    }
}
