//! Threaded cgroups (the kernel's cgroup-v2 document, "Threads"): a cgroup that has processes of its own can only enable the
//! controllers that support threads, and all cgroups below it then have to be threaded.
//!
//! A runtime inside a container is in this situation: its own cgroup has processes, and is the root of the visible tree but not
//! the root of the whole tree. A threaded leaf there can have limits on processes and CPU time, but not on memory.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{directory, owner, subtree_control};
use crate::error::{At, Context, Error, Result, call_with_hint, with_hint};
use crate::plan::limits::{Controller, Setting};
use crate::sys::{SysResult, fs};

/// The controllers that support threads.
const OF_THREADS: [Controller; 4] = [
    Controller::Cpu,
    Controller::Cpuset,
    Controller::Pids,
    Controller::PerfEvent,
];

/// A controller, and a setting that needs it.
pub type Wanted<'a> = (Controller<'a>, &'a Setting);

/// What cgroup.type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Domain,
    /// `domain threaded`: processes belong to it, and their threads may be in cgroups below.
    ThreadRoot,
    /// `domain invalid`: below a thread root but not threaded, so it can hold nothing.
    Invalid,
    Threaded,
}

/// The kind of a cgroup. None for the root of the whole tree, which has no cgroup.type and none of these restrictions.
pub fn kind(directory: &Path) -> SysResult<Option<Kind>> {
    Ok(match directory::read_at(&directory.join("cgroup.type")) {
        Err(error) if error.errno == Errno::ENOENT => None,
        text => Some(match text?.trim() {
            "domain threaded" => Kind::ThreadRoot,
            "domain invalid" => Kind::Invalid,
            "threaded" => Kind::Threaded,
            _ => Kind::Domain,
        }),
    })
}

/// The cgroups that have to be made threaded before a leaf can hold processes and have its controllers.
#[derive(Debug, Default)]
pub struct Conversion {
    /// The outermost cgroup on the way that is or becomes a thread root, or is below one.
    root: Option<PathBuf>,
    /// To be made threaded.
    turn: Vec<PathBuf>,
}

impl Conversion {
    /// Refuses impossible combinations before anything is changed. `above`: from the mount to the leaf's parent. `missing`: the
    /// controllers that are not enabled yet, each with a setting that needs it.
    pub fn new(leaf: &Path, above: &[PathBuf], missing: &[Wanted]) -> Result<Self> {
        let mut conversion = Conversion::default();
        for directory in above {
            conversion.add(directory, missing)?;
        }
        let Some(root) = &conversion.root else {
            return Ok(conversion);
        };
        if let Some((controller, setting)) = missing.iter().find(|(one, _)| !OF_THREADS.contains(one)) {
            return Err(for_processes_only(controller.name(), root))
                .with_context(|| At::object(setting.at.clone(), setting.limit.file()));
        }
        if kind(leaf)? != Some(Kind::Threaded) {
            conversion.turn.push(leaf.into());
        }
        Ok(conversion)
    }

    fn add(&mut self, directory: &Path, missing: &[Wanted]) -> Result<()> {
        let kind = kind(directory)?;
        let below_root = self.root.is_some() || kind == Some(Kind::Invalid);
        if below_root && kind != Some(Kind::Threaded) {
            let fd = directory::open_directory(directory)?;
            if !owner::is_made(fd.as_fd())? {
                return Err(of_another(directory));
            }
            self.turn.push(directory.into());
        }
        // A domain with processes becomes a thread root when a controller is enabled in it.
        let becomes_root = kind == Some(Kind::Domain)
            && !below_root
            && hands_down_more(directory, missing)?
            && holds_processes(directory)?;
        if below_root || becomes_root || matches!(kind, Some(Kind::ThreadRoot | Kind::Threaded)) {
            self.root.get_or_insert_with(|| directory.into());
        }
        Ok(())
    }

    /// Makes a cgroup threaded if it is one of these.
    pub fn convert(&self, directory: &Path) -> Result<()> {
        if !self.turn.iter().any(|turn| turn == directory) {
            return Ok(());
        }
        let file = fs::open(&directory.join("cgroup.type"), libc::O_WRONLY)?;
        fs::write(file.as_fd(), b"threaded").map(drop).map_err(|error| {
            call_with_hint(
                error,
                format!("making the cgroup {directory:?} threaded"),
                "it is in use, or a cgroup above it enables controllers that do not support threads: choose another linux.cgroupsPath",
            )
        })
    }
}

/// Whether one of the controllers is still to be enabled in this cgroup.
fn hands_down_more(directory: &Path, missing: &[Wanted]) -> SysResult<bool> {
    let enabled = subtree_control::enabled(directory)?;
    let is_enabled = |controller: &Controller| enabled.iter().any(|name| name == controller.name());
    Ok(missing.iter().any(|(controller, _)| !is_enabled(controller)))
}

fn holds_processes(directory: &Path) -> SysResult<bool> {
    Ok(!directory::read_at(&directory.join("cgroup.procs"))?.is_empty())
}

fn for_processes_only(controller: &str, root: &Path) -> Error {
    with_hint(
        format!(
            "the cgroup {root:?} has processes of its own, so the controller {controller:?}, which does not support threads, \
             is not available below it"
        ),
        format!(
            "remove this limit, choose a linux.cgroupsPath that is not below that cgroup, or move the processes listed in \
             {}/cgroup.procs to a child cgroup; {} are available as things are",
            root.display(),
            OF_THREADS.map(Controller::name).join(", ")
        ),
    )
}

fn of_another(directory: &Path) -> Error {
    with_hint(
        format!("the cgroup {directory:?} would have to be threaded, and it was not created by orlop"),
        format!(
            "choose another linux.cgroupsPath, or make it threaded: echo threaded >{}/cgroup.type",
            directory.display()
        ),
    )
}
