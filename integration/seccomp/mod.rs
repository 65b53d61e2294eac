//! Seccomp filters: what the system calls of a container's processes return, what a profile requires, and the log of what it
//! refused.

mod filters;
mod log;
mod notify;
mod profiles;
