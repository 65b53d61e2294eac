//! What `create` and `run` share: the plan of a new container, from the bundle and the command line.

use std::path::Path;

use super::console_socket;
use crate::bundle::load;
use crate::bundle::validate::{Cgroups, RuntimeOptions};
use crate::cli::{CgroupManager, CreateArgs, Global, Rootless};
use crate::error::{At, Context, Result, Step, with_hint};
use crate::foreground::notify;
use crate::inherited;
use crate::plan::seccomp::Logging;
use crate::plan::{Optional, Plan};
use crate::progress;

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
    no_new_keyring: bool,
    seccomp_log: Option<Logging>,
    cgroup: Cgroups,
) -> Result<Plan> {
    let activation = inherited::activation()?;
    let options = RuntimeOptions {
        no_pivot: common.no_pivot,
        no_new_keyring,
        preserve_fds: common.preserve_fds + activation.as_ref().map_or(0, |activation| activation.count),
        closed_fds: inherited::closed().to_vec(),
        activation,
        notify: notify::wanted(),
        seccomp_log,
        cgroup,
    };
    progress::step(Step::Bundle);
    let plan = load::plan(bundle, common.config.as_deref(), &options)?;
    let terminal = plan.process.as_ref().is_some_and(|process| process.terminal);
    if console_socket::is_missing(terminal, detached, common.console_socket.as_deref()) {
        return Err(with_hint(
            console_socket::MISSING,
            "give --console-socket, or set process.terminal to false",
        ))
        .context(At::new("process.terminal"));
    }
    if console_socket::is_useless(terminal, detached, common.console_socket.as_deref()) {
        return Err(with_hint(
            console_socket::USELESS,
            "set process.terminal to true (`run` also requires --detach), or omit --console-socket",
        ));
    }
    Ok(plan)
}
