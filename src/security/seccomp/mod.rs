//! seccomp: `linux.seccomp` → [`profile`] → [`decide`] → [`compile`] → [`install`]. All steps but the last run in the runtime,
//! before any side effect. The process that executes the program only installs the filter in its plan.

pub mod arch;
pub mod assemble;
pub mod compile;
pub mod decide;
pub mod install;
mod lookup;
pub mod notify;
pub mod profile;
pub mod records;
#[rustfmt::skip]
mod table;
pub mod text;
