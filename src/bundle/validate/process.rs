//! `process`: who the container's process is and what it runs.

use std::collections::BTreeSet;
use std::ffi::CString;

use super::options::RuntimeOptions;
use crate::bundle::document;
use crate::bundle::scheduling;
use crate::error::{At, Context, Error, Result, anyhow, with_hint};
use crate::plan::{Capabilities, MemoryPolicy, Process, Rlimit};
use crate::security::lsm;
use crate::sys;
use crate::sys::process::Resource;

/// What is decided about a process elsewhere than in the spec's type of it.
#[derive(Debug, Default)]
pub struct ProcessInputs {
    pub capabilities: Capabilities,
    /// `linux.memoryPolicy`
    pub memory_policy: Option<MemoryPolicy>,
    /// `linux.personality`
    pub personality: Option<u32>,
    /// Whether the process is in a user namespace that is not the runtime's.
    pub user_namespace: bool,
    /// The annotation `run.oci.keep_original_groups`.
    pub keep_groups: bool,
    /// It joins a container; it is not the container's first.
    pub joins: bool,
}

/// Of a program whose name is empty; engines know it by these words as one that is not there.
pub const NAMELESS: &str = "exec: \"\": executable file not found in $PATH: the program's name must not be empty";

/// The kernel's NGROUPS_MAX.
const MOST_GROUPS: usize = 65536;

pub fn plan(
    process: &document::Process,
    beside: ProcessInputs,
    options: &RuntimeOptions,
    warnings: &mut Vec<String>,
) -> Result<Process> {
    let strings = |list: &[String], path: &str| -> Result<Vec<CString>> {
        list.iter()
            .enumerate()
            .map(|(index, text)| {
                CString::new(text.as_str())
                    .map_err(|_| anyhow!("holds a NUL byte"))
                    .with_context(|| At::new(format!("{path}[{index}]")))
            })
            .collect()
    };
    let args = strings(process.args().as_deref().unwrap_or_default(), "process.args")?;
    match args.first() {
        None => {
            return Err(with_hint(
                "missing or empty",
                "write the program and its arguments: [\"sh\", \"-c\", \"id\"]",
            ))
            .context(At::new("process.args"));
        }
        Some(program) if program.is_empty() => {
            return Err(anyhow!(NAMELESS)).context(At::new("process.args[0]"));
        }
        Some(_) => {}
    }
    let user = process.user();
    for (field, id) in [("uid", user.uid()), ("gid", user.gid())] {
        // setresuid(2) takes it for "leave it as it is", which would be root.
        if id == u32::MAX {
            return Err(no_id()).context(At::new(format!("process.user.{field}")));
        }
    }
    let groups = user.additional_gids().as_deref().unwrap_or_default();
    if groups.len() > MOST_GROUPS {
        return Err(anyhow!("{} groups; a process has {MOST_GROUPS} at most", groups.len()))
            .context(At::new("process.user.additionalGids"));
    }
    if let Some(index) = groups.iter().position(|group| *group == u32::MAX) {
        return Err(no_id()).context(At::new(format!("process.user.additionalGids[{index}]")));
    }
    if !process.cwd().is_absolute() {
        return Err(anyhow!("must be an absolute path, not {:?}", process.cwd())).context(At::new("process.cwd"));
    }
    let mut rlimits: Vec<Rlimit> = Vec::new();
    for (index, entry) in process.rlimits().iter().flatten().enumerate() {
        let name = entry.typ().to_string();
        let at = || At::object(format!("process.rlimits[{index}]"), &name);
        let resource = rlimit(&name).ok_or_else(|| anyhow!("unknown limit")).with_context(at)?;
        if rlimits.iter().any(|other| other.resource == resource) {
            return Err(anyhow!("the type is listed twice; every type may appear once")).with_context(at);
        }
        if entry.soft() > entry.hard() {
            return Err(anyhow!("soft {} is above hard {}", entry.soft(), entry.hard())).with_context(at);
        }
        rlimits.push(Rlimit {
            index,
            resource,
            soft: entry.soft(),
            hard: entry.hard(),
            name,
        });
    }
    if let Some(score) = process.oom_score_adj().filter(|score| !(-1000..=1000).contains(score)) {
        return Err(anyhow!("{score} is outside -1000 to 1000")).context(At::new("process.oomScoreAdj"));
    }
    let terminal = process.terminal().unwrap_or(false);
    let cell = |n: u64| {
        u16::try_from(n)
            .map_err(|_| anyhow!("{n} is too large"))
            .context(At::new("process.consoleSize"))
    };
    let console_size = match process.console_size() {
        Some(size) if terminal => Some((cell(size.height())?, cell(size.width())?)),
        _ => None,
    };
    let label = |text: &Option<String>, path: &'static str, required: fn() -> Result<()>| -> Result<Option<String>> {
        let Some(text) = text.as_ref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        if text.contains('\0') {
            return Err(anyhow!("holds a NUL byte")).context(At::new(path));
        }
        required().with_context(|| At::object(path, text))?;
        Ok(Some(text.clone()))
    };
    let env = strings(process.env().as_deref().unwrap_or_default(), "process.env")?;
    Ok(Process {
        terminal,
        console_size,
        args,
        env: environment(env)?,
        cwd: process.cwd().clone(),
        uid: process.user().uid(),
        gid: process.user().gid(),
        additional_gids: process.user().additional_gids().clone().unwrap_or_default(),
        keep_groups: beside.keep_groups,
        umask: process.user().umask(),
        rlimits,
        oom_score_adj: process.oom_score_adj(),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        capabilities: beside.capabilities,
        scheduling: scheduling::plan(process, beside.joins, warnings)?,
        memory_policy: beside.memory_policy,
        personality: beside.personality,
        apparmor_profile: label(
            process.apparmor_profile(),
            "process.apparmorProfile",
            lsm::require_apparmor,
        )?,
        selinux_label: label(process.selinux_label(), "process.selinuxLabel", lsm::require_selinux)?,
        // One that joins sets its own before it enters the namespace.
        oom_score_from_outside: beside.user_namespace && !beside.joins,
        limits_from_outside: beside.user_namespace && sys::process::effective_uid() == 0,
        preserve_fds: options.preserve_fds,
        activation: options.activation.clone(),
        notify: options.notify,
        new_keyring: !options.no_new_keyring,
        // The container's, not the process object's.
        seccomp: None,
    })
}

/// The one number of 32 bits that is not the id of a user or group.
fn no_id() -> Error {
    with_hint(
        format!("{} is not an id", u32::MAX),
        "it is -1, by which the kernel means \"leave it unchanged\"; ids go up to 4294967294",
    )
}

/// `process.env` as execve(2) gets it: each entry a name and a value, each name once, with the value that was given
/// last. (A program that looks a name up finds the first entry, one that reads the list the last: with a name given
/// twice they would not agree.)
fn environment(entries: Vec<CString>) -> Result<Vec<CString>> {
    let mut names: Vec<(&[u8], usize)> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let at = || At::object(format!("process.env[{index}]"), entry.to_string_lossy());
        let form = "an entry has the form NAME=VALUE";
        match entry.as_bytes().split(|byte| *byte == b'=').next() {
            Some([]) => return Err(with_hint("the name is empty", form)).with_context(at),
            Some(name) if name.len() < entry.as_bytes().len() => names.push((name, index)),
            _ => return Err(with_hint("there is no = in it", form)).with_context(at),
        }
    }
    names.sort_unstable();
    let neighbours = names.iter().zip(names.iter().skip(1));
    let overridden: BTreeSet<usize> = neighbours
        .filter(|(one, next)| one.0 == next.0)
        .map(|(one, _)| one.1)
        .collect();
    if overridden.is_empty() {
        return Ok(entries);
    }
    let entries = entries.into_iter().enumerate();
    Ok(entries
        .filter(|(index, _)| !overridden.contains(index))
        .map(|(_, entry)| entry)
        .collect())
}

fn rlimit(name: &str) -> Option<Resource> {
    Some(match name {
        "RLIMIT_AS" => libc::RLIMIT_AS,
        "RLIMIT_CORE" => libc::RLIMIT_CORE,
        "RLIMIT_CPU" => libc::RLIMIT_CPU,
        "RLIMIT_DATA" => libc::RLIMIT_DATA,
        "RLIMIT_FSIZE" => libc::RLIMIT_FSIZE,
        "RLIMIT_LOCKS" => libc::RLIMIT_LOCKS,
        "RLIMIT_MEMLOCK" => libc::RLIMIT_MEMLOCK,
        "RLIMIT_MSGQUEUE" => libc::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => libc::RLIMIT_NICE,
        "RLIMIT_NOFILE" => libc::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => libc::RLIMIT_NPROC,
        "RLIMIT_RSS" => libc::RLIMIT_RSS,
        "RLIMIT_RTPRIO" => libc::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => libc::RLIMIT_RTTIME,
        "RLIMIT_SIGPENDING" => libc::RLIMIT_SIGPENDING,
        "RLIMIT_STACK" => libc::RLIMIT_STACK,
        _ => return None,
    })
}
