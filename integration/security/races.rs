//! Images that change while a container is created from them: a name is exchanged with a link to the host, again and again, for
//! as long as the budget lasts. The runtime may refuse the container or run it; the host stays as it is.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::host::swap_until;
use crate::harness::{Bundle, Canary, ConsoleSocket};

/// The time for each race.
const BUDGET: Duration = Duration::from_secs(3);

/// Repeats `round` while another thread exchanges what is at `place` in the root file system with a link to `target`.
#[track_caller]
fn race(bundle: &Bundle, place: &str, target: &str, round: impl Fn()) {
    let (stop, other) = (Arc::new(AtomicBool::new(false)), bundle.path("rootfs/other"));
    symlink(target, &other).expect("plant a symbolic link");
    let flipper = swap_until(stop.clone(), bundle.inside(place), other);
    let end = Instant::now() + BUDGET;
    while Instant::now() < end {
        round();
    }
    stop.store(true, Ordering::Relaxed);
    flipper.join().unwrap();
}

/// The host's path as a link of an image would have it that is resolved without regard to the root.
fn climbing(host: &str) -> String {
    format!("{}{host}", "../".repeat(12).trim_end_matches('/'))
}

/// CVE-2025-31133, CVE-2025-62161, CVE-2026-88265: the null device of the image, which a mask or a stream might be taken from.
#[test]
fn the_null_device_of_the_image() {
    let canary = Canary::file();
    let bundle = Bundle::new()
        .writable()
        .sh("cat /proc/version; echo spoiled >/dev/null")
        .without_mount("/dev")
        .mount(
            "/volume",
            "bind",
            canary.path.parent().unwrap().to_str().unwrap(),
            &["bind", "rw"],
        )
        .edit(|c| {
            c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
            c["linux"]["maskedPaths"] = json!(["/proc/version"]);
        });
    // What the runtime makes of the device afterwards is a device in any case.
    crate::harness::host::make_node(
        &bundle.inside("/dev/null"),
        nix::sys::stat::SFlag::S_IFCHR,
        0o666,
        (1, 3),
    );
    race(&bundle, "/dev/null", "/volume/file", || {
        let out = bundle.run();
        assert_eq!(out.stdout, "", "{out:#?}");
    });
}

/// CVE-2026-41579, CVE-2026-47766: the directory in which devices and links are made.
#[test]
fn the_device_directory_of_the_image() {
    let canary = Canary::dir();
    let mut bundle = Bundle::new().args(["true"]).writable();
    for place in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        bundle = bundle.without_mount(place);
    }
    race(&bundle, "/dev", &climbing(canary.as_str()), || drop(bundle.run()));
}

/// CVE-2024-21626, CVE-2024-45310: the working directory, which is made if it is missing.
#[test]
fn the_working_directory() {
    let canary = Canary::dir();
    let bundle = Bundle::new()
        .writable()
        .args(["probe", "try", "list,.", "read,/proc/self/cwd/file"])
        .edit(|c| c["process"]["cwd"] = json!("/work/new/deeper"));
    fs::create_dir(bundle.inside("/work")).unwrap();
    race(&bundle, "/work", &climbing(canary.as_str()), || {
        let out = bundle.run();
        assert!(!out.stdout.contains("canary"), "{out:#?}");
    });
}

/// CVE-2025-52565, CVE-2026-88264: the file on which the terminal is bound.
#[test]
fn the_console_of_the_image() {
    let canary = Canary::file();
    let bundle = Bundle::new()
        .args(["true"])
        .writable()
        .without_mount("/dev")
        .edit(|c| c["process"]["terminal"] = json!(true));
    fs::create_dir(bundle.inside("/dev/pts")).unwrap();
    fs::write(bundle.inside("/dev/console"), "").unwrap();
    let socket = ConsoleSocket::new(&bundle);
    race(&bundle, "/dev/console", &climbing(canary.as_str()), || {
        let id = bundle.fresh_id();
        if bundle.create_cmd(&id, &["--console-socket", socket.path()]).run().code == 0 {
            drop(socket.terminal());
            bundle.orlop(["delete", "--force", &id]).run().ok();
        }
    });
}

/// CVE-2019-18837: files and directories that are covered.
#[test]
fn masked_and_read_only_paths() {
    let canary = Canary::dir();
    let secret = format!("/place{}/file", canary.as_str());
    let bundle = Bundle::new().args(["true"]).writable().edit(|c| {
        c["linux"]["maskedPaths"] = json!(["/place/file", &secret]);
        c["linux"]["readonlyPaths"] = json!(["/place"]);
    });
    fs::create_dir(bundle.inside("/place")).unwrap();
    fs::write(bundle.inside("/place/file"), "of the image").unwrap();
    race(&bundle, "/place", &climbing(canary.as_str()), || drop(bundle.run()));
    let own = |name: &str| fs::read_to_string(bundle.inside(name)).unwrap_or_default();
    assert!([own("/place/file"), own("/other/file")].contains(&"of the image".into()));
}
