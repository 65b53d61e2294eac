//! What engines and their users rely on beyond the specification: annotations of other runtimes, and choices of runc and crun.
//! The scripts beside these files drive the engines themselves (`make engines`).

mod annotations;
mod features;
mod spellings;
