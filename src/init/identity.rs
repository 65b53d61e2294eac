//! The identity of the process: its user namespace, ids, groups, umask and keyring. Runs in init and in joining processes.

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;

use super::context::ProcessContext;
use super::state::Init;
use crate::error::{At, Context, Result, call_with_hint};
use crate::log;
use crate::plan::{IdMaps, Process};
use crate::protocol::Message;
use crate::security::lsm;
use crate::sys::{capabilities, clone, fs, process};

/// Waits until the runtime has done its part from outside, such as writing the maps of the new user namespace.
pub fn wait_for_help(init: &Init) -> Result<()> {
    if !init.plan.needs_help_from_outside() {
        return Ok(());
    }
    let offsets = !init.plan.time_offsets.is_empty();
    if offsets {
        // With clone3(2) this process would start in the new namespace, and its clocks could no longer be changed: that is
        // possible only while the namespace has no process. So it is created for children, adjusted, and then entered.
        clone::unshare(libc::CLONE_NEWTIME as u64)?;
        init.context.channel.send(&Message::Unshared)?;
    }
    init.context.channel.expect_from_runtime(&[Message::Helped])?;
    if offsets {
        let made = fs::open(Path::new("/proc/self/ns/time_for_children"), libc::O_RDONLY)?;
        clone::setns(made.as_fd(), libc::CLONE_NEWTIME as u64)?;
    }
    Ok(())
}

/// Becomes root of the container's user namespace, because files that init creates should belong to the container's root.
/// If root is not mapped, they belong to the process's user.
pub fn enter_user_namespace(init: &Init) -> Result<()> {
    let Some(maps) = &init.plan.id_maps else { return Ok(()) };
    let process = init.plan.process.as_ref();
    // None of these changes drops capabilities: the kernel does that only when a process stops being the namespace's root.
    if let Some(gid) = IdMaps::creator_id(&maps.gid, process.map(|process| process.gid)) {
        process::setgid(gid)?;
    }
    if let Some(uid) = IdMaps::creator_id(&maps.uid, process.map(|process| process.uid)) {
        process::setuid(uid)?;
    }
    Ok(())
}

/// Becomes root of the joined user namespace: files created from here on belong to the container's root. If the
/// namespace does not map root, the ids stay unchanged.
pub fn become_root_of_namespace() -> Result<()> {
    for result in [process::setgid(0), process::setuid(0)] {
        match result {
            Err(error) if error.errno == Errno::EINVAL => {}
            other => other?,
        }
    }
    // A change of credentials may have made the process dumpable again (sysctl fs.suid_dumpable).
    Ok(process::set_undumpable()?)
}

/// Joins a separate session keyring, so that the container does not get the keys of the caller's session. A process that
/// joins the container finds it by its name.
pub fn session_keyring(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    if !plan.new_keyring {
        return Ok(());
    }
    let (name, user_namespace) = (&context.keyring, context.user_namespace);
    lsm::with_key_label(plan, context.host_proc.as_ref(), || join_keyring(name, user_namespace))
}

/// Joins the keyring of this name, which is created if it does not exist.
pub fn join_keyring(name: &str, user_namespace: bool) -> Result<()> {
    let keyring = match process::join_session_keyring(name) {
        // A kernel without keyrings has nothing to protect.
        Err(error) if error.errno == Errno::ENOSYS => return Ok(()),
        Err(error) if error.errno == Errno::EDQUOT => {
            return Err(call_with_hint(
                error,
                "cannot create a session keyring for the container",
                "the user's quota of keys is used up: see /proc/key-users and kernel.keys.maxkeys, or use --no-new-keyring",
            ));
        }
        other => other?,
    };
    // A keyring without search permission cannot be joined either, see keyctl_join_session_keyring(3). In a user
    // namespace the user of the joining process may differ from the owner of the keyring. Other containers run as the same
    // user and must not learn the name, so there is no view permission.
    let search = if user_namespace { KEY_OTH_SEARCH } else { KEY_USR_SEARCH };
    Ok(process::set_key_permissions(keyring, KEY_POS_ALL | search)?)
}

/// From linux/key.h. All permissions for possessors, which are the processes that joined the keyring.
const KEY_POS_ALL: u32 = 0x3f00_0000;
const KEY_USR_SEARCH: u32 = 0x0008_0000;
const KEY_OTH_SEARCH: u32 = 0x0000_0008;

/// The umask of the config, or the caller's if the config has none (config.md, `user.umask`).
pub fn umask(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    fs::umask(plan.umask.unwrap_or(context.caller_umask));
    Ok(())
}

/// Whether setgroups(2) is denied by the user namespace, user_namespaces(7), and not because CAP_SETGID is missing.
fn may_set_groups() -> Result<bool> {
    const SETGID: u64 = 1 << 6;
    Ok(capabilities::capget()?.effective & SETGID != 0)
}

/// Sets the supplementary groups. An empty list means none: the caller's groups must not leak in unless requested.
fn groups(context: &ProcessContext, plan: &Process) -> Result<()> {
    if plan.keep_groups {
        return Ok(());
    }
    match process::setgroups(&plan.additional_gids) {
        Err(error) if error.errno == Errno::EPERM && (context.user_namespace || may_set_groups()?) => {
            // If an unprivileged user mapped only their own group, the kernel denies setgroups(2) altogether. The namespace
            // may also be one that the engine created, which the config does not mention.
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

/// Sets the supplementary groups, the group and the user.
pub fn become_user(context: &mut ProcessContext, plan: &Process) -> Result<()> {
    groups(context, plan)?;
    // The permitted set must survive the change of the uid; the next step reduces it to the plan's.
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
    // With fs.suid_dumpable=1 the change has made the process dumpable, and so visible to the user's other processes.
    Ok(process::set_undumpable()?)
}
