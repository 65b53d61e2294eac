//! Values of the configuration that try to escape: kernel parameters, names of cgroup files, paths in the cgroup tree.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Bundle, Facts};

/// CVE-2022-0811, and keys outside the container's namespaces.
#[test]
fn sysctls_of_the_host_are_refused() {
    let names = [
        "kernel/core_pattern",
        "vm/overcommit_memory",
        "kernel/sysrq",
        "fs/file-max",
        "kernel/hostname",
    ];
    let values = || names.map(|name| fs::read_to_string(format!("/proc/sys/{name}")).ok());
    let before = values();
    let (shared, malformed) = ("the parameter does not belong", "not the name of a kernel parameter");
    for (key, reason) in [
        ("kernel.core_pattern", shared),
        ("kernel/core_pattern", shared),
        ("vm.overcommit_memory", shared),
        ("kernel.sysrq", shared),
        ("fs.file-max", shared),
        ("net/../kernel/core_pattern", malformed),
        ("net.ipv4/../../kernel/core_pattern", malformed),
        ("net..kernel.core_pattern", malformed),
        ("net/ipv4/../../kernel/sysrq", malformed),
        ("/proc/sys/kernel/core_pattern", malformed),
        ("/kernel/core_pattern", malformed),
        ("../sys/kernel/core_pattern", malformed),
        ("", malformed),
        (".", malformed),
        ("net", shared),
        ("net.", malformed),
        ("kernel.shm_rmid_forced/../core_pattern", malformed),
    ] {
        let bundle = Bundle::new()
            .args(["true"])
            .edit(|c| c["linux"]["sysctl"] = json!({ key: "1" }));
        bundle.run().fails_for(&format!("linux.sysctl[{key:?}]: {reason}"));
        bundle.assert_clean();
    }
    let injected = json!({ "kernel.shm_rmid_forced": "1+kernel.core_pattern=|/bin/evil" });
    Bundle::new()
        .args(["true"])
        .edit(|c| c["linux"]["sysctl"] = injected)
        .run()
        .fails_for("linux.sysctl[\"kernel.shm_rmid_forced\"]: write(");
    assert_eq!(values(), before);
}

#[test]
fn sysctls_need_their_namespace() {
    for (namespace, key, value) in [
        ("network", "net.ipv4.ip_forward", "1"),
        ("ipc", "kernel.shmmax", "4096"),
        ("ipc", "fs.mqueue.msg_max", "5"),
        ("uts", "kernel.domainname", "x"),
    ] {
        let bundle = Bundle::new()
            .args(["true"])
            .edit(|c| c["linux"]["sysctl"] = json!({ key: value }));
        bundle.run().ok();
        let bundle = bundle
            .without_namespace(namespace)
            .without_mount("/dev/mqueue")
            .edit(|c| drop(c.as_object_mut().unwrap().remove("hostname")));
        bundle
            .run()
            .fails_for(&format!("linux.sysctl[{key:?}]: the container shares the host's"));
    }
}

/// A path may lead to the namespace that the caller is in. The value is the current one, so that a weak runtime changes nothing.
#[test]
fn the_callers_own_namespace_by_path_is_the_hosts() {
    let pid = std::process::id();
    for (kind, file, key, path) in [
        ("network", "net", "net.ipv4.ip_default_ttl", "net/ipv4/ip_default_ttl"),
        ("ipc", "ipc", "kernel.msgmax", "kernel/msgmax"),
    ] {
        let value = fs::read_to_string(format!("/proc/sys/{path}")).unwrap();
        let bundle = Bundle::new()
            .args(["true"])
            .without_mount("/dev/mqueue")
            .without_mount("/sys")
            .without_mount("/sys/fs/cgroup")
            .without_namespace(kind)
            .edit(|c| {
                let joined = json!({ "type": kind, "path": format!("/proc/{pid}/ns/{file}") });
                c["linux"]["namespaces"].as_array_mut().unwrap().push(joined);
                c["linux"]["sysctl"] = json!({ key: value.trim() });
            });
        bundle
            .run()
            .fails_for(&format!("linux.sysctl[{key:?}]: the container shares the host's"));
        bundle.assert_clean();
    }
}

#[test]
fn namespaced_sysctls_are_set() {
    let sysctl =
        json!({ "net.ipv4.ip_forward": "1", "net/ipv4/ip_unprivileged_port_start": "80", "kernel.shmmax": "8192" });
    let tried = Bundle::new().edit(|c| c["linux"]["sysctl"] = sysctl).attempt([
        "read,/proc/sys/net/ipv4/ip_forward",
        "read,/proc/sys/net/ipv4/ip_unprivileged_port_start",
        "read,/proc/sys/kernel/shmmax",
    ]);
    assert_eq!(tried.detail("read,/proc/sys/net/ipv4/ip_forward"), "1\n");
    assert_eq!(
        tried.detail("read,/proc/sys/net/ipv4/ip_unprivileged_port_start"),
        "80\n"
    );
    assert_eq!(tried.detail("read,/proc/sys/kernel/shmmax"), "8192\n");
}

#[test]
fn cgroup_file_names_cannot_leave_the_cgroup() {
    let (name, size) = ("is not the name of a cgroup file", "is not a valid page size");
    let cases: [(Value, &str); 5] = [
        (json!({ "unified": { "../cgroup.procs": "0" } }), name),
        (json!({ "unified": { "../suite/cgroup.freeze": "1" } }), name),
        (
            json!({ "unified": { "/sys/fs/cgroup/suite/cgroup.freeze": "1" } }),
            name,
        ),
        (json!({ "unified": { "": "1" } }), name),
        (
            json!({ "hugepageLimits": [{ "pageSize": "2MB/../../suite/x", "limit": 0 }] }),
            size,
        ),
    ];
    for (resources, reason) in cases {
        let bundle = Bundle::new()
            .args(["true"])
            .edit(|c| c["linux"]["resources"] = resources.clone());
        bundle.run().fails_for(reason);
        bundle.assert_clean();
    }
    assert_eq!(fs::read_to_string("/sys/fs/cgroup/suite/cgroup.freeze").unwrap(), "0\n");
}

#[test]
fn cgroups_paths_stay_in_the_tree() {
    let before = fs::read_dir("/sys/fs").unwrap().count();
    for path in ["/../../../x", "../../x", "/a/../../../x"] {
        let bundle = Bundle::new().args(["probe", "facts"]);
        let id = bundle.fresh_id();
        let bundle = bundle.edit(|c| c["linux"]["cgroupsPath"] = json!(format!("{path}-{id}")));
        let out = bundle.run();
        if out.code == 0 {
            let facts = Facts(out.json());
            assert!(facts["cgroup"].as_str().unwrap().lines().any(|line| line == "0::/"));
        }
        bundle.assert_clean();
    }
    assert_eq!(fs::read_dir("/sys/fs").unwrap().count(), before);
}
