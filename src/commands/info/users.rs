//! The sections about user namespaces and about mounts that map IDs.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::{Value, json};

use super::report::{Fact, Section, Status, ok};
use crate::error::Report;
use crate::host::idmapped;
use crate::host::kernel::{self, Support};
use crate::host_program;
use crate::idmap::subordinate::{Ids, are_elsewhere, ranges, shown};
use crate::passwd;
use crate::plan::{IdMapping, IdMaps};
use crate::rootfs::sources::create_user_namespace;
use crate::sys::{fs as files, process, xattr};

pub fn section() -> Section {
    let uid = process::effective_uid();
    let root = process::is_root_of_host();
    let mut facts = vec![
        ok(
            "uid",
            uid,
            match (root, uid) {
                (true, _) => "root of the host",
                (false, 0) => "root of a user namespace",
                _ => "an unprivileged user: containers need a user namespace",
            },
        ),
        user_namespaces(),
        number(
            "maxUserNamespaces",
            "/proc/sys/user/max_user_namespaces",
            "user namespaces that each user may create",
        ),
    ];
    if !root {
        let users = fs::read("/etc/passwd").unwrap_or_default();
        let users = String::from_utf8_lossy(&users);
        let name = passwd::name_of(&users, uid).unwrap_or_default();
        facts.push(subordinate("subuid", Ids::Users, uid, name));
        facts.push(subordinate("subgid", Ids::Groups, uid, name));
        facts.push(helper(Ids::Users));
        facts.push(helper(Ids::Groups));
    }
    Section { key: "user", facts }
}

fn user_namespaces() -> Fact {
    let support = kernel::user_namespace();
    let fact = ok("userNamespaces", support == Support::Present, "can be created");
    match support {
        Support::Present => fact,
        Support::Missing => fact.but(Status::Limited, "the kernel was built without user namespaces", ""),
        Support::Refused(errno) => fact.but(
            Status::Limited,
            format!("creating one fails with {errno:?}"),
            "see the sysctls user.max_user_namespaces, kernel.unprivileged_userns_clone (Debian) and \
             kernel.apparmor_restrict_unprivileged_userns (Ubuntu)",
        ),
    }
}

/// A number that the kernel has in a file.
pub fn number(key: &str, file: &str, meaning: &str) -> Fact {
    let number: Option<u64> = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    match number {
        Some(0) => ok(key, 0, "").but(
            Status::Limited,
            format!("{meaning}: none are allowed"),
            format!("raise {file}"),
        ),
        Some(number) => ok(key, number, meaning),
        None => ok(key, Value::Null, "").but(Status::Unknown, format!("{file} cannot be read"), ""),
    }
}

fn subordinate(key: &str, ids: Ids, uid: u32, name: &str) -> Fact {
    let read = |path: &str| {
        fs::read(path)
            .ok()
            .map(|text| String::from_utf8_lossy(&text).into_owned())
    };
    let (file, flag) = ids.ranges();
    if are_elsewhere(&read) {
        return ok(key, Value::Null, "").but(Status::Unknown, "/etc/nsswitch.conf names another source", "");
    }
    let ranges = shown(&ranges(uid, name, &read(file).unwrap_or_default()));
    ok(key, json!(ranges), format!("host IDs of this user in {file}")).unless(
        !ranges.is_empty(),
        Status::Limited,
        format!("{file} has no range for this user: a container has only one ID"),
        format!(
            "as root, `usermod {flag} 100000-165535 {}`",
            if name.is_empty() { "USER" } else { name }
        ),
    )
}

fn helper(ids: Ids) -> Fact {
    let name = ids.helper();
    let Some(path) = host_program::find(name) else {
        return ok(name, Value::Null, "").but(
            Status::Limited,
            "not found in PATH: a container has only one ID",
            "install it (Debian: uidmap)",
        );
    };
    ok(name, path.to_string_lossy(), "writes maps of several IDs").unless(
        is_privileged(&path),
        Status::Limited,
        "is neither set-uid root nor has a file capability: a container has only one ID",
        "reinstall the package (Debian: uidmap)",
    )
}

fn is_privileged(path: &Path) -> bool {
    let set_uid =
        fs::metadata(path).is_ok_and(|found| found.uid() == 0 && found.permissions().mode() & libc::S_ISUID != 0);
    let capable = || {
        let file = files::open(path, libc::O_RDONLY);
        file.and_then(|file| xattr::has(file.as_fd(), c"security.capability")) == Ok(true)
    };
    set_uid || capable()
}

/// The file systems whose mounts can map IDs, tried with a user namespace that ends at once.
pub fn idmapped_mounts(mounts: &[u8]) -> Section {
    let one = IdMapping {
        container: 0,
        host: process::effective_uid(),
        size: 1,
    };
    let maps = IdMaps {
        uid: vec![one],
        gid: vec![IdMapping {
            host: process::effective_gid(),
            ..one
        }],
    };
    let facts = match create_user_namespace(&maps, "linux") {
        Ok(namespace) => idmapped::file_systems(mounts, namespace.as_fd())
            .into_iter()
            .map(file_system)
            .collect(),
        Err(error) => vec![ok("fileSystems", Value::Null, "").but(Status::Unknown, Report::of(&error).msg, "")],
    };
    Section {
        key: "idmappedMounts",
        facts,
    }
}

fn file_system(found: idmapped::FileSystem) -> Fact {
    let point = found.point.to_string_lossy();
    let value = match found.support {
        Support::Present => Some(true),
        Support::Missing => Some(false),
        Support::Refused(_) => None,
    };
    let fact = ok(&found.kind, value, format!("tried at {point}"));
    match found.support {
        Support::Present => fact,
        Support::Missing => fact.but(Status::Limited, format!("idmap is refused for mounts from {point}"), ""),
        Support::Refused(errno) => fact.but(
            Status::Unknown,
            match process::is_root_of_host() {
                true => format!("trying it at {point} fails with {errno:?}"),
                false => format!("only root of the host can map the IDs of {point}, and find out"),
            },
            "",
        ),
    }
}
