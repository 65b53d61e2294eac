//! Tests of the library that need more room than a module has: whole tables, random input, other implementations to
//! compare with. Shorter ones are in the modules themselves.

mod command_line;
mod config;
mod device_program;
mod diagnose;
mod features;
mod growth;
mod hook;
mod keys;
mod labels;
mod list;
mod mount_options;
mod notify;
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
