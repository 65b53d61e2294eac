//! The cgroup: whether it is there, its limits, what it uses, and the device rules.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use serde_json::{Value, json};

use super::entry::{Entry, Section, Verdict};
use super::limits::is_in_force;
use super::subject::{Subject, text};
use crate::cgroup::usage::{Cpu, number};
use crate::cgroup::{devices, directory, mount};
use crate::error::{Result, anyhow};
use crate::plan::limits::{Limit, Setting};
use crate::plan::{DeviceKind, DeviceRule};
use crate::status;
use crate::sys::{bpf, process};

pub fn sections(subject: &Subject) -> Vec<Section> {
    let Some(cgroup) = &subject.state.cgroup else {
        let entries = vec![Entry::found("path", Value::Null)];
        return vec![Section::new("cgroup", "Cgroup", entries)];
    };
    let leaf = directory::own_directory(cgroup);
    let path = json!(cgroup.path.to_string_lossy());
    let mut entries = match &leaf {
        Ok(Some(_)) => vec![Entry::compared("path", path.clone(), path)],
        Ok(None) => vec![Entry::new("path", path, Value::Null, Verdict::Missing)],
        Err(error) => vec![Entry::unknown("path", path, error.to_string())],
    };
    if let Some(unit) = &cgroup.unit {
        entries.push(Entry::found("systemd unit", unit.name.as_str()));
    }
    let Ok(Some(leaf)) = leaf else {
        return vec![Section::new("cgroup", "Cgroup", entries)];
    };
    entries.push(match status::is_frozen(&subject.state) {
        Ok(frozen) => Entry::found("frozen", frozen),
        Err(error) => Entry::unknown("frozen", Value::Null, text(&error)),
    });
    entries.extend(place_of_init(subject, &cgroup.path));
    let (limits, rules) = match &subject.resources {
        Ok((settings, rules)) => (limits(leaf_fd(&leaf), settings), rules_in_force(&leaf, rules)),
        Err(reason) => {
            let unknown = |name: &str| vec![Entry::unknown(name, Value::Null, reason.as_str())];
            (unknown("all"), unknown("rules"))
        }
    };
    vec![
        Section::new("cgroup", "Cgroup", entries),
        Section::new("limits", "Limits", limits),
        Section::new("usage", "Usage", usage(leaf_fd(&leaf))),
        Section::new("devices", "Device rules", rules),
    ]
}

fn leaf_fd(leaf: &OwnedFd) -> BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(leaf)
}

/// Init must be in the container's cgroup, or below it, where it may have moved.
fn place_of_init(subject: &Subject, leaf: &Path) -> Option<Entry> {
    const NAME: &str = "init is in";
    let pid = subject.pid()?;
    let place = || -> Result<std::path::PathBuf> { Ok(mount::mount_point()?.join(mount::place_of(&pid.to_string())?)) };
    let asked = json!(leaf.to_string_lossy());
    Some(match place() {
        Ok(place) => Entry::new(
            NAME,
            asked,
            json!(place.to_string_lossy()),
            Verdict::of(place.starts_with(leaf)),
        ),
        Err(error) => Entry::unknown(NAME, asked, text(&error)),
    })
}

/// Every limit that was asked for. Of several on the same thing the last one counts.
fn limits(leaf: BorrowedFd, settings: &[Setting]) -> Vec<Entry> {
    let key = |limit: &Limit| (limit.known().file().into_owned(), device_of(limit.known()));
    let idle = settings
        .iter()
        .any(|setting| *setting.limit.known() == Limit::CpuIdle(true));
    let counts = |position: usize, setting: &Setting| {
        let mut later = settings.iter().skip(position + 1);
        !later.any(|later| key(&later.limit) == key(&setting.limit))
    };
    let settings = settings
        .iter()
        .enumerate()
        .filter(|(position, setting)| counts(*position, setting));
    settings.map(|(_, setting)| limit(leaf, &setting.limit, idle)).collect()
}

/// The device that a limit is about, of those that are limited one by one.
fn device_of(limit: &Limit) -> Option<String> {
    match limit {
        Limit::BlockWeight { device, .. } | Limit::IoBfqWeight { device, .. } | Limit::IoWeight { device, .. } => {
            device.map(|device| device.to_string())
        }
        Limit::IoMax { device, .. } => Some(device.to_string()),
        Limit::RdmaMax { device, .. } => Some(device.clone()),
        _ => None,
    }
}

fn limit(leaf: BorrowedFd, limit: &Limit, idle: bool) -> Entry {
    let fallback = limit.fallback();
    for limit in std::iter::once(limit).chain(&fallback) {
        let Ok(content) = directory::read(leaf, &limit.file()) else {
            continue;
        };
        let (found, asked) = (content.trim_end().replace('\n', "; "), limit.text());
        // The kernel shows no weight for a cgroup that is idle.
        let verdict = match (limit.known(), is_in_force(limit.known(), &content)) {
            (Limit::CpuWeight(_), _) if idle => Verdict::NotAsked,
            (_, Some(equal)) => Verdict::of(equal),
            (_, None) => Verdict::Unknown("the format of this file is not known".into()),
        };
        return Entry::new(limit.file(), asked, found, verdict);
    }
    let name = limit.file().into_owned();
    match limit.is_optional() {
        true => Entry::new(name, limit.text(), "no such file, so no limit", Verdict::Equal),
        false => Entry::new(name, limit.text(), Value::Null, Verdict::Missing),
    }
}

fn usage(leaf: BorrowedFd) -> Vec<Entry> {
    let read = |file: &str| directory::read(leaf, file).ok();
    let entry = |name: &str, found: Option<u64>| match found {
        Some(found) => Entry::found(name, found),
        None => Entry::unknown(name, Value::Null, "the controller is not enabled"),
    };
    vec![
        entry("memory (bytes)", number(&read, "memory.current")),
        entry("threads", number(&read, "pids.current")),
        entry("cpu time (microseconds)", Cpu::read(&read).map(|cpu| cpu.usage)),
    ]
}

/// The rules that were asked for, and the program that is attached. The kernel does not give the program back, but it has a tag,
/// a hash of the instructions: the one that the rules lead to must have the same.
fn rules_in_force(leaf: &OwnedFd, rules: &[DeviceRule]) -> Vec<Entry> {
    const NAME: &str = "rules";
    let asked: Value = rules.iter().map(|rule| json!(rule_text(rule))).collect();
    let attached = match bpf::attached_cgroup_devices(leaf_fd(leaf)) {
        Ok(attached) => attached,
        Err(error) => return vec![Entry::unknown(NAME, asked, error.to_string())],
    };
    let Some(program) = attached.first() else {
        return vec![match process::is_root_of_host() {
            true => Entry::new(NAME, asked, Value::Null, Verdict::Missing),
            // Not an error of `create` either: without the privilege no program can be attached.
            false => Entry::unknown(NAME, asked, "no program is attached; that requires root"),
        }];
    };
    let expected = || bpf::load_cgroup_device(&devices::compile(rules));
    let same = || -> Result<bool> { Ok(fdinfo(&expected()?, "prog_tag:")? == fdinfo(program, "prog_tag:")?) };
    let id = fdinfo(program, "prog_id:").unwrap_or_default();
    vec![
        match same() {
            Ok(true) => Entry::new(NAME, asked.clone(), asked, Verdict::Equal),
            Ok(false) => Entry::new(NAME, asked, "the program of other rules", Verdict::Differs),
            Err(error) => Entry::unknown(NAME, asked, text(&error)),
        },
        Entry::found("program", format!("id {id}")),
    ]
}

/// A line of a descriptor's fdinfo.
fn fdinfo(fd: &OwnedFd, key: &str) -> Result<String> {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let text = std::fs::read_to_string(&path)?;
    let value = text.lines().find_map(|line| line.strip_prefix(key));
    value
        .map(|value| value.trim().to_string())
        .ok_or_else(|| anyhow!("{path} has no {key}"))
}

/// A rule as devices.list of cgroup version 1 shows it.
fn rule_text(rule: &DeviceRule) -> String {
    let kind = match rule.kind {
        DeviceKind::All => "a",
        DeviceKind::Block => "b",
        DeviceKind::Character => "c",
    };
    let number = |number: Option<u32>| number.map_or("*".to_string(), |number| number.to_string());
    let access = [(devices::READ, 'r'), (devices::WRITE, 'w'), (devices::MKNOD, 'm')];
    let access: String = access
        .iter()
        .filter(|(bit, _)| rule.access & bit != 0)
        .map(|(_, letter)| letter)
        .collect();
    let verb = if rule.allow { "allow" } else { "deny" };
    format!("{verb}:{kind}:{}:{}:{access}", number(rule.major), number(rule.minor))
}
