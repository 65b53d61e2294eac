//! The container's leaf in the cgroup tree: found, made, filled with rules, emptied, removed. See cgroups(7) and the
//! kernel's cgroup-v2 document.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::devices;
use crate::bundle::plan::Cgroup;
use crate::error::{At, Context, Result, Step, anyhow, bail, hinted};
use crate::log;
use crate::state::store::CgroupState;
use crate::sys::{SysResult, bpf, fs};

/// A cgroup directory made for a container.
#[derive(Debug)]
pub struct Leaf {
    pub path: PathBuf,
    /// Parents that did not exist before, outermost first.
    made: Vec<PathBuf>,
    fd: OwnedFd,
}

/// Where the container's leaf shall be, and which of its parents do not exist yet. Nothing is made. `None` where there
/// can be no cgroup, and none is needed.
pub fn place(plan: &Cgroup, id: &str) -> Result<Option<CgroupState>> {
    let place = || -> Result<CgroupState> {
        let mount = mount_point()?;
        let path = leaf_path(&mount, plan.path.as_deref(), id)?;
        let mut made: Vec<PathBuf> = path
            .ancestors()
            .skip(1)
            .take_while(|above| *above != mount && !above.exists())
            .map(PathBuf::from)
            .collect();
        made.reverse();
        Ok(CgroupState { path, made })
    };
    match place() {
        Ok(place) => Ok(Some(place)),
        Err(error) if plan.optional => {
            log::debug(|| format!("no cgroup for this container: {error:#}"));
            Ok(None)
        }
        Err(error) => Err(error.context(Step("cgroup"))),
    }
}

/// Makes the leaf. `None` where that is not permitted and not needed.
pub fn create(place: CgroupState, plan: &Cgroup) -> Result<Option<Leaf>> {
    match make(place) {
        Ok(leaf) => Ok(Some(leaf)),
        Err(error) if plan.optional => {
            log::debug(|| format!("no cgroup for this container: {error:#}"));
            Ok(None)
        }
        Err(error) => Err(error.context(Step("cgroup"))),
    }
}

/// Where cgroup2 is mounted. The usual places are asked first, because mountinfo can be long.
fn mount_point() -> Result<PathBuf> {
    for usual in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        if fs::statfs_type(Path::new(usual)).is_ok_and(|kind| kind == libc::CGROUP2_SUPER_MAGIC) {
            return Ok(usual.into());
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    mounts
        .lines()
        .find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            after
                .starts_with("cgroup2 ")
                .then(|| before.split(' ').nth(4).map(PathBuf::from))?
        })
        .ok_or_else(|| {
            hinted(
                "cgroup version 2 is not mounted",
                "mount it: `mount -t cgroup2 none /sys/fs/cgroup`; orlop does not use version 1",
            )
        })
}

/// The directory of a container's leaf. An absolute `cgroupsPath` starts at the mount, a relative one (or, without
/// one, the id) beside the cgroup that the caller is in: below it nothing could be limited, since it holds processes.
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
    let own = std::fs::read_to_string("/proc/self/cgroup").context("/proc/self/cgroup")?;
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .unwrap_or_default()
        .to_string();
    if own.starts_with("..") {
        bail!("this process is in a cgroup outside its cgroup namespace: /{own}");
    }
    let above = Path::new(&own).parent().unwrap_or(Path::new(""));
    Ok(mount.join(above).join(relative))
}

fn make(place: CgroupState) -> Result<Leaf> {
    let attempt = || -> Result<bool> {
        // Another container's end may take a shared parent away between two of our calls, hence more than one try.
        for _ in 0..16 {
            for parent in &place.made {
                match fs::mkdirat(fs::CWD, parent, 0o755) {
                    Err(error) if !matches!(error.errno, Errno::EEXIST | Errno::ENOENT) => return Err(error.into()),
                    _ => {}
                }
            }
            match fs::mkdirat(fs::CWD, &place.path, 0o755) {
                Ok(()) => return Ok(false),
                Err(error) if error.errno == Errno::EEXIST => return Ok(true),
                Err(error) if error.errno == Errno::ENOENT => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("the cgroup's parents are removed again and again: {:?}", place.made)
    };
    let existed = attempt().inspect_err(|_| remove_parents(&place.made))?;
    if existed {
        fit(&place.path)?;
    }
    let fd = fs::open(&place.path, libc::O_RDONLY | libc::O_DIRECTORY)?;
    Ok(Leaf {
        path: place.path,
        made: place.made,
        fd,
    })
}

/// A cgroup that was there before must be empty and running, or the container would share its fate with strangers.
fn fit(path: &Path) -> Result<()> {
    if is_frozen(path) {
        return Err(hinted(
            format!("cgroup {path:?} exists and is frozen"),
            "choose another linux.cgroupsPath",
        ));
    }
    if populated(path) {
        return Err(hinted(
            format!("cgroup {path:?} exists and has processes in it"),
            "choose another linux.cgroupsPath, or end the processes listed in its cgroup.procs",
        ));
    }
    Ok(())
}

/// Attaches the device program. A container without privilege over devices cannot make nodes either, so there the
/// program may be missing.
pub fn restrict_devices(leaf: &Leaf, plan: &Cgroup) -> Result<()> {
    let attach = || -> Result<()> {
        let program = bpf::load_cgroup_device(&devices::compile(&plan.devices))?;
        Ok(bpf::attach_cgroup_device(leaf.fd(), program.as_fd())?)
    };
    match attach() {
        Err(error) if plan.devices_optional => {
            log::debug(|| format!("no device rules for this container: {error:#}"));
            Ok(())
        }
        other => other.context(Step("devices")),
    }
}

impl Leaf {
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub fn state(&self) -> CgroupState {
        CgroupState {
            path: self.path.clone(),
            made: self.made.clone(),
        }
    }
}

/// Whether a cgroup is frozen, by itself or from above (cgroup.events, `frozen 1`).
pub fn is_frozen(path: &Path) -> bool {
    event(path, "frozen")
}

/// Whether a cgroup or one below it holds a living process (cgroup.events, `populated 1`).
fn populated(path: &Path) -> bool {
    event(path, "populated")
}

fn event(path: &Path, name: &str) -> bool {
    std::fs::read_to_string(path.join("cgroup.events"))
        .is_ok_and(|events| events.lines().any(|line| line.strip_prefix(name) == Some(" 1")))
}

/// Kills every process in a cgroup and below it (cgroup.kill, Linux 5.14).
pub fn kill_all(path: &Path) -> SysResult<()> {
    let file = match fs::openat(fs::CWD, &path.join("cgroup.kill"), libc::O_WRONLY, 0) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(()),
        other => other?,
    };
    fs::write(file.as_fd(), b"1").map(drop)
}

/// The pids of all processes in a cgroup and below it.
pub fn processes(path: &Path) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    for directory in descendants(path) {
        if let Ok(text) = std::fs::read_to_string(directory.join("cgroup.procs")) {
            pids.extend(
                text.lines()
                    .filter_map(|line| line.parse::<i32>().ok())
                    .filter(|pid| *pid > 0),
            );
        }
    }
    Ok(pids)
}

/// A cgroup directory and all below it, the deepest last.
fn descendants(path: &Path) -> Vec<PathBuf> {
    let mut all = vec![path.to_path_buf()];
    let mut next = 0;
    while let Some(directory) = all.get(next).cloned() {
        next += 1;
        let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        all.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    all
}

/// Removes a container's leaf with all below it, and the parents that were made for it where nobody else uses them.
/// Processes still inside are killed.
pub fn remove(cgroup: &CgroupState) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match fs::unlinkat(fs::CWD, &cgroup.path, true) {
            Ok(()) => break,
            Err(error) if error.errno == Errno::ENOENT => break,
            Err(error) if error.errno == Errno::EBUSY && Instant::now() < end => {}
            Err(error) => return Err(error.into()),
        }
        kill_all(&cgroup.path)?;
        wait_until_empty(&cgroup.path, end)?;
        for directory in descendants(&cgroup.path).iter().skip(1).rev() {
            // What is still busy or already gone shows when the leaf itself is tried again.
            let _ = fs::unlinkat(fs::CWD, directory, true);
        }
    }
    remove_parents(&cgroup.made);
    Ok(())
}

/// Sleeps in poll(2) until the kernel tells of a change in cgroup.events; nobody counts milliseconds here.
fn wait_until_empty(path: &Path, end: Instant) -> Result<()> {
    let events = match fs::openat(fs::CWD, &path.join("cgroup.events"), libc::O_RDONLY, 0) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(()),
        other => other?,
    };
    loop {
        // Reading takes note of the change counter; the wait then ends at the next change, also at one in between.
        let mut text = [0u8; 256];
        let length = match fs::pread(events.as_fd(), &mut text) {
            Err(error) if error.errno == Errno::ENODEV => return Ok(()),
            other => other?,
        };
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
        if !text.lines().any(|line| line == "populated 1") {
            return Ok(());
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!(
                "processes in {path:?} do not end although they were killed: {:?}",
                processes(path)?
            );
        }
        fs::poll(&[(events.as_fd(), libc::POLLPRI)], left.as_millis() as i32)?;
    }
}

/// Removes empty parents, innermost first; one that is in use stays.
fn remove_parents(made: &[PathBuf]) {
    for parent in made.iter().rev() {
        if fs::unlinkat(fs::CWD, parent, true).is_err() {
            break;
        }
    }
}
