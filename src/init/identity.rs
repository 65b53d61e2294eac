//! Who the process is: its user namespace, ids, groups, umask and keyring. Run by init, and by what joins it.

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;

use super::Init;
use super::context::ProcessContext;
use crate::error::{At, Context, Result, call_with_hint};
use crate::log;
use crate::plan::{IdMaps, Process};
use crate::protocol::Message;
use crate::security::lsm;
use crate::sys::{capabilities, fs, process};

/// Waits until the runtime has done its part from outside: the maps of the new user namespace above all.
pub fn wait_for_help(init: &Init) -> Result<()> {
    if !init.plan.needs_help_from_outside() {
        return Ok(());
    }
    let offsets = !init.plan.time_offsets.is_empty();
    if offsets {
        // By clone3(2) this process would be in the new namespace from the start, and its clocks set for good: they can be
        // moved only while nobody is in it. So it is made for children, moved, and then entered.
        process::unshare(libc::CLONE_NEWTIME as u64)?;
        init.context.channel.send(&Message::Unshared)?;
    }
    init.context.channel.expect_from_runtime(&["Helped"])?;
    if offsets {
        let made = fs::open(Path::new("/proc/self/ns/time_for_children"), libc::O_RDONLY)?;
        process::setns(made.as_fd(), libc::CLONE_NEWTIME as u64)?;
    }
    Ok(())
}

/// Becomes root of the container's user namespace, for files that we make should belong to the container's root. Where
/// that is not mapped they belong to the process's user.
pub fn enter_user_namespace(init: &Init) -> Result<()> {
    let Some(maps) = &init.plan.id_maps else { return Ok(()) };
    let process = init.plan.process.as_ref();
    // None of these changes takes capabilities away: the kernel does that only to who ceases to be the namespace's root.
    if let Some(gid) = IdMaps::creator_id(&maps.gid, process.map(|process| process.gid)) {
        process::setgid(gid)?;
    }
    if let Some(uid) = IdMaps::creator_id(&maps.uid, process.map(|process| process.uid)) {
        process::setuid(uid)?;
    }
    Ok(())
}

/// In the user namespace that was joined: what is made from here on belongs to the container's root. Where the
/// namespace does not map one, the ids stay what they are.
pub fn become_root_of_namespace() -> Result<()> {
    for result in [process::setgid(0), process::setuid(0)] {
        match result {
            Err(error) if error.errno == Errno::EINVAL => {}
            other => other?,
        }
    }
    // A change of credentials may have made us visible again (sysctl fs.suid_dumpable).
    Ok(process::set_undumpable()?)
}

/// A session keyring of its own, so that keys of the caller's session are not the container's. A process that joins the
/// container finds it by its name.
pub fn session_keyring(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    if !plan.new_keyring {
        return Ok(());
    }
    let (name, user_namespace) = (&context.keyring, context.user_namespace);
    lsm::with_key_label(plan, context.host_proc.as_ref(), || join_keyring(name, user_namespace))
}

fn join_keyring(name: &str, user_namespace: bool) -> Result<()> {
    let keyring = match process::join_session_keyring(name) {
        // A kernel without keyrings has none to protect.
        Err(error) if error.errno == Errno::ENOSYS => return Ok(()),
        Err(error) if error.errno == Errno::EDQUOT => {
            return Err(call_with_hint(
                error,
                "no session keyring for the container",
                "the user's quota of keys is used up: see /proc/key-users and kernel.keys.maxkeys, or use --no-new-keyring",
            ));
        }
        other => other?,
    };
    // A keyring that may not be searched cannot be joined either, see keyctl_join_session_keyring(3). In a user
    // namespace the joining process's user need not be the one that owns it. Other containers are of the same user, so
    // they must not learn the name, which the right to view it would tell them.
    let search = if user_namespace { KEY_OTH_SEARCH } else { KEY_USR_SEARCH };
    Ok(process::set_key_permissions(keyring, KEY_POS_ALL | search)?)
}

/// Of linux/key.h. Everything to who possesses it, which is who has joined it.
const KEY_POS_ALL: u32 = 0x3f00_0000;
const KEY_USR_SEARCH: u32 = 0x0008_0000;
const KEY_OTH_SEARCH: u32 = 0x0000_0008;

/// The config's umask, or the caller's where it says nothing (config.md, `user.umask`).
pub fn umask(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    fs::umask(plan.umask.unwrap_or(context.caller_umask));
    Ok(())
}

/// Whether setgroups(2) is refused by the user namespace alone, user_namespaces(7), and not for want of the capability.
fn may_set_groups() -> Result<bool> {
    const SETGID: u64 = 1 << 6;
    Ok(capabilities::capget()?.effective & SETGID != 0)
}

/// The supplementary groups. An empty list means none: the caller's must not leak in unless they are asked for.
fn groups(context: &ProcessContext, plan: &Process) -> Result<()> {
    if plan.keep_groups {
        return Ok(());
    }
    match process::setgroups(&plan.additional_gids) {
        Err(error) if error.errno == Errno::EPERM && (context.user_namespace || may_set_groups()?) => {
            // Where a plain user mapped only the own group, the kernel forbids setgroups(2) altogether. The namespace may
            // also be that of the engine, which the config does not know of.
            if !plan.additional_gids.is_empty() {
                return Err(call_with_hint(
                    error,
                    "cannot be set",
                    "a rootless container with a single mapping cannot have additional groups",
                ))
                .context(At::new("process.user.additionalGids"));
            }
            log::debug(|| format!("supplementary groups stay as they are: {error}"));
        }
        Err(error) if error.errno == Errno::EINVAL && context.user_namespace => {
            let cure = "map them in linux.gidMappings, or choose other groups";
            return Err(call_with_hint(
                error,
                "not all are ids of the container's user namespace",
                cure,
            ))
            .context(At::new("process.user.additionalGids"));
        }
        other => other.context(At::new("process.user.additionalGids"))?,
    }
    Ok(())
}

/// Supplementary groups, group, user.
pub fn become_user(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    groups(context, plan)?;
    // The permitted set must outlive the change of the uid; the next step cuts it down to the plan's.
    capabilities::set_keep_capabilities(true)?;
    let unmapped = |error: crate::sys::SysError| match error.errno {
        Errno::EINVAL => call_with_hint(
            error,
            "not an id of the container's user namespace",
            "map it in linux.uidMappings and linux.gidMappings, or choose another user",
        ),
        _ => error.into(),
    };
    process::setgid(plan.gid)
        .map_err(unmapped)
        .context(At::object("process.user.gid", plan.gid))?;
    process::setuid(plan.uid)
        .map_err(unmapped)
        .context(At::object("process.user.uid", plan.uid))?;
    capabilities::set_keep_capabilities(false)?;
    // The change has made us visible to the user's other processes where fs.suid_dumpable is 1.
    Ok(process::set_undumpable()?)
}
