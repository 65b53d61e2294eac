//! The plan of a process that joins a container: what config.json said when the container was made, or the file of
//! `--process`, and what the command line has over it. Checked like init's, by the same code.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::raw::RawProcess;
use super::validate::{self, RuntimeOptions};
use super::{capabilities, load};
use crate::error::{Context, Result, anyhow, bail, with_hint};
use crate::log;
use crate::plan::{Capabilities, Process};

/// What the command line says about the process.
#[derive(Debug, Default)]
pub struct Arguments<'a> {
    /// `--process`: a file that describes the process in place of the container's config.
    pub file: Option<&'a Path>,
    /// The program and its arguments; if empty, those of the file.
    pub command: &'a [OsString],
    pub cwd: Option<&'a Path>,
    /// NAME=VALUE
    pub env: &'a [OsString],
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub additional_gids: &'a [u32],
    pub tty: bool,
    pub apparmor: Option<&'a str>,
    pub process_label: Option<&'a str>,
    pub no_new_privs: bool,
    /// Names of capabilities to add.
    pub cap: &'a [String],
}

/// Takes every decision about the process. `config` gives the container's config as it was when it was made.
pub fn plan(
    arguments: &Arguments,
    config: impl FnOnce() -> Result<Vec<u8>>,
    options: &RuntimeOptions,
    user_namespace: bool,
) -> Result<Process> {
    let own = load::processes_of_config(&config()?).context("the container's config.json")?;
    let (process, noted) = match (arguments.file, own.process) {
        (Some(file), own) => {
            let (mut process, noted) = load::process_of_file(file)?;
            if let Some(own) = own {
                process.inherit(own);
            }
            (process, noted)
        }
        (None, Some(process)) => (process, Vec::new()),
        (None, None) => {
            return Err(with_hint(
                "the container's config has no process to take defaults from",
                "describe the process in a file and name that with --process",
            ));
        }
    };
    let mut loose = RawProcess::new(process, own.linux.unwrap_or_default(), own.annotations);
    loose.warnings.extend(noted);
    loose.process.set_labels(arguments.apparmor, arguments.process_label);
    // A terminal is asked for where there is somebody at it: the container's own says nothing about that.
    let terminal = arguments.tty || arguments.file.is_some() && loose.process.terminal().unwrap_or(false);
    loose.process.set_terminal(terminal);
    add_capabilities(arguments.cap, &mut loose.capabilities)?;
    let about = arguments.file.map(|file| format!("--process {file:?}"));
    let (mut process, warnings) = match &about {
        Some(file) => validate::joining(loose, options, user_namespace).context(file.clone())?,
        None => validate::joining(loose, options, user_namespace)?,
    };
    for warning in warnings {
        // What the config has in vain was told when the container was made; the program's stderr may be ours.
        if about.is_some() || !arguments.cap.is_empty() {
            log::warning(&warning);
        } else {
            log::debug(|| warning);
        }
    }
    override_by(arguments, &mut process)?;
    Ok(process)
}

fn override_by(arguments: &Arguments, process: &mut Process) -> Result<()> {
    if !arguments.command.is_empty() {
        process.args = arguments
            .command
            .iter()
            .map(|word| text("the command", word))
            .collect::<Result<_>>()?;
    }
    if process.args.first().is_some_and(|program| program.is_empty()) {
        bail!(validate::process::NAMELESS);
    }
    if let Some(cwd) = arguments.cwd {
        process.cwd = cwd.to_path_buf();
    }
    for entry in arguments.env {
        set_variable(entry, &mut process.env)?;
    }
    process.uid = arguments.uid.unwrap_or(process.uid);
    process.gid = arguments.gid.unwrap_or(process.gid);
    process.additional_gids.extend(arguments.additional_gids);
    process.no_new_privileges |= arguments.no_new_privs;
    Ok(())
}

/// Adds to the sets that make a capability usable now, and never to the inheritable one: what is inheritable can be
/// gained from a file by whatever is executed later (CVE-2022-29162, CVE-2022-27650, CVE-2025-27612). A capability can
/// be ambient only if it is inheritable, so it becomes so only where the config says that.
fn add_capabilities(names: &[String], (sets, bounded): &mut (Capabilities, u64)) -> Result<()> {
    for name in names {
        let bit = capabilities::bit(name).ok_or_else(|| {
            let cure = match capabilities::meant(name) {
                Some(meant) => format!("write its full name: {meant}"),
                None => "capabilities are named as in capabilities(7): CAP_NET_RAW".into(),
            };
            with_hint(format!("--cap {name:?}: unknown capability"), cure)
        })?;
        *bounded |= capabilities::bounded(bit);
        sets.bounding |= bit;
        sets.effective |= bit;
        sets.permitted |= bit;
        sets.ambient |= bit & sets.inheritable;
    }
    Ok(())
}

/// A variable takes the place of any of the same name.
fn set_variable(entry: &OsString, variables: &mut Vec<CString>) -> Result<()> {
    let bytes = entry.as_bytes();
    let end = match bytes.iter().position(|byte| *byte == b'=') {
        Some(end) if end > 0 => end + 1,
        _ => {
            return Err(with_hint(
                format!("--env {entry:?}: not a variable"),
                "write NAME=VALUE; the value may be empty",
            ));
        }
    };
    let name = bytes.get(..end).unwrap_or_default();
    variables.retain(|other| !other.as_bytes().starts_with(name));
    variables.push(text("--env", entry)?);
    Ok(())
}

fn text(what: &str, word: &OsString) -> Result<CString> {
    CString::new(word.clone().into_vec()).map_err(|_| anyhow!("{what}: holds a NUL byte"))
}
