//! Threaded cgroups (the kernel's cgroup-v2 document, "Threads"): below a cgroup that has processes itself, only controllers
//! that can tell threads apart are to be had, and every cgroup there has to say that it takes threads.
//!
//! That is where a runtime is that runs in a container: its own cgroup has processes, is the top of what it sees, and is not
//! the top of the tree. A leaf there becomes threaded to get limits of processes or CPU time; one of memory it cannot have.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::resources::Setting;
use super::{apply, owner, tree};
use crate::error::{At, Context, Error, Result, cured, hinted};
use crate::sys::{SysResult, fs};

/// The controllers that divide between threads; all others are for whole processes.
const OF_THREADS: &[&str] = &["cpu", "cpuset", "pids", "perf_event"];

/// What cgroup.type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Domain,
    /// The processes belong here; their threads may be below.
    ThreadRoot,
    /// Below a thread root, and not threaded yet: it can hold nothing.
    Invalid,
    Threaded,
}

/// The kind of a cgroup; none for the top of the whole tree, to which none of this applies.
pub fn kind(directory: &Path) -> SysResult<Option<Kind>> {
    Ok(match apply::read_at(&directory.join("cgroup.type")) {
        Err(error) if error.errno == Errno::ENOENT => None,
        text => Some(match text?.trim() {
            "domain threaded" => Kind::ThreadRoot,
            "domain invalid" => Kind::Invalid,
            "threaded" => Kind::Threaded,
            _ => Kind::Domain,
        }),
    })
}

/// What has to become threaded for a leaf to take processes and to have its controllers.
#[derive(Debug, Default)]
pub struct Plan {
    /// The innermost cgroup that is or becomes a thread root, or is as good as one.
    root: Option<PathBuf>,
    turn: Vec<PathBuf>,
}

impl Plan {
    /// Refuses, before anything is changed, what cannot be. `above`: from the mount to the leaf's parent. `missing`: the
    /// controllers that are still to be enabled, and what for.
    pub fn new(leaf: &Path, above: &[PathBuf], missing: &[(&str, &Setting)]) -> Result<Self> {
        let mut plan = Plan::default();
        for directory in above {
            plan.add(directory, missing)?;
        }
        let Some(root) = &plan.root else { return Ok(plan) };
        if let Some((controller, setting)) = missing.iter().find(|(name, _)| !OF_THREADS.contains(name)) {
            return Err(for_processes_only(controller, root))
                .with_context(|| At::object(setting.at.clone(), &setting.file));
        }
        if kind(leaf)? != Some(Kind::Threaded) {
            plan.turn.push(leaf.into());
        }
        Ok(plan)
    }

    fn add(&mut self, directory: &Path, missing: &[(&str, &Setting)]) -> Result<()> {
        let kind = kind(directory)?;
        let below_root = self.root.is_some() || kind == Some(Kind::Invalid);
        if below_root && kind != Some(Kind::Threaded) {
            let fd = tree::open_directory(directory)?;
            if !owner::is_made(fd.as_fd())? {
                return Err(of_another(directory));
            }
            self.turn.push(directory.into());
        }
        // A domain with processes becomes a thread root as soon as it hands a controller down.
        let becomes_root = kind == Some(Kind::Domain)
            && !below_root
            && hands_down_more(directory, missing)?
            && holds_processes(directory)?;
        if below_root || becomes_root || matches!(kind, Some(Kind::ThreadRoot | Kind::Threaded)) {
            self.root.get_or_insert_with(|| directory.into());
        }
        Ok(())
    }

    /// Makes a cgroup threaded, if it has to be.
    pub fn turn(&self, directory: &Path) -> Result<()> {
        if !self.turn.iter().any(|turn| turn == directory) {
            return Ok(());
        }
        let file = fs::open(&directory.join("cgroup.type"), libc::O_WRONLY)?;
        fs::write(file.as_fd(), b"threaded").map(drop).map_err(|error| {
            cured(
                error,
                format!("making the cgroup {directory:?} threaded"),
                "it is in use, or a cgroup above it limits whole processes: choose another linux.cgroupsPath",
            )
        })
    }
}

/// Whether one of the controllers is not handed down by this cgroup yet.
fn hands_down_more(directory: &Path, missing: &[(&str, &Setting)]) -> SysResult<bool> {
    let text = apply::read_at(&directory.join("cgroup.subtree_control"))?;
    let enabled: Vec<&str> = text.split_ascii_whitespace().collect();
    Ok(missing.iter().any(|(controller, _)| !enabled.contains(controller)))
}

fn holds_processes(directory: &Path) -> SysResult<bool> {
    Ok(!apply::read_at(&directory.join("cgroup.procs"))?.is_empty())
}

fn for_processes_only(controller: &str, root: &Path) -> Error {
    hinted(
        format!(
            "the cgroup {root:?} has processes of its own, so the controller {controller:?}, which divides between whole \
             processes, cannot be had below it"
        ),
        format!(
            "leave this limit out, choose a linux.cgroupsPath that is not below that cgroup, or move all that is in \
             {}/cgroup.procs into a cgroup of its own; limits of {} can be had as it is",
            root.display(),
            OF_THREADS.join(", ")
        ),
    )
}

fn of_another(directory: &Path) -> Error {
    hinted(
        format!("the cgroup {directory:?} would have to be threaded, and was made by somebody else"),
        format!(
            "choose another linux.cgroupsPath, or make it threaded: echo threaded >{}/cgroup.type",
            directory.display()
        ),
    )
}
