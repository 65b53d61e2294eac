//! `check`: everything that is wrong, missing, ignored or risky about a bundle, without running or changing anything.
//!
//! It reads and validates with the functions of `create`, `exec --process` and `update --resources`, and asks the host the
//! questions that the kernel will answer later. Where something would fail, the finding is the error of the code that would
//! fail.

pub mod findings;
pub mod host;
pub mod kernel;
mod program;
pub mod risk;
pub mod risks;
mod view;

use std::os::fd::AsFd;
use std::path::Path;

use super::answer;
use super::new_container::cgroups;
use super::update;
use crate::bundle::checks::Source;
use crate::bundle::document::LinuxOfProcess;
use crate::bundle::load::{self, ReadProcess};
use crate::bundle::questions;
use crate::bundle::raw::{Config, ProcessFile, RawProcess};
use crate::bundle::validate::{self, RuntimeOptions};
use crate::cli::{Check, Global, TextFormat};
use crate::error::{Context, Error, Result};
use crate::exit_code::{FAILURE, SUCCESS};
use crate::host::Facts;
use crate::plan::OCI_VERSION;
use crate::sys::fs;
use findings::{Findings, Level};

/// The file name of standard input in messages.
const STDIN: &str = "<stdin>";

/// A name for what is named after a container's ID.
const ID: &str = "check";

pub fn run(arguments: &Check, global: &Global) -> Result<u8> {
    let checked = if let Some(file) = &arguments.process {
        text(file, "--process").and_then(|(text, name)| of_process(text, name))
    } else if let Some(file) = &arguments.resources {
        text(file, "--resources").and_then(|(text, name)| of_resources(&text, &name))
    } else {
        config(arguments).and_then(|config| of_config(config, global))
    };
    let findings = match checked {
        Ok(findings) => findings,
        Err(error) => Findings::of_error(&error).ok_or(error).context("check")?,
    };
    answer(&match arguments.format {
        TextFormat::Text => findings.text(),
        TextFormat::Json => findings.json(),
    })?;
    let fails = findings.count(Level::Error) > 0 || arguments.strict && findings.count(Level::Warning) > 0;
    Ok(if fails { FAILURE } else { SUCCESS })
}

/// The text of a file, or of standard input if it is `-`, and its name in messages.
fn text(file: &Path, option: &str) -> Result<(Vec<u8>, String)> {
    if file == Path::new("-") {
        return Ok((
            fs::read_all(std::io::stdin().as_fd(), load::MAXIMUM as usize)?,
            STDIN.into(),
        ));
    }
    let text = load::text_of_file(file).with_context(|| format!("{option} {file:?}"))?;
    Ok((text, file.display().to_string()))
}

fn config(arguments: &Check) -> Result<Config> {
    let target = arguments.target.as_deref();
    let is_stdin = target == Some(Path::new("-"));
    let named = arguments.bundle.as_deref().or(target.filter(|_| !is_stdin));
    let bundle = named.unwrap_or(Path::new("."));
    if is_stdin {
        let (text, name) = text(Path::new("-"), "")?;
        return load::parse(load::absolute(bundle)?, text, Some(name));
    }
    load::config(bundle, arguments.config.as_deref())
}

fn of_config(config: Config, global: &Global) -> Result<Findings> {
    let options = RuntimeOptions {
        cgroup: cgroups(global, ID),
        ..RuntimeOptions::default()
    };
    let facts = Facts::gather(questions::of_container(&config, &options))?;
    let checked = validate::check(config, &options, facts);
    let mut findings = Findings::default();
    host::check(&checked, ID, &mut findings);
    program::check(&checked, &mut findings);
    risks::of_container(&checked, &mut findings);
    findings.of_checks(checked.checks);
    if let Some(source) = validate::source(&checked.text, checked.file.as_deref()) {
        findings.locate(&source);
    }
    Ok(findings)
}

/// As `exec --process` would check it, without a container whose config has more to say.
fn of_process(text: Vec<u8>, name: String) -> Result<Findings> {
    let ReadProcess {
        process,
        file,
        faults,
        warnings,
    } = load::process_of_text(ProcessFile { name, text })?;
    let mut raw = RawProcess {
        process,
        linux: LinuxOfProcess::default(),
        annotations: None,
        added_capabilities: 0,
        added_groups: Vec::new(),
        file: None,
        faults,
        warnings,
    };
    let facts = Facts::gather(questions::of_process(&raw, false))?;
    let (process, checks) = validate::check_joining(&mut raw, &RuntimeOptions::default(), &facts, false);
    let mut findings = Findings::default();
    if let Some(process) = &process {
        risks::of_process(process, false, &mut findings);
    }
    findings.of_checks(checks);
    findings.locate(&file.source());
    Ok(findings)
}

/// As `update --resources` would check it, for a container that has no limits yet.
fn of_resources(text: &[u8], name: &str) -> Result<Findings> {
    let mut findings = Findings::default();
    let document = update::read_document(text);
    let limits = document.value.as_ref().map(|asked| update::check(asked, OCI_VERSION));
    findings.mistakes(document.mistakes);
    findings.ignored(document.warnings, &document.unknown);
    let errors: Vec<Error> = [document.sections, limits.unwrap_or(Ok(()))]
        .into_iter()
        .filter_map(Result::err)
        .collect();
    for error in &errors {
        findings.error(findings::Code::Specification, error);
    }
    for found in &mut findings.list {
        // The limits are named as in config.json; the other findings as in the file.
        if let Some(path) = found
            .finding
            .path
            .as_deref()
            .and_then(|path| path.strip_prefix("linux.resources."))
        {
            found.finding.path = Some(path.into());
        }
    }
    findings.locate(&Source {
        text,
        file: Some(name),
        within: "",
    });
    Ok(findings)
}
