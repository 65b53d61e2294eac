//! Chapter 8, run by init and by every process that joins a container: restricting the privileges of the process.
//!
//! Both use the same functions and the same plan, so that no restriction can be missing in one of them.

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
