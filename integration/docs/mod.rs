//! What users read and type: the completions in real shells, the commands of the documents and of the help pages.

mod blocks;
mod commands;
mod completions;
mod examples;
mod session;
