//! `seccomp`: explains a profile, without running anything.

use std::fmt::Write as _;
use std::path::Path;

use oci_spec::runtime::LinuxSeccomp;
use serde_json::Value;

use super::answer;
use crate::bundle::text::read_as;
use crate::bundle::{load, validate};
use crate::cli::{Explain, Seccomp, SeccompVerb};
use crate::error::{Context, Result, anyhow, bail, with_hint};
use crate::plan::seccomp::{Decision, Table};
use crate::security::seccomp::arch::{Arch, Call};
use crate::security::seccomp::compile;
use crate::security::seccomp::decide;
use crate::security::seccomp::profile::{self, Profile};
use crate::security::seccomp::text;

pub fn run(arguments: &Seccomp) -> Result<u8> {
    match &arguments.verb {
        SeccompVerb::Explain(arguments) => explain(arguments).context("seccomp explain"),
        SeccompVerb::Dump(arguments) => dump(&arguments.profile).context("seccomp dump"),
    }
}

fn explain(arguments: &Explain) -> Result<u8> {
    let profile = read(&arguments.profile)?;
    let tables = decide::tables(&profile, Arch::NATIVE);
    let architectures = match &arguments.arch {
        Some(name) => vec![Arch::by_name(name).ok_or_else(|| {
            let names: Vec<&str> = Arch::all().map(Arch::name).collect();
            with_hint(
                format!("--arch {name:?}: unknown architecture"),
                format!("expected one of {}", names.join(", ")),
            )
        })?],
        None => profile.architectures.clone(),
    };
    let mut words = [0u64; 6];
    for (index, word) in arguments.arguments.iter().enumerate() {
        let place = words
            .get_mut(index)
            .ok_or_else(|| anyhow!("a system call has at most six arguments"))?;
        *place = number(word).ok_or_else(|| {
            with_hint(
                format!("argument {index}: expected a number, found {word:?}"),
                "write a decimal, hexadecimal (0x10) or negative number",
            )
        })?;
    }
    let words = (!arguments.arguments.is_empty()).then_some(words);
    let mut out = String::new();
    for arch in architectures {
        let Some(number) = number_of(arch, &arguments.syscall)? else {
            let _ = writeln!(out, "{}: no system call {}", arch.name(), arguments.syscall);
            continue;
        };
        let name = arch.call(number).map_or("?", Call::name);
        let meaning = meaning(&profile, &tables, arch, number, words.as_ref());
        let _ = writeln!(out, "{}: {name} ({number}): {meaning}", arch.name());
    }
    answer(&out)
}

/// The number of a system call on one architecture.
fn number_of(arch: Arch, text: &str) -> Result<Option<u32>> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let number = number(text).and_then(|number| u32::try_from(number).ok());
        return number
            .map(Some)
            .ok_or_else(|| anyhow!("{text:?} is not a system call number"));
    }
    match Call::by_name(text) {
        Some(call) => Ok(arch.number(call)),
        None => Err(with_hint(
            format!("unknown system call {text:?}"),
            "give the name that the kernel uses, not the C library, or a number",
        )),
    }
}

/// A decimal, hexadecimal or negative number; the latter is converted as in C.
fn number(text: &str) -> Option<u64> {
    match (text.strip_prefix("0x"), text.strip_prefix('-')) {
        (Some(digits), _) => u64::from_str_radix(digits, 16).ok(),
        (_, Some(digits)) => digits.parse::<u64>().ok().map(u64::wrapping_neg),
        _ => text.parse().ok(),
    }
}

fn meaning(profile: &Profile, tables: &[Table], arch: Arch, number: u32, words: Option<&[u64; 6]>) -> String {
    let say = |(action, reason)| format!("{}: {}", text::action(action), text::reason(reason));
    let audit = arch.audit();
    match (decide::find(tables, audit, number), words) {
        (Some(Decision::First { clauses, .. }), None) => {
            let mut out = String::from("depends on its arguments");
            for clause in clauses {
                let conditions: Vec<String> = clause.conditions.iter().map(text::condition).collect();
                let _ = write!(
                    out,
                    "\n    {} if {}: syscalls[{}]",
                    text::action(clause.action),
                    conditions.join(" and "),
                    clause.rule
                );
            }
            let _ = write!(
                out,
                "\n    {} otherwise: the default action",
                text::action(profile.default)
            );
            out
        }
        (_, words) => {
            let words = words.copied().unwrap_or_default();
            say(decide::evaluate(tables, profile.default, audit, number, &words))
        }
    }
}

fn dump(path: &Path) -> Result<u8> {
    let profile = read(path)?;
    let program = compile::compile(&profile, Arch::NATIVE)?;
    answer(&text::program(&program, Arch::NATIVE))
}

/// Reads a profile from a bundle, from a config.json, or from a file of its own.
fn read(path: &Path) -> Result<Profile> {
    let file = if path.is_dir() {
        path.join("config.json")
    } else {
        path.to_path_buf()
    };
    let at = || file.display().to_string();
    let bytes = std::fs::read(&file)
        .map_err(|error| crate::sys::SysError::from_io(crate::sys::Syscall::Open.of(&*file), &error))?;
    let document: Value = read_as(&bytes).with_context(at)?;
    if document.get("ociVersion").is_some() || document.get("linux").is_some() {
        let linux = load::processes_of_config(&bytes).with_context(at)?.linux;
        let Some(seccomp) = linux.and_then(|linux| linux.seccomp) else {
            bail!("{}: linux.seccomp is missing", at());
        };
        return profile::read(&seccomp, Arch::NATIVE, validate::seccomp::PLACE).with_context(at);
    }
    let rules = document.get("syscalls").and_then(Value::as_array);
    let is_template = document.get("archMap").is_some()
        || rules.is_some_and(|rules| {
            rules
                .iter()
                .any(|rule| rule.get("includes").is_some() || rule.get("excludes").is_some())
        });
    if is_template {
        return Err(with_hint(
            "this is the template of an engine; its rules depend on the capabilities of the container",
            "use the config.json that the engine generates for a container",
        ))
        .with_context(at);
    }
    let seccomp: LinuxSeccomp = read_as(&bytes).with_context(at)?;
    profile::read(&seccomp, Arch::NATIVE, "").with_context(at)
}
