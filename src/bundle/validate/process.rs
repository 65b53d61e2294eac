//! `process`: who the container's process is and what it runs.

use std::ffi::CString;

use super::Choices;
use crate::bundle::document;
use crate::bundle::plan::{Capabilities, Process, Rlimit};
use crate::error::{At, Context, Result, anyhow, hinted};

pub fn plan(process: &document::Process, capabilities: Capabilities, choices: &Choices) -> Result<Process> {
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
            return Err(hinted(
                "missing or empty",
                "write the program and its arguments: [\"sh\", \"-c\", \"id\"]",
            ))
            .context(At::new("process.args"));
        }
        Some(program) if program.is_empty() => {
            return Err(anyhow!("the program's name must not be empty")).context(At::new("process.args[0]"));
        }
        Some(_) => {}
    }
    let user = process.user();
    for (field, id) in [("uid", user.uid()), ("gid", user.gid())] {
        // setresuid(2) takes it for "leave it as it is", which would be root.
        if id == u32::MAX {
            return Err(anyhow!("{id} is not an id")).context(At::new(format!("process.user.{field}")));
        }
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
    Ok(Process {
        terminal,
        console_size,
        args,
        env: strings(process.env().as_deref().unwrap_or_default(), "process.env")?,
        cwd: process.cwd().clone(),
        uid: process.user().uid(),
        gid: process.user().gid(),
        additional_gids: process.user().additional_gids().clone().unwrap_or_default(),
        umask: process.user().umask(),
        rlimits,
        oom_score_adj: process.oom_score_adj(),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        capabilities,
        preserve_fds: choices.preserve_fds,
        new_keyring: !choices.no_new_keyring,
    })
}

fn rlimit(name: &str) -> Option<u32> {
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
