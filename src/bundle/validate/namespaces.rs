//! `linux.namespaces` and `linux.timeOffsets`.

use caps::Capability;
use oci_spec::runtime as oci;

use super::options::PlanContext;
use crate::bundle::checks::Checks;
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::host::Facts;
use crate::plan::{JoinedNamespace, Namespaces, TimeOffset};
use crate::sys::process::NAMESPACES;

/// The namespaces to make and to join.
pub fn namespaces(linux: &oci::Linux, facts: &Facts, checks: &mut Checks) -> Option<Namespaces> {
    checks.section(&["linux", "namespaces"], |checks| {
        let mut namespaces = Namespaces::default();
        for (index, entry) in linux.namespaces().iter().flatten().enumerate() {
            checks.keep(add((index, entry), facts, &mut namespaces));
        }
        // In the order of the table, which is the one that works.
        namespaces
            .joined
            .sort_by_key(|joined| NAMESPACES.iter().position(|kind| kind.flag == joined.flag));
        if namespaces.makes(libc::CLONE_NEWUSER)
            && let Some(joined) = namespaces.joins(libc::CLONE_NEWNS)
        {
            return Err(with_hint(
                "nothing can be mounted there: an existing mount namespace does not belong to a new user namespace",
                "also join the user namespace that it belongs to, or make a new mount namespace",
            ))
            .context(joined.at());
        }
        allowed(&namespaces, facts)?;
        Ok(namespaces)
    })
}

fn add((index, entry): (usize, &oci::LinuxNamespace), facts: &Facts, namespaces: &mut Namespaces) -> Result<()> {
    let flag = entry.typ() as u64;
    let Some(kind) = NAMESPACES.iter().find(|kind| kind.flag == flag) else {
        return Err(anyhow!("unknown namespace")).context(At::new(format!("linux.namespaces[{index}]")));
    };
    let at = || At::object(format!("linux.namespaces[{index}]"), kind.name);
    if namespaces.makes(flag as i32) || namespaces.joined.iter().any(|joined| joined.flag == flag) {
        return Err(anyhow!("duplicate type; every type may appear once")).with_context(at);
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
                is_callers: facts.own_namespaces.iter().any(|own| own == &(flag, path.clone())),
            });
        }
        _ => namespaces.new |= flag,
    }
    Ok(())
}

/// What is assumed if the list is wrong: every namespace is new, so that nothing is said to lack one.
pub fn all_new() -> Namespaces {
    Namespaces {
        new: NAMESPACES.iter().fold(0, |flags, kind| flags | kind.flag),
        joined: Vec::new(),
    }
}

/// Whether the caller may make a container at all: an unprivileged user has power only in a user namespace.
fn allowed(namespaces: &Namespaces, facts: &Facts) -> Result<()> {
    if facts.is_root() || namespaces.has(libc::CLONE_NEWUSER) {
        return Ok(());
    }
    // Some users give their runtime the capability without the UID.
    let admin = Capability::CAP_SYS_ADMIN.bitmask();
    if facts.capability_sets.is_some_and(|sets| sets.effective & admin != 0) {
        return Ok(());
    }
    let user = facts.user.map_or(String::new(), |user| format!("user {user} "));
    Err(with_hint(
        format!("{user}is unprivileged and needs a user namespace to make a container"),
        "add {\"type\": \"user\"} and mappings, as in the config.json that `orlop spec --rootless` writes, or run as root",
    ))
    .context(At::new("linux.namespaces"))
}

/// `linux.timeOffsets`, which only a time namespace without processes accepts.
pub fn time_offsets(context: &PlanContext, checks: &mut Checks) -> Option<Vec<TimeOffset>> {
    checks.section(&["linux", "timeOffsets"], |checks| {
        let mut clocks: Vec<_> = context.linux.time_offsets().iter().flatten().collect();
        clocks.sort_by_key(|(clock, _)| *clock);
        let offsets = clocks.iter().filter_map(|(clock, offset)| {
            let checked = time_offset(clock, offset);
            checks.keep(checked.with_context(|| At::new(format!("linux.timeOffsets.{clock}"))))
        });
        let offsets: Vec<TimeOffset> = offsets.collect();
        if clocks.is_empty() || context.namespaces.makes(libc::CLONE_NEWTIME) {
            return Ok(offsets);
        }
        let (text, hint) = match context.namespaces.joins(libc::CLONE_NEWTIME) {
            Some(joined) => (
                format!(
                    "the time namespace {:?} has processes, so its clocks cannot be set any more",
                    joined.path
                ),
                "leave the offsets out, or make a new time namespace",
            ),
            None => (
                "offsets require a separate time namespace: they would change the host's clocks".into(),
                "add {\"type\": \"time\"} to linux.namespaces",
            ),
        };
        Err(with_hint(text, hint)).context(At::new("linux.timeOffsets"))
    })
}

fn time_offset(clock: &str, offset: &oci::LinuxTimeOffset) -> Result<TimeOffset> {
    if !matches!(clock, "monotonic" | "boottime") {
        return Err(with_hint(
            "a time namespace has no such clock",
            "the clocks are \"monotonic\" and \"boottime\"; the time of day is the same for all",
        ));
    }
    let nanoseconds = offset.nanosecs().unwrap_or(0);
    if nanoseconds >= 1_000_000_000 {
        return Err(anyhow!(
            "nanosecs {nanoseconds} is a second or more; put whole seconds into secs"
        ));
    }
    Ok(TimeOffset {
        clock: clock.into(),
        seconds: offset.secs().unwrap_or(0),
        nanoseconds,
    })
}
