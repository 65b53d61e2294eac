//! The two entries of the program: the kernel's, which runs before the C library, and the C library's.
//!
//! This is the one place besides `sys` with unsafe code: both entries are called by machine code under a fixed name, and the
//! first one has nothing to rely on but the kernel.
//!
//! The kernel's entry only saves time. The verbs that put a process into a container run from a protected copy of the binary,
//! which takes a second execve (`self_protect` has the reasons, and does whatever was not done here). What the C library
//! does before `main` takes a tenth of a container's start. The first start does not get that far: it only makes the few calls
//! below. The second start, and the only one of other verbs, is also short where the version of glibc is known ([`c_library`]).
#![allow(unsafe_code)]

#[cfg(quick_c_library_start)]
mod c_library;

/// Called by glibc, which has already stored the arguments where `std::env::args_os` finds them. Other C libraries pass them
/// only to `main`, so there the `main` of std is used.
///
/// Before a Rust `main`, std looks up the limits of the stack in /proc/self/maps, installs an alternate signal stack and polls
/// the standard streams. Programs with threads and deep recursion need that; here it is only a large part of the time that
/// `state` takes.
// SAFETY: there is no other `main` in this program, so the symbol is unique, and the signature is the C library's.
#[cfg(target_env = "gnu")]
#[unsafe(no_mangle)]
extern "C" fn main(_count: libc::c_int, _arguments: *const *const libc::c_char) -> libc::c_int {
    libc::c_int::from(orlop::program::main())
}

/// Where the kernel starts the program (build.rs passes the symbol to the linker). On other machines the program starts at the
/// C library's `_start`, and `self_protect` does all of the protection.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
mod first {
    use std::arch::{asm, naked_asm};

    use orlop::self_protect;
    use orlop::sys::clock::{BEGIN_MARK, BEGIN_TIMER};
    use orlop::sys::mount::{MOUNT_ATTR_RDONLY, MountAttr};

    /// The stack pointer points to the argument count. The C library's start finds it, and rdx, as the kernel left them.
    ///
    /// # Safety
    ///
    /// Only the kernel may jump here, once, at the start of the process.
    // SAFETY: no other symbol of the program has this name.
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

    /// Executes this program again from a private read-only mount of itself, if the arguments contain a verb that needs it.
    /// Returns if there is nothing to do or if anything fails.
    ///
    /// Nothing of the C library works yet, not even memcpy and thread-local variables. Volatile reads keep the compiler
    /// from replacing a loop with such a call.
    ///
    /// # Safety
    ///
    /// `stack` is the stack as the kernel has laid it out for a new program.
    unsafe extern "C" fn protect(stack: *const usize) {
        const AT_EXECFN: usize = 31;
        const BINARY: *const u8 = c"/proc/self/exe".as_ptr().cast();
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
                if self_protect::is_verb(|index| word.add(index).read_volatile()) {
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
                // The kernel's name for a program that was executed by descriptor: this is the second start. (Or the caller
                // executed it like this; `self_protect` checks.)
                if pair.read_volatile() == AT_EXECFN
                    && starts_with(pair.add(1).read_volatile() as *const u8, b"/dev/fd/")
                {
                    return;
                }
                pair = pair.add(2);
            }
            // What runs before `main` could already take forever if there is no memory for its pages, see `sys::pressure`, which
            // takes this timer over. There is no handler yet, so the signal ends the program. The timer has no interval, and
            // expires after four seconds of processor time.
            let timer = [0usize, 0, 4, 0];
            call(
                libc::SYS_setitimer,
                [libc::ITIMER_PROF as usize, timer.as_ptr() as usize, 0, 0, 0],
            );
            if times(arguments, environment) {
                begin();
            }
            let copy = call(
                libc::SYS_open_tree,
                [
                    libc::AT_FDCWD as usize,
                    BINARY as usize,
                    // The second start keeps it for a while, see `self_protect::let_go`.
                    libc::OPEN_TREE_CLONE as usize,
                    0,
                    0,
                ],
            );
            if copy < 0 {
                return;
            }
            let attributes = MountAttr {
                attr_set: MOUNT_ATTR_RDONLY,
                attr_clr: 0,
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

    /// Whether the call is timed: `--timings` among the arguments, or the variable that stands for it.
    ///
    /// # Safety
    ///
    /// Both are lists of strings that end with a null.
    unsafe fn times(arguments: *const *const u8, environment: *const *const u8) -> bool {
        // SAFETY: as required of the caller.
        unsafe {
            lists(arguments, b"--timings") || lists(arguments, b"-timings") || lists(environment, b"ORLOP_TIMINGS=")
        }
    }

    /// Whether a string of a list begins with these bytes. (A `for` over an array would call memcpy, which the C library has
    /// not chosen yet.)
    ///
    /// # Safety
    ///
    /// As for [`times`].
    unsafe fn lists(mut entry: *const *const u8, wanted: &[u8]) -> bool {
        // SAFETY: reading stops at the null.
        unsafe {
            while !entry.read_volatile().is_null() {
                if starts_with(entry.read_volatile(), wanted) {
                    return true;
                }
                entry = entry.add(1);
            }
        }
        false
    }

    /// Notes when the program began, for the second start: in a timer, which an execve leaves running. `sys::clock` reads it. A timer
    /// of the caller is left alone.
    fn begin() {
        let mut used = [0usize; 2];
        let mut timer = [0usize; 4];
        // SAFETY: the arrays have the layouts of timespec and itimerval, and outlive the calls.
        unsafe {
            call(
                libc::SYS_getitimer,
                [libc::ITIMER_REAL as usize, timer.as_mut_ptr() as usize, 0, 0, 0],
            );
            let [_, _, seconds, micros] = timer;
            if seconds != 0 || micros != 0 {
                return;
            }
            call(
                libc::SYS_clock_gettime,
                [
                    libc::CLOCK_PROCESS_CPUTIME_ID as usize,
                    used.as_mut_ptr() as usize,
                    0,
                    0,
                    0,
                ],
            );
            let timer = [BEGIN_MARK as usize, used[1] / 1000, BEGIN_TIMER as usize, 0];
            call(
                libc::SYS_setitimer,
                [libc::ITIMER_REAL as usize, timer.as_ptr() as usize, 0, 0, 0],
            );
        }
    }

    /// Whether a string begins with these bytes.
    ///
    /// # Safety
    ///
    /// `string` points to a string that ends with a NUL.
    unsafe fn starts_with(string: *const u8, start: &[u8]) -> bool {
        let mut at = string;
        for byte in start {
            // SAFETY: reading stops at the first difference, which is at the NUL at the latest: `start` contains none.
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
    ///
    /// # Safety
    ///
    /// The arguments are valid for the call.
    unsafe fn call(number: i64, arguments: [usize; 5]) -> isize {
        let [first, second, third, fourth, fifth] = arguments;
        let result: isize;
        // SAFETY: this is the calling convention of the kernel; the caller guarantees the arguments.
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
