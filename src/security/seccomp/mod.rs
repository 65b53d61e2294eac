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
