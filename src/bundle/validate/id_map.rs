//! The ID maps of the container's user namespace.

use oci_spec::runtime::{self as oci, LinuxIdMapping};

use crate::bundle::checks::Checks;
use crate::error::{At, Context, Result, Step, anyhow, with_hint};
use crate::host::Facts;
use crate::plan::{IdMapping, IdMaps, JoinedNamespace, Namespaces, Warning};

/// The kernel's limit, see user_namespaces(7). It also bounds the time for comparing every range with every other.
const MOST_RANGES: usize = 340;

/// The maps of the container's user namespace, if it has a separate one: those of the config if the namespace is new, those
/// that it has if it is joined. The outer None means that they cannot be told, because something about them is wrong.
pub fn container_maps(
    linux: &oci::Linux,
    namespaces: &Namespaces,
    facts: &Facts,
    joined_maps: Option<Result<IdMaps>>,
    checks: &mut Checks,
) -> Option<Option<IdMaps>> {
    let uid = given(linux.uid_mappings(), "uidMappings", checks);
    let gid = given(linux.gid_mappings(), "gidMappings", checks);
    if let Some(joined) = namespaces.joins(libc::CLONE_NEWUSER) {
        return of_joined(joined, joined_maps, [&uid?, &gid?], checks).map(Some);
    }
    if namespaces.makes(libc::CLONE_NEWUSER) {
        let own = own_id(uid?, facts.user, "linux.uidMappings", &mut checks.warnings);
        let own_group = own_id(gid?, facts.group, "linux.gidMappings", &mut checks.warnings);
        return Some(Some(IdMaps {
            uid: own,
            gid: own_group,
        }));
    }
    let needless = |list: Option<Vec<IdMapping>>, path: &'static str| {
        if list.is_none_or(|list| list.is_empty()) {
            return Ok(());
        }
        Err(with_hint(
            "mappings require a user namespace",
            "add {\"type\": \"user\"} to linux.namespaces",
        ))
        .context(At::new(path))
    };
    checks.keep(needless(uid, "linux.uidMappings"));
    checks.keep(needless(gid, "linux.gidMappings"));
    Some(None)
}

/// The mappings of the config.
fn given(list: &Option<Vec<LinuxIdMapping>>, field: &str, checks: &mut Checks) -> Option<Vec<IdMapping>> {
    checks.section(&["linux", field], |checks| {
        let list = list.as_deref().unwrap_or_default();
        not_too_many(list.len()).with_context(|| At::new(format!("linux.{field}")))?;
        for (index, mapping) in list.iter().enumerate() {
            if mapping.size() == 0 {
                let error = anyhow!("size must be at least 1");
                checks.keep::<()>(Err(error).context(At::new(format!("linux.{field}[{index}]"))));
            }
        }
        Ok(list.iter().map(convert).collect())
    })
}

pub fn convert(mapping: &LinuxIdMapping) -> IdMapping {
    IdMapping {
        container: mapping.container_id(),
        host: mapping.host_id(),
        size: mapping.size(),
    }
}

/// Refuses a list with more ranges than the kernel accepts.
pub fn not_too_many(ranges: usize) -> Result<()> {
    if ranges > MOST_RANGES {
        return Err(anyhow!(
            "has {ranges} ranges, and the kernel accepts at most {MOST_RANGES}"
        ));
    }
    Ok(())
}

/// The maps that a joined namespace has. Those of the config must be the same, if it has any. If they are, nothing is said about it:
/// containerd and CRI-O always pass both, and a warning would be written to the container's output, which conmon connects to ours.
fn of_joined(
    joined: &JoinedNamespace,
    maps: Option<Result<IdMaps>>,
    [uid, gid]: [&[IdMapping]; 2],
    checks: &mut Checks,
) -> Option<IdMaps> {
    let maps = maps.unwrap_or_else(|| Err(anyhow!("its maps are not known")));
    let maps = checks.keep(maps.with_context(|| joined.at()).context(Step::Namespaces))?;
    let mut agreed = true;
    for (given, has, path) in [
        (uid, &maps.uid, "linux.uidMappings"),
        (gid, &maps.gid, "linux.gidMappings"),
    ] {
        if given.is_empty() || same(given, has) {
            continue;
        }
        let error = with_hint(
            format!(
                "the user namespace {:?} already exists and has a different map: {}",
                joined.path,
                describe(has)
            ),
            "leave the mappings out: a user namespace that is joined keeps the maps that it has",
        );
        checks.keep::<()>(Err(error).context(At::new(path)));
        agreed = false;
    }
    agreed.then_some(maps)
}

/// Whether two maps are the same, in any order.
fn same(one: &[IdMapping], other: &[IdMapping]) -> bool {
    let sorted = |list: &[IdMapping]| {
        let mut list = list.to_vec();
        list.sort_by_key(|mapping| mapping.container);
        list
    };
    sorted(one) == sorted(other)
}

/// A map in words.
fn describe(list: &[IdMapping]) -> String {
    let ranges: Vec<String> = list
        .iter()
        .map(|m| format!("{} from {} on is the host's {}", m.size, m.container, m.host))
        .collect();
    if ranges.is_empty() {
        "no ID at all".into()
    } else {
        ranges.join(", ")
    }
}

/// A missing map becomes one of the caller's own ID, as in crun: without a map the process could not have any ID.
fn own_id(list: Vec<IdMapping>, own: Option<u32>, path: &str, warnings: &mut Vec<Warning>) -> Vec<IdMapping> {
    let Some(own) = own.filter(|_| list.is_empty()) else {
        return list;
    };
    let text =
        format!("{path} is missing: the container's ID 0 is mapped to the caller's, {own}, and it has no other ID");
    warnings.push(Warning::new(path, text));
    vec![IdMapping {
        container: 0,
        host: own,
        size: 1,
    }]
}
