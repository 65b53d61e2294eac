//! A service that talks to its manager by sd_notify(3). Each argument is one step:
//!
//!     TEXT       send it to NOTIFY_SOCKET; `\n` begins a new line, `CHILD` is the pid of the last `fork`
//!     fd:TEXT    send it with a descriptor, and wait until the receiver has closed it
//!     fork       a child that sleeps
//!     barrier    sd_notify_barrier(3); print "barrier" when the manager has closed its end
//!     wait       wait for the end of standard input
//!     sleep      print "ready" and sleep
//!
//! A message that cannot be sent ends it with status 3.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::exit;

use crate::{say, sleep};

pub fn run(steps: &[String]) {
    let path = std::env::var("NOTIFY_SOCKET").unwrap_or_else(|_| {
        eprintln!("NOTIFY_SOCKET is not set");
        exit(2)
    });
    let socket = UnixDatagram::unbound().expect("a socket");
    let mut child = 0;
    for step in steps {
        match step.as_str() {
            "fork" => {
                // SAFETY: the child only sleeps.
                child = unsafe { libc::fork() };
                if child == 0 {
                    sleep(u64::MAX);
                }
            }
            "barrier" => {
                send_with_descriptor(&socket, &path, "BARRIER=1");
                say("barrier");
            }
            "wait" => drop(std::io::stdin().read_to_end(&mut Vec::new())),
            "sleep" => {
                say("ready");
                sleep(u64::MAX)
            }
            text if text.starts_with("fd:") => {
                send_with_descriptor(&socket, &path, &text[3..].replace("\\n", "\n"));
            }
            text => {
                let text = text.replace("\\n", "\n").replace("CHILD", &child.to_string());
                if let Err(e) = socket.send_to(text.as_bytes(), &path) {
                    eprintln!("{path}: {e}");
                    exit(3)
                }
            }
        }
    }
}

/// Sends a message with one end of a pipe, and waits until all copies of that end are closed.
fn send_with_descriptor(socket: &UnixDatagram, path: &str, text: &str) {
    socket.connect(path).expect("connect to NOTIFY_SOCKET");
    let (mut ours, theirs) = std::io::pipe().expect("a pipe");
    // SAFETY: the message, its text and the control buffer, which has room for one descriptor (CMSG_SPACE(4) is 24 bytes), outlive
    // the call.
    unsafe {
        let mut part = libc::iovec {
            iov_base: text.as_ptr() as *mut _,
            iov_len: text.len(),
        };
        let mut control = [0_u64; 4];
        let mut message = std::mem::zeroed::<libc::msghdr>();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        std::ptr::write_unaligned(libc::CMSG_DATA(header).cast::<i32>(), theirs.as_raw_fd());
        if libc::sendmsg(socket.as_raw_fd(), &message, 0) < 0 {
            exit(3);
        }
    }
    drop(theirs);
    let _ = ours.read_to_end(&mut Vec::new());
}
