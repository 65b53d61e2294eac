//! The runtime's side of `restore`: prepares everything around the processes as `create` does, has CRIU restore them, and makes
//! the container visible once they are complete. A failure undoes everything.
//!
//! The first process is a child of CRIU, which so notices if it is killed; as a sibling (`rst_sibling`) it would leave CRIU
//! waiting for ever. It becomes a child of the runtime, the nearest subreaper, when CRIU exits.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::external::{self, External, Source, pair};
use super::image::{Image, Network, Record};
use super::root::Staging;
use super::{namespaces, options, streams};
use crate::bundle::validate::mounts::normalize_dots;
use crate::cgroup::mount_options::MountOptions;
use crate::cgroup::{apply, mount, oom, resctrl};
use crate::cli::{ManageCgroups, Restore};
use crate::criu::rpc::{Cgroup_root, Criu_opts, Criu_req_type};
use crate::criu::{self, Notification, Script, Session, Start};
use crate::error::{At, Context, Error, Result, Step, anyhow, with_cleanup, with_hint};
use crate::init::identity;
use crate::interrupt::Interrupts;
use crate::launch::rollback::{InitProcess, Rollback, take_back};
use crate::launch::{commit, fd_passing, surroundings};
use crate::net::devices;
use crate::own_namespace::OwnNamespace;
use crate::plan::{IdMapping, IdMaps, Mount, MountKind, Plan};
use crate::rootfs::Root;
use crate::state::{Container, State};
use crate::sys::{fs, process, socket};
use crate::timings::{self, Peer};
use crate::{log, progress};

const LOG: &str = "restore.log";

/// A container whose processes run again.
pub struct Restored {
    pub container: Container,
    pub state: State,
    pub init: Rc<InitProcess>,
    /// The terminal's master end, if there is one and no console socket took it.
    pub master: Option<OwnedFd>,
}

/// The images, opened before an ID is claimed.
pub fn images(arguments: &Restore) -> Result<Image> {
    Image::open(&arguments.criu, LOG)
}

/// Restores a container under a claimed ID.
pub fn restore(
    container: Container,
    plan: &Plan,
    arguments: &Restore,
    image: &Image,
    interrupts: &Rc<Interrupts>,
) -> Result<Restored> {
    for warning in &plan.warnings {
        log::warning(&warning.text);
    }
    let state = surroundings::new_state(&container.id, plan)?;
    let mut made = Rollback::new(container, state);
    let built = MountOptions::keep().and_then(|_until_built| build(&mut made, plan, arguments, image, interrupts));
    match (built, made.init.clone()) {
        (Ok(master), Some(init)) => {
            progress::reached("restored");
            Ok(Restored {
                container: made.container,
                state: made.state,
                init,
                master,
            })
        }
        (built, _) => {
            timings::failed();
            progress::step(Step::Rollback);
            let _ = interrupts.check();
            let error = match built {
                _ if made.container.is_deleted() => anyhow!("the container was deleted while it was being restored"),
                Err(error) => options::explain_privileges(explain(error, &made)),
                Ok(_) => anyhow!("criu has restored no process"),
            };
            let ended = criu::end_children();
            let cleanup = take_back(made, plan);
            Err(with_cleanup(error, ended.and(cleanup)))
        }
    }
}

fn build(
    made: &mut Rollback,
    plan: &Plan,
    arguments: &Restore,
    image: &Image,
    interrupts: &Rc<Interrupts>,
) -> Result<Option<OwnedFd>> {
    interrupts.check()?;
    let record = image.read_record()?;
    if let Some(record) = &record {
        made.state.created.clone_from(&record.created);
    }
    surroundings::make(made, plan, interrupts)?;
    surroundings::restrict(made, plan)?;
    progress::step(Step::State);
    made.container.write_config(&plan.config_text).context(Step::State)?;
    let notify_directory = match plan.process.as_ref().is_some_and(|process| process.notify) || has_notify(&record) {
        true => Some(made.container.make_notify_directory()?),
        false => None,
    };
    let network = record.as_ref().map_or(Network::Empty, |record| record.network);
    let cgroup = made.leaf.as_ref().map(|leaf| leaf.place.path.clone());
    let (options, inherited) = request(plan, arguments, image, record.as_ref(), cgroup.as_deref())?;
    // With the directory of the container CRIU holds its lock, even if the runtime is killed.
    let lock = made.container.fd().try_clone_to_owned()?;
    let own_cgroup = arguments.criu.manage_cgroups_mode == Some(ManageCgroups::Ignore);
    let start = Start {
        shell_job: arguments.criu.shell_job,
        passed: inherited
            .iter()
            .chain([&lock])
            .map(AsFd::as_fd)
            .chain(image.descriptors())
            .collect(),
        namespaces: libc::CLONE_NEWNS as u64,
        log: image.log.clone(),
        interrupts,
    };
    let keyring = plan.process.as_ref().filter(|process| process.new_keyring);
    let keyring = keyring.map(|_| made.state.keyring_name());
    progress::step(Step::Criu);
    let waiting = progress::wait_for(Peer::Criu);
    let session = Session::start(start, || {
        if let Some(path) = cgroup.as_ref().filter(|_| own_cgroup) {
            // CRIU leaves the processes in the cgroup that it is in itself.
            enter(path).context(Step::Cgroup)?;
        }
        if let Some(name) = &keyring {
            // The restored processes inherit it.
            identity::join_keyring(name, plan.id_maps.is_some()).context(Step::Keyring)?;
        }
        Staging::prepare(plan, cgroup.as_deref(), notify_directory.as_deref())?;
        image.reopen(plan.id_maps.as_ref())
    })
    .context(Step::Criu)?;
    let mut master = None;
    session
        .run(
            Criu_req_type::RESTORE,
            options,
            |script| script == Script::PostRestore,
            |notification| {
                notified(made, plan, arguments, network, interrupts, &mut master, notification)?;
                progress::step(Step::Criu);
                if let Some(init) = &made.init {
                    session.depends_on(init.pidfd.try_clone()?);
                }
                Ok(())
            },
        )
        .context(Step::Criu)?;
    session.end()?;
    drop(waiting);
    if let Some(leaf) = &made.leaf {
        apply::close(leaf, &plan.cgroup, made.systemd.as_mut())?;
    }
    // The processes keep the unit alive now.
    made.placeholder = None;
    Ok(master)
}

/// The OOM killer may have been the reason: CRIU only finds that a process has ended.
fn explain(error: Error, made: &Rollback) -> Error {
    let limit = made.leaf.as_ref().and_then(|leaf| oom::ran_out_of_memory(&leaf.place));
    match limit {
        Some(limit) => error.context(format!("the processes need more memory than they may use: {limit}")),
        None => error,
    }
}

fn has_notify(record: &Option<Record>) -> bool {
    let external = record.as_ref().map(|record| record.external.as_slice());
    external
        .unwrap_or_default()
        .iter()
        .any(|external| external.source == Source::Notify)
}

/// The request to CRIU, and the descriptors that it has to inherit for it.
fn request(
    plan: &Plan,
    arguments: &Restore,
    image: &Image,
    record: Option<&Record>,
    cgroup: Option<&Path>,
) -> Result<(Criu_opts, Vec<OwnedFd>)> {
    let mut options = options::common(&arguments.criu, image, &plan.annotations);
    options.set_root(Staging::root());
    options.set_evasive_devices(true);
    options.set_tcp_close(arguments.tcp_close);
    if let Some(profile) = &arguments.lsm_profile {
        options.set_lsm_profile(profile.clone());
    }
    if let Some(context) = &arguments.lsm_mount_context {
        options.set_lsm_mount_context(context.clone());
    }
    if record.is_none_or(|record| record.network == Network::Empty) || arguments.criu.empty_ns.is_some() {
        options.set_empty_ns(libc::CLONE_NEWNET as u32);
    }
    for (key, value) in sources(plan, record)? {
        options.ext_mnt.push(pair(&key, &value));
    }
    if let Some(path) = cgroup {
        options.cg_root.push(cgroup_root(path)?);
    }
    let mut inherited = namespaces::for_restore(&mut options, plan)?;
    let known = 3 + plan.process.as_ref().map_or(0, |process| process.preserve_fds) as usize;
    inherited.extend(streams::for_restore(&mut options, image.read_streams()?, known)?);
    Ok((options, inherited))
}

/// The sources of external mounts, by their keys.
fn sources(plan: &Plan, record: Option<&Record>) -> Result<Vec<(String, String)>> {
    let mut sources = vec![(external::NULL.to_string(), external::NULL.to_string())];
    let bind = |destination: &Path| {
        let entries = plan.rootfs.mounts.iter();
        entries
            .rev()
            .filter(|entry| matches!(entry.kind, MountKind::Bind { inside: None, .. }))
            .find(|entry| normalize_dots(&entry.destination) == destination)
    };
    match record {
        Some(record) => {
            for external in &record.external {
                sources.push((external.key().into(), source(plan, external, bind)?));
            }
        }
        // The keys of other runtimes are the mount points; those of crun for masked files too.
        None => {
            let top = fs::open(&plan.rootfs.path, libc::O_PATH | libc::O_DIRECTORY)?;
            let root = Root::new(top);
            for entry in &plan.rootfs.mounts {
                if let MountKind::Bind { inside: None, .. } = entry.kind {
                    let point = external::resolved(&root, &entry.destination);
                    sources.push((text_of(&point)?, place(plan, entry)?));
                }
            }
            sources.push((external::EMPTY_OF_CRUN.into(), Staging::empty()));
            for path in &plan.rootfs.masked {
                sources.push((text_of(&normalize_dots(path))?, external::NULL.into()));
            }
            for (number, device) in plan.rootfs.devices.iter().enumerate() {
                let path = text_of(&device.path)?;
                let source = match plan.id_maps {
                    Some(_) => Staging::device(number),
                    None => path.clone(),
                };
                sources.push((path, source));
            }
        }
    }
    Ok(sources)
}

fn source<'p>(plan: &Plan, external: &External, bind: impl Fn(&Path) -> Option<&'p Mount>) -> Result<String> {
    match &external.source {
        Source::Mount { destination, below } => {
            let entry = bind(Path::new(destination)).ok_or_else(|| {
                with_hint(
                    format!("the checkpoint has a bind mount on {destination:?}, which the config does not have"),
                    "restore with the config.json of the checkpoint; only the sources of bind mounts may differ",
                )
            });
            external::check_below(below)?;
            let top = place(plan, entry.context(At::new("mounts"))?)?;
            Ok(match below.as_str() {
                "" => top,
                below => format!("{top}/{below}"),
            })
        }
        Source::Device => {
            let devices = &plan.rootfs.devices;
            let number = devices
                .iter()
                .position(|device| device.path == Path::new(&external.point));
            Ok(match number.filter(|_| plan.id_maps.is_some()) {
                Some(number) => Staging::device(number),
                None => external.point.clone(),
            })
        }
        Source::Notify => Ok(Staging::notify()),
        Source::Null => Ok(external::NULL.into()),
        Source::Cgroup => Ok(Staging::cgroup()),
    }
}

/// Where CRIU finds the source of a bind mount. Mounts that are slaves of one mount of the host get their propagation from the
/// source of one of them, and for this the kernel requires that the mount there shows all of them. So CRIU gets the path on the
/// host, unless the mount is ID-mapped, or the root of a user namespace may not search that path.
fn place(plan: &Plan, entry: &Mount) -> Result<String> {
    let on_host = path_on_host(entry).filter(|path| match &plan.id_maps {
        None => true,
        // A staged source has the flags that `create` has set, which this root may not clear.
        Some(maps) => has_company(plan, entry, path) && is_searchable(path, maps),
    });
    match on_host {
        Some(path) => text_of(&path),
        None => Ok(Staging::mount(entry.index)),
    }
}

/// The source as a path of the host that CRIU can open.
fn path_on_host(entry: &Mount) -> Option<PathBuf> {
    match &entry.kind {
        MountKind::Bind { source, inside: None } if entry.id_map.is_none() && !entry.nofollow.source => {
            // CRIU does not follow a symbolic link. A link of the kernel, as in /proc/PID/ns, has no other path.
            source.canonicalize().ok().filter(|path| !Staging::covers(path))
        }
        _ => None,
    }
}

/// Whether other bind mounts have their sources on the same mount of the host.
fn has_company(plan: &Plan, entry: &Mount, path: &Path) -> bool {
    let mount = |path: &Path| fs::mount_id(fs::open(path, libc::O_PATH)?.as_fd());
    let Ok(own) = mount(path) else { return false };
    let mut others = plan.rootfs.mounts.iter().filter(|other| other.index != entry.index);
    others.any(|other| path_on_host(other).is_some_and(|path| mount(&path).is_ok_and(|id| id == own)))
}

/// Whether the root of a user namespace may search all directories on the way to a path.
fn is_searchable(path: &Path, maps: &IdMaps) -> bool {
    let host = |maps: &[IdMapping]| maps.iter().find_map(|map| map.to_host(0));
    path.ancestors().skip(1).all(|directory| {
        let Ok(stat) = fs::lstatat(fs::CWD, directory) else {
            return false;
        };
        let search = match () {
            () if host(&maps.uid) == Some(stat.st_uid) => libc::S_IXUSR,
            () if host(&maps.gid) == Some(stat.st_gid) => libc::S_IXGRP,
            () => libc::S_IXOTH,
        };
        stat.st_mode & search != 0
    })
}

/// Where CRIU restores the cgroups of the container: a path in the tree of cgroup v2, which has no list of controllers.
fn cgroup_root(path: &Path) -> Result<Cgroup_root> {
    let top = mount::mount_point()?;
    let mut root = Cgroup_root::new();
    root.set_ctrl(String::new());
    root.set_path(text_of(&Path::new("/").join(path.strip_prefix(top).unwrap_or(path)))?);
    Ok(root)
}

/// Moves this process into a cgroup.
fn enter(cgroup: &Path) -> Result<()> {
    let file = fs::open(&cgroup.join("cgroup.procs"), libc::O_WRONLY)?;
    fs::write(file.as_fd(), b"0")?;
    Ok(())
}

fn notified(
    made: &mut Rollback,
    plan: &Plan,
    arguments: &Restore,
    network: Network,
    interrupts: &Interrupts,
    master: &mut Option<OwnedFd>,
    notification: Notification,
) -> Result<()> {
    match notification.script {
        Script::SetupNamespaces => {
            let init = found(made, notification.pid)?;
            set_up_namespaces(made, plan, &init, network)?;
            surroundings::run_hooks(&made.state, &init, plan, interrupts)
        }
        Script::OrphanPtsMaster => {
            let fd = notification.fd.ok_or_else(|| anyhow!("criu has sent no terminal"))?;
            *master = Some(fd);
            Ok(())
        }
        Script::PostRestore => {
            let init = found(made, notification.pid)?;
            interrupts.check()?;
            let common = &arguments.common;
            if let Some(path) = &common.pidfd_socket {
                fd_passing::pidfd(path, &init.pidfd, "standard")?;
            }
            *master = fd_passing::console(common.console_socket.as_deref(), master.take())?;
            commit::prepare(made, &init)?;
            commit::publish(made, &init, common.pid_file.as_deref())
        }
        Script::PostDump | Script::StatusReady | Script::Other => Ok(()),
    }
}

/// The first process, which waits for CRIU meanwhile, so its pid cannot be reused.
fn found(made: &mut Rollback, pid: i32) -> Result<Rc<InitProcess>> {
    if let Some(init) = made.init.as_ref().filter(|init| init.pid == pid) {
        return Ok(init.clone());
    }
    let init = Rc::new(InitProcess {
        pid,
        pidfd: process::pidfd_open(pid)?,
    });
    made.init = Some(init.clone());
    Ok(init)
}

/// What `create` does from outside for a new init. Later processes inherit it.
fn set_up_namespaces(made: &mut Rollback, plan: &Plan, init: &InitProcess, network: Network) -> Result<()> {
    if let Some(class) = &made.class {
        resctrl::assign(&class.state, init.pid).context(Step::ClassOfService)?;
    }
    let path = format!("/proc/{}/ns/net", init.pid);
    let path = Path::new(&path);
    if plan.namespaces.makes(libc::CLONE_NEWNET) && network == Network::Empty {
        let up = || -> Result<(), Error> {
            let namespace = fs::open_namespace(path)?;
            let socket = OwnNamespace::network()?.visit(namespace.as_fd(), socket::control)?;
            Ok(socket::loopback_up(socket.as_fd())?)
        };
        up().context(Step::Network)?;
    }
    if plan.net_devices.is_empty() {
        return Ok(());
    }
    let take = || match plan.namespaces.joins(libc::CLONE_NEWNET) {
        Some(joined) => devices::take(&devices::still_outside(&plan.net_devices, &joined.path)?, &joined.path),
        None => devices::take(&plan.net_devices, path),
    };
    made.net_devices = Some(take().context(Step::NetworkDevices)?);
    Ok(())
}

/// CRIU takes paths as text.
fn text_of(path: &Path) -> Result<String> {
    let text = path.to_str().map(String::from);
    text.ok_or_else(|| anyhow!("the path {path:?} is not in UTF-8, and CRIU accepts no other path"))
}
