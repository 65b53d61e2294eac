//! The start of glibc in a static program, without the questions to the processor.
//!
//! glibc's own `__libc_start_main` executes CPUID 43 times, to choose among variants of memcpy and the like and to size them for the
//! caches. On a virtual machine each is a trap to the hypervisor, of one to four microseconds: a third of the time of `state`, and as
//! much of every other verb. This one does the rest of it, in the same order. Without answers glibc chooses the variants that every
//! processor has, which for the few kilobytes that are copied here are as fast. GLIBC_TUNABLES is not read either.
//!
//! The functions called here are glibc's own and differ from version to version, so build.rs selects this only if libc.a is of a
//! version with which it has been tested; otherwise glibc starts as usual. Defining all symbols of glibc's libc-start.o keeps
//! the linker from taking that one; a test reads in the linker's map that it did not.

use std::arch::asm;
use std::ffi::{c_char, c_int, c_long};

type Main = extern "C" fn(c_int, *const *const c_char, *const *const c_char) -> c_int;
type Initializer = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// Sizes in bytes that glibc computes from the caches: its memory functions read them. The values are glibc's own where it learns
/// nothing from the processor; the first four are the L1 and the shared cache, whole and half.
mod sizes {
    use super::c_long;

    #[unsafe(no_mangle)]
    static mut __x86_data_cache_size: c_long = 32 << 10;
    #[unsafe(no_mangle)]
    static mut __x86_data_cache_size_half: c_long = 16 << 10;
    #[unsafe(no_mangle)]
    static mut __x86_shared_cache_size: c_long = 1 << 20;
    #[unsafe(no_mangle)]
    static mut __x86_shared_cache_size_half: c_long = 512 << 10;
    #[unsafe(no_mangle)]
    static mut __x86_shared_non_temporal_threshold: c_long = 768 << 10;
    #[unsafe(no_mangle)]
    static mut __x86_rep_movsb_threshold: c_long = 2 << 10;
    #[unsafe(no_mangle)]
    static mut __x86_rep_movsb_stop_threshold: c_long = 768 << 10;
    #[unsafe(no_mangle)]
    static mut __x86_rep_stosb_threshold: c_long = 2 << 10;
    #[unsafe(no_mangle)]
    static mut __x86_string_control: super::c_int = 0;
}

/// An entry of `.rela.iplt`: a place that receives the address of the variant that a function chooses (`R_X86_64_IRELATIVE`).
#[repr(C)]
struct Relocation {
    place: *mut usize,
    kind: usize,
    choose: extern "C" fn() -> usize,
}

unsafe extern "C" {
    static mut __environ: *const *const c_char;
    static mut __libc_stack_end: *const usize;
    static __libc_enable_secure: c_int;
    static _dl_random: *const [usize; 2];
    // The linker's.
    static __rela_iplt_start: [Relocation; 0];
    static __rela_iplt_end: [Relocation; 0];
    static __preinit_array_start: [Initializer; 0];
    static __preinit_array_end: [Initializer; 0];
    static __init_array_start: [Initializer; 0];
    static __init_array_end: [Initializer; 0];

    fn _dl_aux_init(auxiliary: *const usize);
    fn __libc_setup_tls();
    fn __libc_early_init(initial: bool);
    fn __libc_check_standard_fds();
    fn __libc_init_first(count: c_int, arguments: *const *const c_char, environment: *const *const c_char);
    fn _init();
    fn exit(code: c_int) -> !;
}

/// Called by `_start` in place of glibc's.
///
/// # Safety
///
/// Only `_start` may call this, once; the arguments are those of the kernel's stack.
// SAFETY: glibc's object with this symbol is not linked.
#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_start_main(
    main: Main,
    count: c_int,
    arguments: *const *const c_char,
    _initialize: *const (),
    _finish: *const (),
    _finish_loader: *const (),
    stack_end: *const usize,
) -> ! {
    // SAFETY: the stack is as the kernel laid it out, and each function is called where glibc's start calls it. Up to the
    // relocations nothing may call memcpy or the like, and up to the setting of the guard nothing may have a canary.
    unsafe {
        let environment = arguments.add(count as usize + 1);
        __environ = environment;
        __libc_stack_end = stack_end;
        let mut auxiliary = environment;
        while !auxiliary.read_volatile().is_null() {
            auxiliary = auxiliary.add(1);
        }
        _dl_aux_init(auxiliary.add(1).cast());
        let mut relocation = (&raw const __rela_iplt_start).cast::<Relocation>();
        while relocation < (&raw const __rela_iplt_end).cast() {
            (*relocation).place.write(((*relocation).choose)());
            relocation = relocation.add(1);
        }
        __libc_setup_tls();
        set_guards();
        __libc_early_init(true);
        if __libc_enable_secure != 0 {
            __libc_check_standard_fds();
        }
        __libc_init_first(count, arguments, environment);
        let each = |from: *const Initializer, to: *const Initializer| {
            let mut initializer = from;
            while initializer < to {
                (*initializer)(count, arguments, environment);
                initializer = initializer.add(1);
            }
        };
        each(
            (&raw const __preinit_array_start).cast(),
            (&raw const __preinit_array_end).cast(),
        );
        _init();
        each(
            (&raw const __init_array_start).cast(),
            (&raw const __init_array_end).cast(),
        );
        exit(main(count, arguments, environment))
    }
}

/// The canary of stack frames and the key of stored code addresses, in the thread's control block: the kernel's random bytes. The
/// lowest byte of a canary is zero, so that no string function copies it.
///
/// # Safety
///
/// The thread's control block is set up, and `_dl_random` is read from the auxiliary vector.
unsafe fn set_guards() {
    // SAFETY: as required of the caller; the two words are reserved for this (`tcbhead_t`).
    unsafe {
        let [canary, key] = _dl_random.read();
        asm!(
            "mov fs:0x28, {canary}",
            "mov fs:0x30, {key}",
            canary = in(reg) canary & !0xff,
            key = in(reg) key,
            options(nostack, preserves_flags),
        );
    }
}
