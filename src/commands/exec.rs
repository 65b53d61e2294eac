//! `exec`: runs another program in an existing container.

use std::ffi::OsString;

use super::console_socket;
use crate::bundle;
use crate::bundle::validate::{Cgroups, RuntimeOptions};
use crate::cgroup::directory;
use crate::cli::Exec;
use crate::error::{Context, Result, Step, anyhow, bail, with_hint};
use crate::foreground;
use crate::inherited;
use crate::launch::end;
use crate::launch::exec::{self, ExecOptions, Target};
use crate::progress;
use crate::state::Store;
use crate::status::{self, Document, Snapshot, Status};
use crate::timings::{self, Peer};

pub fn run(store: &Store, arguments: &Exec) -> Result<u8> {
    let Some((id, command)) = arguments.words.split_first() else {
        bail!("exec: container id cannot be empty")
    };
    let id = id.to_string_lossy();
    enter(store, &id, command, arguments).with_context(|| format!("exec {id:?}"))
}

fn enter(store: &Store, id: &str, command: &[OsString], arguments: &Exec) -> Result<u8> {
    let command = program(command, arguments)?;
    timings::open(&arguments.timed.timings, "exec", id)?;
    progress::step(Step::State);
    let container = store.container(id)?;
    let Snapshot { state, status, init } = status::inspect(&container)?;
    let frozen = || match &state.cgroup {
        Some(cgroup) => directory::is_frozen(&cgroup.path),
        None => Ok(false),
    };
    match status {
        Status::Stopped => bail!("cannot exec in a stopped container"),
        Status::Creating => bail!("the container is still being created"),
        Status::Paused => refuse_paused(arguments)?,
        Status::Created if frozen()? => refuse_paused(arguments)?,
        Status::Created | Status::Running => {}
    }
    let init = init.ok_or_else(|| anyhow!("container not running"))?;
    let perhaps_ended = |error| end::perhaps_ended(error, &state);
    let join_target = exec::join_target(state.pid, init, state.chroot).map_err(perhaps_ended)?;
    let options = runtime_options(arguments, state.no_new_keyring);
    let user_namespace = join_target.namespaces & libc::CLONE_NEWUSER as u64 != 0;
    let user = arguments.user;
    progress::step(Step::Bundle);
    let process = bundle::exec::Arguments {
        file: arguments.process.as_deref(),
        command,
        cwd: arguments.cwd.as_deref(),
        env: &arguments.env,
        uid: user.map(|user| user.uid),
        gid: user.and_then(|user| user.gid),
        additional_gids: &arguments.additional_gids,
        tty: arguments.tty,
        apparmor: arguments.apparmor.as_deref(),
        process_label: arguments.process_label.as_deref(),
        no_new_privs: arguments.no_new_privs,
        cap: &arguments.cap,
    };
    let plan = bundle::exec::process(&process, || container.read_config(), &options, user_namespace)?;
    let console_socket = arguments.console_socket.as_deref();
    if console_socket::is_missing(plan.terminal, arguments.detach, console_socket) {
        return Err(with_hint(
            console_socket::MISSING,
            "give --console-socket, or omit --detach",
        ));
    }
    if console_socket::is_useless(plan.terminal, arguments.detach, console_socket) {
        return Err(with_hint(
            console_socket::USELESS,
            "give --tty and --detach too, or omit --console-socket",
        ));
    }
    let options = ExecOptions {
        console_socket,
        pidfd_socket: arguments.pidfd_socket.as_deref(),
        pid_file: arguments.pid_file.as_deref(),
        cgroup: arguments.cgroup.as_deref(),
        foreground: !arguments.detach,
    };
    let target = Target {
        id,
        pid: state.pid,
        cgroup: state.cgroup.as_ref(),
        class: state.class.as_ref(),
        keyring: state.keyring_name(),
        join_target: Some(join_target),
        document: Document::for_hook(&state, state.pid, status.name()),
    };
    let joined = exec::exec(target, &plan, &options).map_err(perhaps_ended)?;
    match joined.signals {
        Some(signals) => {
            timings::write();
            progress::step(Step::Foreground);
            let _waiting = progress::wait_for(Peer::Program);
            Ok(foreground::stay(&joined.pidfd, &signals, joined.master, None, None)?.code())
        }
        None => Ok(crate::exit_code::SUCCESS),
    }
}

/// What the command line and the caller decide about the process.
fn runtime_options(arguments: &Exec, no_new_keyring: bool) -> RuntimeOptions {
    RuntimeOptions {
        no_pivot: false,
        no_new_keyring,
        preserve_fds: arguments.preserve_fds,
        closed_fds: inherited::closed().to_vec(),
        activation: None,
        notify: false,
        seccomp_log: None,
        cgroup: Cgroups::default(),
    }
}

/// The command, without a leading `--`.
fn program<'a>(command: &'a [OsString], arguments: &Exec) -> Result<&'a [OsString]> {
    let command = match command {
        [dashes, rest @ ..] if dashes == "--" => rest,
        [option, ..] if option.as_encoded_bytes().starts_with(b"-") => {
            return Err(with_hint(
                format!("{option:?}: expected a command, found an option"),
                "write options of exec before the container ID; write -- before a program with this name",
            ));
        }
        _ => command,
    };
    // The arguments in config.json are those of the init process, and are not a default for exec.
    if command.is_empty() && arguments.process.is_none() {
        return Err(with_hint(
            "exec args cannot be empty",
            "write the program and its arguments after the container ID, or give a file that contains them with --process",
        ));
    }
    Ok(command)
}

fn refuse_paused(arguments: &Exec) -> Result<()> {
    if arguments.ignore_paused {
        return Ok(());
    }
    Err(with_hint(
        "cannot exec in a paused container (use --ignore-paused to override)",
        "the process would not run before `resume`",
    ))
}
