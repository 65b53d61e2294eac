//! A container from create to delete: the verbs and the states between them, hooks, the errors that a user reads, and what
//! is left when a verb fails, hangs, or is cut short.

mod broken_state;
mod command_line;
mod conformance_rows;
mod create;
mod default_spec;
mod errors;
mod faults;
mod hanging;
mod hook_surroundings;
mod hooks;
mod interrupted;
mod list_many;
mod lost_messages;
mod stress;
mod verbs;
