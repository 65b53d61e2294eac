//! The container's leaf in the cgroup tree: found, made, filled with rules, emptied, removed. See cgroups(7) and the
//! kernel's cgroup-v2 document.

use std::ffi::{CStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{apply, devices};
use crate::bundle::plan::Cgroup;
use crate::error::{At, Context, Error, Result, Step, anyhow, bail, hinted};
use crate::log;
use crate::state::Container;
use crate::state::store::CgroupState;
use crate::sys::{SysError, SysResult, attributes, bpf, fs, process};

/// A cgroup directory made for a container.
#[derive(Debug)]
pub struct Leaf {
    pub place: CgroupState,
    fd: OwnedFd,
}

/// The attribute that says whose a leaf is: the moment of the container's creation and its state directory. The first
/// can be set by nobody inside a container; the second is for callers without privilege.
const MARKS: [&CStr; 2] = [c"trusted.orlop.owner", c"user.orlop.owner"];

/// Where the container's leaf shall be, and which of its parents do not exist yet. Nothing is made. `None` where there
/// can be no cgroup, and none is needed. `created` is the container's moment of creation.
pub fn place(plan: &Cgroup, container: &Container, created: &str) -> Result<Option<CgroupState>> {
    let place = || -> Result<CgroupState> {
        let mount = mount_point()?;
        let path = leaf_path(&mount, plan.path.as_deref(), &container.id)?;
        let mut made: Vec<PathBuf> = path
            .ancestors()
            .skip(1)
            .take_while(|above| *above != mount && !above.exists())
            .map(PathBuf::from)
            .collect();
        made.reverse();
        // By the name of the container nobody else makes one, and nothing needs to be asked.
        let existed = plan.path.is_some() && path.exists();
        Ok(CgroupState {
            path,
            made,
            existed,
            owner: mark_of(container, created),
            inode: 0,
            unit: None,
        })
    };
    match place() {
        Ok(place) => Ok(Some(place)),
        Err(error) if plan.optional && !process::is_root_of_host() => {
            log::debug(|| format!("no cgroup for this container: {error:#}"));
            Ok(None)
        }
        Err(error) => Err(error.context(Step("cgroup"))),
    }
}

/// What a container's leaf is marked with.
pub fn mark_of(container: &Container, created: &str) -> String {
    format!("{created} {}", container.path.display())
}

/// Takes a leaf that another has made for this container.
pub fn adopt(mut place: CgroupState, plan: &Cgroup) -> Result<Leaf> {
    let fd = fs::open(&place.path, libc::O_RDONLY | libc::O_DIRECTORY)?;
    mark(fd.as_fd(), &place, plan)?;
    place.inode = fs::fstat(fd.as_fd())?.st_ino;
    Ok(Leaf { place, fd })
}

/// Makes the leaf. `None` where that is not permitted and not needed.
pub fn create(place: CgroupState, plan: &Cgroup) -> Result<Option<Leaf>> {
    match make(place, plan) {
        Ok(leaf) => Ok(Some(leaf)),
        Err(error) if plan.optional && !process::is_root_of_host() => {
            log::debug(|| format!("no cgroup for this container: {error:#}"));
            Ok(None)
        }
        Err(error) => Err(error.context(Step("cgroup"))),
    }
}

/// Where cgroup2 is mounted. The usual places are asked first, because mountinfo can be long.
pub fn mount_point() -> Result<PathBuf> {
    for usual in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        if fs::statfs_type(Path::new(usual)).is_ok_and(|kind| kind == libc::CGROUP2_SUPER_MAGIC) {
            return Ok(usual.into());
        }
    }
    let mounts = std::fs::read("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    cgroup2_of(&mounts).ok_or_else(|| {
        hinted(
            "cgroup version 2 is not mounted",
            "mount it: `mount -t cgroup2 none /sys/fs/cgroup`; orlop does not use version 1",
        )
    })
}

/// The mount point of cgroup2 in the text of a mountinfo file (proc_pid_mountinfo(5)), whose fields have blanks, line
/// breaks and backslashes as `\040` and the like.
fn cgroup2_of(mountinfo: &[u8]) -> Option<PathBuf> {
    let field = mountinfo.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let point = fields.nth(4)?;
        fields.find(|field| *field == b"-")?;
        (fields.next()? == b"cgroup2").then_some(point)
    })?;
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        (path, rest) = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                path.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                (path, tail)
            }
            _ => {
                path.push(*first);
                (path, tail)
            }
        };
    }
    Some(PathBuf::from(OsString::from_vec(path)))
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

fn make(mut place: CgroupState, plan: &Cgroup) -> Result<Leaf> {
    let existed = make_directories(&place).inspect_err(|_| remove_parents(&place.made))?;
    place.existed = existed;
    let take = |place: &mut CgroupState| -> Result<OwnedFd> {
        if existed {
            make_free(place, plan)?;
        }
        let fd = fs::open(&place.path, libc::O_RDONLY | libc::O_DIRECTORY)?;
        // In one that the config chose init could stop before its first step, and be waited for for ever.
        if (existed || plan.path.is_some()) && is_frozen(&place.path) {
            return Err(in_use(
                plan,
                format!("container's cgroup unexpectedly frozen: {:?}", place.path),
                ANOTHER,
            ));
        }
        mark(fd.as_fd(), place, plan)?;
        place.inode = fs::fstat(fd.as_fd())?.st_ino;
        Ok(fd)
    };
    match take(&mut place) {
        Ok(fd) => Ok(Leaf { place, fd }),
        Err(error) => {
            // Ours, unless another creator has marked it meanwhile.
            let unmarked = || -> SysResult<bool> {
                let fd = fs::open(&place.path, libc::O_RDONLY | libc::O_DIRECTORY)?;
                Ok(owner(fd.as_fd())?.is_none_or(|owner| owner == place.owner))
            };
            if !existed && unmarked().unwrap_or(false) {
                let _ = fs::unlinkat(fs::CWD, &place.path, true);
            }
            remove_parents(&place.made);
            Err(error)
        }
    }
}

/// Makes the leaf and the parents that it needs; whether the leaf was there before.
fn make_directories(place: &CgroupState) -> Result<bool> {
    // Another container's end may take a shared parent away between two of our calls, hence more than one try.
    for _ in 0..16 {
        for parent in &place.made {
            match fs::mkdirat(fs::CWD, parent, 0o755) {
                Ok(()) => apply::hand_down(parent),
                Err(error) if !matches!(error.errno, Errno::EEXIST | Errno::ENOENT) => return Err(error.into()),
                Err(_) => {}
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
}

/// A cgroup that was there before must be empty and running and nobody's, or the container would share its fate with
/// strangers. What a container left that is not known any more is made anew, for its rules may still be on it.
fn make_free(place: &mut CgroupState, plan: &Cgroup) -> Result<()> {
    let path = &place.path.clone();
    if populated(path) {
        return Err(in_use(
            plan,
            format!("container's cgroup is not empty: {path:?} has processes in it"),
            "choose another linux.cgroupsPath, or end the processes listed in its cgroup.procs",
        ));
    }
    let fd = fs::open(path, libc::O_RDONLY | libc::O_DIRECTORY)?;
    let Some(owner) = owner(fd.as_fd())? else { return Ok(()) };
    let directory = directory_of(&owner);
    if directory != directory_of(&place.owner) && directory.exists() {
        return Err(of_another(path, directory, plan));
    }
    log::debug(|| format!("cgroup {path:?} is left from a container that is no more: {owner:?}"));
    for below in descendants(path).iter().rev() {
        fs::unlinkat(fs::CWD, below, true)?;
    }
    place.existed = make_directories(place)?;
    Ok(())
}

/// Marks the leaf as this container's. Of several that try at once one wins.
fn mark(fd: BorrowedFd, place: &CgroupState, plan: &Cgroup) -> Result<()> {
    let [trusted, user] = MARKS;
    let marked = match fs::add_attribute(fd, trusted, place.owner.as_bytes()) {
        Err(error) if error.errno == Errno::EPERM => fs::add_attribute(fd, user, place.owner.as_bytes()),
        other => other,
    };
    match marked {
        Err(error) if error.errno == Errno::EEXIST => {
            let owner = owner(fd)?.unwrap_or_default();
            Err(of_another(&place.path, directory_of(&owner), plan))
        }
        other => Ok(other?),
    }
}

/// What a leaf is marked with.
fn owner(fd: BorrowedFd) -> SysResult<Option<String>> {
    for name in MARKS {
        if let Some(value) = fs::attribute(fd, name)? {
            return Ok(Some(String::from_utf8_lossy(&value).into_owned()));
        }
    }
    Ok(None)
}

/// The state directory that a mark names.
fn directory_of(owner: &str) -> &Path {
    Path::new(owner.split_once(' ').map_or("", |(_, directory)| directory))
}

const ANOTHER: &str = "choose another linux.cgroupsPath";

fn of_another(path: &Path, directory: &Path, plan: &Cgroup) -> Error {
    in_use(
        plan,
        format!("cgroup {path:?} is another container's, whose state is in {directory:?}"),
        "choose another linux.cgroupsPath, or delete that container first",
    )
}

fn in_use(plan: &Cgroup, message: String, cure: &str) -> Error {
    let at = match &plan.path {
        Some(path) => At::object("linux.cgroupsPath", path.display()),
        None => At::new("linux.cgroupsPath"),
    };
    hinted(message, cure).context(at)
}

/// Whether the directory at the leaf's path is still the one that was made for the container: meanwhile that may have
/// been removed, and the path be another's.
fn is_own(cgroup: &CgroupState) -> SysResult<bool> {
    if cgroup.inode != 0 {
        return match fs::lstatat(fs::CWD, &cgroup.path) {
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENODEV) => Ok(false),
            other => Ok(other?.st_ino == cgroup.inode),
        };
    }
    // Its creator died before it had noted the number, perhaps even before it had marked what it made.
    let fd = match fs::open(&cgroup.path, libc::O_RDONLY | libc::O_DIRECTORY) {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENODEV) => return Ok(false),
        other => other?,
    };
    Ok(match owner(fd.as_fd())? {
        Some(owner) => owner == cgroup.owner,
        None => !cgroup.existed && !populated(&cgroup.path),
    })
}

/// The leaf of a container whose state is lost, looked for where its config puts it; none that is marked otherwise.
pub fn find(container: &Container, wanted: Option<&Path>) -> Result<Option<CgroupState>> {
    let path = leaf_path(&mount_point()?, wanted, &container.id)?;
    let fd = match fs::open(&path, libc::O_RDONLY | libc::O_DIRECTORY) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(None),
        other => other?,
    };
    let owner = owner(fd.as_fd())?.filter(|owner| directory_of(owner) == container.path);
    let inode = fs::fstat(fd.as_fd())?.st_ino;
    Ok(owner.map(|owner| CgroupState {
        path,
        made: Vec::new(),
        existed: false,
        owner,
        inode,
        unit: None,
    }))
}

/// The container's own directory; none if it has gone.
pub fn own_directory(cgroup: &CgroupState) -> SysResult<Option<OwnedFd>> {
    let fd = match fs::open(&cgroup.path, libc::O_RDONLY | libc::O_DIRECTORY) {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENODEV) => return Ok(None),
        other => other?,
    };
    let own = match cgroup.inode {
        0 => owner(fd.as_fd())?.as_ref() == Some(&cgroup.owner),
        inode => fs::fstat(fd.as_fd())?.st_ino == inode,
    };
    Ok(own.then_some(fd))
}

/// Attaches the device program. Without the power of the host's root over devices the container can make no nodes either, so there
/// the program may be missing.
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
        other => other.context(Step("devices")),
    }
}

/// Puts another device program in the place of the container's own; what others have attached stays.
pub fn replace_devices(leaf: BorrowedFd, rules: &[devices::Rule]) -> Result<()> {
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

/// Opens a container's cgroup, or one below it that exists already, for a process to be born in.
pub fn open(cgroup: &CgroupState, below: &Path) -> Result<OwnedFd> {
    let leaf = own_directory(cgroup)?
        .ok_or_else(|| SysError::new(format!("the container's cgroup {:?}", cgroup.path), Errno::ENOENT))?;
    if below.as_os_str().is_empty() {
        return Ok(leaf);
    }
    let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV;
    Ok(fs::openat2(
        leaf.as_fd(),
        below,
        libc::O_RDONLY | libc::O_DIRECTORY,
        0,
        resolve,
    )?)
}

/// Moves the calling process into a cgroup.
pub fn enter(directory: BorrowedFd) -> SysResult<()> {
    let file = fs::openat(directory, Path::new("cgroup.procs"), libc::O_WRONLY, 0)?;
    fs::write(file.as_fd(), b"0").map(drop)
}

/// Opens the cgroup that a process is in.
pub fn open_of(pid: i32) -> Result<OwnedFd> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).with_context(|| format!("/proc/{pid}/cgroup"))?;
    let path = text
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .unwrap_or_default();
    // The kernel's words for a cgroup outside our cgroup namespace, and for one that has been removed.
    if path.starts_with("..") || path.ends_with(" (deleted)") {
        bail!("init is in a cgroup that cannot be entered: /{path}");
    }
    Ok(fs::open(
        &mount_point()?.join(path),
        libc::O_RDONLY | libc::O_DIRECTORY,
    )?)
}

/// The limit of a cgroup in which the kernel has killed for lack of memory; none if it has not.
pub fn ran_out_of_memory(cgroup: &CgroupState) -> Option<String> {
    let read = |file: &str| std::fs::read_to_string(cgroup.path.join(file)).ok();
    let events = read("memory.events")?;
    let mut numbers = events.lines().filter_map(|line| line.strip_prefix("oom_kill "));
    if !numbers.any(|number| number.parse::<u64>().is_ok_and(|number| number > 0)) {
        return None;
    }
    Some(format!("memory.max = {}", read("memory.max")?.trim()))
}

/// Keeps a cgroup in which the kernel has killed for lack of memory until those who watch its memory.events must have heard.
///
/// The kernel tells watchers of a cgroup's file only every 10 ms (CGROUP_FILE_NOTIFY_MIN_INTV), and of what is pending
/// nothing once the cgroup is removed. An engine deletes a container as soon as it has ended, sooner than its own watcher
/// would have told it why.
pub fn let_watchers_hear(cgroup: &CgroupState) {
    if ran_out_of_memory(cgroup).is_some() {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The error about an init that was killed for lack of memory.
pub fn out_of_memory(cgroup: &CgroupState) -> Option<Error> {
    let limit = ran_out_of_memory(cgroup)?;
    let error = hinted(
        format!("init was killed by the kernel for lack of memory: {limit}"),
        "raise linux.resources.memory.limit, or unified memory.max: a container starts in about 100 KiB, and its program \
         needs more",
    );
    Some(error.context(At::new("linux.resources.memory.limit")))
}

/// Kills every process in a container's cgroup and below it (cgroup.kill, Linux 5.14).
pub fn kill_all(cgroup: &CgroupState) -> SysResult<()> {
    let Some(directory) = own_directory(cgroup)? else {
        return Ok(());
    };
    let file = match fs::openat(directory.as_fd(), Path::new("cgroup.kill"), libc::O_WRONLY, 0) {
        Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENODEV) => return Ok(()),
        other => other?,
    };
    match fs::write(file.as_fd(), b"1") {
        // Removed since it was opened; which of the two depends on how far the kernel has got.
        Err(error) if !matches!(error.errno, Errno::ENODEV | Errno::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// The pids of all processes in a container's cgroup and below it.
pub fn processes(cgroup: &CgroupState) -> Result<Vec<i32>> {
    let mut pids = Vec::new();
    if !is_own(cgroup)? {
        return Ok(pids);
    }
    for directory in descendants(&cgroup.path) {
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

/// Kills what is in a container's cgroup and below it, and waits for its end.
pub fn empty(cgroup: &CgroupState) -> Result<()> {
    if is_own(cgroup)? {
        kill_all(cgroup)?;
        wait_until_empty(cgroup, Instant::now() + Duration::from_secs(10))?;
    }
    Ok(())
}

/// Removes a container's leaf with all below it, and the parents that were made for it where nobody else uses them.
/// Processes still inside are killed. A leaf at the same path that is not the container's is left alone, and one that
/// was there before the container is emptied and given back.
pub fn remove(cgroup: &CgroupState) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    let mut pause = Duration::from_millis(1);
    while is_own(cgroup)? {
        if cgroup.existed {
            if give_back(cgroup)? {
                break;
            }
            if Instant::now() >= end {
                bail!("the cgroups below {:?} cannot be removed", cgroup.path);
            }
        } else {
            match fs::unlinkat(fs::CWD, &cgroup.path, true) {
                Ok(()) => break,
                Err(error) if error.errno == Errno::ENOENT => break,
                Err(error) if error.errno == Errno::EBUSY && Instant::now() < end => {}
                Err(error) => return Err(error.into()),
            }
        }
        kill_all(cgroup)?;
        let waited = wait_until_empty(cgroup, end)?;
        let mut removed = false;
        for directory in descendants(&cgroup.path).iter().skip(1).rev() {
            // What is still busy or already gone shows when the leaf itself is tried again.
            removed |= fs::unlinkat(fs::CWD, directory, true).is_ok();
        }
        if !waited && !removed {
            // Busy for a reason that no event tells the end of, such as a mount on a cgroup below.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
    remove_parents(&cgroup.made);
    Ok(())
}

/// Takes the container's rules and mark off a cgroup that somebody had made before: what a container did not create is
/// not its own to delete (runtime.md, "Delete"). False while there are processes or cgroups below.
fn give_back(cgroup: &CgroupState) -> Result<bool> {
    let Some(directory) = own_directory(cgroup)? else {
        return Ok(true);
    };
    if populated(&cgroup.path) || descendants(&cgroup.path).len() > 1 {
        return Ok(false);
    }
    // Where no program may be attached, none may be looked for.
    for program in bpf::attached_cgroup_devices(directory.as_fd()).unwrap_or_default() {
        bpf::detach_cgroup_device(directory.as_fd(), program.as_fd())?;
    }
    for name in MARKS {
        match attributes::remove_attribute(directory.as_fd(), name) {
            Err(error) if !matches!(error.errno, Errno::ENODATA | Errno::EPERM) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(true)
}

/// Sleeps in poll(2) until the kernel tells of a change in cgroup.events; nobody counts milliseconds here. Whether there
/// was anything to wait for.
fn wait_until_empty(cgroup: &CgroupState, end: Instant) -> Result<bool> {
    let path = &cgroup.path;
    let events = match fs::openat(fs::CWD, &path.join("cgroup.events"), libc::O_RDONLY, 0) {
        Err(error) if error.errno == Errno::ENOENT => return Ok(true),
        other => other?,
    };
    let mut waited = false;
    loop {
        // Reading takes note of the change counter; the wait then ends at the next change, also at one in between.
        let mut text = [0u8; 256];
        let length = match fs::pread(events.as_fd(), &mut text) {
            Err(error) if error.errno == Errno::ENODEV => return Ok(true),
            other => other?,
        };
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
        if !text.lines().any(|line| line == "populated 1") {
            return Ok(waited);
        }
        waited = true;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!(
                "processes in {path:?} do not end although they were killed: {:?}",
                processes(cgroup)?
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

#[cfg(test)]
mod tests {
    use super::cgroup2_of;

    #[test]
    fn the_mount_point_is_found_with_its_blanks() {
        let v1 = "35 25 0:30 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n";
        let table: [(&str, Option<&str>); 7] = [
            ("", None),
            (v1, None),
            (
                "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw",
                Some("/sys/fs/cgroup"),
            ),
            (
                "30 25 0:26 / /my\\040own\\011\\134tree rw - cgroup2 none rw",
                Some("/my own\t\\tree"),
            ),
            // No escape of the kernel's.
            ("30 25 0:26 / /a\\04 rw - cgroup2 none rw", Some("/a\\04")),
            ("30 25 0:26 / /a\\400 rw - cgroup2 none rw", Some("/a\\400")),
            ("30 25 0:26 / /cgroup2 rw - tmpfs cgroup2 rw", None),
        ];
        for (text, expected) in table {
            assert_eq!(cgroup2_of(text.as_bytes()), expected.map(Into::into), "{text}");
            let both = format!("{v1}{text}\n");
            assert_eq!(cgroup2_of(both.as_bytes()), expected.map(Into::into), "{both}");
        }
    }
}
