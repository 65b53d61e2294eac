//! `root`, masks and propagation: the container's files.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::options::PlanContext;
use super::process::require_selinux;
use super::{devices, mounts};
use crate::bundle::checks::Checks;
use crate::bundle::document::Spec;
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::host::Facts;
use crate::plan::{DevConsole, Device, Mount, MountKind, PropagationKind, RootMode, Rootfs, Warning};

/// The limits of a container in the caller's mount namespace; see `rootfs::shared_mntns`.
const NO_MOUNT_NAMESPACE: &str = "without a separate mount namespace the container's mounts are in no namespace: nothing can \
                                  be mounted in it, set-user-ID programs and file capabilities have no effect, and mountinfo \
                                  is empty";

/// What an AppArmor profile for such a container must allow.
const DISCONNECTED: &str = "process.apparmorProfile: without a separate mount namespace all paths are disconnected, and a \
                            profile without the flag attach_disconnected denies access to them";

/// What becomes of each part of the root file system. None: something in the part is wrong.
pub struct Parts {
    pub path: Option<PathBuf>,
    pub root_mode: Option<RootMode>,
    pub readonly: bool,
    /// Before the root is changed, and in the end.
    propagation: Option<(u64, Option<u64>)>,
    /// The entries that are right.
    pub mounts: Vec<Mount>,
    /// Whether all are.
    all_mounts: bool,
    devices: Option<Vec<Device>>,
    fill_dev: bool,
    console: DevConsole,
    pub masked: Option<Vec<PathBuf>>,
    pub readonly_paths: Option<Vec<PathBuf>>,
    no_pivot: bool,
    label: Option<Option<String>>,
}

impl Parts {
    /// None if something is wrong.
    pub fn whole(self) -> Option<Rootfs> {
        let (propagation, final_propagation) = self.propagation?;
        Some(Rootfs {
            path: self.path?,
            root_mode: self.root_mode?,
            readonly: self.readonly,
            propagation,
            final_propagation,
            devices: self.devices?,
            fill_dev: self.fill_dev,
            console: self.console,
            masked: self.masked?,
            readonly_paths: self.readonly_paths?,
            no_pivot: self.no_pivot,
            label: self.label?,
            mounts: self.all_mounts.then_some(self.mounts)?,
        })
    }
}

/// The root file system and all that is mounted in it.
pub fn rootfs(context: &PlanContext, checks: &mut Checks) -> Parts {
    let linux = context.linux;
    let path = checks.section(&["root"], |_| root_directory(context));
    let asked = checks.section(&["linux", "rootfsPropagation"], |_| {
        propagation(linux.rootfs_propagation().as_deref())
    });
    let root_mode = checks.keep(root_mode(context));
    if let Some(mode) = root_mode {
        warn(mode, context.spec, &mut checks.warnings);
    }
    let mut mounts = Vec::new();
    let all_mounts = mounts::mounts(context, path.as_deref(), root_mode, checks, &mut mounts);
    let propagation = match root_mode {
        // In the temporary namespace no mount of the host may be connected to ours. In the end all are private.
        Some(RootMode::Detached) => Some((libc::MS_SLAVE | libc::MS_REC, None)),
        _ => asked,
    };
    let shared = propagation.map_or(0, |(inherited, _)| inherited);
    let (fill_dev, console) = dev(&mounts, shared, context.facts);
    let devices = devices::devices(context, fill_dev, checks);
    let masked = covered(linux.masked_paths().as_deref(), "maskedPaths", checks);
    let readonly_paths = covered(linux.readonly_paths().as_deref(), "readonlyPaths", checks);
    let label = checks.section(&["linux", "mountLabel"], |_| {
        label(linux.mount_label().as_deref(), context.facts)
    });
    Parts {
        path,
        root_mode,
        readonly: is_readonly(context.spec),
        propagation,
        mounts,
        all_mounts,
        devices,
        fill_dev,
        console,
        masked,
        readonly_paths,
        no_pivot: context.options.no_pivot,
        label,
    }
}

fn is_readonly(spec: &Spec) -> bool {
    let root = spec.root().as_ref();
    root.and_then(|root| root.readonly()).unwrap_or(false)
}

fn root_directory(context: &PlanContext) -> Result<PathBuf> {
    let hint = "it names the container's root file system; a relative path starts at the bundle";
    let root = context.spec.root().as_ref();
    let root = root
        .ok_or_else(|| with_hint("missing", "write \"root\": {\"path\": \"rootfs\"}"))
        .context(At::new("root"))?;
    if root.path().as_os_str().is_empty() {
        return Err(with_hint("missing or empty", hint)).context(At::new("root.path"));
    }
    let at = || At::object("root.path", root.path().display());
    let found = context.facts.root.clone();
    let found = found.ok_or_else(|| anyhow!("not looked at")).with_context(at)?;
    let directory = found.with_context(at)?;
    if !directory.is_directory {
        return Err(with_hint("not a directory", hint)).with_context(at);
    }
    if directory.path == Path::new("/") {
        return Err(with_hint(
            "the host's own root cannot be a container's",
            "make a directory with a root file system in it",
        ))
        .with_context(at);
    }
    Ok(directory.path)
}

/// What a container loses that has no mount namespace of its own.
fn warn(mode: RootMode, spec: &Spec, warnings: &mut Vec<Warning>) {
    match mode {
        RootMode::Pivot => {}
        RootMode::Detached => {
            warnings.push(Warning::new("linux.namespaces", NO_MOUNT_NAMESPACE));
            let process = spec.process().as_ref();
            let profile = process.and_then(|process| process.apparmor_profile().as_deref());
            if !matches!(profile, None | Some("" | "unconfined")) {
                warnings.push(Warning::new("process.apparmorProfile", DISCONNECTED));
            }
        }
        RootMode::Chroot => warnings.push(Warning::new(
            "linux.namespaces",
            "without a separate mount namespace the container is confined only by chroot(2), which a process with \
             CAP_SYS_CHROOT can leave",
        )),
    }
}

/// Whether the container's /dev is filled, and where its terminal is mounted.
fn dev(mounts: &[Mount], propagation: u64, facts: &Facts) -> (bool, DevConsole) {
    let dev = mounts
        .iter()
        .rfind(|mount| mount.destination == Path::new("/dev") && mount.kind != MountKind::Remount);
    let fill_dev = match dev {
        Some(last) => !matches!(last.kind, MountKind::Bind { .. }),
        None => !facts.has_hosts_dev,
    };
    let is_shared = |dev: &Mount| {
        let mut types = dev.options.propagation.iter();
        types.any(|one| one.kind == PropagationKind::Shared)
    };
    let shared = dev.is_some_and(is_shared) || propagation & libc::MS_SHARED != 0;
    let console = match (fill_dev, shared) {
        (true, _) => DevConsole::Create,
        (false, false) => DevConsole::Existing,
        (false, true) => DevConsole::None,
    };
    (fill_dev, console)
}

/// Where the mounts of a config can be made, if it has any. Without a separate mount namespace some are not possible.
fn root_mode(context: &PlanContext) -> Result<RootMode> {
    let PlanContext {
        spec,
        linux,
        namespaces,
        ..
    } = context;
    if namespaces.has(libc::CLONE_NEWNS) {
        return Ok(RootMode::Pivot);
    }
    let hint = "add {\"type\": \"mount\"} to linux.namespaces";
    if namespaces.has(libc::CLONE_NEWUSER) {
        return Err(with_hint(
            "requires a separate mount namespace: from a user namespace there is no way back into the runtime's",
            hint,
        ))
        .context(At::new("linux.namespaces"));
    }
    let propagation = linux.rootfs_propagation().as_deref().unwrap_or_default();
    if !matches!(propagation, "" | "private" | "rprivate") {
        return Err(with_hint(
            "requires a separate mount namespace: otherwise the container's mounts are in no namespace, and nothing propagates",
            hint,
        ))
        .context(At::object("linux.rootfsPropagation", propagation));
    }
    let listed = |list: Option<&Vec<String>>| list.is_some_and(|list| !list.is_empty());
    let process = spec.process().as_ref();
    let wanted = spec.mounts().as_ref().is_some_and(|list| !list.is_empty())
        || listed(linux.masked_paths().as_ref())
        || listed(linux.readonly_paths().as_ref())
        || is_readonly(spec)
        || !propagation.is_empty()
        // Its pty is bind-mounted on /dev/console.
        || process.is_some_and(|process| process.terminal() == Some(true));
    Ok(if wanted { RootMode::Detached } else { RootMode::Chroot })
}

/// `linux.mountLabel`, which only SELinux understands.
fn label(value: Option<&str>, facts: &Facts) -> Result<Option<String>> {
    let Some(label) = value.filter(|label| !label.is_empty()) else {
        return Ok(None);
    };
    let at = || At::object("linux.mountLabel", label);
    require_selinux(facts).with_context(at)?;
    if label.len() > 255 || label.contains('\0') {
        return Err(anyhow!("not a label: the kernel accepts up to 255 bytes without NUL")).with_context(at);
    }
    Ok(Some(label.to_string()))
}

/// `linux.maskedPaths` or `linux.readonlyPaths`. None if one of them is wrong.
fn covered(list: Option<&[String]>, field: &str, checks: &mut Checks) -> Option<Vec<PathBuf>> {
    checks.section(&["linux", field], |checks| {
        let mut paths = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, path) in list.unwrap_or_default().iter().enumerate() {
            let at = || At::object(format!("linux.{field}[{index}]"), path);
            if checks.keep(can_be_covered(path).with_context(at)).is_some() && seen.insert(Path::new(path)) {
                paths.push(path.into());
            }
        }
        Ok(paths)
    })
}

fn can_be_covered(path: &str) -> Result<()> {
    if !path.starts_with('/') {
        return Err(anyhow!("must be an absolute path"));
    }
    if is_root(Path::new(path)) {
        return Err(with_hint(
            "the root itself cannot be covered",
            "root.readonly makes it read-only; name directories below it",
        ));
    }
    Ok(())
}

/// Whether an absolute path leads to the root, if no link is on the way.
fn is_root(path: &Path) -> bool {
    let depth = path.components().fold(0usize, |depth, part| match part {
        Component::Normal(_) => depth + 1,
        Component::ParentDir => depth.saturating_sub(1),
        _ => depth,
    });
    depth == 0
}

/// `linux.rootfsPropagation`: what the inherited mounts become, and what the container's root becomes in the end. If it is
/// unset, mounts of the host still propagate into the container but not back (`rslave`), as in other runtimes.
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
                "write private, slave, shared or unbindable, or one of them with r in front",
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
    // The root is a copy of a private or slave mount, and so has that type already. Setting it once more would take
    // from all mounts of the container what their own options say.
    let last = matches!(kind, libc::MS_SHARED | libc::MS_UNBINDABLE).then_some(kind | recursive);
    Ok((inherited | recursive, last))
}
