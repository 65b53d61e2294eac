//! The five capability sets, see capabilities(7). Run after the user IDs have been changed; SECBIT_KEEP_CAPS has preserved
//! the permitted set.

use nix::errno::Errno;

use super::seccomp::install;
use crate::error::{At, Context, Result};
use crate::plan::Process;
use crate::sys::capabilities::{self, CapabilitySets};

/// Sets all capability sets to those of the plan.
pub fn apply(plan: &Process) -> Result<()> {
    let wanted = plan.capabilities;
    // The inheritable set comes first, because capabilities that are added to it must still be in the bounding set. Then
    // comes the bounding set, because dropping from it requires CAP_SETPCAP in the effective set, which the last capset
    // clears. Changing the user IDs has cleared the effective set, so it is restored here.
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
            // The kernel does not have this capability, nor any with a higher number.
            Err(error) if error.errno == Errno::EINVAL => break,
            // Without CAP_SETPCAP nothing can be dropped. That is no error if the capability is not in the set anyway.
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
            // The plan contains only capabilities that are permitted and inheritable. The caller may have set
            // SECBIT_NO_CAP_AMBIENT_RAISE for itself and its children; by the specification that is not an error.
            Err(error) if error.errno == Errno::EPERM => {}
            other => other.context(At::new("process.capabilities.ambient"))?,
        }
    }
    Ok(())
}
