//! Longer tests of the library: whole tables, random input, comparisons with other implementations. Shorter ones are in the
//! modules themselves.

mod check;
mod command_line;
mod config;
mod device_program;
mod diagnose;
mod features;
mod findings;
mod growth;
mod hook;
mod keys;
mod labels;
mod list;
mod mount_options;
mod notify;
mod oci_model;
mod parsers;
mod process;
mod resctrl;
mod resources;
mod rfc3339;
mod scheduling;
mod seccomp;
mod spec;
mod stats;
mod store;
mod sysctls;
mod systemd;
