//! The runtime's side of `checkpoint`: tells CRIU what the container is, and makes sure that it goes on unchanged if CRIU fails.

use std::os::fd::{AsFd, OwnedFd};

use protobuf::MessageField;
use serde_json::{Map, Value};

use super::config::Config;
use super::image::{Image, Network, Record};
use super::{external, namespaces, obstacles, options, streams};
use crate::cgroup::mount_options::MountOptions;
use crate::cgroup::{directory, freeze};
use crate::cli::{Checkpoint, NetworkLock};
use crate::criu::rpc::{Criu_network_lock_method, Criu_opts, Criu_page_server_info, Criu_req_type};
use crate::criu::{self, Script, Session, Start, stats};
use crate::error::{Context, Result, Step, anyhow, with_cleanup, with_hint};
use crate::interrupt::Interrupts;
use crate::launch::start;
use crate::state::Container;
use crate::status::{Snapshot, Status};
use crate::sys::{descriptor, fs};
use crate::{log, progress};

const LOG: &str = "dump.log";

/// The result of a dump.
pub struct Dumped {
    /// The processes have been killed; otherwise they go on.
    pub ended: bool,
    /// The statistics of CRIU.
    pub stats: Option<Map<String, Value>>,
}

/// Dumps a running or paused container, which the caller has locked.
pub fn dump(container: &Container, seen: &Snapshot, arguments: &Checkpoint, interrupts: &Interrupts) -> Result<Dumped> {
    let state = &seen.state;
    let init = seen.init.as_ref().ok_or_else(|| anyhow!("container not running"))?;
    let config = Config::parse(&container.read_config()?)?;
    let status_fd = arguments.status_fd.map(take_status_fd).transpose()?;
    obstacles::check(&config, state)?;
    let image = Image::create(&arguments.criu, LOG)?;
    if let Some(parent) = &arguments.parent_path {
        image.check_parent(parent)?;
    }
    let options = options(&config, seen, arguments, &image)?;
    progress::step(Step::Criu);
    let start = Start {
        shell_job: arguments.criu.shell_job,
        // With the directory of the container CRIU holds its lock, even if the runtime is killed.
        passed: image.descriptors().chain([container.fd()]).collect(),
        namespaces: 0,
        log: image.log.clone(),
        interrupts,
    };
    let dumped = run(start, options, arguments, status_fd);
    if let Err(error) = dumped {
        let error = options::explain_privileges(error.context(Step::Criu));
        let cleanup = criu::end_children().and_then(|()| go_on(seen));
        return Err(with_cleanup(error, cleanup));
    }
    let stats = stats::read(image.work_path());
    let ended = !arguments.pre_dump && !arguments.leave_running;
    if ended {
        start::wait_for_end(init).context("the processes were dumped, but init did not end")?;
    }
    Ok(Dumped { ended, stats })
}

fn run(start: Start, options: Criu_opts, arguments: &Checkpoint, mut status_fd: Option<OwnedFd>) -> Result<()> {
    let _options = MountOptions::keep()?;
    let session = Session::start(start, || Ok(()))?;
    if arguments.pre_dump || arguments.parent_path.is_some() || arguments.criu.lazy_pages {
        let features = session.features()?;
        if (arguments.pre_dump || arguments.parent_path.is_some()) && !features.mem_track() {
            return Err(with_hint(
                "this kernel does not track changes of memory, so it cannot be dumped in parts",
                "use a kernel with CONFIG_MEM_SOFT_DIRTY, or omit --pre-dump and --parent-path",
            ));
        }
        if arguments.criu.lazy_pages && !features.lazy_pages() {
            return Err(with_hint(
                "lazy pages are not supported by this kernel",
                "use a kernel with CONFIG_USERFAULTFD, or omit --lazy-pages",
            ));
        }
    }
    let kind = match arguments.pre_dump {
        true => Criu_req_type::PRE_DUMP,
        false => Criu_req_type::DUMP,
    };
    session.run(
        kind,
        options,
        // With lazy pages the images are complete only when all pages have been fetched.
        |script| script == Script::PostDump && !arguments.criu.lazy_pages,
        |notification| {
            if notification.script == Script::StatusReady
                && let Some(fd) = status_fd.take()
            {
                fs::write(fd.as_fd(), b"\0").context("--status-fd")?;
            }
            Ok(())
        },
    )?;
    session.end()
}

fn options(config: &Config, seen: &Snapshot, arguments: &Checkpoint, image: &Image) -> Result<Criu_opts> {
    let state = &seen.state;
    let mut options = options::common(&arguments.criu, image, &state.annotations);
    options.set_pid(state.pid);
    options.set_root(state.rootfs.to_string_lossy().into_owned());
    options.set_leave_running(arguments.leave_running);
    options.set_tcp_skip_in_flight(arguments.tcp_skip_in_flight);
    options.set_tcp_close(arguments.tcp_close);
    options.set_link_remap(arguments.link_remap);
    if let Some(parent) = &arguments.parent_path {
        options.set_parent_img(parent.to_string_lossy().into_owned());
        options.set_track_mem(true);
    }
    if let Some(server) = &arguments.page_server {
        let mut to = Criu_page_server_info::new();
        to.set_address(server.address.clone());
        to.set_port(server.port.into());
        options.ps = MessageField::some(to);
    }
    if let Some(method) = arguments.network_lock {
        options.set_network_lock(match method {
            NetworkLock::Iptables => Criu_network_lock_method::IPTABLES,
            NetworkLock::Nftables => Criu_network_lock_method::NFTABLES,
            NetworkLock::Skip => Criu_network_lock_method::SKIP,
        });
    }
    if let Some(cgroup) = &state.cgroup
        && directory::is_own(cgroup)?
    {
        options.set_freeze_cgroup(cgroup.path.to_string_lossy().into_owned());
    }
    namespaces::for_dump(&mut options, state.pid, |flag| config.joins(flag))?;
    let network = network(config, state.pid, arguments.criu.empty_ns.is_some())?;
    if network == Network::Empty {
        options.set_empty_ns(libc::CLONE_NEWNET as u32);
    }
    if !arguments.pre_dump {
        let external = external::find(config, state.pid)?;
        external::for_dump(&mut options, &external);
        image.write_streams(&streams::for_dump(&mut options, state)?)?;
        image.write_record(&Record {
            version: Record::VERSION,
            created: state.created.clone(),
            network,
            external,
        })?;
    }
    Ok(options)
}

/// Whether CRIU stores what is in the network namespace. It need not if there is only a loopback interface, and it must not if
/// something else will put the interfaces there again.
fn network(config: &Config, pid: i32, empty: bool) -> Result<Network> {
    if empty || !config.makes(libc::CLONE_NEWNET) || config.network_comes_from_outside() {
        return Ok(Network::Empty);
    }
    let file = format!("/proc/{pid}/net/dev");
    let text = std::fs::read_to_string(&file).with_context(|| file)?;
    // Two lines of headings, then `  name: numbers`.
    let more = text
        .lines()
        .skip(2)
        .filter_map(|line| line.split_once(':'))
        .any(|(name, _)| name.trim() != "lo");
    Ok(if more { Network::Full } else { Network::Empty })
}

/// A descriptor of the caller, which must be open for writing. It is closed once CRIU is ready, or fails.
fn take_status_fd(number: i32) -> Result<OwnedFd> {
    descriptor::take_for_writing(number).with_context(|| format!("--status-fd {number}"))
}

/// After a failure: the container goes on as before.
fn go_on(seen: &Snapshot) -> Result<()> {
    let Some(cgroup) = &seen.state.cgroup else {
        return Ok(());
    };
    if seen.status == Status::Paused || directory::own_directory(cgroup)?.is_none() {
        return Ok(());
    }
    // Not by cgroup.events: a CRIU that is killed may not have waited until all processes were frozen.
    if directory::read_at(&cgroup.path.join("cgroup.freeze"))?.trim() == "0" {
        return Ok(());
    }
    log::debug(|| format!("CRIU has left the cgroup {:?} frozen", cgroup.path));
    freeze::thaw(cgroup)
}
