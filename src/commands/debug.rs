//! `debug`: runs a program of the host in namespaces of a container.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};

use crate::cgroup::members;
use crate::cli::{Debug, DebugNamespace};
use crate::error::{Context, Result, anyhow, bail, with_hint};
use crate::init::join::JoinTarget;
use crate::launch::debug::{self, Session};
use crate::launch::{end, exec};
use crate::log;
use crate::process_facts;
use crate::state::{State, Store};
use crate::status::{self, Snapshot, Status};
use crate::sys::process::{self, Exit, NAMESPACES, NamespaceKind};
use crate::sys::{capabilities, descriptor};

/// Those that are entered unless `--namespaces` says otherwise.
const USUAL: [DebugNamespace; 4] = [
    DebugNamespace::Network,
    DebugNamespace::Pid,
    DebugNamespace::Ipc,
    DebugNamespace::Uts,
];

pub fn run(store: &Store, arguments: &Debug) -> Result<u8> {
    let Some((id, command)) = arguments.words.split_first() else {
        bail!("debug: container id cannot be empty")
    };
    let id = id.to_string_lossy();
    enter(store, &id, command, arguments).with_context(|| format!("debug {id:?}"))
}

fn enter(store: &Store, id: &str, command: &[OsString], arguments: &Debug) -> Result<u8> {
    let Snapshot { state, status, init } = status::inspect(&store.container(id)?)?;
    match status {
        Status::Stopped => bail!("container not running"),
        Status::Creating => bail!("the container is still being created"),
        Status::Created | Status::Running | Status::Paused => {}
    }
    let init = init.ok_or_else(|| anyhow!("container not running"))?;
    let perhaps_ended = |error| end::perhaps_ended(error, &state);
    let target = exec::join_target(state.pid, init, state.chroot).map_err(perhaps_ended)?;
    let choice = choose(&state, &target, arguments).map_err(perhaps_ended)?;
    let facts = process_facts::status(state.pid)?;
    let root = match (choice.flags & libc::CLONE_NEWPID as u64, facts.inner_pid()) {
        (0, _) | (_, None) => format!("/proc/{}/root", state.pid),
        (_, Some(inner)) => format!("/proc/{inner}/root"),
    };
    if !arguments.quiet {
        say(id, status, &choice, &root);
    }
    let session = Session {
        init: descriptor::copy(target.init.as_raw_fd())?,
        namespaces: choice.flags,
        program: program(command)?,
        root,
    };
    let exit = debug::run(&session).map_err(perhaps_ended)?;
    // The end of init is complete only when all processes of its PID namespace have ended.
    let has_ended = || descriptor::poll(&[(session.init.as_fd(), libc::POLLIN)], 200) == Ok(vec![libc::POLLIN]);
    if exit == Exit::Signal(libc::SIGKILL) && choice.flags & libc::CLONE_NEWPID as u64 != 0 && has_ended() {
        tell(id, "the container has ended, and with it the program");
    }
    Ok(exit.code())
}

/// The program and its arguments, without a leading `--`.
fn program(command: &[OsString]) -> Result<Vec<String>> {
    let command = match command {
        [dashes, rest @ ..] if dashes == "--" => rest,
        _ => command,
    };
    if command.is_empty() {
        let shell = std::env::var("SHELL").ok().filter(|shell| !shell.is_empty());
        return Ok(vec![shell.unwrap_or_else(|| "/bin/sh".into())]);
    }
    let word = |word: &OsString| {
        word.clone()
            .into_string()
            .map_err(|word| anyhow!("{word:?} is not valid UTF-8"))
    };
    command.iter().map(word).collect()
}

/// What is entered, and why something else is not.
struct Choice {
    /// `CLONE_NEW*`
    flags: u64,
    /// What was asked for, or is usual, and is not entered, with the reason.
    left_out: Vec<(&'static str, String)>,
}

fn choose(state: &State, target: &JoinTarget, arguments: &Debug) -> Result<Choice> {
    let explicit = !arguments.namespaces.is_empty();
    let asked = if explicit {
        arguments.namespaces.as_slice()
    } else {
        &USUAL
    };
    let mut choice = Choice {
        flags: asked.iter().fold(0, |flags, one| flags | one.flag()),
        left_out: Vec::new(),
    };
    for kind in NAMESPACES
        .iter()
        .filter(|kind| choice.flags & kind.flag & !target.namespaces != 0)
    {
        choice.left_out.push((kind.name, "it is the caller's already".into()));
    }
    choice.flags &= target.namespaces;
    let (user, pid) = (libc::CLONE_NEWUSER as u64, libc::CLONE_NEWPID as u64);
    let without_root = process::effective_uid() != 0;
    if without_root && choice.flags != 0 {
        if target.namespaces & user == 0 {
            return Err(with_hint(
                "only root can enter the namespaces of a container without a user namespace",
                "run it as root",
            ));
        }
        if target.namespaces & pid == 0 {
            return Err(with_hint(
                "the container's processes see those of the host, and could take over a program in their user namespace",
                "run it as root, or give the container a separate PID namespace",
            ));
        }
        // It gives the privilege to enter the others.
        choice.flags |= user;
    }
    if choice.flags & pid != 0
        && let Some(reason) = danger(state, without_root)?
    {
        if explicit {
            return Err(with_hint(
                format!("the pid namespace is not entered: {reason}"),
                "leave pid out of --namespaces; `orlop ps` lists the processes by their PIDs on the host",
            ));
        }
        choice.flags &= !pid;
        choice.left_out.push(("pid", reason));
    }
    Ok(choice)
}

/// Why a process of the container could trace the program or read its memory, and so reach the host's files and privileges, if
/// the program was visible in the container's PID namespace (ptrace(2), "Ptrace access mode checking").
fn danger(state: &State, without_root: bool) -> Result<Option<String>> {
    /// CAP_SYS_PTRACE, and those that permit reading the memory of every process (may_access_mm() in kernel/fork.c):
    /// CAP_PERFMON, and CAP_SYS_ADMIN in its place.
    const LOOKING: u64 = capabilities::SYS_PTRACE | capabilities::PERFMON | capabilities::SYS_ADMIN;
    if without_root {
        return Ok(Some(
            "without root the program has the user namespace of the container, whose root could trace it".into(),
        ));
    }
    let (Some(user), Some(pid)) = (process_facts::kind("user"), process_facts::kind("pid")) else {
        return Ok(None);
    };
    let namespace = |process: &str, kind: &NamespaceKind| process_facts::namespace(process, kind).ok().flatten();
    let (own, shared) = (namespace("self", user), namespace(&state.pid.to_string(), pid));
    let inside: BTreeSet<i32> = match &state.cgroup {
        Some(cgroup) => members::processes(cgroup)?.into_iter().collect(),
        None => BTreeSet::new(),
    };
    // After execve root has all of the bounding set.
    let program = capabilities::capget()?.permitted & process_facts::status(process::pid())?.capabilities.bounding;
    for other in process_facts::all()? {
        let Ok(facts) = process_facts::status(other) else {
            continue;
        };
        // Without a PID in another PID namespace it is outside.
        if facts.pids.len() < 2 {
            continue;
        }
        let name = other.to_string();
        // One in a PID namespace below has perhaps a procfs of the one above. What cannot be read is taken for the worse.
        if !inside.contains(&other) && namespace(&name, pid).is_some_and(|found| Some(found) != shared) {
            continue;
        }
        // In a user namespace of its own it has no privilege over the host's.
        if namespace(&name, user).is_some_and(|found| Some(found) != own) {
            continue;
        }
        // One that has ended and is not reaped yet does nothing any more.
        if facts.state == Some('Z') && facts.threads <= 1 {
            continue;
        }
        let most = facts.capabilities.bounding | facts.capabilities.permitted;
        if most & LOOKING != 0 {
            return Ok(Some(format!(
                "process {other} of the container has {}, with which it could look into the program",
                capabilities::names(most & LOOKING).join(", ")
            )));
        }
        if program & !most == 0 {
            return Ok(Some(format!(
                "process {other} of the container has every capability that the program has, and could take it over"
            )));
        }
    }
    Ok(None)
}

/// Says what is entered and what is not.
fn say(id: &str, status: Status, choice: &Choice, root: &str) {
    let entered = NAMESPACES.iter().filter(|kind| choice.flags & kind.flag != 0);
    let entered: Vec<&str> = entered.map(|kind| kind.name).collect();
    match entered.as_slice() {
        [] => tell(id, "no namespace of the container is entered"),
        entered => tell(id, &format!("in the container's namespaces: {}", entered.join(", "))),
    }
    for (name, reason) in &choice.left_out {
        tell(id, &format!("not in its {name} namespace: {reason}"));
    }
    tell(id, "files, user, cgroup and limits are the caller's");
    tell(id, &format!("the container's root is $ORLOP_ROOT, {root}"));
    if status == Status::Paused {
        tell(id, "the container is paused, and the program is not");
    }
}

fn tell(id: &str, text: &str) {
    // If standard error is closed, the program is run nevertheless.
    let _ = writeln!(std::io::stderr(), "orlop: debug {id:?}: {}", log::shown(text));
}
