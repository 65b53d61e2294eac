//! `create`: creates a container, up to the point where it waits for `start`.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::activation;
use crate::bundle::load;
use crate::bundle::validate::{Cgroups, RuntimeOptions};
use crate::cli::{CgroupManager, Create, CreateArgs, Global, Rootless};
use crate::error::{At, Context, Result, bail, with_hint};
use crate::foreground::notify;
use crate::interrupt::Interrupts;
use crate::launch::create::{self, CreateOptions};
use crate::plan::seccomp::Logging;
use crate::plan::{Activation, Optional, Plan};
use crate::progress;
use crate::state::Store;
use crate::state::store::check_id;
use crate::sys::descriptor;

pub fn run(store: &Store, arguments: &Create, global: &Global) -> Result<u8> {
    let create = || -> Result<()> {
        check_id(&arguments.id)?;
        let cgroup = cgroups(global, &arguments.id);
        let plan = plan(&arguments.common, bundle(&arguments.common), true, None, cgroup)?;
        let interrupts = Rc::new(Interrupts::watch()?);
        let container = store.claim(&arguments.id)?;
        let options = CreateOptions {
            start_later: true,
            console_socket: arguments.common.console_socket.as_deref(),
            pidfd_socket: arguments.common.pidfd_socket.as_deref(),
            pid_file: arguments.common.pid_file.as_deref(),
            interrupts,
        };
        create::create(container, &plan, &options).map(drop)
    };
    create().with_context(|| format!("create {:?}", arguments.id))?;
    Ok(crate::exit_code::SUCCESS)
}

/// The bundle directory.
pub fn bundle(common: &CreateArgs) -> &Path {
    common.bundle.as_deref().unwrap_or(Path::new("."))
}

/// How the cgroup of the container with this ID is managed.
pub fn cgroups(global: &Global, id: &str) -> Cgroups {
    match global.manager() {
        CgroupManager::Cgroupfs => Cgroups::Files(match global.rootless {
            Rootless::True => Optional::Always,
            Rootless::False => Optional::Never,
            Rootless::Auto => Optional::WithoutRoot,
        }),
        CgroupManager::Systemd => Cgroups::Systemd(id.to_string()),
        CgroupManager::Disabled => Cgroups::None,
    }
}

/// Reads the bundle, and checks what depends on both the configuration and the command line.
pub fn plan(
    common: &CreateArgs,
    bundle: &Path,
    detached: bool,
    seccomp_log: Option<Logging>,
    cgroup: Cgroups,
) -> Result<Plan> {
    let activation = activation::inherited()?;
    let options = RuntimeOptions {
        no_pivot: common.no_pivot,
        no_new_keyring: common.no_new_keyring,
        preserve_fds: common.preserve_fds + activation.as_ref().map_or(0, |activation| activation.count),
        activation,
        notify: notify::wanted(),
        seccomp_log,
        cgroup,
    };
    progress::at(format_args!("bundle"));
    let plan = load::plan(bundle, common.config.as_deref(), &options)?;
    let terminal = plan.process.as_ref().is_some_and(|process| process.terminal);
    if needs_console_socket(terminal, detached, common.console_socket.as_deref()) {
        return Err(with_hint(
            NO_CONSOLE_SOCKET,
            "give --console-socket, or set process.terminal to false",
        ))
        .context(At::new("process.terminal"));
    }
    if useless_console_socket(terminal, detached, common.console_socket.as_deref()) {
        return Err(with_hint(
            USELESS_CONSOLE_SOCKET,
            "set process.terminal to true (`run` also requires --detach), or omit --console-socket",
        ));
    }
    Ok(plan)
}

pub const NO_CONSOLE_SOCKET: &str = "cannot allocate a terminal if orlop will detach without setting console socket";
pub const USELESS_CONSOLE_SOCKET: &str = "cannot use console socket if orlop will not detach or allocate a terminal";

/// Whether there is a terminal whose master side would have no owner.
pub fn needs_console_socket(terminal: bool, detached: bool, socket: Option<&Path>) -> bool {
    terminal && detached && socket.is_none()
}

/// Whether a socket is given, but there is no terminal, or the runtime keeps its master side.
pub fn useless_console_socket(terminal: bool, detached: bool, socket: Option<&Path>) -> bool {
    socket.is_some() && !(terminal && detached)
}

/// Sets close-on-exec on all file descriptors but the standard streams. Descriptors that the caller left open by mistake must
/// reach neither a hook nor the container and its working directory (CVE-2024-21626); the init process closes them before
/// anything else. They are not closed here, because an argument may name one (`--process /dev/fd/63`, which a shell passes
/// for `<(…)`). Fails if a descriptor that is to be passed is not open.
pub fn inherit_only(activation: Option<&Activation>, preserved: u32) -> Result<()> {
    let handed = activation.map_or(0, |activation| activation.count);
    for number in 0..handed + preserved {
        let fd = 3 + number as i32;
        if !descriptor::is_open(fd) {
            if number < handed {
                bail!("LISTEN_FDS={handed}: file descriptor {fd} is not open");
            }
            bail!("--preserve-fds {preserved}: file descriptor {fd} is not open");
        }
    }
    // Those to be passed as well: they are for the init process, not for hooks.
    descriptor::close_on_exec_from(3)?;
    Ok(())
}

/// For `run BUNDLE`: the ID, derived from the name of the bundle directory.
pub fn id_of(bundle: &Path) -> String {
    let absolute: PathBuf = std::fs::canonicalize(bundle).unwrap_or_else(|_| bundle.to_path_buf());
    let name = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let id: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "_+-.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(200)
        .collect();
    if id.trim_matches('.').is_empty() {
        "container".into()
    } else {
        id
    }
}
