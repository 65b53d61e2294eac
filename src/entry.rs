//! The program's entries: the kernel's, before the C library has started, and the C library's.
//!
//! The first is there for time alone. The verbs that put a process into a container run from a protected copy of the
//! binary, which costs a second execve (see `launch::self_protect`, which says why, and does whatever was not done here).
//! What the C library does before `main`, a tenth of a container's start, is only worth doing once: so the first start
//! goes no further than the few calls below.

/// Called by glibc with its arguments already stored where `std::env::args_os` finds them. Other C libraries hand them to
/// `main` alone, so there std's own `main` stands before ours.
///
/// Before a Rust `main`, std looks up the stack's borders in /proc/self/maps, installs an alternate signal stack and
/// polls the standard streams: useful for programs with threads and deep recursion, and a good part of the time that
/// `state` takes. Nothing here needs it; what is kept is done below.
// SAFETY: no other `main` exists in this program, so the symbol is unique, and the signature is the C library's.
#[cfg(target_env = "gnu")]
#[unsafe(no_mangle)]
extern "C" fn main(_count: libc::c_int, _arguments: *const *const libc::c_char) -> libc::c_int {
    libc::c_int::from(orlop::program::main())
}

/// Where the kernel starts the program (build.rs tells the linker). On other machines it starts at the C library's
/// `_start`, and all of the protection is `launch::self_protect`'s.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod first {
    use std::arch::{asm, naked_asm};

    use orlop::launch::self_protect::VERBS;

    /// struct mount_attr of linux/mount.h.
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }

    /// The stack pointer points to the argument count. The C library's start finds it, and rdx, as the kernel left them.
    // SAFETY: the symbol is this program's own; only the kernel jumps here.
    #[unsafe(naked)]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn orlop_entry() -> ! {
        naked_asm!(
            "xor ebp, ebp",
            "mov rbx, rsp",
            "mov r12, rdx",
            "mov rdi, rsp",
            "and rsp, -16",
            "call {protect}",
            "mov rsp, rbx",
            "mov rdx, r12",
            "jmp _start",
            protect = sym protect,
        )
    }

    /// Executes this program once more from a private read-only mount of itself, if the arguments ask for a verb that
    /// needs it; returns if there is nothing to do or if anything fails.
    ///
    /// Nothing of the C library works yet, not even memcpy and thread-local variables. Volatile reads keep the compiler
    /// from making such a call out of a loop.
    unsafe extern "C" fn protect(stack: *const usize) {
        const AT_EXECFN: usize = 31;
        const OWN: *const u8 = c"/proc/self/exe".as_ptr().cast();
        // SAFETY: the kernel's layout of a new stack: the count, the arguments and a null, the environment and a null,
        // then pairs up to one with tag 0. All strings end with a NUL.
        unsafe {
            let count = stack.read_volatile();
            let arguments = stack.add(1).cast::<*const u8>();
            let environment = arguments.add(count + 1);
            let mut index = 1;
            loop {
                if index >= count {
                    return;
                }
                let word = arguments.add(index).read_volatile();
                if VERBS.iter().any(|verb| starts_with(word, verb.to_bytes_with_nul())) {
                    break;
                }
                index += 1;
            }
            let mut auxiliary = environment;
            while !auxiliary.read_volatile().is_null() {
                auxiliary = auxiliary.add(1);
            }
            let mut pair = auxiliary.add(1).cast::<usize>();
            while pair.read_volatile() != 0 {
                // How the kernel names a program that was executed by descriptor: this is the second start. (Or the caller
                // did so; `launch::self_protect` looks.)
                if pair.read_volatile() == AT_EXECFN
                    && starts_with(pair.add(1).read_volatile() as *const u8, b"/dev/fd/")
                {
                    return;
                }
                pair = pair.add(2);
            }
            // What comes before `main` could already take for ever where there is no room for its pages, see `pressure`, which
            // takes this over. Without a handler the signal ends the program. The interval of none, and four seconds.
            let timer = [0usize, 0, 4, 0];
            call(
                libc::SYS_setitimer,
                [libc::ITIMER_PROF as usize, timer.as_ptr() as usize, 0, 0, 0],
            );
            let copy = call(
                libc::SYS_open_tree,
                [
                    libc::AT_FDCWD as usize,
                    OWN as usize,
                    (libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC) as usize,
                    0,
                    0,
                ],
            );
            if copy < 0 {
                return;
            }
            let attributes = MountAttr {
                set: orlop::sys::mount::MOUNT_ATTR_RDONLY,
                clear: 0,
                propagation: libc::MS_PRIVATE,
                userns_fd: 0,
            };
            let empty = c"".as_ptr() as usize;
            let set = call(
                libc::SYS_mount_setattr,
                [
                    copy as usize,
                    empty,
                    libc::AT_EMPTY_PATH as usize,
                    &raw const attributes as usize,
                    size_of::<MountAttr>(),
                ],
            );
            if set == 0 {
                call(
                    libc::SYS_execveat,
                    [
                        copy as usize,
                        empty,
                        arguments as usize,
                        environment as usize,
                        libc::AT_EMPTY_PATH as usize,
                    ],
                );
            }
            call(libc::SYS_close, [copy as usize, 0, 0, 0, 0]);
        }
    }

    /// Whether the string begins with these bytes; a NUL among them is the string's end.
    unsafe fn starts_with(string: *const u8, start: &[u8]) -> bool {
        let mut at = string;
        for byte in start {
            // SAFETY: reading stops at the first difference, so never after the string's own NUL.
            unsafe {
                if at.read_volatile() != *byte {
                    return false;
                }
                at = at.add(1);
            }
        }
        true
    }

    /// A system call with up to five arguments; a negative result is an errno.
    unsafe fn call(number: i64, arguments: [usize; 5]) -> isize {
        let [first, second, third, fourth, fifth] = arguments;
        let result: isize;
        // SAFETY: the kernel's calling convention; the caller answers for the arguments.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") number as isize => result,
                in("rdi") first,
                in("rsi") second,
                in("rdx") third,
                in("r10") fourth,
                in("r8") fifth,
                lateout("rcx") _,
                lateout("r11") _,
            );
        }
        result
    }
}
