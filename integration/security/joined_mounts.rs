//! Mount namespaces in which other files stand at the paths that the runtime trusts: joined ones, which init enters before it
//! opens these paths, and that of the runtime itself.

use std::fs;
use std::process::Command;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use crate::harness::namespaces::joining;
use crate::harness::{Bundle, Canary, Holder};

/// A mount namespace in which a script of the shell has been run.
fn prepared(script: &str) -> Holder {
    let holder = Holder::new(libc::CLONE_NEWNS);
    // Nothing may propagate to the namespace of the tests.
    let script = format!("mount --make-rprivate / && {script}");
    let mut command = Command::new("nsenter");
    command.args(["--target", &holder.pid().to_string(), "--mount", "sh", "-ec", &script]);
    assert!(command.status().expect("nsenter").success(), "{script}");
    holder
}

fn with_time_to_live(value: &str) -> impl FnOnce(&mut serde_json::Value) {
    let sysctl = json!({ "net.ipv4.ip_default_ttl": value });
    move |c| c["linux"]["sysctl"] = sysctl
}

/// CVE-2019-16884, CVE-2025-52881: what is mounted at /proc is not a procfs.
#[test]
fn a_file_system_of_another_type_is_not_taken_for_procfs() {
    let bundle = Bundle::new().args(["true"]);
    let fake = bundle.path("fake");
    fs::create_dir_all(fake.join("sys/net/ipv4")).unwrap();
    let file = fake.join("sys/net/ipv4/ip_default_ttl");
    fs::write(&file, "untouched").unwrap();
    let holder = prepared(&format!("mount --bind {} /proc", fake.display()));
    let bundle = joining(bundle, &holder, &["mount"]).edit(with_time_to_live("33"));
    bundle.run().fails_for("/proc of the host is not a procfs");
    assert_eq!(fs::read_to_string(file).unwrap(), "untouched");
    drop(holder);
}

/// CVE-2025-52881: a directory of the procfs is covered by another one. (The files below it are other ones in each network
/// namespace, and cannot be covered in advance.) The value goes to the kernel.
#[test]
fn a_covered_file_of_procfs_is_not_written_to() {
    let bundle = Bundle::new().args(["cat", "/proc/sys/net/ipv4/ip_default_ttl"]);
    let fake = bundle.path("fake");
    fs::create_dir_all(fake.join("ipv4")).unwrap();
    let file = fake.join("ipv4/ip_default_ttl");
    fs::write(&file, "untouched").unwrap();
    let holder = prepared(&format!("mount --bind {} /proc/sys/net", fake.display()));
    let bundle = joining(bundle, &holder, &["mount"]).edit(with_time_to_live("33"));
    assert_eq!(bundle.run().ok().stdout, "33\n");
    assert_eq!(fs::read_to_string(file).unwrap(), "untouched");
    drop(holder);
}

/// CVE-2025-31133: the file at /dev/null is not the null device.
#[test]
fn another_file_is_not_taken_for_the_null_device() {
    let canary = Canary::file();
    let bundle = Bundle::new()
        .args(["cat", "/proc/version"])
        .edit(|c| c["linux"]["maskedPaths"] = json!(["/proc/version"]));
    let holder = prepared(&format!("mount --bind {} /dev/null", canary.as_str()));
    let bundle = joining(bundle, &holder, &["mount"]);
    let out = bundle.run().fails_for("/dev/null of the host is not the null device");
    assert_eq!(out.stdout, "");
    drop(holder);
}

/// CVE-2025-31133, CVE-2025-62161: a file of the container is bound on its /dev/null. The mask is the host's device.
#[test]
fn a_file_bound_on_the_containers_null_device_is_not_a_mask() {
    let canary = Canary::file();
    let script = "test -c /proc/version && cat /proc/version && echo masked; cat /dev/null";
    let bundle = Bundle::new()
        .sh(script)
        .mount("/dev/null", "bind", canary.as_str(), &["bind", "ro"])
        .edit(|c| c["linux"]["maskedPaths"] = json!(["/proc/version"]));
    assert_eq!(bundle.run().ok().stdout, "masked\ncanary\n");
}

/// Limits that are written to a file system of another type would limit nothing.
#[test]
fn a_file_system_of_another_type_is_not_taken_for_cgroups() {
    const PLACE: &str = "/sys/fs/cgroup";
    let bundle = Bundle::new()
        .args(["true"])
        .without_mount(PLACE)
        .edit(|c| c["linux"]["cgroupsPath"] = json!("/made"));
    let run = bundle.run_cmd(&[]).before_exec(|| {
        unshare(CloneFlags::CLONE_NEWNS)?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        umount2(PLACE, MntFlags::MNT_DETACH)?;
        Ok(mount(Some("tmpfs"), PLACE, Some("tmpfs"), MsFlags::empty(), none)?)
    });
    run.run().fails_for("cgroup version 2 is not mounted");
    bundle.assert_clean();
}
