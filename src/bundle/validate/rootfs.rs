//! `root`, `mounts`, `linux.devices`, masks and propagation: what the container sees as its files.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime as oci;

use super::mounts;
use super::options::PlanContext;
use crate::bundle::document::Spec;
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::plan::{
    DevConsole, Device, IdMapping, IdMaps, Mount, MountKind, Namespaces, PropagationKind, RootMode, Rootfs,
};
use crate::security::lsm;
use crate::sys::{SysError, Syscall};

/// What the processes of a container in the caller's mount namespace will notice; see `rootfs::shared_mntns`.
const NO_MOUNT_NAMESPACE: &str = "without a mount namespace of its own the container's mounts are in none: nothing can be \
                                  mounted in it, set-user-ID programs and file capabilities have no effect, and mountinfo is \
                                  empty";

/// What an AppArmor profile for such a container must allow.
const DISCONNECTED: &str = "process.apparmorProfile: without a mount namespace of its own all paths are disconnected, and a \
                            profile without the flag attach_disconnected denies access to them";

pub fn plan(spec: &Spec, linux: &oci::Linux, around: &PlanContext, warnings: &mut Vec<String>) -> Result<Rootfs> {
    let names = "it names the container's root file system; a relative one starts at the bundle";
    let root = spec
        .root()
        .as_ref()
        .ok_or_else(|| with_hint("missing", "write \"root\": {\"path\": \"rootfs\"}"))
        .context(At::new("root"))?;
    let at = || At::object("root.path", root.path().display());
    if root.path().as_os_str().is_empty() {
        return Err(with_hint("missing or empty", names)).context(At::new("root.path"));
    }
    let wanted = around.bundle.join(root.path());
    let path = std::fs::canonicalize(&wanted)
        .map_err(|error| SysError::from_io(Syscall::Realpath.of(&*wanted), &error))
        .with_context(at)?;
    if !path.is_dir() {
        return Err(with_hint("not a directory", names)).with_context(at);
    }
    if path == Path::new("/") {
        return Err(with_hint(
            "the host's own root cannot be a container's",
            "make a directory with a root file system in it",
        ))
        .with_context(at);
    }
    let asked = propagation(linux.rootfs_propagation().as_deref())?;
    let readonly = root.readonly().unwrap_or(false);
    let root_mode = root_mode(spec, linux, readonly, around.namespaces)?;
    let (propagation, final_propagation) = match root_mode {
        // In the namespace for the while no mount of the host may be in reach of ours. All end up private.
        RootMode::Detached => propagation(None)?,
        _ => asked,
    };
    match root_mode {
        RootMode::Pivot => {}
        RootMode::Detached => {
            warnings.push(NO_MOUNT_NAMESPACE.into());
            let process = spec.process().as_ref();
            let profile = process.and_then(|process| process.apparmor_profile().as_deref());
            if !matches!(profile, None | Some("" | "unconfined")) {
                warnings.push(DISCONNECTED.into());
            }
        }
        RootMode::Chroot => warnings.push(
            "without an own mount namespace the container is held by chroot(2) alone, which a process with CAP_SYS_CHROOT \
             can leave"
                .into(),
        ),
    }
    let mut mounts = Vec::new();
    let mut mounted = mounts::Mounted::new(&path);
    for (index, entry) in spec.mounts().iter().flatten().enumerate() {
        let at = || At::object(format!("mounts[{index}]"), entry.destination().display());
        let planned = mounts::plan((index, entry), around, &mut mounted, warnings).with_context(at)?;
        if root_mode == RootMode::Detached {
            mounts::stays_private(&planned.options).with_context(at)?;
        }
        mounts.push(planned);
    }
    let dev = mounts
        .iter()
        .rfind(|m| m.destination == Path::new("/dev") && m.kind != MountKind::Remount);
    let fill_dev = match dev {
        Some(last) => !matches!(last.kind, MountKind::Bind { .. }),
        None => !is_hosts_dev(&path.join("dev")),
    };
    let is_shared = |dev: &Mount| {
        let mut words = dev.options.propagation.iter();
        words.any(|word| word.kind == PropagationKind::Shared)
    };
    let shared = dev.is_some_and(is_shared) || propagation & libc::MS_SHARED != 0;
    let console = match (fill_dev, shared) {
        (true, _) => DevConsole::Made,
        (false, false) => DevConsole::Covered,
        (false, true) => DevConsole::Left,
    };
    Ok(Rootfs {
        path,
        root_mode,
        readonly,
        propagation,
        final_propagation,
        devices: devices(linux, fill_dev, around.id_maps)?,
        fill_dev,
        console,
        masked: absolute_paths(linux.masked_paths().as_deref(), "linux.maskedPaths")?,
        readonly_paths: absolute_paths(linux.readonly_paths().as_deref(), "linux.readonlyPaths")?,
        no_pivot: around.options.no_pivot,
        label: label(linux.mount_label().as_deref())?,
        mounts,
    })
}

/// Whether a directory of the image is the host's own /dev, bound there by whoever made the bundle. A link does not count:
/// inside the container it names another.
fn is_hosts_dev(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |a: std::fs::Metadata, b: std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    match (std::fs::symlink_metadata(path), std::fs::symlink_metadata("/dev")) {
        (Ok(one), Ok(other)) => same(one, other),
        _ => false,
    }
}

/// Where the mounts of a config can be made, if it has any. Without an own mount namespace some are out of reach.
fn root_mode(spec: &Spec, linux: &oci::Linux, readonly: bool, namespaces: &Namespaces) -> Result<RootMode> {
    if namespaces.has(libc::CLONE_NEWNS) {
        return Ok(RootMode::Pivot);
    }
    let cure = "add {\"type\": \"mount\"} to linux.namespaces";
    if namespaces.has(libc::CLONE_NEWUSER) {
        return Err(with_hint(
            "needs an own mount namespace: from a user namespace there is no way back into the runtime's",
            cure,
        ))
        .context(At::new("linux.namespaces"));
    }
    let propagation = linux.rootfs_propagation().as_deref().unwrap_or_default();
    if !matches!(propagation, "" | "private" | "rprivate") {
        return Err(with_hint(
            "needs an own mount namespace: without one the container's mounts are in none, and nothing propagates",
            cure,
        ))
        .context(At::object("linux.rootfsPropagation", propagation));
    }
    let listed = |list: Option<&Vec<String>>| list.is_some_and(|list| !list.is_empty());
    let process = spec.process().as_ref();
    let wished = spec.mounts().as_ref().is_some_and(|list| !list.is_empty())
        || listed(linux.masked_paths().as_ref())
        || listed(linux.readonly_paths().as_ref())
        || readonly
        || !propagation.is_empty()
        // Its pty is bound on /dev/console.
        || process.is_some_and(|process| process.terminal() == Some(true));
    Ok(if wished { RootMode::Detached } else { RootMode::Chroot })
}

/// `linux.mountLabel`, which only SELinux understands.
fn label(value: Option<&str>) -> Result<Option<String>> {
    let Some(label) = value.filter(|label| !label.is_empty()) else {
        return Ok(None);
    };
    let at = || At::object("linux.mountLabel", label);
    lsm::require_selinux().with_context(at)?;
    if label.len() > 255 || label.contains('\0') {
        return Err(anyhow!(
            "not a label: the kernel takes up to 255 bytes, none of them NUL"
        ))
        .with_context(at);
    }
    Ok(Some(label.to_string()))
}

fn absolute_paths(list: Option<&[String]>, field: &str) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, path) in list.unwrap_or_default().iter().enumerate() {
        if !path.starts_with('/') {
            return Err(anyhow!("must be an absolute path")).context(At::object(format!("{field}[{index}]"), path));
        }
        let path = Path::new(path);
        if is_root(path) {
            return Err(with_hint(
                "the root itself cannot be covered",
                "root.readonly makes it read-only; name the directories that are meant",
            ))
            .context(At::object(format!("{field}[{index}]"), path.display()));
        }
        if seen.insert(path) {
            paths.push(path.into());
        }
    }
    Ok(paths)
}

/// Whether an absolute path names the root where no link lies on the way.
fn is_root(path: &Path) -> bool {
    let depth = path.components().fold(0usize, |depth, part| match part {
        Component::Normal(_) => depth + 1,
        Component::ParentDir => depth.saturating_sub(1),
        _ => depth,
    });
    depth == 0
}

/// `linux.rootfsPropagation`: what the runtime makes of the inherited mounts, and what the container's root ends as.
/// Unset, mounts of the host still arrive in the container but nothing goes back (`rslave`), as runtimes do.
fn propagation(value: Option<&str>) -> Result<(u64, Option<u64>)> {
    let (kind, recursive) = match value {
        None | Some("") => return Ok((libc::MS_SLAVE | libc::MS_REC, None)),
        Some("private") => (libc::MS_PRIVATE, 0),
        Some("rprivate") => (libc::MS_PRIVATE, libc::MS_REC),
        Some("slave") => (libc::MS_SLAVE, 0),
        Some("rslave") => (libc::MS_SLAVE, libc::MS_REC),
        Some("shared") => (libc::MS_SHARED, 0),
        Some("rshared") => (libc::MS_SHARED, libc::MS_REC),
        Some("unbindable") => (libc::MS_UNBINDABLE, 0),
        Some("runbindable") => (libc::MS_UNBINDABLE, libc::MS_REC),
        Some(other) => {
            return Err(with_hint(
                format!("unknown propagation {other:?}"),
                "one of private, slave, shared, unbindable, each also with r before it",
            ))
            .context(At::new("linux.rootfsPropagation"));
        }
    };
    // An unbindable mount cannot be the source of the root's own bind, so the host's become private.
    let inherited = if kind == libc::MS_UNBINDABLE {
        libc::MS_PRIVATE
    } else {
        kind
    };
    // The root is a copy of a mount that is private or a slave, and so is one itself. All mounts of the container would
    // lose what their own options say, were it told so once more.
    let last = matches!(kind, libc::MS_SHARED | libc::MS_UNBINDABLE).then_some(kind | recursive);
    Ok((inherited | recursive, last))
}

/// The devices that the spec wants in every container: null zero full random urandom tty (config-linux.md,
/// "Default Devices"; console and ptmx come with the terminal and devpts).
const DEFAULT_DEVICES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

fn devices(linux: &oci::Linux, fill_dev: bool, id_maps: Option<&IdMaps>) -> Result<Vec<Device>> {
    let mut devices = Vec::new();
    for (index, entry) in linux.devices().iter().flatten().enumerate() {
        let at = || At::object(format!("linux.devices[{index}]"), entry.path().display());
        let kind = match entry.typ() {
            oci::LinuxDeviceType::C | oci::LinuxDeviceType::U => libc::S_IFCHR,
            oci::LinuxDeviceType::B => libc::S_IFBLK,
            oci::LinuxDeviceType::P => libc::S_IFIFO,
            oci::LinuxDeviceType::A => return Err(anyhow!("type must be c, b, u or p")).with_context(at),
        };
        if !entry.path().is_absolute() {
            return Err(anyhow!("path must be absolute")).with_context(at);
        }
        if entry.path().file_name().is_none() {
            return Err(anyhow!("path must end in the name of the device")).with_context(at);
        }
        let number = |name: &str, n: i64, bits: u32| {
            u32::try_from(n)
                .ok()
                .filter(|n| *n < 1 << bits)
                .ok_or_else(|| anyhow!("{name} {n} is outside 0 to {}", (1 << bits) - 1))
                .with_context(at)
        };
        let number = if kind == libc::S_IFIFO {
            0
        } else {
            libc::makedev(number("major", entry.major(), 12)?, number("minor", entry.minor(), 20)?)
        };
        if let Some(maps) = id_maps {
            mapped(entry.uid(), &maps.uid, "uid").with_context(at)?;
            mapped(entry.gid(), &maps.gid, "gid").with_context(at)?;
        }
        devices.push(Device {
            index: Some(index),
            path: entry.path().clone(),
            expected: !fill_dev && mounts::normalize_dots(entry.path()).starts_with("/dev"),
            kind,
            number,
            mode: entry.file_mode().unwrap_or(0o666) & 0o7777,
            uid: entry.uid().unwrap_or(0),
            gid: entry.gid().unwrap_or(0),
        });
    }
    for (name, major, minor) in DEFAULT_DEVICES.iter().filter(|_| fill_dev) {
        let path = Path::new("/dev").join(name);
        if !devices.iter().any(|device| device.path == path) {
            devices.push(Device {
                index: None,
                path,
                kind: libc::S_IFCHR,
                number: libc::makedev(*major, *minor),
                mode: 0o666,
                uid: 0,
                gid: 0,
                expected: false,
            });
        }
    }
    Ok(devices)
}

/// The owner of a device is an id of the container's.
fn mapped(id: Option<u32>, maps: &[IdMapping], field: &str) -> Result<()> {
    let inside = |map: &IdMapping, id: u32| id.checked_sub(map.container).is_some_and(|offset| offset < map.size);
    match id {
        Some(id) if !maps.iter().any(|map| inside(map, id)) => Err(with_hint(
            format!("{field} {id} is not mapped into the container's user namespace"),
            format!("see linux.{field}Mappings"),
        )),
        _ => Ok(()),
    }
}
