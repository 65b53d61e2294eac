//! Chapter 8, run by init (and by every process that joins a container): what the process may still do.
//!
//! One routine for all of them, built from one plan, so that no second path can forget a part.

pub mod capabilities;
pub mod lsm;
pub mod procfs;
pub mod seccomp;

use crate::error::Result;
use crate::plan::Process;
use crate::sys::process;

pub fn no_new_privileges(plan: &Process) -> Result<()> {
    if plan.no_new_privileges {
        process::set_no_new_privileges()?;
    }
    Ok(())
}
