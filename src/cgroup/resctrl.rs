//! `linux.intelRdt`: classes of service in the kernel's resctrl file system, which allocate caches and memory bandwidth
//! (Documentation/filesystems/resctrl.rst; config-linux.md, "IntelRdt"). Run by the runtime.
//!
//! A class is a directory: its `schemata` file has its shares, its `tasks` file its processes. A class that the config names may be
//! shared, and stays. A class that orlop has created for one container is removed with it, as is its monitoring group.

use std::io::Write;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{At, Context, Error, Hint, Result, anyhow, call_with_hint, with_hint};
use crate::log;
use crate::mountinfo;
use crate::plan::IntelRdt;
use crate::state::record::ClassState;
use crate::sys::{Call, SysError, Syscall, fs};

/// Directories of the kernel beside those of the classes.
pub const RESERVED: &[&str] = &["info", "mon_groups", "mon_data"];

/// A class of service that is ready for the container.
#[derive(Debug)]
pub struct Class {
    directory: PathBuf,
    /// What state.json stores about it.
    pub state: ClassState,
    /// The directory was created for this container. (If creating the container fails it is removed, even if the config names it.)
    created: bool,
}

/// Where resctrl is mounted, by the text of a mountinfo file.
pub fn mount_point(text: &[u8]) -> Result<PathBuf> {
    mountinfo::point_of(text, "resctrl").ok_or_else(|| {
        with_hint(
            "no resctrl file system is mounted",
            "mount it: `mount -t resctrl resctrl /sys/fs/resctrl`; the processor must have Intel RDT, AMD QoS or MPAM",
        )
    })
}

/// The directories that must be removed with the container, once they are created.
pub fn place(plan: &IntelRdt, id: &str) -> ClassState {
    let directory = directory(plan, id);
    ClassState {
        joined: Some(directory.clone()),
        monitoring: plan.monitoring.then(|| directory.join("mon_groups").join(id)),
        directory: plan
            .clos
            .is_none()
            .then_some(directory)
            .filter(|directory| !directory.exists()),
    }
}

fn directory(plan: &IntelRdt, id: &str) -> PathBuf {
    match plan.clos.as_deref() {
        Some("/") => plan.mount.clone(),
        Some(name) => plan.mount.join(name),
        None => plan.mount.join(id),
    }
}

/// Creates the class and its monitoring group. If the class exists, checks that it has what the config wants.
pub fn create(plan: &IntelRdt, id: &str) -> Result<Class> {
    let directory = directory(plan, id);
    let mut class = Class {
        state: ClassState {
            joined: Some(directory.clone()),
            ..ClassState::default()
        },
        directory,
        created: false,
    };
    match fill(plan, id, &mut class) {
        Ok(()) => Ok(class),
        Err(error) => {
            let cleanup = take_back(&class);
            Err(crate::error::with_cleanup(error, cleanup))
        }
    }
}

fn fill(plan: &IntelRdt, id: &str, class: &mut Class) -> Result<()> {
    let mount = &plan.mount;
    let at = || At::object("linux.intelRdt.closID", class.directory.display());
    if plan.clos.is_none() && RESERVED.contains(&id) {
        return Err(with_hint(
            format!("a class of service is named after the container, but the name {id:?} is reserved by the kernel"),
            "set a closID, or choose another container id",
        ))
        .with_context(at);
    }
    if class.directory.is_dir() {
        compare(&class.directory, plan)?;
    } else if plan.clos.is_some() && plan.schemata.is_empty() {
        return Err(with_hint(
            "there is no such class of service, and the config has no schemata for it",
            "create it first, or set l3CacheSchema, memBwSchema or schemata",
        ))
        .with_context(at);
    } else {
        fs::mkdirat(fs::CWD, &class.directory, 0o755)
            .map_err(|error| no_space(error, mount))
            .with_context(at)?;
        class.created = true;
        if plan.clos.is_none() {
            class.state.directory = Some(class.directory.clone());
        }
        for (path, lines) in &plan.schemata {
            write(&class.directory.join("schemata"), &(lines.join("\n") + "\n"))
                .map_err(|error| with_status(error, mount))
                .with_context(|| At::new(path.clone()))?;
        }
    }
    if plan.monitoring {
        let group = class.directory.join("mon_groups").join(id);
        fs::mkdirat(fs::CWD, &group, 0o755)
            .map_err(|error| no_space(error, mount))
            .context(At::new("linux.intelRdt.enableMonitoring"))?;
        class.state.monitoring = Some(group);
    }
    Ok(())
}

/// Moves a process, and thereby its later children, into the class and then into the monitoring group, which only accepts
/// processes of the class.
pub fn assign(class: &ClassState, pid: i32) -> Result<()> {
    for directory in [&class.joined, &class.monitoring].into_iter().flatten() {
        write(&directory.join("tasks"), &pid.to_string()).with_context(|| At::new("linux.intelRdt"))?;
    }
    Ok(())
}

/// An update of the shares of a container's class. What has been written is restored on drop, unless kept.
pub struct SchemataUpdate {
    directory: PathBuf,
    lines: String,
    before: Vec<String>,
    written: bool,
}

impl SchemataUpdate {
    /// Reads the current shares. `lines`: one per resource.
    pub fn prepare(class: &ClassState, lines: &[&str]) -> Result<Self> {
        let directory = directory_of(class)?;
        let schemata = directory.join("schemata");
        let text = std::fs::read_to_string(&schemata)
            .map_err(|error| SysError::from_io(Syscall::Read.of(&schemata), &error))?;
        let resource = |line: &str| line.split(':').next().unwrap_or_default().trim().to_string();
        let changes = |line: &&str| lines.iter().any(|new| resource(new) == resource(line));
        Ok(SchemataUpdate {
            before: text.lines().filter(changes).map(str::to_string).collect(),
            directory,
            lines: lines.join("\n") + "\n",
            written: false,
        })
    }

    /// The lines that restore the shares.
    pub fn before(&self) -> &[String] {
        &self.before
    }

    pub fn write(&mut self) -> Result<()> {
        let directory = &self.directory;
        // The default class is the root of the file system.
        let above = directory.parent().filter(|_| !directory.join("info").is_dir());
        write(&directory.join("schemata"), &self.lines)
            .map_err(|error| with_status(error, above.unwrap_or(directory)))?;
        self.written = true;
        Ok(())
    }

    /// The update stands.
    pub fn keep(&mut self) {
        self.written = false;
    }
}

impl Drop for SchemataUpdate {
    fn drop(&mut self) {
        if self.written {
            restore(&self.directory, &self.before);
        }
    }
}

fn directory_of(class: &ClassState) -> Result<PathBuf> {
    let joined = class.joined.clone();
    joined.ok_or_else(|| anyhow!("the container's class is unknown"))
}

fn restore(directory: &Path, before: &[String]) {
    let schemata = directory.join("schemata");
    if !before.is_empty()
        && let Err(error) = write(&schemata, &(before.join("\n") + "\n"))
    {
        log::warning(&format!("{schemata:?} could not be restored: {error:#}"));
    }
}

/// Undoes an update that another process began.
pub fn undo(class: &ClassState, before: &[String]) -> Result<()> {
    if !before.is_empty() {
        restore(&directory_of(class)?, before);
    }
    Ok(())
}

/// Undoes [`create`] for a container whose creation failed.
pub fn take_back(class: &Class) -> Result<()> {
    let created = class.created.then(|| class.directory.clone());
    remove(&ClassState {
        joined: None,
        monitoring: class.state.monitoring.clone(),
        directory: created,
    })
}

/// Removes the directories of the container.
pub fn remove(state: &ClassState) -> Result<()> {
    // The group first: it lies inside the class.
    for directory in [&state.monitoring, &state.directory].into_iter().flatten() {
        match fs::unlinkat(fs::CWD, directory, true) {
            Err(error) if error.errno != Errno::ENOENT => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Writes everything in one call, as the kernel requires. The file exists, except in a directory that stands in for resctrl in
/// tests.
fn write(path: &Path, text: &str) -> Result<()> {
    let call = || Call::new(Syscall::Write, vec![path.into(), text.into()]);
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| SysError::from_io(call(), &error).into())
}

/// Adds the kernel's explanation, which it writes to a separate file.
fn with_status(error: Error, mount: &Path) -> Error {
    let said = std::fs::read_to_string(mount.join("info/last_cmd_status")).unwrap_or_default();
    match said.trim() {
        "" | "ok" => error,
        said => error.context(Hint {
            message: format!("the kernel says: {said}"),
            hint: "the info directory of the resctrl mount and the default class's schemata show what the hardware has"
                .into(),
        }),
    }
}

fn no_space(error: SysError, mount: &Path) -> Error {
    if error.errno != Errno::ENOSPC {
        return with_status(error.into(), mount);
    }
    call_with_hint(
        error,
        "there is no class of service or monitoring group left",
        "the hardware has only so many: num_closids and num_rmids below the info directory of the resctrl mount",
    )
}

/// Checks that an existing class has the shares in the config, if there are any.
fn compare(directory: &Path, plan: &IntelRdt) -> Result<()> {
    if plan.schemata.is_empty() {
        return Ok(());
    }
    let path = directory.join("schemata");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| SysError::from_io(Syscall::Read.of(&path), &error))
        .context(At::new("linux.intelRdt.closID"))?;
    let has: Vec<Line> = text.lines().filter_map(parse).collect();
    for (path, lines) in &plan.schemata {
        for line in lines {
            matches(line, &has)
                .with_context(|| format!("class of service {directory:?} exists already"))
                .with_context(|| At::new(path.clone()))?;
        }
    }
    Ok(())
}

/// A resource, and the share of each of its domains.
type Line<'a> = (&'a str, Vec<(&'a str, String)>);

/// `RESOURCE:ID=VALUE;ID=VALUE`. Blanks, leading zeros and the case of hexadecimal digits have no meaning.
fn parse(line: &str) -> Option<Line<'_>> {
    let (resource, values) = line.trim().split_once(':')?;
    let values = values.split(';').filter(|value| !value.trim().is_empty());
    let value = |text: &str| text.trim().trim_start_matches('0').to_ascii_lowercase();
    let values: Option<Vec<_>> = values
        .map(|pair| pair.split_once('=').map(|(domain, text)| (domain.trim(), value(text))))
        .collect();
    Some((resource.trim(), values?))
}

fn matches(line: &str, has: &[Line]) -> Result<()> {
    let (resource, values) = parse(line).ok_or_else(|| anyhow!("{line:?} is not RESOURCE:ID=VALUE;…"))?;
    let cure = "use another closID, or what it has: see its schemata file";
    let Some((_, present)) = has.iter().find(|(name, _)| *name == resource) else {
        return Err(with_hint(format!("it has no {resource}"), cure));
    };
    for (domain, value) in values {
        match present.iter().find(|(name, _)| *name == domain) {
            Some((_, other)) if *other == value => {}
            Some((_, other)) => {
                return Err(with_hint(
                    format!("its {resource} of {domain} is {}, not {}", shown(other), shown(&value)),
                    cure,
                ));
            }
            None => return Err(with_hint(format!("its {resource} has no domain {domain}"), cure)),
        }
    }
    Ok(())
}

/// The value 0 has no digits left without its leading zeros.
fn shown(value: &str) -> &str {
    if value.is_empty() { "0" } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_schemata_panic(line in "(L3|MB|:|;|=|[0-9a-fA-F]{0,5}| |é){0,20}", has in "(L3|MB|:|;|=|[0-9a-f]{0,5}|\n){0,40}") {
            let has: Vec<Line> = has.lines().filter_map(parse).collect();
            let _ = matches(&line, &has);
        }
    }
}
