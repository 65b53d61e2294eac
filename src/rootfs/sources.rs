//! What only the runtime can reach or make of a container's mounts and devices. Run by the runtime, before the clone;
//! init inherits the descriptors.
//!
//! Init in a user namespace has lost the runtime's power over the host: it cannot walk through a directory that is root's
//! alone, cannot map the owners of a host's file system, cannot make a device. So the sources of its bind mounts are
//! opened here, as detached trees with their attributes already on them, and its devices are made here, in a tmpfs that
//! belongs to the host's user namespace. A container without user namespace needs none of this, but for the user
//! namespaces that carry the mappings of id-mapped mounts.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;

use super::bind::{self, Owners, Source, Unnamed};
use super::devices;
use crate::child::{self, Spawned};
use crate::error::{At, Context, Result, Step, bail};
use crate::idmap;
use crate::plan::{IdMaps, Mount, MountKind, Plan};
use crate::progress;
use crate::sys::{SysError, mount, process, socket};

/// Descriptors that init uses up.
#[derive(Debug, Default)]
pub struct Sources {
    /// Ready trees of bind mounts, by their place in `mounts`.
    trees: BTreeMap<usize, OwnedFd>,
    /// User namespaces that carry the mappings of mounts which init makes. Mounts with the same mappings share one.
    mappings: BTreeMap<usize, Rc<OwnedFd>>,
    /// The nodes of a container in a user namespace, see [`devices::prepare`].
    pub devices: Option<OwnedFd>,
    /// The tree of the root file system, for an init that may not walk to it.
    pub root: Option<OwnedFd>,
}

impl Sources {
    /// Opens and makes what init will need. Costs nothing for a plan that needs nothing.
    pub fn prepare(plan: &Plan) -> Result<Self> {
        let mut sources = Self::default();
        let maps = plan.id_maps.as_ref();
        if maps.is_none() && plan.rootfs.mounts.iter().all(|entry| entry.id_map.is_none()) {
            return Ok(sources);
        }
        sources.of_mounts(plan, maps.is_some()).context(Step("mounts"))?;
        // A plain user can open and make no more than init can.
        if let Some(maps) = maps
            && process::effective_uid() == 0
        {
            sources.devices = devices::prepare(&plan.rootfs, maps).context(Step("devices"))?;
            sources.root = root(plan)?;
        }
        Ok(sources)
    }

    /// Opens what is to be mounted in a container that exists already: nothing of the host is in reach from there.
    pub fn of_running(plan: &Plan) -> Result<Self> {
        let mut sources = Self::default();
        let privileged = process::effective_uid() == 0 && plan.id_maps.is_some();
        let unnamed = if privileged {
            Unnamed::Locked
        } else {
            Unnamed::AsTheKernelAllows
        };
        let shared = plan.id_maps.is_none() && plan.rootfs.propagation & libc::MS_SHARED != 0;
        let private = plan.rootfs.propagation & libc::MS_SLAVE == 0 && plan.id_maps.is_none();
        for entry in &plan.rootfs.mounts {
            let place = format!("mounts[{}]", entry.index);
            let mut open = || -> Result<()> {
                let wanted = entry.id_map.as_ref();
                let mapping = wanted
                    .map(|wanted| user_namespace_of(&wanted.maps, &place))
                    .transpose()?;
                match &entry.kind {
                    MountKind::Bind { source, inside: None } => {
                        let owners = mapping.as_ref().map_or(Owners::AsTheyAre, Owners::Mapped);
                        let tree = bind::bind(Source::Path(source), entry, owners, unnamed)?;
                        if !shared {
                            // A copy of a shared mount is its peer: what the container mounts in it would come to the host.
                            let propagation = if private { libc::MS_PRIVATE } else { libc::MS_SLAVE };
                            mount::set_attributes(tree.as_fd(), 0, 0, propagation, true)?;
                        }
                        sources.trees.insert(entry.index, tree);
                    }
                    _ => {
                        if let Some(mapping) = mapping {
                            sources.mappings.insert(entry.index, mapping.into());
                        }
                    }
                }
                Ok(())
            };
            open().with_context(|| At::object(&place, entry.destination.display()))?;
        }
        Ok(sources)
    }

    fn of_mounts(&mut self, plan: &Plan, user_namespace: bool) -> Result<()> {
        let mut made: BTreeMap<&IdMaps, Rc<OwnedFd>> = BTreeMap::new();
        for entry in &plan.rootfs.mounts {
            if user_namespace && is_of_mounts(entry) {
                continue;
            }
            let at = || At::object(format!("mounts[{}]", entry.index), entry.destination.display());
            progress::at(format_args!("{}", at()));
            let mapping = match &entry.id_map {
                None => None,
                Some(wanted) => Some(match made.entry(&wanted.maps) {
                    Entry::Occupied(known) => known.get().clone(),
                    Entry::Vacant(new) => {
                        let place = format!("mounts[{}]", entry.index);
                        let made = user_namespace_of(&wanted.maps, &place).with_context(at)?;
                        new.insert(made.into()).clone()
                    }
                }),
            };
            if user_namespace
                && let MountKind::Bind { source, .. } = &entry.kind
                && let Some(tree) = tree(source, entry, mapping.as_deref()).with_context(at)?
            {
                self.trees.insert(entry.index, tree);
            } else if let Some(mapping) = mapping {
                self.mappings.insert(entry.index, mapping);
            }
        }
        Ok(())
    }

    pub fn take_tree(&mut self, index: usize) -> Option<OwnedFd> {
        self.trees.remove(&index)
    }

    pub fn take_mapping(&mut self, index: usize) -> Option<Rc<OwnedFd>> {
        self.mappings.remove(&index)
    }

    /// The descriptors, for whoever closes all others.
    pub fn numbers(&self) -> impl Iterator<Item = RawFd> {
        let mappings = self.mappings.values().map(Rc::as_ref);
        let listed = self.trees.values().chain(mappings);
        listed.chain(&self.devices).chain(&self.root).map(|fd| fd.as_raw_fd())
    }
}

/// Whether its source is what earlier entries have mounted, which only init has.
pub fn is_of_mounts(entry: &Mount) -> bool {
    matches!(&entry.kind, MountKind::Bind { inside: Some(_), .. })
}

/// Maps the owners of a mount that init in a user namespace has copied from its own ones. It has no power over their file
/// systems.
pub fn map_for_init(plan: &Plan, index: usize, tree: &OwnedFd) -> Result<()> {
    // They stand in the order of the config.
    let found = plan.rootfs.mounts.binary_search_by_key(&index, |entry| entry.index);
    let Some(entry) = found.ok().and_then(|place| plan.rootfs.mounts.get(place)) else {
        bail!("protocol error: there is no mounts[{index}]")
    };
    let at = || At::object(format!("mounts[{index}]"), entry.destination.display());
    let Some(wanted) = &entry.id_map else { return Ok(()) };
    user_namespace_of(&wanted.maps, &format!("mounts[{index}]"))
        .and_then(|mapping| bind::map_ids(tree, entry, &mapping))
        .with_context(at)
}

/// The tree of the root file system; none where init is in a mount namespace of others, in which it could be put nowhere
/// but on the path.
fn root(plan: &Plan) -> Result<Option<OwnedFd>> {
    if !plan.namespaces.makes(libc::CLONE_NEWNS) {
        return Ok(None);
    }
    let clone = || -> Result<OwnedFd> {
        let tree = mount::clone_tree(crate::sys::fs::CWD, &plan.rootfs.path, true)?;
        mount::set_attributes(tree.as_fd(), 0, 0, libc::MS_SLAVE, true)?;
        Ok(tree)
    };
    match clone().context(Step("root")) {
        Err(error) if is_open_tree(&error, Errno::EPERM) => Ok(None),
        other => other.map(Some),
    }
}

/// The tree of a bind mount; none where the runtime has no power over its own mount namespace, and it is left to init.
fn tree(source: &Path, entry: &Mount, mapping: Option<&OwnedFd>) -> Result<Option<OwnedFd>> {
    if process::effective_uid() != 0 {
        return Ok(None);
    }
    let owners = mapping.map_or(Owners::AsTheyAre, Owners::Mapped);
    let tree = match bind::bind(Source::Path(source), entry, owners, Unnamed::Locked) {
        Err(error) if is_open_tree(&error, Errno::EPERM) => return Ok(None),
        other => other?,
    };
    // As for the mounts that init's namespace copies from ours: what is mounted on the host arrives in a user namespace,
    // and nothing goes back.
    mount::set_attributes(tree.as_fd(), 0, 0, libc::MS_SLAVE, true)?;
    Ok(Some(tree))
}

fn is_open_tree(error: &crate::error::Error, errno: Errno) -> bool {
    let call = error.downcast_ref::<SysError>();
    call.is_some_and(|call| call.errno == errno && call.call.starts_with("open_tree("))
}

/// A user namespace that is nothing but a pair of mappings: a child is born in it, and ends when it has been opened.
fn user_namespace_of(maps: &IdMaps, place: &str) -> Result<OwnedFd> {
    match child::spawn(libc::CLONE_NEWUSER as u64, None)? {
        Spawned::Child(socket) => {
            // Until the runtime closes its end, or is gone.
            let _ = socket::next_length(socket.as_fd());
            process::exit_now(0)
        }
        Spawned::Parent(child) => {
            let open = || -> Result<OwnedFd> {
                idmap::write_of(child.pid, maps, place)?;
                let path = format!("/proc/{}/ns/user", child.pid);
                Ok(crate::sys::fs::open(Path::new(&path), libc::O_RDONLY)?)
            };
            let result = open();
            child.end()?;
            result
        }
    }
}
