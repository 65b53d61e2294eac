//! `process.apparmorProfile`, `process.selinuxLabel` and `linux.mountLabel`.

use std::fs;

use serde_json::json;

use crate::harness::Bundle;
use crate::harness::exec::{exec_cmd, idle};
use crate::harness::host::has_apparmor;
use crate::harness::users::remapped as in_user_namespace;
use crate::need;

/// The context of this process, where a policy is loaded.
fn selinux() -> Option<String> {
    let label = fs::read_to_string("/proc/self/attr/current").ok()?;
    let label = label.trim_end_matches(['\0', '\n']).to_owned();
    (fs::exists("/sys/fs/selinux/enforce").ok()? && label != "kernel").then_some(label)
}

#[test]
fn apparmor_profile_where_there_is_no_apparmor() {
    need!(!has_apparmor(), "a kernel without AppArmor");
    let bundle = Bundle::new()
        .args(["true"])
        .edit(|c| c["process"]["apparmorProfile"] = json!("docker-default"));
    let out = bundle.run().fails_with("process.apparmorProfile \"docker-default\"");
    assert!(out.stderr.contains("hint: "), "{out:#?}");
    bundle.assert_clean();
}

#[test]
fn selinux_label_where_there_is_no_selinux() {
    need!(selinux().is_none(), "a kernel without SELinux");
    let bundle = Bundle::new()
        .args(["true"])
        .edit(|c| c["process"]["selinuxLabel"] = json!("system_u:system_r:container_t:s0"));
    let out = bundle.run().fails_with("process.selinuxLabel");
    assert!(out.stderr.contains("hint: "), "{out:#?}");
    bundle.assert_clean();
    let bundle = idle();
    let c = bundle.start();
    exec_cmd(&c, &["--process-label", "a:b:c:s0"], &["true"])
        .run()
        .fails_with("process.selinuxLabel \"a:b:c:s0\"");
    // Engines send an empty label for none.
    exec_cmd(&c, &["--process-label", "", "--apparmor", ""], &["true"])
        .run()
        .ok();
}

/// Every kernel with AppArmor has the profile `unconfined`, and refuses one that is not loaded.
#[test]
fn apparmor_profile_that_is_not_loaded() {
    need!(has_apparmor(), "AppArmor");
    for bundle in [Bundle::new(), in_user_namespace(Bundle::new())] {
        let bundle = bundle.edit(|c| c["process"]["apparmorProfile"] = json!("orlop-no-such-profile"));
        let out = bundle.run().fails_with("process.apparmorProfile");
        assert!(out.stderr.contains("apparmor_parser"), "{out:#?}");
        bundle.change(|c| c["process"]["apparmorProfile"] = json!("unconfined"));
        bundle.run().ok();
    }
}

/// CVE-2019-16884, CVE-2019-19921: the image's files in /proc get no label; the process has it.
#[test]
fn apparmor_profile_is_the_processs() {
    need!(has_apparmor(), "AppArmor");
    const PROFILE: &str =
        "profile orlop-test flags=(attach_disconnected) { file, capability, network, mount, signal, ptrace, unix, }";
    let bundle = Bundle::new().args(["probe", "cat", "/proc/self/attr/current"]);
    fs::write(bundle.path("profile"), PROFILE).unwrap();
    let parser = std::process::Command::new("apparmor_parser")
        .args(["--replace", bundle.path("profile").to_str().unwrap()])
        .status();
    need!(parser.is_ok_and(|status| status.success()), "apparmor_parser");
    for namespace in [false, true] {
        let bundle = Bundle::new().args(["probe", "cat", "/proc/self/attr/current"]);
        let bundle = if namespace { in_user_namespace(bundle) } else { bundle };
        let bundle = bundle.edit(|c| c["process"]["apparmorProfile"] = json!("orlop-test"));
        fs::create_dir_all(bundle.inside("/proc/self/attr/apparmor")).unwrap();
        fs::write(bundle.inside("/proc/self/attr/apparmor/exec"), "untouched").unwrap();
        assert_eq!(bundle.run().ok().stdout.trim(), "orlop-test (enforce)");
        let fake = fs::read_to_string(bundle.inside("/proc/self/attr/apparmor/exec")).unwrap();
        assert_eq!(fake, "untouched");
        // So has a process that joins, with or without a label in its process file, unless the command line gives another.
        bundle.change(|c| c["process"]["args"] = json!(["probe", "sleep"]));
        let c = bundle.start();
        let file = bundle.path("process.json");
        let process = json!({ "args": ["probe", "cat", "/proc/self/attr/current"], "cwd": "/", "env": ["PATH=/bin"],
                              "user": { "uid": 0, "gid": 0 } });
        fs::write(&file, process.to_string()).unwrap();
        let said = |flags: &[&str], command: &[&str]| exec_cmd(&c, flags, command).run().ok().stdout.trim().to_owned();
        let cat = ["probe", "cat", "/proc/self/attr/current"];
        assert_eq!(said(&[], &cat), "orlop-test (enforce)");
        assert_eq!(
            said(&["--process", file.to_str().unwrap()], &[]),
            "orlop-test (enforce)"
        );
        assert_eq!(said(&["--apparmor", "unconfined"], &cat), "unconfined");
    }
}

#[test]
fn selinux_label_unknown_to_the_policy() {
    need!(selinux().is_some(), "SELinux");
    let bundle = Bundle::new()
        .args(["true"])
        .edit(|c| c["process"]["selinuxLabel"] = json!("no:such:context_t:s0"));
    bundle.run().fails_with("process.selinuxLabel");
    bundle.assert_clean();
}

/// Any context of the policy will do; the one of this process certainly exists.
#[test]
fn selinux_label_is_the_processs_and_its_keyrings() {
    let own = selinux();
    need!(own.is_some(), "SELinux");
    let own = own.unwrap();
    for namespace in [false, true] {
        let bundle = Bundle::new().sh("cat /proc/self/attr/current /proc/self/attr/keycreate; echo");
        let bundle = if namespace { in_user_namespace(bundle) } else { bundle };
        let bundle = bundle.edit(|c| {
            c["process"]["selinuxLabel"] = json!(own);
            // Without it a policy must allow the change for programs that cannot gain privileges.
            c["process"]["noNewPrivileges"] = json!(false);
        });
        let out = bundle.run().ok().stdout;
        assert_eq!(out.trim_matches(['\0', '\n']), own, "and no label for further keys");
    }
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

/// With SELinux, files that a container creates in its own file systems have the label.
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
