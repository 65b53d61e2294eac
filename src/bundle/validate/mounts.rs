//! `mounts`, one entry at a time.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime as oci;

use super::mount_id_map::mount_id_map;
use super::options::PlanContext;
use crate::bundle::checks::Checks;
use crate::bundle::mount_options::OptionError;
use crate::error::{At, Context, Error, Result, anyhow, bail, with_hint};
use crate::plan::{FsOption, Mount, MountKind, MountOptions, Namespaces, NoFollow, PropagationKind, RootMode, Warning};

/// The root file system, and where something has been mounted in it so far.
struct Mounted<'a> {
    /// None if it is not known.
    root: Option<&'a Path>,
    /// In the order of paths, where everything below a path follows it.
    destinations: BTreeSet<PathBuf>,
}

impl Mounted<'_> {
    /// Whether something is mounted at a path, above it or below it.
    fn touches(&self, path: &Path) -> bool {
        let mut from_here = self
            .destinations
            .range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        from_here.next().is_some_and(|next| next.starts_with(path))
            || path.ancestors().any(|above| self.destinations.contains(above))
    }
}

/// All entries: those that are right are added to `mounts`. Returns whether all are.
pub fn mounts(
    context: &PlanContext,
    root: Option<&Path>,
    root_mode: Option<RootMode>,
    checks: &mut Checks,
    mounts: &mut Vec<Mount>,
) -> bool {
    let all = checks.section(&["mounts"], |checks| {
        let mut mounted = Mounted {
            root,
            destinations: BTreeSet::new(),
        };
        for (index, entry) in context.spec.mounts().iter().flatten().enumerate() {
            let checked = mount((index, entry), context, &mut mounted, checks).and_then(|mount| {
                if root_mode == Some(RootMode::Detached) {
                    stays_private(&mount.options)?;
                }
                Ok(mount)
            });
            let at = || At::object(format!("mounts[{index}]"), entry.destination().display());
            mounts.extend(checks.keep(checked.with_context(at)));
        }
        Ok(())
    });
    all.is_some()
}

/// One entry. `mounted` gets its destination added.
fn mount(
    (index, entry): (usize, &oci::Mount),
    context: &PlanContext,
    mounted: &mut Mounted,
    checks: &mut Checks,
) -> Result<Mount> {
    let destination = destination((index, entry), mounted.root, &mut checks.warnings)?;
    let options = entry.options().as_deref().unwrap_or_default();
    let mut options = MountOptions::parse(options).map_err(|error| unknown(index, error))?;
    if destination == Path::new("/") && !options.remount {
        return Err(with_hint(
            "the root itself cannot be mounted over",
            "root.path names the root file system",
        ));
    }
    too_long(&options)?;
    let mut kind = kind(entry, &options, context)?;
    let nofollow = nofollow(&options)?;
    options
        .ignored_on_bind
        .retain(|(_, option)| !OF_LINKS.contains(&&**option));
    if let (MountKind::Bind { source, inside }, Some(root)) = (&mut kind, mounted.root) {
        *inside = self::inside(source, root).filter(|path| mounted.touches(path));
    }
    if kind == MountKind::Cgroup {
        let words = [(libc::MS_SILENT, "silent"), (libc::MS_I_VERSION, "iversion")];
        let asked = words.iter().filter(|(bit, _)| options.mount2 & bit != 0);
        options.without_effect.extend(asked.map(|(_, word)| *word));
    }
    without_effect(index, &destination, &options, checks);
    if options.tmpcopyup && !matches!(&kind, MountKind::New { kind, .. } if kind == "tmpfs") {
        return Err(with_hint(
            "tmpcopyup requires type tmpfs",
            "use type \"tmpfs\", or leave tmpcopyup out",
        ));
    }
    let id_map = mount_id_map(index, entry, &options, &kind, context)?;
    mounted.destinations.insert(destination.clone());
    Ok(Mount {
        index,
        destination,
        kind,
        options,
        nofollow,
        id_map,
    })
}

/// The mount point as a path of the container.
fn destination(
    (index, entry): (usize, &oci::Mount),
    root: Option<&Path>,
    warnings: &mut Vec<Warning>,
) -> Result<PathBuf> {
    if entry.destination().as_os_str().is_empty() {
        return Err(anyhow!("destination must not be empty")).context(At::new(format!("mounts[{index}].destination")));
    }
    let mut destination = absolute(entry.destination());
    if let Some(inside) = root.and_then(|root| inside(entry.destination(), root)) {
        let text = format!(
            "mounts[{index}].destination: {destination:?} is the host's name for {inside:?} in the root file system, which \
             is used instead"
        );
        warnings.push(Warning::of_mount(index, text));
        destination = inside;
    }
    if !entry.destination().is_absolute() {
        let text =
            format!("mounts[{index}].destination: a relative path is deprecated; {destination:?} is used instead");
        warnings.push(Warning::of_mount(index, text));
    }
    Ok(destination)
}

/// About an invalid option, with what to write instead if that can be told.
fn unknown(index: usize, error: OptionError) -> Error {
    let hint = match &error {
        OptionError::Meant { words, .. } if words.len() > 1 => {
            Some(format!("write each option as a separate string: {}", json_list(words)))
        }
        OptionError::Meant { words, .. } => Some(format!("write {}", json_list(words))),
        _ => None,
    };
    let (text, place) = (error.to_string(), format!("mounts[{index}].options[{}]", error.index()));
    let at = At::object(place, error.option());
    hint.map_or_else(|| anyhow!(text.clone()), |hint| with_hint(text.clone(), hint))
        .context(at)
}

fn json_list(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    quoted.join(", ")
}

fn kind(entry: &oci::Mount, options: &MountOptions, context: &PlanContext) -> Result<MountKind> {
    let kind = entry.typ().as_deref().unwrap_or("none");
    let source = entry.source().as_ref();
    if options.remount {
        return Ok(MountKind::Remount);
    }
    if options.bind.is_some() {
        let source = source
            .filter(|s| !s.as_os_str().is_empty())
            .ok_or_else(|| anyhow!("a bind mount needs a source"))?;
        let source = context.bundle.join(source);
        return Ok(match link_to_copy(options, &source, context) {
            Some(target) => MountKind::Link(target),
            None => MountKind::Bind { source, inside: None },
        });
    }
    match kind {
        "cgroup" | "cgroup2" => cgroup_kind(options),
        "none" | "" => Err(with_hint(
            "type is missing, and no option says \"bind\"",
            "add \"bind\" or \"rbind\" to the options, or a file system type",
        )),
        // config.md, "Mounts": the options make a mount a bind mount, and its type then has no meaning.
        "bind" => Err(with_hint(
            "type \"bind\" is not a file system, and no option says \"bind\"",
            "add \"bind\" or \"rbind\" to the options",
        )),
        _ => Ok(MountKind::New {
            kind: kind.into(),
            source: source.map(|s| s.to_string_lossy().into_owned()),
            fallback: fallback(kind, context.namespaces),
        }),
    }
}

/// Options of the hierarchy as a whole. containerd copies those of the host's mount; the kernel takes them only from the first
/// cgroup namespace and ignores them elsewhere (its cgroup-v2 document, "Mounting"), and so are they here.
const OF_HIERARCHY: &[&str] = &[
    "nsdelegate",
    "favordynmods",
    "memory_localevents",
    "memory_recursiveprot",
    "memory_hugetlb_accounting",
    "pids_localevents",
];

/// The container's part of the cgroup tree has the flags of a mount, but no options of a file system.
fn cgroup_kind(options: &MountOptions) -> Result<MountKind> {
    let is_ignored = |option: &FsOption| match option {
        FsOption::ReadOnly => true,
        FsOption::Flag(name) => OF_HIERARCHY.contains(&name.as_str()),
        FsOption::String(..) => false,
    };
    let mut all = options.file_system_options().filter(|option| !is_ignored(option));
    match all.next() {
        Some(option) => Err(with_hint(
            format!("option \"{option}\": the container's view of the cgroup tree has no options of its own"),
            "the options of the file system are those of the host's mount, and version 1 is not supported; use flags such as \
             ro and nosuid",
        )),
        None => Ok(MountKind::Cgroup),
    }
}

/// What Podman makes of `no-dereference`: the link itself is copied.
pub const COPY_SYMLINK: &str = "copy-symlink";

/// Options of crun about links, on a bind mount. Sorted.
pub const OF_LINKS: &[&str] = &[COPY_SYMLINK, "dest-nofollow", "src-nofollow"];

/// The target of the link to copy, if the source is a link.
fn link_to_copy(options: &MountOptions, source: &Path, context: &PlanContext) -> Option<PathBuf> {
    if !options.ignored_on_bind.iter().any(|(_, word)| word == COPY_SYMLINK) {
        return None;
    }
    // If it is not a link, or does not exist, the bind mount gives the better error.
    context.facts.links.get(source).cloned()
}

/// Which ends of a bind mount are not followed if they are symbolic links.
fn nofollow(options: &MountOptions) -> Result<NoFollow> {
    let has = |word: &str| options.ignored_on_bind.iter().any(|(_, option)| option == word);
    let nofollow = NoFollow {
        source: has("src-nofollow"),
        destination: has("dest-nofollow"),
    };
    if has(COPY_SYMLINK) && (nofollow.source || nofollow.destination) {
        return Err(with_hint(
            "copy-symlink makes a new link, but src-nofollow and dest-nofollow mount the existing one",
            "keep one of these options",
        ));
    }
    Ok(nofollow)
}

/// Where the host has a file system that a container in a user namespace may not mount anew: see `rootfs::instances`.
fn fallback(kind: &str, namespaces: &Namespaces) -> Option<&'static str> {
    let (shown, place) = match kind {
        "sysfs" => (libc::CLONE_NEWNET, "/sys"),
        "proc" => (libc::CLONE_NEWPID, "/proc"),
        "mqueue" => (libc::CLONE_NEWIPC, "/dev/mqueue"),
        _ => return None,
    };
    (namespaces.has(libc::CLONE_NEWUSER) && !namespaces.has(shown)).then_some(place)
}

/// Without a separate mount namespace the container's mounts are in no namespace, so nothing propagates to or from them.
fn stays_private(options: &MountOptions) -> Result<()> {
    if options
        .propagation
        .iter()
        .all(|one| one.kind == PropagationKind::Private)
    {
        return Ok(());
    }
    Err(with_hint(
        "its propagation requires a separate mount namespace: otherwise the container's mounts are in no namespace, and private",
        "leave the propagation out, or add {\"type\": \"mount\"} to linux.namespaces",
    ))
}

/// mount(2) copies one page, which must end with a zero, and silently cuts off the rest.
const LONGEST_DATA: usize = 4095;

fn too_long(options: &MountOptions) -> Result<()> {
    let Some(long) = options.file_system_options().find(|option| !option.fits_fsconfig()) else {
        return Ok(());
    };
    if !options.remount {
        let length = options.data_string().len();
        if length > LONGEST_DATA {
            return Err(with_hint(
                format!("its options have {length} bytes, and the kernel accepts at most {LONGEST_DATA}"),
                "shorten the paths in them, for example by symbolic links",
            ));
        }
        return Ok(());
    }
    bail!(
        "option {:?}: its value has {} bytes, and the kernel accepts at most 255 in a remount",
        long.key(),
        long.value().map_or(0, str::len)
    )
}

/// The path inside the container for a host's absolute path in the root file system. A path with `..` is left as it is, and
/// so is the root itself, on which nothing can be mounted.
fn inside(path: &Path, root: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(root).ok()?;
    let plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && !rest.as_os_str().is_empty()).then(|| absolute(rest))
}

/// Options that the specification wants accepted, and that cannot have an effect.
fn without_effect(index: usize, destination: &Path, options: &MountOptions, checks: &mut Checks) {
    for option in &options.without_effect {
        let text = format!("mounts[{index}] {destination:?}: option \"{option}\" has no effect here");
        if matches!(*option, "silent" | "loud") {
            checks.remarks.push(text);
        } else {
            checks.warnings.push(Warning::of_mount(index, text));
        }
    }
    for (place, option) in &options.ignored_on_bind {
        let text = format!(
            "mounts[{index}] {destination:?}: options[{place}] {option:?}: not an option of a bind mount, and without effect \
             (it takes flags such as ro, nosuid, nodev, noexec, and a propagation such as rslave)"
        );
        checks.warnings.push(Warning::of_mount(index, text));
    }
}

/// A path of the container as an absolute one without `.` and doubled slashes. `..` stays: it is resolved inside the root.
pub fn absolute(path: &Path) -> PathBuf {
    let parts = path
        .components()
        .filter(|part| !matches!(part, Component::CurDir | Component::RootDir));
    Path::new("/").join(parts.collect::<PathBuf>())
}

/// The same without `..`, as it resolves if no link is on the way.
pub fn normalize_dots(path: &Path) -> PathBuf {
    let mut folded = PathBuf::from("/");
    for part in absolute(path).components() {
        match part {
            Component::ParentDir => drop(folded.pop()),
            other => folded.push(other),
        }
    }
    folded
}
