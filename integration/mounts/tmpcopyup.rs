//! `tmpcopyup`: a tmpfs that starts with the image's content.

use std::ffi::{CStr, CString};
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use nix::sys::stat::SFlag;
use serde_json::json;

use crate::harness::host::{make_fifo, make_node, swap_until};
use crate::harness::users::remapped;
use crate::harness::{Bundle, Canary, HostMount};

fn copied(bundle: Bundle, options: &[&str]) -> Bundle {
    bundle.mount("/data", "tmpfs", "tmpfs", &[&["tmpcopyup"], options].concat())
}

#[track_caller]
fn set_attribute(path: &Path, name: &CStr, value: &[u8]) {
    let path = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: two strings that end with a NUL and bytes with their length, which all outlive the call.
    let done = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// An image directory with a file of every kind.
fn everything(bundle: &Bundle) {
    let data = bundle.inside("/data");
    fs::create_dir_all(data.join("sub/deeper")).unwrap();
    fs::write(data.join("program"), "#!").unwrap();
    chown(data.join("program"), Some(11), Some(12)).unwrap();
    fs::set_permissions(data.join("program"), fs::Permissions::from_mode(0o6751)).unwrap();
    fs::write(data.join("sub/deeper/large"), "0123456789".repeat(300_000)).unwrap();
    fs::hard_link(data.join("sub/deeper/large"), data.join("again")).unwrap();
    symlink("/etc/passwd", data.join("link")).unwrap();
    lchown(data.join("link"), Some(21), Some(22)).unwrap();
    make_fifo(&data.join("fifo"));
    fs::set_permissions(data.join("fifo"), fs::Permissions::from_mode(0o640)).unwrap();
    make_node(&data.join("null"), SFlag::S_IFCHR, 0o604, (1, 3));
    set_attribute(&data.join("program"), c"user.note", b"text");
    set_attribute(&data.join("sub"), c"user.note", b"text");
    // A file capability, cap_net_raw+ep, as the kernel stores it.
    let capability: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0];
    let stored: Vec<u8> = capability.iter().flat_map(|word| word.to_le_bytes()).collect();
    set_attribute(&data.join("program"), c"security.capability", &stored);
    let day = UNIX_EPOCH + Duration::from_secs(86_400);
    let program = File::open(data.join("program")).unwrap();
    program
        .set_times(FileTimes::new().set_accessed(day).set_modified(day))
        .unwrap();
    chown(data.join("sub"), Some(31), Some(32)).unwrap();
    fs::set_permissions(data.join("sub"), fs::Permissions::from_mode(0o2711)).unwrap();
    chown(&data, Some(41), Some(42)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o1755)).unwrap();
}

#[test]
fn content_comes_with_owners_modes_attributes_and_kinds() {
    let bundle = Bundle::new().with_caps(&["CAP_DAC_OVERRIDE"]);
    everything(&bundle);
    let listed = [
        "/data",
        "program",
        "sub",
        "sub/deeper/large",
        "again",
        "link",
        "fifo",
        "null",
    ];
    let path = |name: &str| Path::new("/data").join(name).to_str().unwrap().to_owned();
    let mut operations: Vec<String> = listed.iter().map(|name| format!("lstat,{}", path(name))).collect();
    operations.extend(
        [
            "getxattr,/data/program,user.note",
            "getxattr,/data/program,security.capability",
            "getxattr,/data/sub,user.note",
            "mtime,/data/program",
            "stat-mount,/data",
            "unlink,/data/again",
            "write,/data/program,changed",
            "create,/data/sub/new",
        ]
        .map(str::to_owned),
    );
    let bundle = copied(bundle, &["size=8m"]);
    bundle.change(|c| {
        let mut args = vec!["probe".to_owned(), "try".to_owned()];
        args.extend(operations.clone());
        c["process"]["args"] = json!(args);
    });
    let tried = crate::harness::Attempts(bundle.run().ok().json());
    let fact = |name: &str| tried.detail(&format!("lstat,{}", path(name))).clone();
    let expected = [
        ("/data", "directory", "1755", 41, 42),
        ("program", "file", "6751", 11, 12),
        ("sub", "directory", "2711", 31, 32),
        ("sub/deeper/large", "file", "0644", 0, 0),
        ("again", "file", "0644", 0, 0),
        ("link", "symlink", "0777", 21, 22),
        ("fifo", "fifo", "0640", 0, 0),
        ("null", "character device", "0604", 0, 0),
    ];
    for (name, kind, mode, uid, gid) in expected {
        let found = fact(name);
        assert_eq!(
            (&found["type"], &found["mode"], &found["uid"], &found["gid"]),
            (&json!(kind), &json!(mode), &json!(uid), &json!(gid)),
            "{name}"
        );
    }
    assert_eq!(fact("link")["target"], "/etc/passwd");
    assert_eq!((&fact("null")["major"], &fact("null")["minor"]), (&json!(1), &json!(3)));
    assert_eq!(fact("sub/deeper/large")["size"], 3_000_000);
    assert_eq!(
        fact("sub/deeper/large")["ino"],
        fact("again")["ino"],
        "hard links stay one file"
    );
    assert_eq!(tried.detail("getxattr,/data/program,user.note"), "text");
    assert_eq!(tried.result("getxattr,/data/program,security.capability"), "ok");
    assert_eq!(tried.detail("getxattr,/data/sub,user.note"), "text");
    assert_eq!(tried.detail("mtime,/data/program"), 86_400);
    assert_eq!(tried.detail("stat-mount,/data"), "1021994", "a tmpfs");
    assert_eq!(tried.result("create,/data/sub/new"), "ok");
    assert_eq!(tried.result("unlink,/data/again"), "ok");
    // The image stays as it was.
    assert_eq!(fs::read_to_string(bundle.inside("/data/program")).unwrap(), "#!");
    assert!(bundle.inside("/data/again").exists() && !bundle.inside("/data/sub/new").exists());
}

#[test]
fn an_empty_or_missing_directory_gives_an_empty_tmpfs() {
    for there in [true, false] {
        let bundle = Bundle::new().edit(|c| c["root"]["readonly"] = json!(false));
        if there {
            fs::create_dir(bundle.inside("/data")).unwrap();
        }
        let tried = copied(bundle, &[]).attempt(["list,/data", "create,/data/x"]);
        assert_eq!(tried.detail("list,/data"), &json!([]));
        assert_eq!(tried.result("create,/data/x"), "ok");
    }
}

#[test]
fn options_for_the_root_directory_take_precedence() {
    let bundle = Bundle::new();
    everything(&bundle);
    let facts = copied(
        bundle.args(["probe", "facts", "/data"]),
        &["mode=700", "uid=3", "size=8m"],
    )
    .facts();
    let data = facts.path("/data");
    assert_eq!(
        (&data["mode"], &data["uid"], &data["gid"]),
        (&json!("0700"), &json!(3), &json!(42))
    );
}

#[test]
fn a_read_only_copy_is_complete_and_read_only() {
    let bundle = Bundle::new().with_caps(&["CAP_DAC_OVERRIDE"]);
    everything(&bundle);
    let tried = copied(bundle, &["ro", "size=8m"]).attempt(["read,/data/program", "create,/data/x"]);
    assert_eq!(tried.detail("read,/data/program"), "#!");
    assert_eq!(tried.result("create,/data/x"), "EROFS");
}

#[test]
fn a_copy_that_does_not_fit_is_an_error_that_names_the_file() {
    let bundle = Bundle::new().args(["true"]);
    everything(&bundle);
    let out = copied(bundle, &["size=64k"]).run().fails_with("ENOSPC");
    assert!(
        out.stderr.contains("large") || out.stderr.contains("again"),
        "{}",
        out.stderr
    );
}

#[test]
fn other_mounts_below_are_not_copied() {
    let bundle = Bundle::new();
    fs::create_dir_all(bundle.inside("/data/mounted")).unwrap();
    fs::write(bundle.inside("/data/own"), "").unwrap();
    let _below = HostMount::tmpfs(&bundle.inside("/data/mounted"), 0);
    fs::write(bundle.inside("/data/mounted/secret"), "").unwrap();
    let tried = copied(bundle, &[]).attempt(["list,/data", "list,/data/mounted"]);
    assert_eq!(tried.detail("list,/data"), &json!(["mounted", "own"]));
    assert_eq!(tried.detail("list,/data/mounted"), &json!([]));
}

/// Links of the image are not followed to the host: neither in the destination nor inside.
#[test]
fn links_are_copied_and_not_followed() {
    let canary = Canary::dir();
    let up = "../".repeat(12);
    let outside = format!("{}{}", up.trim_end_matches('/'), canary.as_str());
    let bundle = Bundle::new();
    fs::create_dir(bundle.inside("/data")).unwrap();
    symlink(&outside, bundle.inside("/data/link")).unwrap();
    symlink(canary.as_str(), bundle.inside("/data/absolute")).unwrap();
    let tried = copied(bundle, &[]).attempt(["lstat,/data/link", "list,/data/link", "list,/data/absolute"]);
    assert_eq!(tried.detail("lstat,/data/link")["target"], outside);
    assert_eq!(tried.result("list,/data/link"), "ENOENT");
    assert_eq!(tried.result("list,/data/absolute"), "ENOENT");

    // The directory itself is a link to a path of the host, which is resolved inside the root.
    for target in [outside.as_str(), canary.as_str()] {
        let bundle = Bundle::new()
            .edit(|c| c["root"]["readonly"] = json!(false))
            .args(["probe", "try", "list,/data"]);
        symlink(target, bundle.inside("/data")).unwrap();
        let out = copied(bundle, &[]).run();
        assert!(!out.stdout.contains("\"file\""), "{out:#?}");
    }
    canary.assert_untouched();
}

/// A shared volume in which directories and links change places while they are copied.
#[test]
fn a_racing_swap_copies_nothing_of_the_host() {
    let canary = Canary::dir();
    let bundle = Bundle::new().args(["probe", "try", "list,/data/a", "list,/data/b"]);
    fs::create_dir_all(bundle.inside("/data/a")).unwrap();
    symlink(canary.as_str(), bundle.inside("/data/b")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let flipper = swap_until(stop.clone(), bundle.inside("/data/a"), bundle.inside("/data/b"));
    let bundle = copied(bundle, &[]);
    let mut copies = 0;
    for _ in 0..30 {
        let out = bundle.run();
        assert!(!out.stdout.contains("\"file\""), "{out:#?}");
        copies += u32::from(out.code == 0);
    }
    assert!(copies > 0, "not one copy was made");
    stop.store(true, Ordering::Relaxed);
    flipper.join().unwrap();
    canary.assert_untouched();
}

#[test]
fn in_a_user_namespace_owners_are_the_containers() {
    let bundle = remapped(Bundle::new().args(["probe", "facts", "/data", "/data/file"]));
    fs::create_dir(bundle.inside("/data")).unwrap();
    fs::write(bundle.inside("/data/file"), "").unwrap();
    chown(bundle.inside("/data"), Some(100_000), Some(100_000)).unwrap();
    chown(bundle.inside("/data/file"), Some(100_007), Some(100_008)).unwrap();
    let facts = copied(bundle, &[]).facts();
    let file = facts.path("/data/file");
    assert_eq!((&file["uid"], &file["gid"]), (&json!(7), &json!(8)));
    assert_eq!(facts.path("/data")["uid"], 0);
}
