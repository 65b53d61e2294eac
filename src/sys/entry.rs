//! The program's entry.
//!
//! Before a Rust `main`, std looks up the stack's borders in /proc/self/maps, installs an alternate signal stack and
//! polls the standard streams: useful for programs with threads and deep recursion, and a good part of the time that
//! `state` takes. Nothing here needs it; what is kept is done below.

/// Called by the C library with its arguments already stored where `std::env::args_os` finds them.
// SAFETY: no other `main` exists in this program, so the symbol is unique, and the signature is the C library's.
#[unsafe(no_mangle)]
extern "C" fn main(_count: libc::c_int, _arguments: *const *const libc::c_char) -> libc::c_int {
    // A reader that goes away is an error to be handled, not a reason to die half-way through a container.
    // SAFETY: SIG_IGN installs no code.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    libc::c_int::from(crate::main())
}
