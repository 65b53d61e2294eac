//! A container from create to delete: the verbs and the states, hooks, the errors that a user reads, and what
//! is left when a verb fails, hangs, or is cut short.

pub mod binary;
mod broken_state;
mod bundle;
mod called_as;
mod check;
mod create;
mod default_spec;
mod delete;
mod errors;
mod faults;
mod hanging;
mod hook_failures;
mod hook_surroundings;
mod hooks;
mod ids;
mod info;
mod inspect;
mod interrupted;
mod kill;
mod list;
mod list_many;
mod log;
mod lost_messages;
mod pid_file;
mod run;
mod several;
mod start;
mod state;
mod stress;
mod two_hundred;
mod verb_errors;
