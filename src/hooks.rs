//! Hooks: programs of the config that run at the points of the lifecycle, with the container's state on standard input
//! (runtime.md, "Lifecycle"; config.md, "POSIX-platform Hooks").
//!
//! The same code runs them on both sides: in the runtime's namespaces by the runtime, in the container's by init.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use oci_spec::runtime::Hook;

use crate::error::{At, Context, Result, anyhow, bail, hinted};
use crate::state::status::Document;
use crate::sys::{fs, process};

/// As much of a hook's output is kept for the error.
const KEPT: usize = 16 << 10;

/// Runs the hooks of one point in their order; the first failure ends it.
pub fn run(point: &str, hooks: &[Hook], state: &Document) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        one(hook, state).with_context(|| At::object(format!("hooks.{point}[{index}]"), hook.path().display()))?;
    }
    Ok(())
}

/// Runs all hooks of one point, whatever becomes of each; failures are for the log only.
pub fn run_all(point: &str, hooks: &[Hook], state: &Document) {
    for (index, hook) in hooks.iter().enumerate() {
        if let Err(error) = one(hook, state) {
            crate::log::warning(&format!("hooks.{point}[{index}] {:?}: {error:#}", hook.path()));
        }
    }
}

fn one(hook: &Hook, state: &Document) -> Result<()> {
    let text = serde_json::to_vec(state)?;
    let mut input = std::fs::File::from(fs::memfd(c"state", false, false)?);
    input.write_all(&text)?;
    std::io::Seek::rewind(&mut input)?;
    let (reader, writer) = std::io::pipe()?;

    let mut command = Command::new(hook.path());
    match hook.args().as_deref() {
        Some([name, rest @ ..]) => command.arg0(name).args(rest),
        _ => &mut command,
    };
    // The spec gives a hook exactly the environment that it lists; nothing of the caller's.
    command.env_clear();
    for entry in hook.env().iter().flatten() {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        command.env(name, value);
    }
    let spawned = command
        .stdin(input)
        .stdout(writer.try_clone()?)
        .stderr(Stdio::from(writer))
        .spawn();
    drop(command);
    let mut child = spawned.map_err(|error| {
        hinted(
            format!("cannot be run: {error}"),
            "the path must name a program that this side can execute",
        )
    })?;

    let ended = wait(&child, reader.into(), hook.timeout());
    if ended.is_err() {
        // Killed or not, it is our child and is reaped here.
        let _ = child.kill();
    }
    let status = child.wait()?;
    let said = ended?;
    if status.success() {
        return Ok(());
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, Some(signal)) => format!("killed by signal {signal}"),
        _ => "ended abnormally".into(),
    };
    if said.is_empty() {
        bail!("{how}")
    } else {
        Err(anyhow!("{how}, output: {said}"))
    }
}

/// Waits for the end of a hook and returns what it said. Past its time it is an error.
fn wait(child: &std::process::Child, output: OwnedFd, timeout: Option<i64>) -> Result<String> {
    let pidfd = process::pidfd_open(child.id() as i32)?;
    let end = timeout.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds.try_into().ok()?)));
    let mut said = Vec::new();
    let mut open = true;
    fs::set_nonblocking(&output)?;
    loop {
        let left = match end {
            None => -1,
            Some(end) => {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    bail!("did not end within its timeout of {} s", timeout.unwrap_or_default());
                }
                // Rounded up, so that the last wait is not a busy one.
                left.as_millis().saturating_add(1).min(i32::MAX as u128) as i32
            }
        };
        let mut watched = vec![(pidfd.as_fd(), libc::POLLIN)];
        if open {
            watched.push((output.as_fd(), libc::POLLIN));
        }
        let events = fs::poll(&watched, left)?;
        if open {
            open = drain(&output, &mut said);
        }
        if events.first().is_some_and(|events| *events != 0) {
            drain(&output, &mut said);
            return Ok(String::from_utf8_lossy(&said).trim().to_string());
        }
    }
}

/// Reads what is there, at most a pipe full of it: a hook that never stops talking must not make us miss its timeout.
/// `false` at the end of the output.
fn drain(output: &OwnedFd, said: &mut Vec<u8>) -> bool {
    let mut chunk = [0u8; 4096];
    for _ in 0..16 {
        match fs::read(output.as_fd(), &mut chunk) {
            Ok(0) => return false,
            Ok(length) => {
                let room = KEPT.saturating_sub(said.len());
                said.extend(chunk.get(..length.min(room)).unwrap_or_default());
            }
            Err(_) => return true,
        }
    }
    true
}
