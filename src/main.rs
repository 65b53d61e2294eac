//! The program's entry. Everything else is the library.
#![cfg_attr(target_env = "gnu", no_main)]

mod entry;

#[global_allocator]
static ALLOCATOR: orlop::sys::heap::Allocator = orlop::sys::heap::Allocator;

#[cfg(not(target_env = "gnu"))]
fn main() -> std::process::ExitCode {
    orlop::program::main().into()
}
