//! The five capability sets, see capabilities(7). Run after the change of the user, with KEEPCAPS having preserved the
//! permitted set.

use nix::errno::Errno;

use super::seccomp::install;
use crate::error::{At, Context, Result};
use crate::plan::Process;
use crate::sys::capabilities::{self, CapabilitySets};

pub fn keep(plan: &Process) -> Result<()> {
    let wanted = plan.capabilities;
    // The inheritable set first, because what is added to it must still be in the bounding set; then the bounding set,
    // because dropping from it needs CAP_SETPCAP in the effective set, which the last capset takes away. A change of
    // the user has emptied the effective set, so it is filled once more.
    let now = capabilities::capget()?;
    capabilities::capset(CapabilitySets {
        effective: now.permitted,
        permitted: now.permitted,
        inheritable: wanted.inheritable,
    })
    .context(At::new("process.capabilities.inheritable"))?;
    for number in 0..64 {
        if wanted.bounding & 1 << number != 0 {
            continue;
        }
        match capabilities::drop_bounding(number) {
            Ok(()) => {}
            // The kernel knows no capability of this number, nor of a higher one.
            Err(error) if error.errno == Errno::EINVAL => break,
            // Without CAP_SETPCAP nothing can be dropped, which is no failure where nothing is to be dropped.
            Err(_) if capabilities::in_bounding(number) == Some(false) => {}
            Err(error) => return Err(error).context(At::new("process.capabilities.bounding")),
        }
    }
    capabilities::capset(CapabilitySets {
        effective: wanted.effective,
        permitted: wanted.permitted | install::kept_capability(plan) & now.permitted,
        inheritable: wanted.inheritable,
    })
    .context(At::new("process.capabilities"))?;
    capabilities::clear_ambient()?;
    for number in (0..64).filter(|number| wanted.ambient & 1 << number != 0) {
        match capabilities::raise_ambient(number) {
            // The plan has only what is permitted and inheritable. A caller may still have forbidden itself and its
            // children to raise any (SECBIT_NO_CAP_AMBIENT_RAISE); the spec wants no failure for that.
            Err(error) if error.errno == Errno::EPERM => {}
            other => other.context(At::new("process.capabilities.ambient"))?,
        }
    }
    Ok(())
}
