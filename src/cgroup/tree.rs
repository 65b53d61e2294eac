//! The container's leaf in the cgroup tree: where it is, how it is created, and its device program. See cgroups(7) and the
//! kernel's cgroup-v2 document.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;

use super::directory::{descendants, is_frozen, open_directory, open_if_there, populated};
use super::removal::{leave_to_other, remove_parents};
use super::{controllers, devices, mount, owner};
use crate::error::{At, Cleanup, Context, Error, Hint, Result, Step, anyhow, bail, with_cleanup, with_hint};
use crate::log;
use crate::plan::{Cgroup, DeviceRule, Optional};
use crate::state::Container;
use crate::state::record::CgroupState;
use crate::sys::{SysError, Syscall, bpf, fs, process};

/// A cgroup directory made for a container.
#[derive(Debug)]
pub struct Leaf {
    pub place: CgroupState,
    fd: OwnedFd,
}

/// Where the container's leaf will be. Nothing is created yet. `None` if the container gets no cgroup, or if none is possible and
/// none is needed. `created` is the container's creation time.
pub fn place(plan: &Cgroup, container: &Container, created: &str) -> Result<Option<CgroupState>> {
    if plan.none {
        return Ok(None);
    }
    let place = || -> Result<CgroupState> {
        let mount = mount::mount_point().map_err(|error| not_possible(error, plan, "mount it, or "))?;
        let path = leaf_path(&mount, plan.path.as_deref(), &container.id)?;
        // No one else creates a cgroup named after the container, so there is no need to look.
        let existed = plan.path.is_some() && path.exists();
        let parents = if plan.path.is_some() && !existed {
            missing_above(&path)
        } else {
            Vec::new()
        };
        Ok(CgroupState {
            path,
            existed,
            owner: owner::mark_of(container, created),
            inode: 0,
            unit: None,
            parents,
        })
    };
    unless_optional(place(), plan)
}

/// Runs the container without a cgroup if none is possible and none was asked for.
fn unless_optional<T>(result: Result<T>, plan: &Cgroup) -> Result<Option<T>> {
    match result {
        Ok(some) => Ok(Some(some)),
        Err(error) if is_optional(plan) => {
            log::debug(|| format!("no cgroup for this container: {error:#}"));
            Ok(None)
        }
        Err(error) => Err(error.context(Step::Cgroup)),
    }
}

/// Whether the container may run without a cgroup if this runtime cannot create one.
fn is_optional(plan: &Cgroup) -> bool {
    match plan.optional {
        Optional::Never => false,
        Optional::WithoutRoot => !process::is_root_of_host(),
        Optional::Always => true,
    }
}

/// The missing parents of a leaf, innermost first.
fn missing_above(leaf: &Path) -> Vec<PathBuf> {
    let above = leaf.ancestors().skip(1);
    above.take_while(|above| !above.exists()).map(PathBuf::from).collect()
}

/// The error where no cgroup can be created at all, for example inside a Docker container. Its hint says how to run without
/// one.
fn not_possible(error: Error, plan: &Cgroup, or: &str) -> Error {
    let asked = match (&plan.path, plan.limits.settings.is_empty()) {
        (None, true) => "",
        (Some(_), true) => "leave linux.cgroupsPath out and ",
        (None, false) => "leave the limits in linux.resources out and ",
        (Some(_), false) => "leave linux.cgroupsPath and the limits in linux.resources out and ",
    };
    let cure = format!(
        "{or}{asked}run the container without a separate cgroup (--cgroup-manager disabled or --rootless=true); if orlop itself \
         runs in a container, start that with a writable cgroup tree (Docker: --privileged)"
    );
    error.context(Hint {
        message: "cannot create a cgroup".into(),
        hint: cure,
    })
}

/// Takes over a leaf that systemd has made for this container.
pub fn adopt(place: CgroupState, plan: &Cgroup) -> Result<Leaf> {
    let fd = open_directory(&place.path)?;
    claim(fd, place, plan)
}

/// Marks the leaf as this container's.
fn claim(fd: OwnedFd, mut place: CgroupState, plan: &Cgroup) -> Result<Leaf> {
    // Everything that can fail comes before the mark. Once marked, the leaf is ours, and no one else removes it.
    let inode = fs::fstat(fd.as_fd())?.st_ino;
    match owner::claim(fd.as_fd(), &place.owner) {
        Err(error) if error.errno == Errno::EEXIST => {
            let owner = owner::of(fd.as_fd())?.unwrap_or_default();
            return Err(of_another(&place.path, owner::directory_of(&owner), plan));
        }
        other => other?,
    }
    place.inode = inode;
    // By now all parents that we created are marked.
    place.parents.clear();
    Ok(Leaf { place, fd })
}

/// Creates the leaf. `None` if that is not permitted and not needed. Sets `place.existed` even on failure.
pub fn create(place: &mut CgroupState, plan: &Cgroup) -> Result<Option<Leaf>> {
    unless_optional(make(place, plan), plan)
}

/// The directory of a container's leaf. An absolute `cgroupsPath` starts at the mount. A relative one (or, without one, the id)
/// is a sibling of the caller's cgroup: below that cgroup, which holds processes, nothing could be limited.
fn leaf_path(mount: &Path, wanted: Option<&Path>, id: &str) -> Result<PathBuf> {
    let wanted = wanted.unwrap_or(Path::new(id));
    if wanted.components().any(|part| matches!(part, Component::ParentDir)) {
        return Err(anyhow!("{wanted:?} must not contain \"..\"")).context(At::new("linux.cgroupsPath"));
    }
    let relative: PathBuf = wanted
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect();
    if relative.as_os_str().is_empty() {
        return Err(anyhow!("{wanted:?} names the root of the tree")).context(At::new("linux.cgroupsPath"));
    }
    if wanted.is_absolute() {
        return Ok(mount.join(relative));
    }
    let own = mount::place_of("self")?;
    let above = own.parent().unwrap_or(Path::new(""));
    Ok(mount.join(above).join(relative))
}

/// Why the leaf of a container with this ID could not be created, as far as that can be told in advance. Nothing is changed.
pub fn foretell(plan: &Cgroup, id: &str) -> Result<()> {
    if plan.none || plan.scope.is_some() || is_optional(plan) {
        return Ok(());
    }
    let foretell = || -> Result<()> {
        let mount = mount::mount_point().map_err(|error| not_possible(error, plan, "mount it, or "))?;
        let leaf = leaf_path(&mount, plan.path.as_deref(), id)?;
        if plan.path.is_some() && leaf.exists() && populated(&leaf)? {
            return Err(not_empty(plan, &leaf));
        }
        let mut above = leaf.ancestors().skip(1);
        let parent = above.find(|above| above.exists()).unwrap_or(&mount);
        if let Err(error) = fs::access(parent, libc::W_OK | libc::X_OK) {
            let call = SysError::new(Syscall::Mkdirat.of(&*leaf), error.errno);
            return Err(match error.errno {
                Errno::EROFS => not_possible(call.into(), plan, ""),
                _ => call.into(),
            });
        }
        controllers::foretell(&leaf, &plan.limits.settings)
    };
    foretell().context(Step::Cgroup)
}

fn make(place: &mut CgroupState, plan: &Cgroup) -> Result<Leaf> {
    place.existed = make_directories(&place.path).map_err(|error| {
        let error = match error.downcast_ref::<SysError>() {
            Some(call) if call.errno == Errno::EROFS => not_possible(error, plan, ""),
            _ => error,
        };
        with_cleanup(error, remove_parents(place).map_err(Error::from))
    })?;
    let before = place.clone();
    let (path, existed) = (&before.path, before.existed);
    let mut take = || -> Result<Leaf> {
        if place.existed {
            make_free(place, plan)?;
        }
        let fd = open_directory(&place.path)?;
        // In a frozen cgroup that the config chose, init could stop before its first step, and we would wait for ever.
        if (existed || plan.path.is_some()) && is_frozen(&place.path)? {
            return Err(in_use(
                plan,
                format!("container's cgroup unexpectedly frozen: {:?}", place.path),
                ANOTHER,
            ));
        }
        claim(fd, place.clone(), plan)
    };
    take().map_err(|error| {
        let mut cleanup = Cleanup::default();
        if !existed {
            cleanup.step(leave_to_other(path).map_err(Error::from));
        }
        cleanup.step(remove_parents(&before).map_err(Error::from));
        with_cleanup(error, cleanup.end())
    })
}

/// Creates a leaf and its missing parents. Returns whether the leaf existed before.
fn make_directories(path: &Path) -> Result<bool> {
    // Deleting another container may remove a shared parent between two of our calls, so try several times.
    for _ in 0..16 {
        match fs::mkdirat(fs::CWD, path, 0o755) {
            Ok(()) => return Ok(false),
            Err(error) if error.errno == Errno::EEXIST => return Ok(true),
            Err(error) if error.errno == Errno::ENOENT => {}
            Err(error) => return Err(error.into()),
        }
        for parent in missing_above(path).into_iter().rev() {
            match fs::mkdirat(fs::CWD, &parent, 0o755) {
                Ok(()) => {
                    if let Some(fd) = open_if_there(&parent)? {
                        owner::set_made(fd.as_fd())?;
                    }
                    controllers::hand_down(&parent);
                }
                Err(error) if !matches!(error.errno, Errno::EEXIST | Errno::ENOENT) => return Err(error.into()),
                Err(_) => {}
            }
        }
    }
    bail!("another process keeps removing the parents of the cgroup {path:?}")
}

/// Checks that an existing cgroup is empty and belongs to no other container: the container must not share it with unrelated
/// processes. What a container left behind that no longer exists is created anew, because its rules may still be attached.
fn make_free(place: &mut CgroupState, plan: &Cgroup) -> Result<()> {
    let path = &place.path;
    if populated(path)? {
        return Err(not_empty(plan, path));
    }
    let fd = open_directory(path)?;
    let Some(owner) = owner::of(fd.as_fd())? else {
        return Ok(());
    };
    let directory = owner::directory_of(&owner);
    if directory != owner::directory_of(&place.owner) && directory.exists() {
        return Err(of_another(path, directory, plan));
    }
    log::debug(|| format!("cgroup {path:?} is left over from a deleted container: {owner:?}"));
    for below in descendants(path)?.iter().rev() {
        fs::unlinkat(fs::CWD, below, true)?;
    }
    place.existed = make_directories(path)?;
    Ok(())
}

fn not_empty(plan: &Cgroup, path: &Path) -> Error {
    in_use(
        plan,
        format!("container's cgroup is not empty: {path:?} has processes in it"),
        "choose another linux.cgroupsPath, or end the processes listed in its cgroup.procs",
    )
}

const ANOTHER: &str = "choose another linux.cgroupsPath";

fn of_another(path: &Path, directory: &Path, plan: &Cgroup) -> Error {
    in_use(
        plan,
        format!("cgroup {path:?} belongs to another container, whose state is in {directory:?}"),
        "choose another linux.cgroupsPath, or delete that container first",
    )
}

fn in_use(plan: &Cgroup, message: String, cure: &str) -> Error {
    let at = match &plan.path {
        Some(path) => At::object("linux.cgroupsPath", path.display()),
        None => At::new("linux.cgroupsPath"),
    };
    with_hint(message, cure).context(at)
}

/// Attaches the device program. It may be missing if the runtime does not have the privileges of the host's root: the
/// container cannot create device nodes then either.
pub fn restrict_devices(leaf: &Leaf, plan: &Cgroup) -> Result<()> {
    let attach = || -> Result<()> {
        let program = bpf::load_cgroup_device(&devices::compile(&plan.devices))?;
        Ok(bpf::attach_cgroup_device(leaf.fd(), program.as_fd())?)
    };
    match attach() {
        Err(error) if !process::is_root_of_host() => {
            log::debug(|| format!("no device rules for this container: {error:#}"));
            Ok(())
        }
        other => other.context(Step::Devices),
    }
}

/// Replaces the container's own device program; programs that others have attached stay.
pub fn replace_devices(leaf: BorrowedFd, rules: &[DeviceRule]) -> Result<()> {
    let program = bpf::load_cgroup_device(&devices::compile(rules))?;
    match bpf::attached_cgroup_devices(leaf)?.first() {
        Some(old) => bpf::replace_cgroup_device(leaf, program.as_fd(), old.as_fd())?,
        None => bpf::attach_cgroup_device(leaf, program.as_fd())?,
    }
    Ok(())
}

impl Leaf {
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
