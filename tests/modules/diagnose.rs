//! The settings of the host that prevent an unprivileged user from creating a container.

use nix::errno::Errno;

use orlop::idmap::subordinate::{self, Ids};
use orlop::init::diagnose::cure;

/// The diagnosis if the host has exactly these settings.
fn diagnosis(errno: Errno, uid: u32, namespaces: u64, settings: &[(&str, &str)]) -> Option<String> {
    let setting = |name: &str| {
        let found = settings.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.to_string())
    };
    cure(errno, uid, namespaces, &setting).map(|(text, cure)| format!("{text}\nhint: {cure}\n"))
}

const PID: u64 = libc::CLONE_NEWPID as u64;
const NETWORK: u64 = libc::CLONE_NEWNET as u64;
const NAMESPACES: u64 = (libc::CLONE_NEWUSER | libc::CLONE_NEWNS) as u64 | PID | NETWORK;

#[test]
fn each_setting_is_named_with_a_hint() {
    let table = [
        (Errno::ENOSPC, "user.max_user_namespaces", "0"),
        (Errno::ENOSPC, "user.max_net_namespaces", "0"),
        (Errno::ENOSPC, "user.max_mnt_namespaces", "0"),
        (Errno::EPERM, "kernel.unprivileged_userns_clone", "0"),
        (Errno::EPERM, "kernel.apparmor_restrict_unprivileged_userns", "1"),
        (Errno::EACCES, "kernel.apparmor_restrict_unprivileged_userns", "1"),
    ];
    let mut all = String::new();
    for (errno, name, value) in table {
        let text = diagnosis(errno, 1000, NAMESPACES, &[(name, value)]).unwrap_or_else(|| panic!("{name}"));
        all += &format!("{errno:?}, {name} = {value}:\n{text}\n");
        // A setting with another value is not the cause.
        let fine = if value == "0" { "1" } else { "0" };
        assert_eq!(diagnosis(errno, 1000, NAMESPACES, &[(name, fine)]), None);
        assert_eq!(diagnosis(errno, 1000, NAMESPACES, &[]), None);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/rootless_settings.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &all).unwrap();
    }
    assert_eq!(all, std::fs::read_to_string(path).unwrap());
}

#[test]
fn settings_for_unprivileged_users_do_not_affect_root() {
    let settings = [
        ("kernel.unprivileged_userns_clone", "0"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1"),
    ];
    assert_eq!(diagnosis(Errno::EPERM, 0, NAMESPACES, &settings), None);
    // Nor a container without a user namespace.
    assert_eq!(diagnosis(Errno::EPERM, 1000, PID | NETWORK, &settings), None);
    assert_eq!(
        diagnosis(Errno::ENOSPC, 1000, PID, &[("user.max_user_namespaces", "0")]),
        None
    );
    assert!(diagnosis(Errno::ENOSPC, 0, NAMESPACES, &[("user.max_user_namespaces", "0")]).is_some());
}

#[test]
fn a_missing_range_of_subordinate_ids_is_reported() {
    let read = |path: &str| {
        let text = match path {
            "/etc/passwd" => {
                "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n"
            }
            "/etc/subuid" => "ada:100000:65536\n1000:300000:10\neve:1:5\nada:x:y\nada:7:0\n",
            _ => return None,
        };
        Some(text.to_string())
    };
    let cure = |ids: Ids, uid: u32, said: &str| subordinate::cure(ids, uid, said, &read);
    let range = "newuidmap: uid range [0-1) -> [5-6) not allowed";
    assert_eq!(
        cure(Ids::Users, 1000, range),
        "hostID and size must stay within what /etc/subuid gives ada: 100000 to 165535, 300000 to 300009"
    );
    assert_eq!(
        cure(Ids::Users, 1001, range),
        "/etc/subuid has no range for bob: as root, `usermod --add-subuids 100000-165535 bob`"
    );
    assert_eq!(
        cure(Ids::Groups, 1000, range),
        "/etc/subgid has no range for ada: as root, `usermod --add-subgids 100000-165535 ada`"
    );
    assert_eq!(
        cure(Ids::Users, 7, range),
        "the user 7 must be in /etc/passwd, and have a range in /etc/subuid"
    );
    assert!(
        cure(
            Ids::Users,
            1000,
            "newuidmap: write to uid_map failed: Operation not permitted"
        )
        .contains("set-uid root")
    );
}
