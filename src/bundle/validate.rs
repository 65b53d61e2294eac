//! The checks and decisions between the spec's types and the [`Plan`].
//!
//! What the spec defines and orlop cannot do yet is refused by name (see [`refuse_unsupported`]): a setting that is
//! silently ignored would be a hole.

use std::ffi::CString;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{self as oci, Hook, LinuxIdMapping, LinuxNamespaceType, Spec};

use super::load::Config;
use super::plan::{
    Capabilities, Cgroup, Device, Hooks, IdMapping, IdMaps, JoinedNamespace, Mount, MountKind, Namespaces, Plan,
    Process, Rlimit, Rootfs,
};
use super::{capabilities, sysctl};
use crate::cgroup::devices;
use crate::error::{At, Context, Result, anyhow, bail, hinted};
use crate::rootfs::options::{MountOptions, OptionError};
use crate::sys::process::NAMESPACES;
use crate::sys::{self, SysError};

/// What the command line adds to the config.
#[derive(Debug)]
pub struct Choices {
    /// `--no-pivot`
    pub no_pivot: bool,
    /// `--no-new-keyring`
    pub no_new_keyring: bool,
    /// `--preserve-fds`
    pub preserve_fds: u32,
}

/// Checks a config and takes every decision about it.
pub fn plan(config: Config, choices: &Choices) -> Result<Plan> {
    let Config {
        bundle,
        text,
        spec,
        capabilities,
        mut warnings,
    } = config;
    version(spec.version())?;
    refuse_unsupported(&spec)?;
    let linux = spec.linux().clone().unwrap_or_else(empty_linux);
    let namespaces = namespaces(linux.namespaces().as_deref().unwrap_or_default())?;
    let id_maps = id_maps(&linux, &namespaces)?;
    if let (Some(maps), Some(process)) = (&id_maps, spec.process()) {
        mapped(process.user(), maps)?;
    }
    let capabilities = if id_maps.is_some() {
        // A new user namespace starts with every capability over itself.
        capabilities
    } else {
        capabilities::without_ungrantable(capabilities, &mut warnings)?
    };
    for (field, value) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        if value.is_some() && !namespaces.has(libc::CLONE_NEWUTS) {
            return Err(hinted(
                "needs an own uts namespace: setting it would change the host's",
                "add {\"type\": \"uts\"} to linux.namespaces",
            ))
            .context(At::new(field));
        }
    }
    let mut sysctls = Vec::new();
    for (key, value) in linux.sysctl().iter().flatten() {
        sysctls.push(sysctl::plan(key, value, &namespaces)?);
    }
    sysctls.sort_by(|a, b| a.key.cmp(&b.key));
    let process = spec
        .process()
        .as_ref()
        .map(|p| process(p, capabilities, choices))
        .transpose()?;
    let rootfs = rootfs(&spec, &linux, &bundle, choices, &mut warnings)?;
    let optional = sys::process::effective_uid() != 0 && linux.cgroups_path().is_none();
    Ok(Plan {
        oci_version: spec.version().clone(),
        annotations: spec.annotations().clone().unwrap_or_default().into_iter().collect(),
        namespaces,
        id_maps,
        rootfs,
        hostname: spec.hostname().clone(),
        domainname: spec.domainname().clone(),
        sysctls,
        process,
        hooks: hooks(&spec)?,
        cgroup: Cgroup {
            path: cgroups_path(&linux)?,
            devices: device_rules(&linux)?,
            optional,
            devices_optional: sys::process::effective_uid() != 0,
        },
        bundle,
        config_text: text,
        warnings,
    })
}

/// The spec's `linux` with nothing in it. (Its type's own default holds namespaces, masks and resources.)
fn empty_linux() -> oci::Linux {
    let mut linux = oci::Linux::default();
    linux.set_namespaces(None);
    linux.set_resources(None);
    linux.set_masked_paths(None);
    linux.set_readonly_paths(None);
    linux
}

/// `ociVersion`: SemVer 2.0.0, and of the major version that this runtime speaks.
fn version(version: &str) -> Result<()> {
    if version.is_empty() {
        return Err(hinted("missing or empty", "write \"ociVersion\": \"1.3.0\"")).context(At::new("ociVersion"));
    }
    let at = || At::object("ociVersion", version);
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let is_number =
        |n: &&str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) && (n.len() == 1 || !n.starts_with('0'));
    if numbers.len() != 3 || !numbers.iter().all(is_number) {
        return Err(hinted(
            "not a version of the form MAJOR.MINOR.PATCH",
            "write \"ociVersion\": \"1.3.0\"",
        ))
        .with_context(at);
    }
    if numbers.first() != Some(&"1") {
        return Err(hinted(
            "this runtime speaks version 1 of the runtime-spec",
            "write \"ociVersion\": \"1.3.0\"",
        ))
        .with_context(at);
    }
    Ok(())
}

/// Names everything in the config that orlop does not do yet.
fn refuse_unsupported(spec: &Spec) -> Result<()> {
    let mut wanted: Vec<&str> = Vec::new();
    let mut refuse = |present: bool, path: &'static str| {
        if present {
            wanted.push(path);
        }
    };
    if let Some(process) = spec.process() {
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        refuse(given(process.apparmor_profile()), "process.apparmorProfile");
        refuse(given(process.selinux_label()), "process.selinuxLabel");
        refuse(process.scheduler().is_some(), "process.scheduler");
        refuse(process.io_priority().is_some(), "process.ioPriority");
        refuse(process.exec_cpu_affinity().is_some(), "process.execCPUAffinity");
    }
    if let Some(linux) = spec.linux() {
        refuse(linux.seccomp().is_some(), "linux.seccomp");
        refuse(linux.intel_rdt().is_some(), "linux.intelRdt");
        refuse(linux.memory_policy().is_some(), "linux.memoryPolicy");
        refuse(
            linux.net_devices().as_ref().is_some_and(|map| !map.is_empty()),
            "linux.netDevices",
        );
        refuse(linux.personality().is_some(), "linux.personality");
        refuse(
            linux.time_offsets().as_ref().is_some_and(|map| !map.is_empty()),
            "linux.timeOffsets",
        );
        refuse(
            linux.mount_label().as_ref().is_some_and(|label| !label.is_empty()),
            "linux.mountLabel",
        );
        if let Some(resources) = linux.resources() {
            // Engines send zeros and empty objects for what they do not limit.
            fn asks(value: Option<impl serde::Serialize>) -> bool {
                fn any(value: &serde_json::Value) -> bool {
                    match value {
                        serde_json::Value::Object(map) => map.values().any(any),
                        serde_json::Value::Array(list) => !list.is_empty(),
                        serde_json::Value::Number(number) => number.as_i64() != Some(0),
                        serde_json::Value::Bool(flag) => *flag,
                        serde_json::Value::String(text) => !text.is_empty(),
                        serde_json::Value::Null => false,
                    }
                }
                value.is_some_and(|value| serde_json::to_value(value).is_ok_and(|value| any(&value)))
            }
            refuse(asks(resources.memory().as_ref()), "linux.resources.memory");
            refuse(asks(resources.cpu().as_ref()), "linux.resources.cpu");
            refuse(asks(resources.pids().as_ref()), "linux.resources.pids");
            refuse(asks(resources.block_io().as_ref()), "linux.resources.blockIO");
            refuse(
                asks(resources.hugepage_limits().as_ref()),
                "linux.resources.hugepageLimits",
            );
            refuse(asks(resources.network().as_ref()), "linux.resources.network");
            refuse(asks(resources.rdma().as_ref()), "linux.resources.rdma");
            refuse(asks(resources.unified().as_ref()), "linux.resources.unified");
        }
    }
    match wanted.as_slice() {
        [] => Ok(()),
        [first, rest @ ..] => {
            let mut text = "not supported by this version of orlop".to_string();
            if !rest.is_empty() {
                text += &format!("; nor are {}", rest.join(", "));
            }
            Err(hinted(
                text,
                "it is refused rather than ignored; remove it from the config to run without it",
            ))
            .context(At::new(*first))
        }
    }
}

fn namespaces(list: &[oci::LinuxNamespace]) -> Result<Namespaces> {
    let mut namespaces = Namespaces::default();
    for (index, entry) in list.iter().enumerate() {
        let flag = entry.typ() as u64;
        let Some(kind) = NAMESPACES.iter().find(|kind| kind.flag == flag) else {
            bail!("linux.namespaces[{index}]: unknown namespace");
        };
        let at = || At::object(format!("linux.namespaces[{index}]"), kind.name);
        if namespaces.makes(flag as i32) || namespaces.joined.iter().any(|joined| joined.flag == flag) {
            return Err(anyhow!("the type is listed twice; every type may appear once")).with_context(at);
        }
        match entry.path() {
            Some(path) if !path.as_os_str().is_empty() => {
                if !path.is_absolute() {
                    return Err(anyhow!("path {path:?} must be absolute")).with_context(at);
                }
                if matches!(
                    entry.typ(),
                    LinuxNamespaceType::User | LinuxNamespaceType::Mount | LinuxNamespaceType::Time
                ) {
                    return Err(anyhow!(
                        "joining a {} namespace by path is not supported by this version of orlop",
                        kind.name
                    ))
                    .with_context(at);
                }
                namespaces.joined.push(JoinedNamespace {
                    index,
                    flag,
                    path: path.clone(),
                    is_callers: is_callers(path, kind.name),
                });
            }
            _ => namespaces.new |= flag,
        }
    }
    // In the order of the table, which is the one that works.
    namespaces
        .joined
        .sort_by_key(|joined| NAMESPACES.iter().position(|kind| kind.flag == joined.flag));
    if namespaces.makes(libc::CLONE_NEWUSER)
        && let Some(joined) = namespaces.joined.first()
    {
        return Err(anyhow!(
            "joining a namespace by path beside a new user namespace is not supported by this version of orlop"
        ))
        .context(At::new(format!("linux.namespaces[{}]", joined.index)));
    }
    if !namespaces.has(libc::CLONE_NEWNS) {
        return Err(hinted(
            "a container without its own mount namespace is not supported by this version of orlop",
            "add {\"type\": \"mount\"} to linux.namespaces",
        ))
        .context(At::new("linux.namespaces"));
    }
    Ok(namespaces)
}

/// Whether a path names the namespace that the runtime itself is in: the same inode of the same file system.
fn is_callers(path: &Path, name: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let file = match name {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    };
    let inode = |path: &Path| {
        std::fs::metadata(path)
            .map(|metadata| (metadata.dev(), metadata.ino()))
            .ok()
    };
    let own = inode(&Path::new("/proc/self/ns").join(file));
    own.is_some() && own == inode(path)
}

fn id_maps(linux: &oci::Linux, namespaces: &Namespaces) -> Result<Option<IdMaps>> {
    let (uid, gid) = (
        linux.uid_mappings().as_deref().unwrap_or_default(),
        linux.gid_mappings().as_deref().unwrap_or_default(),
    );
    if !namespaces.has(libc::CLONE_NEWUSER) {
        for (list, path) in [(uid, "linux.uidMappings"), (gid, "linux.gidMappings")] {
            if !list.is_empty() {
                return Err(hinted(
                    "mappings need a user namespace",
                    "add {\"type\": \"user\"} to linux.namespaces",
                ))
                .context(At::new(path));
            }
        }
        return Ok(None);
    }
    let convert = |list: &[LinuxIdMapping], path: &'static str| -> Result<Vec<IdMapping>> {
        if list.is_empty() {
            return Err(hinted(
                "a new user namespace needs at least one mapping",
                "map the container's root to an id of the host: {\"containerID\": 0, \"hostID\": 100000, \"size\": 65536}",
            ))
            .context(At::new(path));
        }
        for (index, mapping) in list.iter().enumerate() {
            if mapping.size() == 0 {
                return Err(anyhow!("size must be at least 1")).context(At::new(format!("{path}[{index}]")));
            }
        }
        Ok(list
            .iter()
            .map(|m| IdMapping {
                container: m.container_id(),
                host: m.host_id(),
                size: m.size(),
            })
            .collect())
    };
    Ok(Some(IdMaps {
        uid: convert(uid, "linux.uidMappings")?,
        gid: convert(gid, "linux.gidMappings")?,
    }))
}

/// The ids of the process must exist in its new user namespace.
fn mapped(user: &oci::User, maps: &IdMaps) -> Result<()> {
    let check = |id: u32, list: &[IdMapping], field: &str, from: &str| {
        let inside = |map: &IdMapping| id.checked_sub(map.container).is_some_and(|offset| offset < map.size);
        if list.iter().any(inside) {
            return Ok(());
        }
        let ranges: Vec<String> = list
            .iter()
            .map(|map| {
                format!(
                    "{} to {}",
                    map.container,
                    u64::from(map.container) + u64::from(map.size) - 1
                )
            })
            .collect();
        Err(hinted(
            format!("{id} is not mapped into the container's user namespace"),
            format!("{from} has the container's ids {}", ranges.join(", ")),
        ))
        .context(At::new(format!("process.user.{field}")))
    };
    check(user.uid(), &maps.uid, "uid", "linux.uidMappings")?;
    check(user.gid(), &maps.gid, "gid", "linux.gidMappings")?;
    for (index, gid) in user.additional_gids().iter().flatten().enumerate() {
        check(
            *gid,
            &maps.gid,
            &format!("additionalGids[{index}]"),
            "linux.gidMappings",
        )?;
    }
    Ok(())
}

fn process(process: &oci::Process, capabilities: Capabilities, choices: &Choices) -> Result<Process> {
    let strings = |list: &[String], path: &str| -> Result<Vec<CString>> {
        list.iter()
            .enumerate()
            .map(|(index, text)| {
                CString::new(text.as_str())
                    .map_err(|_| anyhow!("holds a NUL byte"))
                    .with_context(|| At::new(format!("{path}[{index}]")))
            })
            .collect()
    };
    let args = strings(process.args().as_deref().unwrap_or_default(), "process.args")?;
    match args.first() {
        None => {
            return Err(hinted(
                "missing or empty",
                "write the program and its arguments: [\"sh\", \"-c\", \"id\"]",
            ))
            .context(At::new("process.args"));
        }
        Some(program) if program.is_empty() => {
            return Err(anyhow!("the program's name must not be empty")).context(At::new("process.args[0]"));
        }
        Some(_) => {}
    }
    if !process.cwd().is_absolute() {
        return Err(anyhow!("must be an absolute path, not {:?}", process.cwd())).context(At::new("process.cwd"));
    }
    let mut rlimits: Vec<Rlimit> = Vec::new();
    for (index, entry) in process.rlimits().iter().flatten().enumerate() {
        let name = entry.typ().to_string();
        let at = || At::object(format!("process.rlimits[{index}]"), &name);
        let resource = rlimit(&name).ok_or_else(|| anyhow!("unknown limit")).with_context(at)?;
        if rlimits.iter().any(|other| other.resource == resource) {
            return Err(anyhow!("the type is listed twice; every type may appear once")).with_context(at);
        }
        if entry.soft() > entry.hard() {
            return Err(anyhow!("soft {} is above hard {}", entry.soft(), entry.hard())).with_context(at);
        }
        rlimits.push(Rlimit {
            index,
            resource,
            soft: entry.soft(),
            hard: entry.hard(),
            name,
        });
    }
    if let Some(score) = process.oom_score_adj().filter(|score| !(-1000..=1000).contains(score)) {
        return Err(anyhow!("{score} is outside -1000 to 1000")).context(At::new("process.oomScoreAdj"));
    }
    let terminal = process.terminal().unwrap_or(false);
    let cell = |n: u64| {
        u16::try_from(n)
            .map_err(|_| anyhow!("{n} is too large"))
            .context(At::new("process.consoleSize"))
    };
    let console_size = match process.console_size() {
        Some(size) if terminal => Some((cell(size.height())?, cell(size.width())?)),
        _ => None,
    };
    Ok(Process {
        terminal,
        console_size,
        args,
        env: strings(process.env().as_deref().unwrap_or_default(), "process.env")?,
        cwd: process.cwd().clone(),
        uid: process.user().uid(),
        gid: process.user().gid(),
        additional_gids: process.user().additional_gids().clone().unwrap_or_default(),
        umask: process.user().umask(),
        rlimits,
        oom_score_adj: process.oom_score_adj(),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        capabilities,
        preserve_fds: choices.preserve_fds,
        new_keyring: !choices.no_new_keyring,
    })
}

fn rlimit(name: &str) -> Option<u32> {
    Some(match name {
        "RLIMIT_AS" => libc::RLIMIT_AS,
        "RLIMIT_CORE" => libc::RLIMIT_CORE,
        "RLIMIT_CPU" => libc::RLIMIT_CPU,
        "RLIMIT_DATA" => libc::RLIMIT_DATA,
        "RLIMIT_FSIZE" => libc::RLIMIT_FSIZE,
        "RLIMIT_LOCKS" => libc::RLIMIT_LOCKS,
        "RLIMIT_MEMLOCK" => libc::RLIMIT_MEMLOCK,
        "RLIMIT_MSGQUEUE" => libc::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => libc::RLIMIT_NICE,
        "RLIMIT_NOFILE" => libc::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => libc::RLIMIT_NPROC,
        "RLIMIT_RSS" => libc::RLIMIT_RSS,
        "RLIMIT_RTPRIO" => libc::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => libc::RLIMIT_RTTIME,
        "RLIMIT_SIGPENDING" => libc::RLIMIT_SIGPENDING,
        "RLIMIT_STACK" => libc::RLIMIT_STACK,
        _ => return None,
    })
}

fn rootfs(
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

/// `linux.cgroupsPath`: a name below some other cgroup.
fn cgroups_path(linux: &oci::Linux) -> Result<Option<PathBuf>> {
    let Some(path) = linux
        .cgroups_path()
        .as_ref()
        .filter(|path| !path.as_os_str().is_empty())
    else {
        return Ok(None);
    };
    let at = || At::object("linux.cgroupsPath", path.display());
    if path.components().any(|part| matches!(part, Component::ParentDir)) {
        return Err(anyhow!("must not contain \"..\"")).with_context(at);
    }
    if !path.components().any(|part| matches!(part, Component::Normal(_))) {
        return Err(hinted(
            "names the root of the tree",
            "a container needs a cgroup of its own: give that a name",
        ))
        .with_context(at);
    }
    Ok(Some(path.clone()))
}

/// The rules of `linux.resources.devices` in their order, then the devices that every container may use.
fn device_rules(linux: &oci::Linux) -> Result<Vec<devices::Rule>> {
    let listed = linux
        .resources()
        .as_ref()
        .and_then(|resources| resources.devices().as_deref())
        .unwrap_or_default();
    let mut rules = Vec::new();
    for (index, entry) in listed.iter().enumerate() {
        let kind = entry.typ().map(|kind| kind.as_str().to_string());
        let rule = devices::Rule::from_spec(
            entry.allow(),
            kind.as_deref(),
            entry.major(),
            entry.minor(),
            entry.access().as_deref(),
        )
        .with_context(|| At::new(format!("linux.resources.devices[{index}]")))?;
        rules.push(rule);
    }
    rules.extend(devices::default_rules());
    Ok(rules)
}

fn hooks(spec: &Spec) -> Result<Hooks> {
    let Some(hooks) = spec.hooks() else {
        return Ok(Hooks::default());
    };
    let check = |list: &Option<Vec<Hook>>, point: &str| -> Result<Vec<Hook>> {
        let list = list.clone().unwrap_or_default();
        for (index, hook) in list.iter().enumerate() {
            let at = || At::object(format!("hooks.{point}[{index}]"), hook.path().display());
            if !hook.path().is_absolute() {
                return Err(anyhow!("path must be absolute")).with_context(at);
            }
            if hook.timeout().is_some_and(|seconds| seconds <= 0) {
                return Err(anyhow!("timeout must be above 0 seconds")).with_context(at);
            }
        }
        Ok(list)
    };
    #[allow(
        deprecated,
        reason = "prestart hooks are deprecated by the spec, and still to be run"
    )]
    Ok(Hooks {
        prestart: check(hooks.prestart(), "prestart")?,
        create_runtime: check(hooks.create_runtime(), "createRuntime")?,
        create_container: check(hooks.create_container(), "createContainer")?,
        start_container: check(hooks.start_container(), "startContainer")?,
        poststart: check(hooks.poststart(), "poststart")?,
        poststop: check(hooks.poststop(), "poststop")?,
    })
}
