//! A descriptor that is open in init without close-on-exec, as a library or a later change might leave one, does not reach the
//! program. The test puts it there with ptrace(2).
#![cfg(target_arch = "x86_64")]

use std::mem::zeroed;

use crate::harness::{Bundle, eventually};
use crate::need;

/// ptrace(2) with an argument that is a pointer or ignored.
fn ptrace(request: u32, pid: i32, data: *mut libc::user_regs_struct) {
    // SAFETY: the kernel reads or writes one struct at most, which outlives the call.
    let done = unsafe { libc::ptrace(request, pid, 0, data) };
    assert_eq!(done, 0, "ptrace({request}): {}", std::io::Error::last_os_error());
}

fn until_stopped(pid: i32) {
    let mut status = 0;
    // SAFETY: the kernel writes one integer, which outlives the call.
    let found = unsafe { libc::waitpid(pid, &mut status, libc::__WALL) };
    assert!(found == pid && libc::WIFSTOPPED(status), "{found} {status:x}");
}

/// Makes a process that is blocked in a system call duplicate its standard input, and then continue the call.
fn duplicate_stdin_of(pid: i32) -> i64 {
    // SAFETY: the struct is plain data for which zeroes are valid.
    let mut saved: libc::user_regs_struct = unsafe { zeroed() };
    ptrace(libc::PTRACE_ATTACH, pid, std::ptr::null_mut());
    until_stopped(pid);
    ptrace(libc::PTRACE_GETREGS, pid, &mut saved);
    // Back to the instruction that it has just executed: syscall has two bytes.
    let mut call = saved;
    call.rip -= 2;
    call.rax = libc::SYS_dup as u64;
    call.rdi = 0;
    // The interrupted call is not to be restarted by the kernel, but below.
    call.orig_rax = u64::MAX;
    ptrace(libc::PTRACE_SETREGS, pid, &mut call);
    ptrace(libc::PTRACE_SINGLESTEP, pid, std::ptr::null_mut());
    until_stopped(pid);
    ptrace(libc::PTRACE_GETREGS, pid, &mut call);
    saved.rip -= 2;
    saved.rax = saved.orig_rax;
    saved.orig_rax = u64::MAX;
    ptrace(libc::PTRACE_SETREGS, pid, &mut saved);
    ptrace(libc::PTRACE_DETACH, pid, std::ptr::null_mut());
    call.rax as i64
}

#[test]
fn a_descriptor_left_open_by_mistake_is_closed_at_execve() {
    need!(std::fs::read("/proc/self/syscall").is_ok(), "/proc/PID/syscall");
    let bundle = Bundle::new();
    let c = bundle.create();
    let pid = c.pid();
    let accept = format!("{} ", libc::SYS_accept4);
    eventually("init waits for start", || {
        std::fs::read_to_string(format!("/proc/{pid}/syscall")).is_ok_and(|call| call.starts_with(&accept))
    });
    let number = duplicate_stdin_of(pid);
    assert!(number > 2, "dup: {number}");
    let open = std::fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap();
    assert_eq!(open, std::path::Path::new("/dev/null"));
    c.start();
    c.until_stopped();
    let facts: serde_json::Value = serde_json::from_str(&c.stdout()).unwrap();
    let fds: Vec<&String> = facts["fds"].as_object().unwrap().keys().collect();
    assert_eq!(fds, ["0", "1", "2"]);
}
