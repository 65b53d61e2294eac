//! ID mappings of a mount: `uidMappings`, `gidMappings`, and the options `idmap` and `ridmap`.

use oci_spec::runtime::{self as oci, LinuxIdMapping};

use super::id_map::{convert, not_too_many};
use super::options::PlanContext;
use crate::error::{At, Context, Error, Result, anyhow, with_hint};
use crate::plan::{IdMapping, IdMaps, MountIdMap, MountKind, MountOptions, Reach};

/// The mapping of a mount: its own, or with the options `idmap` and `ridmap` alone the container's.
pub fn mount_id_map(
    index: usize,
    entry: &oci::Mount,
    options: &MountOptions,
    kind: &MountKind,
    context: &PlanContext,
) -> Result<Option<MountIdMap>> {
    let (uid, gid) = (
        entry.uid_mappings().as_deref().unwrap_or_default(),
        entry.gid_mappings().as_deref().unwrap_or_default(),
    );
    // Mappings without the option mean it, as for other runtimes.
    let own = !uid.is_empty() || !gid.is_empty();
    let Some(reach) = options.idmap.or(own.then_some(Reach::Plain)) else {
        return Ok(None);
    };
    let maps = match &options.idmap_written_out {
        _ if own => IdMaps {
            uid: mappings(uid, index, "uidMappings", "gidMappings")?,
            gid: mappings(gid, index, "gidMappings", "uidMappings")?,
        },
        // What depends on the container's maps cannot be told.
        _ if !context.maps_known => return Ok(None),
        Some((place, option)) => {
            let at = || At::object(format!("mounts[{index}].options[{place}]"), option);
            written_out(option, context.id_maps).with_context(at)?
        }
        None => context.id_maps.cloned().ok_or_else(|| {
            with_hint(
                "idmap without mappings uses those of the container's user namespace, and it has none",
                "add uidMappings and gidMappings to the mount, or {\"type\": \"user\"} to linux.namespaces",
            )
        })?,
    };
    can_be_mapped(kind, context)?;
    Ok(Some(MountIdMap { reach, maps }))
}

fn can_be_mapped(kind: &MountKind, context: &PlanContext) -> Result<()> {
    match kind {
        MountKind::Bind { .. } => {}
        MountKind::New { kind, .. } if context.id_maps.is_some() => {
            return Err(with_hint(
                format!(
                    "a new {kind} belongs to the container's user namespace, so its IDs are already the container's"
                ),
                "leave idmap and the mappings out",
            ));
        }
        MountKind::New { .. } => {}
        MountKind::Cgroup | MountKind::Remount | MountKind::Link(_) => {
            return Err(with_hint(
                "IDs can be mapped only on bind mounts and new file systems",
                "leave idmap and the mappings out",
            ));
        }
    }
    if !context.facts.is_root() {
        return Err(with_hint(
            "only root can map the IDs of a file system of the host",
            "run as root, or leave idmap and the mappings out",
        ));
    }
    Ok(())
}

fn mappings(list: &[LinuxIdMapping], index: usize, field: &str, other: &str) -> Result<Vec<IdMapping>> {
    let at = |place: String| At::new(format!("mounts[{index}].{field}{place}"));
    if list.is_empty() {
        return Err(with_hint(
            format!("missing; {other} requires it"),
            "map the IDs of users and of groups together, or neither",
        ))
        .context(at(String::new()));
    }
    checked(list.iter().map(convert).collect(), &at)
}

/// `at` gives the place of one mapping, or of all.
fn checked(list: Vec<IdMapping>, at: &dyn Fn(String) -> At) -> Result<Vec<IdMapping>> {
    not_too_many(list.len()).with_context(|| at(String::new()))?;
    let mut maps: Vec<IdMapping> = Vec::new();
    for (number, map) in list.into_iter().enumerate() {
        let at = || at(format!("[{number}]"));
        if map.size == 0 {
            return Err(anyhow!("size must be at least 1")).with_context(at);
        }
        let overlap = |a: u32, b: u32, size: u32| {
            let (a, b) = (u64::from(a), u64::from(b));
            a < b + u64::from(size) && b < a + u64::from(map.size)
        };
        let clash =
            |one: &IdMapping| overlap(map.container, one.container, one.size) || overlap(map.host, one.host, one.size);
        if maps.iter().any(clash) {
            return Err(anyhow!("overlaps another mapping of this list")).with_context(at);
        }
        maps.push(map);
    }
    Ok(maps)
}

/// The form of Podman and crun: `idmap=uids=0-1000-10#10-5000-1;gids=@0-0-10`. The three numbers are the first ID in the file
/// system, the first on the host, and a count. With `@` before them, the second is an ID of the container's user namespace.
fn written_out(option: &str, container: Option<&IdMaps>) -> Result<IdMaps> {
    let (mut uid, mut gid) = (None, None);
    for part in option.split_once('=').map_or("", |(_, value)| value).split(';') {
        let (list, ranges, maps) = match part.split_once('=') {
            Some(("uids", ranges)) if uid.is_none() => (&mut uid, ranges, container.map(|maps| &*maps.uid)),
            Some(("gids", ranges)) if gid.is_none() => (&mut gid, ranges, container.map(|maps| &*maps.gid)),
            _ => return Err(malformed(part)),
        };
        let mut all = Vec::new();
        for range in ranges.split('#') {
            match range.strip_prefix('@') {
                None => all.push(numbers(range)?),
                Some(numbered) => all.extend(of_container(numbers(numbered)?, maps, range)?),
            }
        }
        *list = Some(checked(all, &|place| At::new(format!("{part}{place}")))?);
    }
    match (uid, gid) {
        (Some(uid), Some(gid)) => Ok(IdMaps { uid, gid }),
        _ => Err(with_hint(
            "names only one of uids and gids",
            "map the IDs of users and of groups together, or neither",
        )),
    }
}

fn malformed(part: &str) -> Error {
    with_hint(
        format!("{part:?} is not a list of mappings"),
        "write uids=FIRST-HOST-COUNT;gids=FIRST-HOST-COUNT; several ranges are separated by #",
    )
}

fn numbers(range: &str) -> Result<IdMapping> {
    let mut fields = range.split('-').map(|field| {
        // No sign, which the parser of numbers would accept.
        let digits = field.bytes().all(|byte| byte.is_ascii_digit());
        field.parse::<u32>().ok().filter(|_| digits)
    });
    match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(Some(container)), Some(Some(host)), Some(Some(size)), None) => Ok(IdMapping { container, host, size }),
        _ => Err(malformed(range)),
    }
}

/// The range with the host's IDs instead of the container's. They may be in several of its ranges.
fn of_container(range: IdMapping, maps: Option<&[IdMapping]>, text: &str) -> Result<Vec<IdMapping>> {
    let maps = maps.ok_or_else(|| {
        with_hint(
            format!("{text:?} refers to the container's user namespace, and it has none"),
            "leave the @ out, or add {\"type\": \"user\"} to linux.namespaces",
        )
    })?;
    let unmapped = || {
        with_hint(
            format!("{text:?} refers to IDs that the container's user namespace does not map"),
            "see linux.uidMappings and linux.gidMappings",
        )
    };
    let mut found = Vec::new();
    let mut done = 0;
    while done < range.size {
        let id = range.host.checked_add(done).ok_or_else(unmapped)?;
        let map = maps.iter().find(|map| map.holds(id)).ok_or_else(unmapped)?;
        let offset = id - map.container;
        let size = (map.size - offset).min(range.size - done);
        found.push(IdMapping {
            container: range.container.checked_add(done).ok_or_else(unmapped)?,
            host: map.host.checked_add(offset).ok_or_else(unmapped)?,
            size,
        });
        done += size;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(container: u32, host: u32, size: u32) -> IdMapping {
        IdMapping { container, host, size }
    }

    #[test]
    fn mappings_in_an_option_are_read() {
        let container = IdMaps {
            uid: vec![map(0, 100_000, 10), map(10, 500, 1000)],
            gid: vec![map(0, 300_000, 65536)],
        };
        for (option, uid, gid) in [
            (
                "idmap=uids=0-5-10;gids=1-6-11",
                vec![map(0, 5, 10)],
                vec![map(1, 6, 11)],
            ),
            (
                "ridmap=gids=0-1-1#7-8-2;uids=3-4-5",
                vec![map(3, 4, 5)],
                vec![map(0, 1, 1), map(7, 8, 2)],
            ),
            (
                "idmap=uids=@0-0-10;gids=@5-1-2",
                vec![map(0, 100_000, 10)],
                vec![map(5, 300_001, 2)],
            ),
            // Across the border of two ranges.
            (
                "idmap=uids=@20-8-4#50-60-1;gids=@0-0-1",
                vec![map(20, 100_008, 2), map(22, 500, 2), map(50, 60, 1)],
                vec![map(0, 300_000, 1)],
            ),
        ] {
            assert_eq!(
                written_out(option, Some(&container)).unwrap(),
                IdMaps { uid, gid },
                "{option}"
            );
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let container = IdMaps {
            uid: vec![map(0, 100_000, 10)],
            gid: vec![map(0, 100_000, 10)],
        };
        for (text, why) in [
            ("", "not a list"),
            ("uids", "not a list"),
            ("uids=0-1-2", "only one"),
            ("gids=0-1-2", "only one"),
            ("uids=0-1-2;uids=0-1-2", "not a list"),
            ("uids=0-1-2;gids=0-1", "not a list"),
            ("uids=0-1-2;gids=0-1-2-3", "not a list"),
            ("uids=0-1-2;gids=0-1-x", "not a list"),
            ("uids=0-1-2;gids=0-+1-2", "not a list"),
            ("uids=0-1-2;gids=-1-1-2", "not a list"),
            ("uids=0-1-2;gids=0-1-4294967296", "not a list"),
            ("uids=0-1-2;gids=", "not a list"),
            ("uids=0-1-2;gids=0-1-2;", "not a list"),
            ("uids=0-1-2#;gids=0-1-2", "not a list"),
            ("uids=0:1:2;gids=0:1:2", "not a list"),
            ("uids=0-1-2,gids=0-1-2", "not a list"),
            ("uids=0-1-0;gids=0-1-2", "at least 1"),
            ("uids=0-1-5#4-9-1;gids=0-1-2", "overlaps"),
            ("uids=@0-5-10;gids=@0-0-10", "does not map"),
            ("uids=@0-4294967295-2;gids=@0-0-10", "does not map"),
        ] {
            let error = written_out(&format!("idmap={text}"), Some(&container)).unwrap_err();
            assert!(format!("{error:#}").contains(why), "{text}: {error:#}");
        }
        let error = written_out("idmap=uids=@0-0-1;gids=@0-0-1", None).unwrap_err();
        assert!(format!("{error:#}").contains("it has none"), "{error:#}");
    }

    proptest::proptest! {
        #[test]
        fn no_option_makes_it_panic(text in "(uids=|gids=|[0-9]{1,10}|-|#|;|@|,|é){0,24}") {
            let container = IdMaps { uid: vec![map(0, 4_294_967_290, 10)], gid: vec![map(5, 0, 4_294_967_290)] };
            let _ = written_out(&format!("idmap={text}"), Some(&container));
            let _ = written_out(&format!("idmap={text}"), None);
        }
    }
}
