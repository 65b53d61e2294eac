//! Cgroups apart from their limits: paths and owners, the verbs that use them, `update`, resctrl, and the calls to
//! systemd. The limits need controllers, so they are in `guest/`.

mod disabled;
mod killed;
mod killed_update;
mod leaf;
mod metrics;
mod resctrl;
pub mod systemd;
mod threaded;
mod top;
mod verbs;
