//! The plan of a process that joins a container: what config.json said when the container was made, or the file of
//! `--process`, and what the command line overrides. The same code checks it as init's process.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::document::ProcessOnly;
use super::load::{self, ReadProcess};
use super::raw::{Faults, RawProcess};
use super::validate::{self, RuntimeOptions};
use super::{capabilities, questions};
use crate::error::{Context, Result, anyhow, bail, with_hint};
use crate::host::Facts;
use crate::log;
use crate::plan::Process;

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

/// Makes every decision about the process. `config` gives the container's config as it was when the container was made.
pub fn process(
    arguments: &Arguments,
    config: impl FnOnce() -> Result<Vec<u8>>,
    options: &RuntimeOptions,
    user_namespace: bool,
) -> Result<Process> {
    let own = load::processes_of_config(&config()?).context("the container's config.json")?;
    let raw = raw_process(arguments, own)?;
    let facts = Facts::gather(questions::of_process(&raw, user_namespace))?;
    let (mut process, notes) = validate::joining(raw, options, &facts, user_namespace)?;
    for warning in notes.warnings {
        // Warnings about the config were given when the container was made, and the program's stderr may be ours.
        if arguments.file.is_some() || !arguments.cap.is_empty() {
            log::warning(&warning.text);
        } else {
            log::debug(|| warning.text);
        }
    }
    for remark in notes.remarks {
        log::debug(|| remark);
    }
    override_by(arguments, &mut process)?;
    Ok(process)
}

/// The process object to start from, with what the command line adds to it.
fn raw_process(arguments: &Arguments, own: ProcessOnly) -> Result<RawProcess> {
    let added_capabilities = named_capabilities(arguments.cap)?;
    let mut raw = match (arguments.file, own.process) {
        (Some(file), own_process) => {
            let ReadProcess {
                mut process,
                file,
                faults,
                warnings,
            } = load::process_of_file(file)?;
            if let Some(own_process) = own_process {
                process.inherit(own_process);
            }
            RawProcess {
                process,
                linux: own.linux.unwrap_or_default(),
                annotations: own.annotations,
                added_capabilities,
                added_groups: arguments.additional_gids.to_vec(),
                file: Some(file),
                faults,
                warnings,
            }
        }
        (None, Some(process)) => RawProcess {
            process,
            linux: own.linux.unwrap_or_default(),
            annotations: own.annotations,
            added_capabilities,
            added_groups: arguments.additional_gids.to_vec(),
            file: None,
            faults: Faults::default(),
            warnings: Vec::new(),
        },
        (None, None) => {
            return Err(with_hint(
                "the container's config has no process to take defaults from",
                "describe the process in a file and name that with --process",
            ));
        }
    };
    raw.process.set_labels(arguments.apparmor, arguments.process_label);
    // A terminal is for a person at the other end; the container's own setting does not say whether there is one now.
    let terminal = arguments.tty || arguments.file.is_some() && raw.process.terminal().unwrap_or(false);
    raw.process.set_terminal(terminal);
    Ok(raw)
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
        bail!(validate::process::EMPTY_NAME);
    }
    if let Some(cwd) = arguments.cwd {
        process.cwd = cwd.to_path_buf();
    }
    for entry in arguments.env {
        set_variable(entry, &mut process.env)?;
    }
    process.uid = arguments.uid.unwrap_or(process.uid);
    process.gid = arguments.gid.unwrap_or(process.gid);
    process.no_new_privileges |= arguments.no_new_privs;
    Ok(())
}

/// The capabilities of `--cap`, one bit each.
fn named_capabilities(names: &[String]) -> Result<u64> {
    let mut bits = 0;
    for name in names {
        bits |= capabilities::bit(name).ok_or_else(|| {
            let hint = match capabilities::meant(name) {
                Some(meant) => format!("write its full name: {meant}"),
                None => "capabilities are named as in capabilities(7): CAP_NET_RAW".into(),
            };
            with_hint(format!("--cap {name:?}: unknown capability"), hint)
        })?;
    }
    Ok(bits)
}

/// A variable replaces all others of the same name.
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
    CString::new(word.clone().into_vec()).map_err(|_| anyhow!("{what}: contains a NUL byte"))
}
