//! Messages over a Unix socket that carry a descriptor.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// The next message, of 64 KiB at most, and the first descriptor that came with it. Empty when the other side has closed
/// its end.
#[track_caller]
pub fn receive(socket: impl AsFd) -> (Vec<u8>, Option<OwnedFd>) {
    let mut bytes = vec![0_u8; 64 << 10];
    let mut control = nix::cmsg_space!([RawFd; 4]);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut control), flags).expect("a message");
    let fd = message
        .cmsgs()
        .expect("whole control data")
        .next()
        .map(|first| match first {
            // SAFETY: the kernel has just made the descriptor for us.
            ControlMessageOwned::ScmRights(fds) => unsafe { OwnedFd::from_raw_fd(fds[0]) },
            other => panic!("not a descriptor: {other:?}"),
        });
    let length = message.bytes;
    bytes.truncate(length);
    (bytes, fd)
}

/// [`receive`] of a message that must carry a descriptor.
#[track_caller]
pub fn receive_with_descriptor(socket: impl AsFd) -> (String, OwnedFd) {
    let (bytes, fd) = receive(socket);
    assert!(!bytes.is_empty(), "nothing came");
    let word = String::from_utf8_lossy(&bytes).into_owned();
    (word, fd.expect("a descriptor beside the message"))
}
