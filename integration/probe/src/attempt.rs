//! Operations a contained process might try. Each argument is one, its fields separated by commas:
//!
//!     read,PATH              open for reading, report the first bytes
//!     open,PATH,FLAGS        FLAGS of r w rw, with `+path` `+dir` `+nofollow` `+trunc`
//!     write,PATH,TEXT        open for writing (no creation), write TEXT
//!     create,PATH            create a new file
//!     mkdir,PATH             rmdir,PATH              unlink,PATH
//!     mknod,PATH,c|b|p,MAJ,MIN                       then also open the node for reading
//!     symlink,TARGET,PATH    link,OLD,PATH
//!     mount,TYPE,PATH        remount-rw,PATH         umount,PATH
//!     chmod,PATH,OCTAL       chown,PATH,UID,GID      chroot,PATH
//!     list,DIR               lstat,PATH              stat-mount,PATH (fstatfs magic)
//!     mtime,PATH             getxattr,PATH,NAME
//!     sethostname,NAME       setuid,N                ptrace,PID         kill,PID,N
//!     unshare,FLAGNUMBER     keyctl-read
//!     syscall,NR,ARG…        any call by its number, and its result
//!     syscall32,NR,ARG…      the same as a 32-bit program makes it (x86)
//!
//! The report is a list with one object per operation: `{"op": …, "ok": true, …}` or `{"op": …, "ok": false,
//! "errno": "EPERM"}`.

use std::fs::{self, OpenOptions};
use std::io::{Error, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use serde_json::{Value, json};

use crate::errno;
use crate::facts::{c_path, lstat};

pub fn all(operations: &[String]) -> Value {
    operations.iter().map(|operation| report(operation)).collect()
}

fn report(operation: &str) -> Value {
    let fields: Vec<&str> = operation.split(',').collect();
    match run(&fields) {
        Ok(detail) => json!({ "op": operation, "ok": true, "detail": detail }),
        Err(e) => json!({ "op": operation, "ok": false, "errno": errno::name(e.raw_os_error().unwrap_or(0)) }),
    }
}

fn run(fields: &[&str]) -> Result<Value, Error> {
    let arg = |n: usize| fields.get(n).copied().unwrap_or_default();
    let number = |n: usize| arg(n).parse::<i64>().unwrap_or(-1);
    let path = c_path(arg(1));
    let path = path.as_ptr();
    match fields[0] {
        "read" => read(arg(1)),
        "open" => open(arg(1), arg(2)),
        "write" => {
            let mut file = OpenOptions::new().write(true).open(arg(1))?;
            file.write_all(arg(2).as_bytes())?;
            Ok(Value::Null)
        }
        "create" => OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(arg(1))
            .map(|_| Value::Null),
        "mkdir" => fs::create_dir(arg(1)).map(|()| Value::Null),
        "rmdir" => fs::remove_dir(arg(1)).map(|()| Value::Null),
        "unlink" => fs::remove_file(arg(1)).map(|()| Value::Null),
        "symlink" => std::os::unix::fs::symlink(arg(1), arg(2)).map(|()| Value::Null),
        "link" => fs::hard_link(arg(1), arg(2)).map(|()| Value::Null),
        "list" => {
            let mut names: Vec<String> = fs::read_dir(arg(1))?
                .flatten()
                .map(|e| e.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            Ok(json!(names))
        }
        "lstat" => Ok(lstat(arg(1))),
        "mknod" => {
            let kind = match arg(2) {
                "b" => libc::S_IFBLK,
                "p" => libc::S_IFIFO,
                _ => libc::S_IFCHR,
            };
            let device = if arg(2) == "p" {
                0
            } else {
                libc::makedev(number(3) as u32, number(4) as u32)
            };
            // SAFETY: strings that end with a NUL and outlive the call.
            check(unsafe { libc::mknod(path, kind | 0o600, device) })?;
            if arg(2) == "p" {
                Ok(Value::Null)
            } else {
                open(arg(1), "r")
            }
        }
        "mount" => {
            let kind = c_path(arg(1));
            let target = c_path(arg(2));
            // SAFETY: strings that end with a NUL and outlive the call.
            check(unsafe { libc::mount(kind.as_ptr(), target.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) })
        }
        // SAFETY: strings that end with a NUL and outlive the call.
        "remount-rw" => check(unsafe {
            libc::mount(
                std::ptr::null(),
                path,
                std::ptr::null(),
                libc::MS_REMOUNT | libc::MS_BIND,
                std::ptr::null(),
            )
        }),
        // SAFETY: strings that end with a NUL and outlive the call.
        "umount" => check(unsafe { libc::umount2(path, 0) }),
        // SAFETY: strings that end with a NUL and outlive the call.
        "chmod" => check(unsafe { libc::chmod(path, u32::from_str_radix(arg(2), 8).unwrap_or(0)) }),
        // SAFETY: strings that end with a NUL and outlive the call.
        "chown" => check(unsafe { libc::chown(path, number(2) as u32, number(3) as u32) }),
        // SAFETY: strings that end with a NUL and outlive the call.
        "chroot" => check(unsafe { libc::chroot(path) }),
        "stat-mount" => {
            // SAFETY: plain data for which zeroes are valid.
            let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
            // SAFETY: the string ends with a NUL, and the kernel writes one struct; both outlive the call.
            check(unsafe { libc::statfs(path, &mut stat) })?;
            Ok(json!(format!("{:x}", stat.f_type)))
        }
        "mtime" => {
            use std::os::unix::fs::MetadataExt;
            Ok(json!(fs::symlink_metadata(arg(1))?.mtime()))
        }
        "getxattr" => {
            let name = c_path(arg(2));
            let mut bytes = [0_u8; 256];
            // SAFETY: two strings that end with a NUL, and a buffer with its length.
            let length = unsafe { libc::getxattr(path, name.as_ptr(), bytes.as_mut_ptr().cast(), bytes.len()) };
            check(length as libc::c_int)?;
            Ok(json!(String::from_utf8_lossy(&bytes[..length as usize])))
        }
        // SAFETY: a string with its length.
        "sethostname" => check(unsafe { libc::sethostname(path, arg(1).len()) }),
        // SAFETY: the call takes no pointer.
        "setuid" => check(unsafe { libc::setuid(number(1) as u32) }),
        // SAFETY: PTRACE_SEIZE writes nothing to this process.
        "ptrace" => check(unsafe { libc::ptrace(libc::PTRACE_SEIZE, number(1) as libc::pid_t, 0, 0) as libc::c_int }),
        // SAFETY: the call takes no pointer.
        "kill" => check(unsafe { libc::kill(number(1) as i32, number(2) as i32) }),
        // SAFETY: the call takes no pointer.
        "unshare" => check(unsafe { libc::unshare(number(1) as i32) }),
        "syscall" => {
            let [a, b, c, d, e, f] = arguments(fields);
            // SAFETY: the tests ask for calls that filters refuse, or with numbers for which the kernel writes nothing here.
            let result = unsafe { libc::syscall(hexadecimal(arg(1)) as libc::c_long, a, b, c, d, e, f) };
            if result < 0 {
                Err(Error::last_os_error())
            } else {
                Ok(json!(result))
            }
        }
        "syscall32" => match syscall32(hexadecimal(arg(1)), arguments(fields)) {
            number @ ..0 => Err(Error::from_raw_os_error(-number)),
            number => Ok(json!(if number > 0 { 1 } else { 0 })),
        },
        "keyctl-read" => Ok(json!(fs::read_to_string("/proc/keys")?)),
        other => Ok(json!(format!("no such operation: {other}"))),
    }
}

/// The arguments of a call by number, in decimal or hexadecimal; zeros where there are none.
fn arguments(fields: &[&str]) -> [i64; 6] {
    std::array::from_fn(|index| fields.get(index + 2).map_or(0, |text| hexadecimal(text)))
}

fn hexadecimal(text: &str) -> i64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap_or(0) as i64,
        None => text.parse().unwrap_or(-1),
    }
}

/// Through the entry of 32-bit programs, which every program can use.
#[cfg(target_arch = "x86_64")]
fn syscall32(number: i64, [a, b, ..]: [i64; 6]) -> i32 {
    let result: i64;
    // SAFETY: the kernel changes rax and what the call is to change; rbx, which the compiler keeps, is put back. Without
    // the gate there is SIGSEGV.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) a => _,
            inlateout("rax") number => result,
            in("rcx") b,
            in("rdx") 0i64,
            in("rsi") 0i64,
            in("rdi") 0i64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    result as i32
}

#[cfg(not(target_arch = "x86_64"))]
fn syscall32(_: i64, _: [i64; 6]) -> i32 {
    -libc::ENOSYS
}

fn check(result: libc::c_int) -> Result<Value, Error> {
    if result < 0 {
        Err(Error::last_os_error())
    } else {
        Ok(Value::Null)
    }
}

fn read(path: &str) -> Result<Value, Error> {
    // Never block: a FIFO or a terminal without a peer must not hang the test.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let mut bytes = [0_u8; 256];
    let count = file.read(&mut bytes)?;
    Ok(json!(String::from_utf8_lossy(&bytes[..count])))
}

fn open(path: &str, flags: &str) -> Result<Value, Error> {
    let has = |flag: &str| flags.split('+').any(|f| f == flag);
    let mut extra = libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    for (name, bit) in [
        ("path", libc::O_PATH),
        ("dir", libc::O_DIRECTORY),
        ("nofollow", libc::O_NOFOLLOW),
    ] {
        extra |= if has(name) { bit } else { 0 };
    }
    extra |= if has("trunc") { libc::O_TRUNC } else { 0 };
    let mode = match flags.split('+').next() {
        Some("w") => libc::O_WRONLY,
        Some("rw") => libc::O_RDWR,
        _ => libc::O_RDONLY,
    };
    // SAFETY: strings that end with a NUL and outlive the call.
    let fd = unsafe { libc::open(c_path(path).as_ptr(), mode | extra) };
    check(fd)?;
    // SAFETY: nothing else uses the descriptor.
    unsafe { libc::close(fd) };
    Ok(Value::Null)
}
