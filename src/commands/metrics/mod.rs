//! `metrics`: what all containers use, in the text format of OpenMetrics.

mod families;
pub mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use text::{Document, Number, annotation_label, labels};

use super::answer;
use super::listed::{self, Listed};
use crate::cgroup::usage::Io;
use crate::cli::Metrics;
use crate::error::{Context, Result, anyhow, with_hint};
use crate::state::Store;
use crate::status::Status;
use crate::sys::process;

pub fn run(store: &Store, arguments: &Metrics) -> Result<u8> {
    let metrics = || -> Result<()> {
        let annotations = annotation_labels(&arguments.annotation)?;
        let listing = store.listing()?;
        let (containers, unread) = listed::containers(store, &listing, true);
        let text = document(&containers, &annotations);
        match &arguments.output {
            Some(file) => replace(file, &text).with_context(|| format!("--output {file:?}"))?,
            None => answer(&text).map(drop)?,
        }
        unread.end().context("some containers cannot be read")
    };
    metrics().context("metrics")?;
    Ok(crate::exit_code::SUCCESS)
}

/// The label of each annotation that is wanted, with its key.
fn annotation_labels(keys: &[String]) -> Result<BTreeMap<String, &str>> {
    let mut labels = BTreeMap::new();
    for key in keys {
        if let Some(other) = labels.insert(annotation_label(key), key.as_str())
            && other != key
        {
            return Err(with_hint(
                format!(
                    "--annotation: {other:?} and {key:?} would have the same label, {}",
                    annotation_label(key)
                ),
                "characters that a label cannot have become _: ask for one of the two",
            ));
        }
    }
    Ok(labels)
}

fn document(containers: &[Listed], annotations: &BTreeMap<String, &str>) -> String {
    let mut document = Document::default();
    document.begin(families::CONTAINERS);
    for status in Status::ALL {
        let number = containers.iter().filter(|container| container.status == status).count();
        document.sample(&labels([("status", status.name())]), Number::Count(number as u64));
    }
    document.begin(families::INFO);
    for container in containers {
        document.sample(&info(container, annotations), Number::Count(1));
    }
    let ids: Vec<String> = containers
        .iter()
        .map(|container| labels([("id", container.state.id.as_str())]))
        .collect();
    let all = || ids.iter().zip(containers);
    document.begin(families::START_TIME);
    let boot = boot_time();
    for (id, container) in all().filter(|(_, container)| container.pid != 0) {
        if let Some(boot) = boot {
            let ticks = container.state.start_time.saturating_mul(1_000_000);
            let since_boot = ticks / procfs::ticks_per_second().max(1);
            document.sample(id, Number::Microseconds(boot.saturating_add(since_boot)));
        }
    }
    for (family, value) in families::SINGLE {
        document.begin(*family);
        for (id, container) in all() {
            if let Some(number) = container.measured.as_deref().and_then(value) {
                document.sample(id, number);
            }
        }
    }
    by_device(&mut document, containers);
    document.end()
}

fn info(container: &Listed, annotations: &BTreeMap<String, &str>) -> String {
    let state = &container.state;
    let bundle = state.bundle.to_string_lossy();
    let cgroup = state.cgroup.as_ref().map(|cgroup| cgroup.path.to_string_lossy());
    let fixed = [
        ("id", state.id.as_str()),
        ("status", container.status.name()),
        ("bundle", &bundle),
        ("cgroup", cgroup.as_deref().unwrap_or_default()),
        ("created", &state.created),
    ];
    // A container without the annotation has no such label: an empty one means the same.
    let values = annotations
        .iter()
        .filter_map(|(label, key)| Some((label.as_str(), state.annotations.get(*key)?.as_str())));
    labels(fixed.into_iter().chain(values))
}

/// The values of each block device. The label names its node in /dev, as in cAdvisor.
fn by_device(document: &mut Document, containers: &[Listed]) {
    fn devices(container: &Listed) -> &[Io] {
        let measured = container.measured.as_ref();
        measured.and_then(|m| m.usage.io.as_deref()).unwrap_or_default()
    }
    let numbers: BTreeSet<(u64, u64)> = containers
        .iter()
        .flat_map(devices)
        .map(|io| (io.major, io.minor))
        .collect();
    let names: BTreeMap<(u64, u64), String> = numbers
        .into_iter()
        .map(|number| (number, device_name(number)))
        .collect();
    for (family, value) in families::BY_DEVICE {
        document.begin(*family);
        for container in containers {
            for io in devices(container) {
                let name = names.get(&(io.major, io.minor)).map(String::as_str).unwrap_or_default();
                if let Some(number) = value(io) {
                    let labels = labels([("id", container.state.id.as_str()), ("device", name)]);
                    document.sample(&labels, Number::Count(number));
                }
            }
        }
    }
}

/// The node of a block device in /dev, or its numbers if it has none.
fn device_name((major, minor): (u64, u64)) -> String {
    let event = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/uevent")).unwrap_or_default();
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map_or_else(|| format!("{major}:{minor}"), |name| format!("/dev/{name}"))
}

/// When the kernel was started, in microseconds since the Unix epoch (`btime` in proc_stat(5)).
fn boot_time() -> Option<u64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let seconds: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()?;
    seconds.checked_mul(1_000_000)
}

/// Replaces a file as a whole: a reader sees either the old or the new content. It is readable for everyone, because a
/// collector runs as another user. The name of the new file begins with a dot and does not end as that of the old one, so that a
/// collector of `*.prom` does not read it.
fn replace(file: &Path, text: &str) -> Result<()> {
    let name = file
        .file_name()
        .ok_or_else(|| anyhow!("the path does not end with a file name"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", process::pid()));
    let new = file.with_file_name(hidden);
    // Left over from a process that was killed.
    let _ = fs::remove_file(&new);
    let write = || -> std::io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&new)?
            .write_all(text.as_bytes())?;
        fs::rename(&new, file)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })?;
    Ok(())
}
