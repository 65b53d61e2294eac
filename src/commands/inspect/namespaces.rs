//! The namespaces of init, whom it shares them with, and what is set in them.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::entry::{Entry, Section, Verdict};
use super::subject::{Subject, proc, text};
use crate::error::Result;
use crate::launch::exec;
use crate::launch::kernel_parameters;
use crate::plan::{IdMapping, Plan};
use crate::process_facts;
use crate::state::identity;
use crate::sys::descriptor;
use crate::sys::process::{NAMESPACES, NamespaceKind};

pub fn sections(subject: &Subject) -> Vec<Section> {
    let (Some(pid), Some(plan)) = (subject.pid(), &subject.plan) else {
        let entries = match subject.pid() {
            Some(pid) => namespaces(subject, pid),
            None => Vec::new(),
        };
        return vec![Section::new("namespaces", "Namespaces", entries)];
    };
    let (names, parameters) = parameters(subject, plan);
    let mut entries = namespaces(subject, pid);
    entries.extend(names);
    entries.extend(clocks(plan, pid));
    vec![
        Section::new("namespaces", "Namespaces", entries),
        Section::new("idMaps", "ID maps (container, host, size)", id_maps(plan, pid)),
        Section::new("sysctls", "Kernel parameters", parameters),
    ]
}

/// The init processes of the other containers of the state directory: (ID, PID).
fn neighbours(subject: &Subject) -> Vec<(String, i32)> {
    let ids = subject.store.ids().unwrap_or_default();
    let others = ids.into_iter().filter(|id| *id != subject.container.id);
    let init = |id: String| {
        let state = subject.store.find(&id).ok()??.read().ok()??;
        let alive = state.pid > 0 && identity::open_if_alive(&state.init()).ok()?.is_some();
        alive.then_some((id, state.pid))
    };
    others.filter_map(init).collect()
}

fn namespaces(subject: &Subject, pid: i32) -> Vec<Entry> {
    let neighbours = neighbours(subject);
    let inode = |process: &str, kind: &NamespaceKind| process_facts::namespace(process, kind);
    let entry = |kind: &NamespaceKind| -> Option<Entry> {
        let asked = asked(subject.plan.as_ref(), kind);
        let found = match inode(&pid.to_string(), kind) {
            Ok(None) => return None,
            Ok(Some(found)) => found,
            Err(error) => return Some(Entry::unknown(kind.name, asked, text(&error))),
        };
        let callers = inode("self", kind).ok().flatten() == Some(found);
        let sharing = neighbours
            .iter()
            .filter(|(_, pid)| inode(&pid.to_string(), kind).ok().flatten() == Some(found));
        let sharing: Vec<&str> = sharing.map(|(id, _)| id.as_str()).collect();
        let verdict = verdict(subject.plan.as_ref(), kind, found, callers);
        let found = json!({ "inode": found, "callers": callers, "containers": sharing });
        Some(Entry::new(kind.name, asked, found, verdict))
    };
    NAMESPACES.iter().filter_map(entry).collect()
}

/// `new`, the path of the one to join, or `shared` with the caller of `create`.
fn asked(plan: Option<&Plan>, kind: &NamespaceKind) -> Value {
    let Some(plan) = plan else { return Value::Null };
    match plan.namespaces.joins(kind.flag as i32) {
        Some(joined) => json!(joined.path.to_string_lossy()),
        None if plan.namespaces.makes(kind.flag as i32) => json!("new"),
        None => json!("shared"),
    }
}

fn verdict(plan: Option<&Plan>, kind: &NamespaceKind, found: u64, callers: bool) -> Verdict {
    let Some(plan) = plan else { return Verdict::NotAsked };
    match plan.namespaces.joins(kind.flag as i32) {
        Some(joined) => match inode_at(&joined.path) {
            Some(inode) => Verdict::of(inode == found),
            None => Verdict::Unknown("the path to join no longer leads to a namespace".into()),
        },
        None if plan.namespaces.makes(kind.flag as i32) => Verdict::of(!callers),
        None if callers => Verdict::Equal,
        None => Verdict::Unknown("the namespaces of the caller of `create` are not recorded".into()),
    }
}

fn inode_at(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
}

/// The offsets of a new time namespace.
fn clocks(plan: &Plan, pid: i32) -> Vec<Entry> {
    if plan.time_offsets.is_empty() {
        return Vec::new();
    }
    let found = process_facts::line(pid, "timens_offsets");
    let entry = |clock: &str, seconds: i64, nanoseconds: u32| {
        let name = format!("clock {clock}");
        let asked = format!("{seconds} {nanoseconds}");
        let found = match &found {
            Ok(found) => found,
            Err(error) => return Entry::unknown(name, asked, error.to_string()),
        };
        let words = |line: &str| line.split_ascii_whitespace().map(str::to_string).collect::<Vec<_>>();
        let line = found
            .lines()
            .map(words)
            .find(|words| words.first().is_some_and(|word| word == clock));
        let found = line.map(|words| words.get(1..).unwrap_or_default().join(" "));
        Entry::compared(name, asked, found)
    };
    let offsets = plan.time_offsets.iter();
    offsets
        .map(|offset| entry(&offset.clock, offset.seconds, offset.nanoseconds))
        .collect()
}

fn id_maps(plan: &Plan, pid: i32) -> Vec<Entry> {
    let entry = |name: &str, file: &str, asked: Option<&Vec<IdMapping>>| {
        let asked = asked.map_or(Value::Null, |list| {
            let line = |one: &IdMapping| json!(format!("{},{},{}", one.container, one.host, one.size));
            list.iter().map(line).collect()
        });
        match std::fs::read_to_string(proc(pid, file)) {
            Ok(text) => {
                let line = |line: &str| json!(line.split_ascii_whitespace().collect::<Vec<_>>().join(","));
                let found: Value = text.lines().map(line).collect();
                Entry::compared(name, asked, found)
            }
            Err(error) => Entry::unknown(name, asked, error.to_string()),
        }
    };
    let maps = plan.id_maps.as_ref();
    vec![
        entry("users", "uid_map", maps.map(|maps| &maps.uid)),
        entry("groups", "gid_map", maps.map(|maps| &maps.gid)),
    ]
}

/// The names of the UTS namespace, and the kernel parameters.
fn parameters(subject: &Subject, plan: &Plan) -> (Vec<Entry>, Vec<Entry>) {
    let names = [("hostname", &plan.hostname), ("domainname", &plan.domainname)];
    let asked = names
        .iter()
        .map(|(name, asked)| (*name, json!(asked), Path::new("kernel").join(name)));
    let parameters = plan.sysctls.iter();
    let parameters = parameters.map(|one| (one.key.as_str(), json!(one.value), one.file.clone()));
    let asked: Vec<(&str, Value, PathBuf)> = asked.chain(parameters).collect();
    let files: Vec<PathBuf> = asked.iter().map(|(_, _, file)| file.clone()).collect();
    let found = match read(subject, &files) {
        Ok(found) => found,
        Err(error) => files.iter().map(|_| Err(text(&error))).collect(),
    };
    let entry = |((name, asked, _), found): ((&str, Value, PathBuf), Result<String, String>)| match found {
        Ok(found) => {
            let verdict = match asked.as_str() {
                Some(asked) => Verdict::of(asked.split_ascii_whitespace().eq(found.split_ascii_whitespace())),
                None => Verdict::NotAsked,
            };
            Entry::new(name, asked, found, verdict)
        }
        Err(reason) => Entry::unknown(name, asked, reason),
    };
    let mut entries: Vec<Entry> = asked.into_iter().zip(found).map(entry).collect();
    let parameters = entries.split_off(names.len().min(entries.len()));
    (entries, parameters)
}

fn read(subject: &Subject, files: &[PathBuf]) -> Result<Vec<Result<String, String>>> {
    let Some(init) = &subject.init else {
        return Ok(Vec::new());
    };
    let target = exec::join_target(
        subject.state.pid,
        descriptor::copy(init.as_raw_fd())?,
        subject.state.chroot,
    )?;
    kernel_parameters::read(init, target.namespaces, files)
}
