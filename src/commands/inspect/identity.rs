//! Which container it is, and when it reached each state.

use std::time::{Duration, SystemTime};

use oci_spec::runtime::Hook;
use serde_json::{Value, json};

use super::entry::{Entry, Section, Verdict};
use super::subject::Subject;
use crate::commands::list;
use crate::plan::HookPoint;
use crate::rfc3339;
use crate::state::container::STATE;
use crate::status::{Status, step};
use crate::sys::fs;

pub fn sections(subject: &Subject) -> Vec<Section> {
    vec![
        Section::new("identity", "Identity", identity(subject)),
        Section::new("hooks", "Hooks", hooks(subject)),
    ]
}

fn identity(subject: &Subject) -> Vec<Entry> {
    let state = &subject.state;
    let path = |path: &std::path::Path| match path.as_os_str().is_empty() {
        true => Value::Null,
        false => json!(path.to_string_lossy()),
    };
    let known = |number: i32| if number > 0 { json!(number) } else { Value::Null };
    let mut entries = vec![
        Entry::found("id", subject.container.id.as_str()),
        Entry::found("status", subject.status.name()),
        Entry::found("pid", subject.pid().map_or(Value::Null, known)),
        Entry::found("owner", owner(state.owner)),
        Entry::found("bundle", path(&state.bundle)),
        Entry::found("rootfs", path(&state.rootfs)),
        Entry::found("state directory", path(&subject.container.path)),
        Entry::found("creator", known(state.creator)),
    ];
    if let Some(step) = step(state, subject.status) {
        entries.push(Entry::found("step", step));
    }
    match state.created.as_str() {
        "" => entries.push(Entry::unknown("created", Value::Null, "no state was written")),
        created => entries.push(Entry::found("created", created)),
    }
    entries.push(started(subject));
    let annotations = state.annotations.iter();
    entries.extend(annotations.map(|(key, value)| Entry::asked(format!("annotation {key}"), value.as_str())));
    entries
}

fn owner(uid: u32) -> String {
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    list::owner(uid, &String::from_utf8_lossy(&passwd))
}

/// When the program was started. `start` removes the start socket, and with it changes the directory; the next change, by an
/// `update`, also replaces the state file. So the time of the directory is that of `start` if it is later than that of the file.
/// `run` has no such socket: it writes the state and starts the program at once.
fn started(subject: &Subject) -> Entry {
    const NAME: &str = "started";
    if matches!(subject.status, Status::Creating | Status::Created) || subject.state.pid == 0 {
        return Entry::found(NAME, Value::Null);
    }
    let directory = fs::fstat(subject.container.fd());
    let file = fs::lstatat(subject.container.fd(), std::path::Path::new(STATE));
    let (directory, file) = match (directory, file) {
        (Ok(directory), Ok(file)) => (directory, file),
        (Err(error), _) | (_, Err(error)) => return Entry::unknown(NAME, Value::Null, error.to_string()),
    };
    let changed = (directory.st_mtime, directory.st_mtime_nsec);
    if changed > (file.st_ctime, file.st_ctime_nsec) || subject.state.resources.is_none() {
        let time = Duration::new(changed.0.max(0) as u64, changed.1.clamp(0, 999_999_999) as u32);
        return Entry::found(NAME, rfc3339::format(SystemTime::UNIX_EPOCH + time));
    }
    Entry::unknown(NAME, Value::Null, "the state was written again since, by `update`")
}

fn hooks(subject: &Subject) -> Vec<Entry> {
    let Some(plan) = &subject.plan else { return Vec::new() };
    let entry = |(point, list): (HookPoint, &[Hook])| {
        let paths: Value = list.iter().map(|hook| json!(hook.path().to_string_lossy())).collect();
        Entry::new(point.name(), paths, Value::Null, Verdict::NotAsked)
    };
    let points = plan.hooks.all().into_iter();
    points.filter(|(_, list)| !list.is_empty()).map(entry).collect()
}
