//! `linux.namespaces` and the id mappings of a user namespace.

use std::path::Path;

use caps::Capability;
use oci_spec::runtime::{self as oci, LinuxIdMapping};

use super::{id_map, user_namespace};
use crate::error::{At, Context, Result, anyhow, bail, with_hint};
use crate::plan::{IdMapping, IdMaps, JoinedNamespace, Namespaces, TimeOffset};
use crate::sys;
use crate::sys::process::{self, NAMESPACES};

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
        && let Some(joined) = namespaces.joins(libc::CLONE_NEWNS)
    {
        return Err(with_hint(
            "nothing can be mounted there: a mount namespace that exists does not belong to a new user namespace",
            "join the user namespace that it belongs to as well, or make a new mount namespace",
        ))
        .context(joined.at());
    }
    Ok(namespaces)
}

/// That the caller may make a container at all: an unprivileged one has power only in a user namespace.
pub fn allowed(namespaces: &Namespaces) -> Result<()> {
    if process::effective_uid() == 0 || namespaces.has(libc::CLONE_NEWUSER) {
        return Ok(());
    }
    // Some give a program of theirs the capabilities without the uid.
    if sys::capabilities::capget()?.effective & Capability::CAP_SYS_ADMIN.bitmask() != 0 {
        return Ok(());
    }
    Err(with_hint(
        format!(
            "user {} is unprivileged and needs a user namespace to make a container",
            process::effective_uid()
        ),
        "add {\"type\": \"user\"} and mappings, as in the config.json that `orlop spec --rootless` writes, or run as root",
    ))
    .context(At::new("linux.namespaces"))
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

/// The maps of the container's user namespace: those of the config if it is new, those it has if it is joined.
pub fn id_maps(linux: &oci::Linux, namespaces: &Namespaces, warnings: &mut Vec<String>) -> Result<Option<IdMaps>> {
    let lists = [
        (linux.uid_mappings().as_deref().unwrap_or_default(), "linux.uidMappings"),
        (linux.gid_mappings().as_deref().unwrap_or_default(), "linux.gidMappings"),
    ];
    for (list, path) in lists {
        id_map::not_too_many(list.len()).with_context(|| At::new(path))?;
        for (index, mapping) in list.iter().enumerate() {
            if mapping.size() == 0 {
                return Err(anyhow!("size must be at least 1")).context(At::new(format!("{path}[{index}]")));
            }
        }
    }
    let [(uid, uid_path), (gid, gid_path)] = lists.map(|(list, path)| (convert(list), path));
    if let Some(joined) = namespaces.joins(libc::CLONE_NEWUSER) {
        let maps = user_namespace::maps(joined)?;
        for (given, has, path) in [(&uid, &maps.uid, uid_path), (&gid, &maps.gid, gid_path)] {
            if given.is_empty() {
                continue;
            }
            if !user_namespace::same(given, has) {
                return Err(with_hint(
                    format!(
                        "the user namespace {:?} exists already, and its map is another: {}",
                        joined.path,
                        user_namespace::describe(has)
                    ),
                    "leave the mappings out: a user namespace that is joined keeps those it has",
                ))
                .context(At::new(path));
            }
            warnings.push(format!("{path}: not needed for a user namespace that is joined"));
        }
        return Ok(Some(maps));
    }
    if !namespaces.makes(libc::CLONE_NEWUSER) {
        for (list, path) in [(&uid, uid_path), (&gid, gid_path)] {
            if !list.is_empty() {
                return Err(with_hint(
                    "mappings need a user namespace",
                    "add {\"type\": \"user\"} to linux.namespaces",
                ))
                .context(At::new(path));
            }
        }
        return Ok(None);
    }
    let or_own = |list: Vec<IdMapping>, own: u32, path: &str, warnings: &mut Vec<String>| {
        if !list.is_empty() {
            return list;
        }
        // As crun does; without a map the process could be nobody at all.
        warnings.push(format!(
            "{path} is missing: the container's id 0 is mapped to the caller's, {own}, and no other id exists in it"
        ));
        vec![IdMapping {
            container: 0,
            host: own,
            size: 1,
        }]
    };
    let uid = or_own(uid, process::effective_uid(), uid_path, warnings);
    let gid = or_own(gid, process::effective_gid(), gid_path, warnings);
    Ok(Some(IdMaps { uid, gid }))
}

fn convert(list: &[LinuxIdMapping]) -> Vec<IdMapping> {
    list.iter()
        .map(|m| IdMapping {
            container: m.container_id(),
            host: m.host_id(),
            size: m.size(),
        })
        .collect()
}

/// `linux.timeOffsets`, which only a namespace that nobody is in yet can take.
pub fn time_offsets(linux: &oci::Linux, namespaces: &Namespaces) -> Result<Vec<TimeOffset>> {
    let mut offsets = Vec::new();
    let mut clocks: Vec<_> = linux.time_offsets().iter().flatten().collect();
    clocks.sort_by_key(|(clock, _)| *clock);
    for (clock, offset) in clocks {
        let at = || At::new(format!("linux.timeOffsets.{clock}"));
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(with_hint(
                "no such clock in a time namespace",
                "the clocks are \"monotonic\" and \"boottime\"; the time of day is the same for all",
            ))
            .with_context(at);
        }
        let nanoseconds = offset.nanosecs().unwrap_or(0);
        if nanoseconds >= 1_000_000_000 {
            return Err(anyhow!(
                "nanosecs {nanoseconds} is a second or more; the rest belongs into secs"
            ))
            .with_context(at);
        }
        offsets.push(TimeOffset {
            clock: clock.clone(),
            seconds: offset.secs().unwrap_or(0),
            nanoseconds,
        });
    }
    if offsets.is_empty() || namespaces.makes(libc::CLONE_NEWTIME) {
        return Ok(offsets);
    }
    let (text, cure) = match namespaces
        .joined
        .iter()
        .find(|joined| joined.flag == libc::CLONE_NEWTIME as u64)
    {
        Some(joined) => (
            format!(
                "the time namespace {:?} has processes, so its clocks are set for good",
                joined.path
            ),
            "leave the offsets out, or make a new time namespace",
        ),
        None => (
            "offsets need an own time namespace: they would change the host's clocks".into(),
            "add {\"type\": \"time\"} to linux.namespaces",
        ),
    };
    Err(with_hint(text, cure)).context(At::new("linux.timeOffsets"))
}

/// The ids of the process must exist in its user namespace.
pub fn mapped(user: &oci::User, maps: &IdMaps) -> Result<()> {
    let check = |id: u32, list: &[IdMapping], field: &str, from: &str| {
        if list.iter().any(|map| map.holds(id)) {
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
        Err(with_hint(
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
