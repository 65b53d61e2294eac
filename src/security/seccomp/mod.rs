//! seccomp: `linux.seccomp` → [`profile`] → [`decide`] → [`compile`] → [`install`]. All but the last is done by the runtime
//! before anything else is; the process that executes the program only installs what it finds in its plan.

pub mod ahead;
pub mod arch;
pub mod compile;
pub mod decide;
pub mod install;
mod lookup;
pub mod profile;
pub mod records;
#[rustfmt::skip]
mod table;
pub mod text;

use std::rc::Rc;

use crate::sys::seccomp::sock_filter;

/// A filter as it will be installed.
#[derive(Debug, Clone)]
pub struct Seccomp {
    pub program: Vec<sock_filter>,
    /// Flags of seccomp(2).
    pub flags: u32,
    /// Present exactly when the filter notifies.
    pub listener: Option<profile::Listener>,
    /// With `run --seccomp-log`: how, and what the profile says, by which the calls are explained afterwards.
    pub logged: Option<(profile::Logging, Rc<Vec<decide::Table>>)>,
}
