//! `mounts`: one entry at a time.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime as oci;

use super::id_map;
use super::options::PlanContext;
use crate::bundle::mount_options::OptionError;
use crate::error::{Error, Result, anyhow, bail, with_hint};
use crate::log;
use crate::plan::{Mount, MountKind, MountOptions, Namespaces, NoFollow, PropagationKind};

/// The root file system, and where in it something has been mounted so far.
pub struct Mounted<'a> {
    root: &'a Path,
    /// In the order of paths, in which all that lies below one follows it.
    destinations: BTreeSet<PathBuf>,
}

impl<'a> Mounted<'a> {
    pub fn new(root: &'a Path) -> Self {
        Mounted {
            root,
            destinations: BTreeSet::new(),
        }
    }

    /// Whether something is mounted at a path, above it or below it.
    fn touches(&self, path: &Path) -> bool {
        let mut from_here = self
            .destinations
            .range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        from_here.next().is_some_and(|next| next.starts_with(path))
            || path.ancestors().any(|above| self.destinations.contains(above))
    }
}

/// `mounted` gets the entry's destination added.
pub fn plan(
    (index, entry): (usize, &oci::Mount),
    around: &PlanContext,
    mounted: &mut Mounted,
    warnings: &mut Vec<String>,
) -> Result<Mount> {
    let mut destination = normal(entry.destination());
    if let Some(inside) = inside(entry.destination(), mounted.root) {
        warnings.push(format!(
            "mounts[{index}].destination: {destination:?} is the host's name of {inside:?} in the root file system; taken \
             as that"
        ));
        destination = inside;
    }
    if entry.destination().as_os_str().is_empty() {
        bail!("destination must not be empty");
    }
    if !entry.destination().is_absolute() {
        warnings.push(format!(
            "mounts[{index}].destination: a relative path is deprecated; taken as {destination:?}"
        ));
    }
    let mut options = MountOptions::parse(entry.options().as_deref().unwrap_or_default()).map_err(unknown)?;
    if destination == Path::new("/") && !options.remount {
        return Err(with_hint(
            "the root itself cannot be mounted over",
            "root.path names the root file system",
        ));
    }
    too_long(&options)?;
    let mut kind = kind(entry, &options, around)?;
    let nofollow = nofollow(&options)?;
    options
        .ignored_on_bind
        .retain(|(_, option)| !OF_LINKS.contains(&&**option));
    if let MountKind::Bind { source, inside } = &mut kind {
        *inside = self::inside(source, mounted.root).filter(|path| mounted.touches(path));
    }
    if kind == MountKind::Cgroup {
        let words = [(libc::MS_SILENT, "silent"), (libc::MS_I_VERSION, "iversion")];
        let asked = words.iter().filter(|(bit, _)| options.mount2 & bit != 0);
        options.without_effect.extend(asked.map(|(_, word)| *word));
    }
    without_effect(index, &destination, &options, warnings);
    if options.tmpcopyup && !matches!(&kind, MountKind::New { kind, .. } if kind == "tmpfs") {
        return Err(with_hint(
            "tmpcopyup copies into a new tmpfs, and this is none",
            "use type \"tmpfs\", or leave tmpcopyup out",
        ));
    }
    let id_map = id_map::plan(index, entry, &options, &kind, around)?;
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

/// An option that makes no sense, with what to write in its place where that can be told.
fn unknown(error: OptionError) -> Error {
    let cure = match &error {
        OptionError::Meant { words, .. } if words.len() > 1 => {
            format!("every option is a string of its own: {}", json_list(words))
        }
        OptionError::Meant { words, .. } => format!("write {}", json_list(words)),
        _ => return error.into(),
    };
    with_hint(error.to_string(), cure)
}

fn json_list(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    quoted.join(", ")
}

fn kind(entry: &oci::Mount, options: &MountOptions, around: &PlanContext) -> Result<MountKind> {
    let kind = entry.typ().as_deref().unwrap_or("none");
    let source = entry.source().as_ref();
    if options.remount {
        return Ok(MountKind::Remount);
    }
    if options.bind.is_some() {
        let source = source
            .filter(|s| !s.as_os_str().is_empty())
            .ok_or_else(|| anyhow!("a bind mount needs a source"))?;
        let source = around.bundle.join(source);
        return Ok(match link_to_copy(options, &source) {
            Some(target) => MountKind::Link(target),
            None => MountKind::Bind { source, inside: None },
        });
    }
    match kind {
        "cgroup" | "cgroup2" => match options
            .superblock
            .iter()
            .chain(&options.data)
            .find(|o| o.to_string() != "ro")
        {
            Some(option) => Err(with_hint(
                format!("option \"{option}\": what a container sees of the cgroup tree has no options of its own"),
                "the file system's are those of the host's mount, and version 1 is not supported; flags such as ro and \
                 nosuid can be had",
            )),
            None => Ok(MountKind::Cgroup),
        },
        "none" | "" => Err(with_hint(
            "type is missing, and no option says \"bind\"",
            "add \"bind\" or \"rbind\" to the options, or a file system type",
        )),
        // config.md, "Mounts": a bind mount is what the options make one, and its type is then without meaning.
        "bind" => Err(with_hint(
            "type \"bind\" is not a file system, and no option says \"bind\"",
            "add \"bind\" or \"rbind\" to the options",
        )),
        _ => Ok(MountKind::New {
            kind: kind.into(),
            source: source.map(|s| s.to_string_lossy().into_owned()),
            fallback: fallback(kind, around.namespaces),
        }),
    }
}

/// What Podman makes of `no-dereference`.
const COPY_SYMLINK: &str = "copy-symlink";

/// crun's options of a bind mount about links.
const OF_LINKS: &[&str] = &[COPY_SYMLINK, "dest-nofollow", "src-nofollow"];

/// The target of the link that is to be copied, if the source is one.
fn link_to_copy(options: &MountOptions, source: &Path) -> Option<PathBuf> {
    if !options.ignored_on_bind.iter().any(|(_, word)| word == COPY_SYMLINK) {
        return None;
    }
    // Of what is no link, or not there, a bind mount knows more to say.
    std::fs::read_link(source).ok()
}

/// Which ends of a bind mount are taken as they are where they are symbolic links.
fn nofollow(options: &MountOptions) -> Result<NoFollow> {
    let has = |word: &str| options.ignored_on_bind.iter().any(|(_, option)| option == word);
    let nofollow = NoFollow {
        source: has("src-nofollow"),
        destination: has("dest-nofollow"),
    };
    if has(COPY_SYMLINK) && (nofollow.source || nofollow.destination) {
        return Err(with_hint(
            "copy-symlink makes a link of its own, and src-nofollow and dest-nofollow mount one",
            "keep one of these options",
        ));
    }
    Ok(nofollow)
}

/// Where the host has what a container in a user namespace may not mount anew, and would not see otherwise either: see
/// `rootfs::instances`.
fn fallback(kind: &str, namespaces: &Namespaces) -> Option<&'static str> {
    let (shown, place) = match kind {
        "sysfs" => (libc::CLONE_NEWNET, "/sys"),
        "proc" => (libc::CLONE_NEWPID, "/proc"),
        "mqueue" => (libc::CLONE_NEWIPC, "/dev/mqueue"),
        _ => return None,
    };
    (namespaces.has(libc::CLONE_NEWUSER) && !namespaces.has(shown)).then_some(place)
}

/// Of a container without an own mount namespace: its mounts are in none, so nothing propagates to them or from them.
pub fn stays_private(options: &MountOptions) -> Result<()> {
    if options
        .propagation
        .iter()
        .all(|one| one.kind == PropagationKind::Private)
    {
        return Ok(());
    }
    Err(with_hint(
        "its propagation needs an own mount namespace: without one the container's mounts are in none, and all are private",
        "leave the propagation out, or add {\"type\": \"mount\"} to linux.namespaces",
    ))
}

/// What mount(2) copies: a page that ends with a zero. It cuts off what is longer without a word.
const LONGEST_DATA: usize = 4095;

fn too_long(options: &MountOptions) -> Result<()> {
    let mut all = options.superblock.iter().chain(&options.data);
    let Some(long) = all.find(|option| !option.fits_fsconfig()) else {
        return Ok(());
    };
    if !options.remount {
        let length = options.data_string().len();
        if length > LONGEST_DATA {
            return Err(with_hint(
                format!("its options have {length} bytes, and the kernel takes no more than {LONGEST_DATA}"),
                "shorten the paths in them, by symbolic links for example",
            ));
        }
        return Ok(());
    }
    let long = long.to_string();
    let (key, value) = long.split_once('=').unwrap_or((&long, ""));
    bail!(
        "option {key:?}: its value has {} bytes, and of a remount the kernel takes no more than 255",
        value.len()
    )
}

/// The path inside the container of what an absolute path of the host names in the root file system. What is written with
/// `..` is left as it is, and so is the root itself, on which nothing can be mounted.
fn inside(path: &Path, root: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(root).ok()?;
    let plain = rest.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && !rest.as_os_str().is_empty()).then(|| normal(rest))
}

/// Options that the specification wants accepted, and that nothing can be done about.
fn without_effect(index: usize, destination: &Path, options: &MountOptions, warnings: &mut Vec<String>) {
    for option in &options.without_effect {
        let text = || format!("mounts[{index}] {destination:?}: option \"{option}\" has no effect here");
        if matches!(*option, "silent" | "loud") {
            log::debug(text);
        } else {
            warnings.push(text());
        }
    }
    for (place, option) in &options.ignored_on_bind {
        warnings.push(format!(
            "mounts[{index}] {destination:?}: options[{place}] {option:?}: not an option of a bind mount, and without effect \
             (it takes flags such as ro, nosuid, nodev, noexec, and a propagation such as rslave)"
        ));
    }
}

/// A path of the container as an absolute one without `.` and doubled slashes. `..` stays: it is resolved inside the root.
pub fn normal(path: &Path) -> PathBuf {
    let parts = path
        .components()
        .filter(|part| !matches!(part, Component::CurDir | Component::RootDir));
    Path::new("/").join(parts.collect::<PathBuf>())
}

/// The same without `..`, as it is where no link lies on the way.
pub fn normalize_dots(path: &Path) -> PathBuf {
    let mut folded = PathBuf::from("/");
    for part in normal(path).components() {
        match part {
            Component::ParentDir => drop(folded.pop()),
            other => folded.push(other),
        }
    }
    folded
}
