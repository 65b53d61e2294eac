//! The program's entry. Everything else is the library.
#![cfg_attr(target_env = "gnu", no_main)]

mod entry;

#[cfg(not(target_env = "gnu"))]
fn main() -> std::process::ExitCode {
    orlop::program::main().into()
}
