//! `process.user`, and the groups of `exec --additional-gids`.

use oci_spec::runtime as oci;

use crate::bundle::checks::Checks;
use crate::error::{At, Context, Error, Result, anyhow, with_hint};
use crate::host::Facts;
use crate::plan::{IdMapping, IdMaps};

/// The kernel's NGROUPS_MAX.
const MOST_GROUPS: usize = 65536;

/// The IDs of the user, and its groups.
pub fn user(user: &oci::User, checks: &mut Checks) -> Option<()> {
    checks.section(&["process", "user"], |checks| {
        for (field, id) in [("uid", user.uid()), ("gid", user.gid())] {
            checks.keep(valid(id).with_context(|| At::new(format!("process.user.{field}"))));
        }
        let groups = user.additional_gids().as_deref().unwrap_or_default();
        self::groups(groups, "process.user.additionalGids", checks);
        Ok(())
    })
}

/// Supplementary groups. `path`: the list's place, or the option that has it.
pub fn groups(groups: &[u32], path: &str, checks: &mut Checks) {
    if groups.len() > MOST_GROUPS {
        let error = anyhow!("{} groups; a process has at most {MOST_GROUPS}", groups.len());
        checks.keep::<()>(Err(error).context(At::new(path)));
    }
    if let Some(index) = groups.iter().position(|group| *group == u32::MAX) {
        checks.keep(valid(u32::MAX).with_context(|| At::new(format!("{path}[{index}]"))));
    }
}

fn valid(id: u32) -> Result<()> {
    // setresuid(2) takes it for "leave it as it is", which would be root.
    if id == u32::MAX {
        return Err(invalid_id());
    }
    Ok(())
}

/// About the one 32-bit number that cannot be the ID of a user or group.
fn invalid_id() -> Error {
    with_hint(
        format!("{} is not an ID", u32::MAX),
        "the kernel takes it for -1, which means \"leave unchanged\"; IDs go up to 4294967294",
    )
}

/// The IDs of the process must exist in its user namespace.
pub fn mapped(user: &oci::User, maps: &IdMaps, checks: &mut Checks) {
    checks.section(&["process", "user"], |checks| {
        checks.keep(is_mapped(user.uid(), &maps.uid, "uid", "linux.uidMappings"));
        checks.keep(is_mapped(user.gid(), &maps.gid, "gid", "linux.gidMappings"));
        for (index, gid) in user.additional_gids().iter().flatten().enumerate() {
            let field = format!("additionalGids[{index}]");
            checks.keep(is_mapped(*gid, &maps.gid, &field, "linux.gidMappings"));
        }
        Ok(())
    });
}

fn is_mapped(id: u32, list: &[IdMapping], field: &str, from: &str) -> Result<()> {
    if list.iter().any(|map| map.holds(id)) {
        return Ok(());
    }
    let last = |map: &IdMapping| u64::from(map.container) + u64::from(map.size) - 1;
    let ranges: Vec<String> = list
        .iter()
        .map(|map| format!("{} to {}", map.container, last(map)))
        .collect();
    Err(with_hint(
        format!("{id} is not mapped into the container's user namespace"),
        format!("{from} maps the container's IDs {}", ranges.join(", ")),
    ))
    .with_context(|| At::new(format!("process.user.{field}")))
}

/// Whether supplementary groups can be set in a user namespace with these maps.
pub fn groups_can_be_set(user: &oci::User, maps: &IdMaps, facts: &Facts, checks: &mut Checks) {
    let groups = user.additional_gids().as_ref();
    if groups.is_none_or(Vec::is_empty) || !denies_setgroups(maps, facts) {
        return;
    }
    let error = with_hint(
        "an unprivileged user who maps only their own group cannot set any groups, see user_namespaces(7)",
        "leave additionalGids out, or map a range of groups that /etc/subgid gives to the user",
    );
    checks.keep::<()>(Err(error).context(At::new("process.user.additionalGids")));
}

/// Whether the kernel accepts the map of groups only if setgroups(2) is given up (CVE-2014-8989): an unprivileged user
/// writes it, without the set-uid helper, which may do more.
fn denies_setgroups(maps: &IdMaps, facts: &Facts) -> bool {
    !facts.is_root() && matches!(&*maps.gid, [only] if only.size == 1 && Some(only.host) == facts.group)
}
