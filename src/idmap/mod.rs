//! The ID maps of a new user namespace, written by the runtime while init waits. See user_namespaces(7).

pub mod subordinate;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use crate::error::{At, Context, Error, Result, Step, call_with_hint, with_hint};
use crate::host_program;
use crate::plan::{IdMapping, IdMaps};
use crate::sys::process::Exit;
use crate::sys::{SysError, SysResult, Syscall, fs, process};
use subordinate::Ids;

/// Writes init's maps.
pub fn write(pid: i32, maps: &IdMaps) -> Result<()> {
    write_of(pid, maps, "linux")
}

/// Writes maps that the config has below `place`.
pub fn write_of(pid: i32, maps: &IdMaps, place: &str) -> Result<()> {
    let directory = fs::open(Path::new(&format!("/proc/{pid}")), libc::O_PATH | libc::O_DIRECTORY)?;
    let write = || -> Result<()> {
        one(&directory, pid, Ids::Users, &maps.uid).with_context(|| At::new(format!("{place}.uidMappings")))?;
        one(&directory, pid, Ids::Groups, &maps.gid).with_context(|| At::new(format!("{place}.gidMappings")))
    };
    write().context(Step::IdMaps)
}

fn one(directory: &OwnedFd, pid: i32, ids: Ids, maps: &[IdMapping]) -> Result<()> {
    let (file, own_id_only) = (ids.file(), is_own_id_only(ids, maps));
    if process::effective_uid() != 0 && own_id_only && ids == Ids::Groups {
        // An unprivileged process may map groups only after setgroups(2) is denied (CVE-2014-8989).
        put(directory, "setgroups", "deny")?;
    }
    if process::effective_uid() == 0 || own_id_only {
        let text: String = maps
            .iter()
            .map(|m| format!("{} {} {}\n", m.container, m.host, m.size))
            .collect();
        return put(directory, file, &text).map_err(|call| match call.errno {
            Errno::EPERM => refused(call),
            _ => call.into(),
        });
    }
    by_helper(pid, ids, maps)
}

/// The error of a map with IDs that the caller's own user namespace does not have.
fn refused(call: SysError) -> Error {
    call_with_hint(
        call,
        "the kernel refuses these ids",
        "the caller's own user namespace does not have these host ids",
    )
}

fn put(directory: &OwnedFd, file: &str, text: &str) -> SysResult<()> {
    let fd = fs::openat(directory.as_fd(), Path::new(file), libc::O_WRONLY, 0)?;
    // The kernel takes a map in one write or not at all.
    fs::write(fd.as_fd(), text.as_bytes()).map(drop).map_err(|mut call| {
        // Names the file without the PID, so that the text is the same in every run.
        let path = Path::new("/proc/PID").join(file);
        call.call.args.insert(0, (&path).into());
        call
    })
}

fn no_helper(helper: &str) -> Error {
    with_hint(
        format!("{helper} is not installed, and an unprivileged user cannot map more than their own id without it"),
        "install the package uidmap (Debian, Ubuntu) or shadow-utils, or map only your own id with size 1",
    )
}

/// Why maps could not be written, as far as that can be told in advance. `place`: where the config has them.
pub fn foretell(maps: &IdMaps, place: &str) -> Result<()> {
    foretell_one(Ids::Users, &maps.uid).with_context(|| At::new(format!("{place}.uidMappings")))?;
    foretell_one(Ids::Groups, &maps.gid).with_context(|| At::new(format!("{place}.gidMappings")))
}

fn foretell_one(ids: Ids, maps: &[IdMapping]) -> Result<()> {
    let (file, uid) = (ids.file(), process::effective_uid());
    let read = |path: &str| std::fs::read_to_string(path).ok();
    if uid == 0 {
        let own = read(&format!("/proc/self/{file}")).unwrap_or_default();
        let call = || SysError::new(Syscall::Write.of(&Path::new("/proc/PID").join(file)), Errno::EPERM);
        return match subordinate::holds_all(&subordinate::own_ranges(&own), maps) {
            true => Ok(()),
            false => Err(refused(call()).context(Step::IdMaps)),
        };
    }
    if is_own_id_only(ids, maps) {
        return Ok(());
    }
    let helper = ids.helper();
    if host_program::find(helper).is_none() {
        return Err(no_helper(helper).context(Step::IdMaps));
    }
    match subordinate::allows(ids, uid, maps, &read) {
        true => Ok(()),
        false => Err(with_hint(
            format!("{helper} does not allow user {uid} to map these ids"),
            subordinate::cure(ids, uid, "", &read),
        )
        .context(Step::IdMaps)),
    }
}

/// Whether the map is one that an unprivileged user may write without a helper.
fn is_own_id_only(ids: Ids, maps: &[IdMapping]) -> bool {
    let own = match ids {
        Ids::Users => process::effective_uid(),
        Ids::Groups => process::effective_gid(),
    };
    matches!(maps, [only] if only.size == 1 && only.host == own)
}

/// To map more than the caller's own ID, an unprivileged user needs the set-uid helpers, which check /etc/subuid and
/// /etc/subgid.
fn by_helper(pid: i32, ids: Ids, maps: &[IdMapping]) -> Result<()> {
    let helper = ids.helper();
    let numbers = maps.iter().flat_map(|map| [map.container, map.host, map.size]);
    let arguments: Vec<String> = [pid.to_string()]
        .into_iter()
        .chain(numbers.map(|number| number.to_string()))
        .collect();
    let output = host_program::output(helper, &arguments).map_err(|call| match call.errno {
        Errno::ENOENT => no_helper(helper),
        _ => Error::new(call).context(helper.to_string()),
    })?;
    if output.exit != Exit::Code(0) {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(with_hint(
            // Their messages begin with their name, unless the program could not be loaded.
            format!("{helper}: {}", said.trim().trim_start_matches(&format!("{helper}: "))),
            subordinate::cure(ids, process::effective_uid(), &said, &|path| {
                std::fs::read_to_string(path).ok()
            }),
        ));
    }
    Ok(())
}
