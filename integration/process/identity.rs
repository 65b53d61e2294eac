//! Who the process is and what it inherits: user, groups, session, descriptors, signals, umask.

use std::fs;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use serde_json::json;

use crate::harness::{Bundle, Facts};

pub(super) fn facts() -> Facts {
    Bundle::new().facts()
}

#[test]
fn names_of_the_host() {
    assert_eq!(facts()["hostname"], "orlop");
    let facts = Bundle::new().edit(|c| c["domainname"] = json!("example.org")).facts();
    assert_eq!(facts["domainname"], "example.org");
}

#[test]
fn identity_and_session() {
    let facts = facts();
    assert_eq!(facts["pid"], 1);
    assert_eq!(facts["ppid"], 0);
    assert_eq!((&facts["sid"], &facts["pgid"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&facts["uid"], &facts["gid"]),
        (&json!([0, 0, 0, 0]), &json!([0, 0, 0, 0]))
    );
    assert_eq!(facts["cwd"], "/");
    assert_eq!(facts["argv"], json!(["probe", "facts"]));
    assert_eq!(facts["pdeathsig"], 0);
    assert_eq!(facts["childSubreaper"], 0);
    assert_eq!(facts["personality"], 0);
    assert_eq!(facts["timerslack"], 50_000);
    assert_eq!(facts["tty"], json!([null, null, null]));
}

#[test]
fn groups_of_the_caller_are_dropped() {
    let bundle = Bundle::new();
    let facts = bundle.run_cmd(&[]).groups(&[4, 27, 999]).run().ok().json();
    assert_eq!(facts["groups"], json!([]));
    bundle.change(|c| c["process"]["user"]["additionalGids"] = json!([]));
    let facts = bundle.run_cmd(&[]).groups(&[4, 27, 999]).run().ok().json();
    assert_eq!(facts["groups"], json!([]));
}

#[test]
fn only_stdio_is_open() {
    let facts = facts();
    let fds: Vec<&String> = facts["fds"].as_object().unwrap().keys().collect();
    assert_eq!(fds, ["0", "1", "2"]);
}

#[test]
fn signals_are_neither_blocked_nor_ignored() {
    let bundle = Bundle::new();
    // The signals that the caller blocks do not concern the container.
    let cmd = bundle.run_cmd(&[]).before_exec(|| {
        let set: SigSet = [Signal::SIGUSR1, Signal::SIGCHLD].into_iter().collect();
        Ok(sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?)
    });
    let facts = cmd.run().ok().json();
    let set = |name: &str| facts["signals"][name].as_u64().unwrap();
    // 32 and 33 belong to the C library, and programs cannot change them; GNU make passes 32 on as ignored.
    let internal = 0b11 << 31;
    assert_eq!((set("blocked"), set("ignored") & !internal, set("pending")), (0, 0, 0));
}

#[test]
fn the_umask_is_inherited_or_set() {
    let bundle = Bundle::new();
    for mask in [0o027, 0o077, 0o000] {
        let facts = bundle.run_cmd(&[]).umask(mask).run().ok().json();
        assert_eq!(
            facts["umask"],
            format!("{mask:04o}"),
            "\"If unspecified, the umask is not changed from the calling process'\""
        );
    }
    bundle.change(|c| c["process"]["user"]["umask"] = json!(0o007));
    assert_eq!(bundle.run_cmd(&[]).umask(0o077).run().ok().json()["umask"], "0007");
}

#[test]
fn the_callers_umask_does_not_spoil_the_root_file_system() {
    let bundle = Bundle::new()
        .args(["probe", "facts", "/dev/null", "/dev/shm", "/mnt", "/new"])
        .mount("/mnt", "tmpfs", "tmpfs", &[]);
    let bundle = bundle.edit(|c| {
        c["linux"]["devices"] = json!([{ "path": "/dev/x", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666 }])
    });
    let facts = Facts(bundle.run_cmd(&[]).umask(0o077).run().ok().json());
    assert_eq!(facts.path("/dev/null")["mode"], "0666");
    assert_eq!(facts.path("/dev/shm")["mode"], "1777");
    assert!(bundle.inside("/mnt").exists());
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(bundle.inside("/mnt")).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o755, "a mount point made by the runtime");
}

#[test]
fn personality_of_a_32_bit_machine() {
    let facts = Bundle::new()
        .edit(|c| c["linux"]["personality"] = json!({ "domain": "LINUX32" }))
        .facts();
    assert_eq!(facts["personality"], 8);
    if cfg!(target_arch = "x86_64") {
        assert_eq!(facts["machine"], "i686");
    }
    let facts = Bundle::new()
        .edit(|c| c["linux"]["personality"] = json!({ "domain": "LINUX", "flags": [] }))
        .run_cmd(&[])
        .before_exec(|| {
            // SAFETY: the call takes no pointer.
            unsafe { libc::personality(8) };
            Ok(())
        })
        .run()
        .ok()
        .json();
    assert_eq!(facts["personality"], 0);
}
