//! `getrandom(2)` as the standard library calls it, for the seeds of hash maps: it may fail there, where it ends the program.

/// In the place of the C library's function, which the standard library lets a program replace. What the kernel refuses,
/// as a filter of system calls around us may make it, is made up from what it has given this process at its start (`AT_RANDOM`,
/// getauxval(3)). Nothing here is a secret: hash maps hold values of one config, and no keys are made.
// SAFETY: no other `getrandom` exists in this program, so the symbol is unique, and the signature is the C library's.
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut libc::c_void, length: libc::size_t, flags: libc::c_uint) -> libc::ssize_t {
    // SAFETY: the caller's buffer is valid for its length.
    let got = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
    if got >= 0 {
        return got as libc::ssize_t;
    }
    // SAFETY: AT_RANDOM is the address of 16 bytes that stay for the life of the process, or 0.
    let given = unsafe { libc::getauxval(libc::AT_RANDOM) as *const [u8; 16] };
    let mut seed = if given.is_null() {
        buffer as u64
    } else {
        // SAFETY: see above.
        u128::from_ne_bytes(unsafe { *given }) as u64
    };
    for offset in 0..length {
        // The step of splitmix64, of which one byte is taken.
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        // SAFETY: the offset is below the buffer's length.
        unsafe { buffer.cast::<u8>().add(offset).write((mixed >> 56) as u8) };
    }
    length as libc::ssize_t
}
