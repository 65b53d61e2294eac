//! The parts of a container's mounts and devices that only the runtime can open or create. Run by the runtime, before the
//! clone; init inherits the descriptors.
//!
//! Init in a user namespace no longer has the runtime's privileges on the host: it cannot search a directory that only root
//! can access, map the owners of a host's file system, or create a device. So the runtime opens the sources of its bind
//! mounts, as detached trees with their attributes set, and creates its devices, in a tmpfs that belongs to the host's user
//! namespace. A container without a user namespace needs none of this, except the user namespaces with the ID maps of
//! ID-mapped mounts.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;

use super::bind::{self, Owners, Source, UnnamedFlags};
use super::devices;
use super::place::HostMounts;
use crate::child::{self, Spawned};
use crate::error::{At, Context, Result, Step, bail};
use crate::idmap;
use crate::plan::{IdMaps, Mount, MountKind, Plan};
use crate::progress;
use crate::sys::{SysError, Syscall, mount, process, socket};

/// Descriptors for init, which takes them one by one.
#[derive(Debug, Default)]
pub struct Sources {
    /// Detached trees of bind mounts, by their index in `mounts`.
    trees: BTreeMap<usize, OwnedFd>,
    /// User namespaces with the ID maps of mounts that init creates. Mounts with the same maps share one.
    mappings: BTreeMap<usize, Rc<OwnedFd>>,
    /// The device nodes of a container in a user namespace, see [`devices::prepare`].
    pub devices: Option<OwnedFd>,
    /// The tree of the root file system, for the case that init cannot access its path.
    pub root: Option<OwnedFd>,
}

impl Sources {
    /// Opens and creates what init will need. If the plan needs nothing, makes no system calls.
    pub fn prepare(plan: &Plan) -> Result<Self> {
        let mut sources = Self::default();
        let maps = plan.id_maps.as_ref();
        if maps.is_none() && plan.rootfs.mounts.iter().all(|entry| entry.id_map.is_none()) {
            return Ok(sources);
        }
        sources.prepare_mounts(plan, maps.is_some()).context(Step::Mounts)?;
        // An unprivileged user has no more privileges than init.
        if let Some(maps) = maps
            && process::effective_uid() == 0
        {
            sources.devices = devices::prepare(&plan.rootfs, maps).context(Step::Devices)?;
            sources.root = root_tree(plan)?;
        }
        Ok(sources)
    }

    /// Opens the sources of new mounts in a running container, from which the host's files are inaccessible.
    pub fn for_running(plan: &Plan) -> Result<Self> {
        let mut sources = Self::default();
        let privileged = process::effective_uid() == 0 && plan.id_maps.is_some();
        let unnamed = if privileged {
            UnnamedFlags::KeepLockable
        } else {
            UnnamedFlags::Clear
        };
        let shared = plan.id_maps.is_none() && plan.rootfs.propagation & libc::MS_SHARED != 0;
        let private = plan.rootfs.propagation & libc::MS_SLAVE == 0 && plan.id_maps.is_none();
        for entry in &plan.rootfs.mounts {
            let place = entry.place();
            let mut open = || -> Result<()> {
                let id_map = entry.id_map.as_ref();
                let mapping = id_map
                    .map(|id_map| create_user_namespace(&id_map.maps, &place))
                    .transpose()?;
                match &entry.kind {
                    MountKind::Bind { source, inside: None } => {
                        let owners = mapping.as_ref().map_or(Owners::Unmapped, Owners::Mapped);
                        let host = HostMounts::Inherited;
                        let tree = bind::bind(Source::Path(source), entry, owners, unnamed, host)?;
                        if !shared {
                            // A copy of a shared mount is its peer: mounts in the container would propagate to the host.
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

    fn prepare_mounts(&mut self, plan: &Plan, user_namespace: bool) -> Result<()> {
        let mut namespaces: BTreeMap<&IdMaps, Rc<OwnedFd>> = BTreeMap::new();
        for entry in &plan.rootfs.mounts {
            if user_namespace && has_source_inside(entry) {
                continue;
            }
            let at = || entry.at();
            progress::at(format_args!("{}", at()));
            let mapping = match &entry.id_map {
                None => None,
                Some(id_map) => Some(match namespaces.entry(&id_map.maps) {
                    Entry::Occupied(existing) => existing.get().clone(),
                    Entry::Vacant(vacant) => {
                        let place = entry.place();
                        let namespace = create_user_namespace(&id_map.maps, &place).with_context(at)?;
                        vacant.insert(namespace.into()).clone()
                    }
                }),
            };
            if user_namespace
                && let MountKind::Bind { source, .. } = &entry.kind
                && let Some(tree) = bind_tree(source, entry, mapping.as_deref()).with_context(at)?
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

    /// The descriptors, for code that closes all others.
    pub fn raw_fds(&self) -> impl Iterator<Item = RawFd> {
        let mappings = self.mappings.values().map(Rc::as_ref);
        let fds = self.trees.values().chain(mappings);
        fds.chain(&self.devices).chain(&self.root).map(|fd| fd.as_raw_fd())
    }
}

/// Whether its source is in the mount of an earlier entry, which only init can access.
fn has_source_inside(entry: &Mount) -> bool {
    matches!(&entry.kind, MountKind::Bind { inside: Some(_), .. })
}

/// Maps the owners of a mount that init in a user namespace has cloned from one of its mounts. Init has no privileges over
/// the file system.
pub fn map_for_init(plan: &Plan, index: usize, tree: &OwnedFd) -> Result<()> {
    // The mounts are in the order of the config.
    let found = plan.rootfs.mounts.binary_search_by_key(&index, |entry| entry.index);
    let Some(entry) = found.ok().and_then(|place| plan.rootfs.mounts.get(place)) else {
        bail!("protocol error: there is no mounts[{index}]")
    };
    let at = || At::object(format!("mounts[{index}]"), entry.destination.display());
    let Some(id_map) = &entry.id_map else { return Ok(()) };
    create_user_namespace(&id_map.maps, &format!("mounts[{index}]"))
        .and_then(|mapping| bind::map_ids(tree, entry, &mapping))
        .with_context(at)
}

/// The tree of the root file system. None if init shares an existing mount namespace, in which the tree could be attached
/// only at its path.
fn root_tree(plan: &Plan) -> Result<Option<OwnedFd>> {
    if !plan.namespaces.makes(libc::CLONE_NEWNS) {
        return Ok(None);
    }
    let clone = || -> Result<OwnedFd> {
        let tree = mount::clone_tree(crate::sys::fs::CWD, &plan.rootfs.path, true)?;
        mount::set_attributes(tree.as_fd(), 0, 0, libc::MS_SLAVE, true)?;
        Ok(tree)
    };
    match clone().context(Step::Root) {
        Err(error) if is_open_tree(&error, Errno::EPERM) => Ok(None),
        other => other.map(Some),
    }
}

/// The tree of a bind mount. None if the runtime has no privileges over its mount namespace; then init creates it.
fn bind_tree(source: &Path, entry: &Mount, mapping: Option<&OwnedFd>) -> Result<Option<OwnedFd>> {
    if process::effective_uid() != 0 {
        return Ok(None);
    }
    let owners = mapping.map_or(Owners::Unmapped, Owners::Mapped);
    let (unnamed, host) = (UnnamedFlags::KeepLockable, HostMounts::Inherited);
    let tree = match bind::bind(Source::Path(source), entry, owners, unnamed, host) {
        Err(error) if is_open_tree(&error, Errno::EPERM) => return Ok(None),
        other => other?,
    };
    // As for the mounts that init's namespace inherits from the runtime's: mounts on the host propagate into a user
    // namespace, but not back.
    mount::set_attributes(tree.as_fd(), 0, 0, libc::MS_SLAVE, true)?;
    Ok(Some(tree))
}

fn is_open_tree(error: &crate::error::Error, errno: Errno) -> bool {
    let call = error.downcast_ref::<SysError>();
    call.is_some_and(|call| call.errno == errno && call.call.name == Syscall::OpenTree)
}

/// Creates a user namespace that only serves as a pair of ID maps. A child is cloned into it, and ends once it is open.
pub fn create_user_namespace(maps: &IdMaps, place: &str) -> Result<OwnedFd> {
    match child::spawn(libc::CLONE_NEWUSER as u64, None)? {
        Spawned::Child(socket) => {
            // Until the runtime closes its end, or ends.
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
