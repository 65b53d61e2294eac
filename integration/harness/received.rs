//! What comes over a Unix socket with a descriptor beside it.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The next message, of 64 KiB at most, and the first descriptor that came with it. Empty when the other side has hung up.
#[track_caller]
pub fn receive(socket: impl AsFd) -> (Vec<u8>, Option<OwnedFd>) {
    let mut bytes = vec![0_u8; 64 << 10];
    let mut control = [0_u64; 8];
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    unsafe {
        let mut message = std::mem::zeroed::<libc::msghdr>();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        let length = libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
        assert!(length >= 0, "no message: {}", std::io::Error::last_os_error());
        bytes.truncate(length as usize);
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let fd = (!header.is_null()).then(|| {
            assert_eq!((*header).cmsg_type, libc::SCM_RIGHTS, "a descriptor");
            OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned())
        });
        (bytes, fd)
    }
}

/// [`receive`] of a word that has a descriptor with it.
#[track_caller]
pub fn receive_with_descriptor(socket: impl AsFd) -> (String, OwnedFd) {
    let (bytes, fd) = receive(socket);
    assert!(!bytes.is_empty(), "nothing came");
    let word = String::from_utf8_lossy(&bytes).into_owned();
    (word, fd.expect("a descriptor beside the message"))
}
