//! `root`, `mounts`, `linux.devices`, masks and propagation: what the container sees as its files.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime as oci;

use super::Choices;
use crate::bundle::document::Spec;
use crate::bundle::plan::{Device, Mount, MountKind, Rootfs};
use crate::error::{At, Context, Result, anyhow, bail, hinted};
use crate::rootfs::options::{MountOptions, OptionError};
use crate::sys::SysError;

pub fn plan(
    spec: &Spec,
    linux: &oci::Linux,
    bundle: &Path,
    choices: &Choices,
    warnings: &mut Vec<String>,
) -> Result<Rootfs> {
    let names = "it names the container's root file system; a relative one starts at the bundle";
    let root = spec
        .root()
        .as_ref()
        .ok_or_else(|| hinted("missing", "write \"root\": {\"path\": \"rootfs\"}"))
        .context(At::new("root"))?;
    let at = || At::object("root.path", root.path().display());
    if root.path().as_os_str().is_empty() {
        return Err(hinted("missing or empty", names)).context(At::new("root.path"));
    }
    let wanted = bundle.join(root.path());
    let path = std::fs::canonicalize(&wanted)
        .map_err(|error| SysError::from_io(format!("realpath({wanted:?})"), &error))
        .with_context(at)?;
    if !path.is_dir() {
        return Err(hinted("not a directory", names)).with_context(at);
    }
    if path == Path::new("/") {
        return Err(hinted(
            "the host's own root cannot be a container's",
            "make a directory with a root file system in it",
        ))
        .with_context(at);
    }
    let (propagation, final_propagation) = propagation(linux.rootfs_propagation().as_deref())?;
    let mut mounts = Vec::new();
    for (index, entry) in spec.mounts().iter().flatten().enumerate() {
        let planned = mount(index, entry, bundle, warnings)
            .with_context(|| At::object(format!("mounts[{index}]"), entry.destination().display()))?;
        mounts.push(planned);
    }
    let fill_dev = !mounts
        .iter()
        .any(|m| matches!(m.kind, MountKind::Bind { .. }) && m.destination == Path::new("/dev"));
    Ok(Rootfs {
        path,
        readonly: root.readonly().unwrap_or(false),
        propagation,
        final_propagation,
        devices: devices(linux, fill_dev)?,
        fill_dev,
        masked: absolute_paths(linux.masked_paths().as_deref(), "linux.maskedPaths")?,
        readonly_paths: absolute_paths(linux.readonly_paths().as_deref(), "linux.readonlyPaths")?,
        no_pivot: choices.no_pivot,
        mounts,
    })
}

fn absolute_paths(list: Option<&[String]>, field: &str) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for (index, path) in list.unwrap_or_default().iter().enumerate() {
        if !path.starts_with('/') {
            return Err(anyhow!("must be an absolute path")).context(At::object(format!("{field}[{index}]"), path));
        }
        let path = PathBuf::from(path);
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    Ok(paths)
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
            return Err(hinted(
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
    Ok((inherited | recursive, Some(kind | recursive)))
}

fn mount(index: usize, entry: &oci::Mount, bundle: &Path, warnings: &mut Vec<String>) -> Result<Mount> {
    let destination = normal(entry.destination());
    if entry.destination().as_os_str().is_empty() {
        bail!("destination must not be empty");
    }
    if !entry.destination().is_absolute() {
        warnings.push(format!(
            "mounts[{index}].destination: a relative path is deprecated; taken as {destination:?}"
        ));
    }
    if entry.uid_mappings().is_some() || entry.gid_mappings().is_some() {
        bail!("uidMappings and gidMappings of a mount are not supported by this version of orlop");
    }
    let options = MountOptions::parse(entry.typ().as_deref(), entry.options().as_deref().unwrap_or_default()).map_err(
        |error| match error {
            OptionError::DataOnBind { .. } => hinted(
                error.to_string(),
                "a bind mount takes flags such as ro, nosuid, nodev, noexec, and a propagation such as rslave",
            ),
            _ => error.into(),
        },
    )?;
    if destination == Path::new("/") && !options.remount {
        return Err(hinted(
            "the root itself cannot be mounted over",
            "root.path names the root file system",
        ));
    }
    if options.tmpcopyup {
        bail!("tmpcopyup is not supported by this version of orlop");
    }
    if let Some(long) = options
        .superblock
        .iter()
        .chain(&options.data)
        .find(|option| !option.fits_fsconfig())
    {
        let long = long.to_string();
        let (key, value) = long.split_once('=').unwrap_or((&long, ""));
        bail!(
            "option {key:?}: its value has {} bytes, and the kernel takes no more than 255",
            value.len()
        );
    }
    if options.idmap.is_some() {
        bail!("idmap mounts are not supported by this version of orlop");
    }
    let kind = entry.typ().as_deref().unwrap_or("none");
    let source = entry.source().as_ref();
    let kind = if options.remount {
        MountKind::Remount
    } else if options.bind.is_some() {
        let source = source
            .filter(|s| !s.as_os_str().is_empty())
            .ok_or_else(|| anyhow!("a bind mount needs a source"))?;
        MountKind::Bind {
            source: bundle.join(source),
        }
    } else if kind == "cgroup" || kind == "cgroup2" {
        MountKind::Cgroup
    } else if kind == "none" || kind.is_empty() {
        return Err(hinted(
            "type is missing, and no option says \"bind\"",
            "add \"bind\" or \"rbind\" to the options, or a file system type",
        ));
    } else {
        MountKind::New {
            kind: kind.into(),
            source: source.map(|s| s.to_string_lossy().into_owned()),
        }
    };
    Ok(Mount {
        index,
        destination,
        kind,
        options,
    })
}

/// A destination as an absolute path without `.` and doubled slashes. `..` stays: it is resolved inside the root.
fn normal(path: &Path) -> PathBuf {
    let parts = path
        .components()
        .filter(|part| !matches!(part, Component::CurDir | Component::RootDir));
    Path::new("/").join(parts.collect::<PathBuf>())
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

fn devices(linux: &oci::Linux, fill_dev: bool) -> Result<Vec<Device>> {
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
        devices.push(Device {
            index: Some(index),
            path: entry.path().clone(),
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
            });
        }
    }
    Ok(devices)
}
