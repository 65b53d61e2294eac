//! `linux.namespaces` and the id mappings of a user namespace.

use std::path::Path;

use oci_spec::runtime::{self as oci, LinuxIdMapping, LinuxNamespaceType};

use crate::bundle::plan::{IdMapping, IdMaps, JoinedNamespace, Namespaces};
use crate::error::{At, Context, Result, anyhow, bail, hinted};
use crate::sys::process::NAMESPACES;

pub fn plan(list: &[oci::LinuxNamespace]) -> Result<Namespaces> {
    let mut namespaces = Namespaces::default();
    for (index, entry) in list.iter().enumerate() {
        let flag = entry.typ() as u64;
        let Some(kind) = NAMESPACES.iter().find(|kind| kind.flag == flag) else {
            bail!("linux.namespaces[{index}]: unknown namespace");
        };
        let at = || At::object(format!("linux.namespaces[{index}]"), kind.name);
        if namespaces.makes(flag as i32) || namespaces.joined.iter().any(|joined| joined.flag == flag) {
            return Err(anyhow!("the type is listed twice; every type may appear once")).with_context(at);
        }
        match entry.path() {
            Some(path) if !path.as_os_str().is_empty() => {
                if !path.is_absolute() {
                    return Err(anyhow!("path {path:?} must be absolute")).with_context(at);
                }
                if matches!(
                    entry.typ(),
                    LinuxNamespaceType::User | LinuxNamespaceType::Mount | LinuxNamespaceType::Time
                ) {
                    return Err(anyhow!(
                        "joining a {} namespace by path is not supported by this version of orlop",
                        kind.name
                    ))
                    .with_context(at);
                }
                namespaces.joined.push(JoinedNamespace {
                    index,
                    flag,
                    path: path.clone(),
                    is_callers: is_callers(path, kind.name),
                });
            }
            _ => namespaces.new |= flag,
        }
    }
    // In the order of the table, which is the one that works.
    namespaces
        .joined
        .sort_by_key(|joined| NAMESPACES.iter().position(|kind| kind.flag == joined.flag));
    if namespaces.makes(libc::CLONE_NEWUSER)
        && let Some(joined) = namespaces.joined.first()
    {
        return Err(anyhow!(
            "joining a namespace by path beside a new user namespace is not supported by this version of orlop"
        ))
        .context(At::new(format!("linux.namespaces[{}]", joined.index)));
    }
    if !namespaces.has(libc::CLONE_NEWNS) {
        return Err(hinted(
            "a container without its own mount namespace is not supported by this version of orlop",
            "add {\"type\": \"mount\"} to linux.namespaces",
        ))
        .context(At::new("linux.namespaces"));
    }
    Ok(namespaces)
}

/// Whether a path names the namespace that the runtime itself is in: the same inode of the same file system.
fn is_callers(path: &Path, name: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let file = match name {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    };
    let inode = |path: &Path| {
        std::fs::metadata(path)
            .map(|metadata| (metadata.dev(), metadata.ino()))
            .ok()
    };
    let own = inode(&Path::new("/proc/self/ns").join(file));
    own.is_some() && own == inode(path)
}

pub fn id_maps(linux: &oci::Linux, namespaces: &Namespaces) -> Result<Option<IdMaps>> {
    let (uid, gid) = (
        linux.uid_mappings().as_deref().unwrap_or_default(),
        linux.gid_mappings().as_deref().unwrap_or_default(),
    );
    if !namespaces.has(libc::CLONE_NEWUSER) {
        for (list, path) in [(uid, "linux.uidMappings"), (gid, "linux.gidMappings")] {
            if !list.is_empty() {
                return Err(hinted(
                    "mappings need a user namespace",
                    "add {\"type\": \"user\"} to linux.namespaces",
                ))
                .context(At::new(path));
            }
        }
        return Ok(None);
    }
    let convert = |list: &[LinuxIdMapping], path: &'static str| -> Result<Vec<IdMapping>> {
        if list.is_empty() {
            return Err(hinted(
                "a new user namespace needs at least one mapping",
                "map the container's root to an id of the host: {\"containerID\": 0, \"hostID\": 100000, \"size\": 65536}",
            ))
            .context(At::new(path));
        }
        for (index, mapping) in list.iter().enumerate() {
            if mapping.size() == 0 {
                return Err(anyhow!("size must be at least 1")).context(At::new(format!("{path}[{index}]")));
            }
        }
        Ok(list
            .iter()
            .map(|m| IdMapping {
                container: m.container_id(),
                host: m.host_id(),
                size: m.size(),
            })
            .collect())
    };
    Ok(Some(IdMaps {
        uid: convert(uid, "linux.uidMappings")?,
        gid: convert(gid, "linux.gidMappings")?,
    }))
}

/// The ids of the process must exist in its new user namespace.
pub fn mapped(user: &oci::User, maps: &IdMaps) -> Result<()> {
    let check = |id: u32, list: &[IdMapping], field: &str, from: &str| {
        let inside = |map: &IdMapping| id.checked_sub(map.container).is_some_and(|offset| offset < map.size);
        if list.iter().any(inside) {
            return Ok(());
        }
        let ranges: Vec<String> = list
            .iter()
            .map(|map| {
                format!(
                    "{} to {}",
                    map.container,
                    u64::from(map.container) + u64::from(map.size) - 1
                )
            })
            .collect();
        Err(hinted(
            format!("{id} is not mapped into the container's user namespace"),
            format!("{from} has the container's ids {}", ranges.join(", ")),
        ))
        .context(At::new(format!("process.user.{field}")))
    };
    check(user.uid(), &maps.uid, "uid", "linux.uidMappings")?;
    check(user.gid(), &maps.gid, "gid", "linux.gidMappings")?;
    for (index, gid) in user.additional_gids().iter().flatten().enumerate() {
        check(
            *gid,
            &maps.gid,
            &format!("additionalGids[{index}]"),
            "linux.gidMappings",
        )?;
    }
    Ok(())
}
