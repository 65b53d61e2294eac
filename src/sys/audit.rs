//! The kernel's audit records, as a reader beside the audit daemon gets them (linux/audit.h, netlink(7)).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{Arg, SysError, SysResult, check, own};

/// The group of those that only read (`AUDIT_NLGRP_READLOG`), as a bit.
const READERS: u32 = 1;

/// What may wait for us to read it. Asked for without privilege, so the kernel may give less (`net.core.rmem_max`).
const ROOM: libc::c_int = 4 << 20;

/// A non-blocking, close-on-exec socket over which every record comes from now on. Needs CAP_AUDIT_READ.
pub fn open() -> SysResult<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let socket = check!(
        // SAFETY: no memory is passed.
        unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_AUDIT) },
        Socket,
        Arg::word("AF_NETLINK"),
        Arg::word("NETLINK_AUDIT")
    )
    .map(own)?;
    let room = ROOM;
    check!(
        // SAFETY: the value is valid for its length.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVBUF,
                (&raw const room).cast(),
                size_of_val(&room) as libc::socklen_t,
            )
        },
        Setsockopt,
        Arg::word("SO_RCVBUF"),
        ROOM
    )?;
    // SAFETY: sockaddr_nl is plain data for which zeroes are valid.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
    address.nl_groups = READERS;
    check!(
        // SAFETY: the address is valid for its length.
        unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        },
        Bind,
        Arg::word("NETLINK_AUDIT"),
        Arg::word("AUDIT_NLGRP_READLOG")
    )?;
    Ok(socket)
}

/// The type and text of the next record, if there is one at the moment. ENOBUFS means that records have been lost.
pub fn next<'a>(socket: BorrowedFd, buffer: &'a mut [u8]) -> SysResult<Option<(u16, &'a [u8])>> {
    // SAFETY: sockaddr_nl is plain data for which zeroes are valid.
    let mut sender: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    loop {
        let mut size = size_of_val(&sender) as libc::socklen_t;
        let received = check!(
            // SAFETY: the buffer is valid for its length, and the address for its size.
            unsafe {
                libc::recvfrom(
                    socket.as_fd().as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    0,
                    (&raw mut sender).cast(),
                    &mut size,
                )
            },
            Recvfrom,
            Arg::word("NETLINK_AUDIT")
        );
        match received {
            // Only the kernel sends records.
            Ok(_) if sender.nl_pid != 0 => {}
            Ok(length) => return Ok(message(buffer.get(..length as usize).unwrap_or_default())),
            Err(SysError {
                errno: Errno::EINTR, ..
            }) => {}
            Err(SysError {
                errno: Errno::EAGAIN, ..
            }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// struct nlmsghdr: length, type, flags, sequence and port; then the text.
fn message(bytes: &[u8]) -> Option<(u16, &[u8])> {
    const HEADER: usize = 16;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    Some((kind, bytes.get(HEADER..)?))
}
