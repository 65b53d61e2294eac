//! Unix datagram sockets with descriptors beside the text, as sd_notify(3) uses them.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::socket::{address, send_message};
use super::{Arg, SysError, SysResult, Syscall, check, own};

/// The kernel's limit of descriptors in one message (unix(7), `SCM_MAX_FD`).
const MOST: usize = 253;

/// Room for a control message with that many, aligned as the kernel wants it.
#[repr(align(8))]
struct Control([u8; 16 + 4 * (MOST + 1)]);

/// `bind(2)` of a datagram socket; the file is open to all, whatever the umask.
pub fn bind(socket: BorrowedFd, path: &Path) -> SysResult<()> {
    let (address, length) = address(path)?;
    let umask = super::fs::umask(0);
    let bound = check!(
        // SAFETY: the address is valid for its length.
        unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) },
        Bind,
        path
    );
    super::fs::umask(umask);
    bound.map(drop)
}

/// `connect(2)` to a path, or to a name in the abstract namespace if it begins with `@`.
pub fn connect(socket: BorrowedFd, name: &Path) -> SysResult<()> {
    if !name.as_os_str().as_bytes().starts_with(b"@") {
        return super::socket::connect(socket, name);
    }
    let (mut address, mut length) = address(name)?;
    // There the name begins with a NUL byte and does not end with one.
    if let Some(first) = address.sun_path.first_mut() {
        *first = 0;
    }
    length -= 1;
    check!(
        // SAFETY: the address is valid for its length.
        unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) },
        Connect,
        name
    )
    .map(drop)
}

/// Sends one datagram with descriptors beside it. Never raises SIGPIPE.
pub fn send(socket: BorrowedFd, bytes: &[u8], fds: &[BorrowedFd]) -> SysResult<()> {
    if fds.len() > MOST {
        return Err(SysError::new(
            Syscall::Sendmsg.of(Arg::Count(fds.len(), "descriptors")),
            Errno::EINVAL,
        ));
    }
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr() as *mut _,
        iov_len: bytes.len(),
    };
    let mut control = Control([0; _]);
    // SAFETY: msghdr is plain data for which zeroes are valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        let size = (fds.len() * 4) as u32;
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: the control buffer has room for one header and MOST descriptors, and there are no more than that.
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(size) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size) as _;
            let data = libc::CMSG_DATA(header).cast::<i32>();
            for (index, fd) in fds.iter().enumerate() {
                std::ptr::write_unaligned(data.add(index), fd.as_raw_fd());
            }
        }
    }
    // SAFETY: the message's part and its control buffer live on the stack of this function.
    unsafe { send_message(socket, &message) }
}

/// Receives one datagram and the descriptors beside it, close-on-exec. `None` if none is waiting.
pub fn receive(socket: BorrowedFd, buffer: &mut [u8]) -> SysResult<Option<(usize, Vec<OwnedFd>)>> {
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut control = Control([0; _]);
    // SAFETY: msghdr is plain data for which zeroes are valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    let length = match check!(
        // SAFETY: message, its part and its control buffer outlive the call.
        unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, flags) },
        Recvmsg
    ) {
        Err(error) if matches!(error.errno, Errno::EAGAIN | Errno::EINTR) => return Ok(None),
        other => other?,
    };
    let mut fds = Vec::new();
    // SAFETY: the kernel filled msg_controllen bytes with whole headers, and each SCM_RIGHTS one with as many
    // descriptors as its length says; they are new, and no value owns them.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let size = ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                let data = libc::CMSG_DATA(header).cast::<i32>();
                for index in 0..size / 4 {
                    fds.push(own(std::ptr::read_unaligned(data.add(index))));
                }
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
    }
    Ok(Some((length as usize, fds)))
}
