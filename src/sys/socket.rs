//! Unix sockets, descriptors passed over them, and the one network ioctl.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;

use super::{Arg, Call, SysError, SysResult, Syscall, c_path, check, fs, own, uninterrupted};

/// A close-on-exec pair of connected `SOCK_SEQPACKET` sockets: packets keep their borders and their order.
pub fn pair() -> SysResult<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    check!(
        // SAFETY: the array has room for two descriptors.
        unsafe {
            libc::socketpair(
                libc::AF_UNIX,
                libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
                0,
                fds.as_mut_ptr(),
            )
        },
        Socketpair,
        Arg::word("AF_UNIX"),
        Arg::word("SOCK_SEQPACKET")
    )?;
    let [one, other] = fds;
    Ok((own(one), own(other)))
}

/// A close-on-exec, unconnected unix socket of a type (`SOCK_*`).
pub fn unix(kind: i32) -> SysResult<OwnedFd> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::socket(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0) },
        Socket,
        Arg::word("AF_UNIX")
    )
    .map(own)
}

/// A path as a socket's address, and its length with the NUL byte at its end.
pub(super) fn address(path: &Path) -> SysResult<(libc::sockaddr_un, libc::socklen_t)> {
    let c = c_path(path)?;
    let bytes = c.as_bytes_with_nul();
    // SAFETY: sockaddr_un is plain data for which zeroes are valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    if bytes.len() > address.sun_path.len() {
        return Err(SysError::new(Syscall::SocketPath.of(path), Errno::ENAMETOOLONG));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    let length = std::mem::offset_of!(libc::sockaddr_un, sun_path) + bytes.len();
    Ok((address, length as libc::socklen_t))
}

/// `bind(2)` and `listen(2)`.
pub fn listen(socket: BorrowedFd, path: &Path) -> SysResult<()> {
    let (address, length) = address(path)?;
    check!(
        // SAFETY: the address is valid for its length.
        unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) },
        Bind,
        path
    )?;
    // SAFETY: no memory is passed.
    check!(unsafe { libc::listen(socket.as_raw_fd(), 1) }, Listen).map(drop)
}

/// `connect(2)`, to a path of any length.
pub fn connect(socket: BorrowedFd, path: &Path) -> SysResult<()> {
    // A longer path than an address has room for (sun_path, unix(7)) is opened first, and connected to by descriptor.
    let (there, (address, length)) = match address(path) {
        Err(error) if error.errno == Errno::ENAMETOOLONG => {
            let there = fs::open(path, libc::O_PATH)?;
            let short = format!("/proc/self/fd/{}", there.as_raw_fd());
            (Some(there), address(Path::new(&short))?)
        }
        short => (None, short?),
    };
    check!(
        // SAFETY: the address is valid for its length.
        unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length) },
        Connect,
        path
    )?;
    drop(there);
    Ok(())
}

/// How long a `connect` or `send` may wait for a receiver that does not accept or read (`SO_SNDTIMEO`); then it is `EAGAIN`.
pub fn limit_sending(socket: BorrowedFd, seconds: i32) -> SysResult<()> {
    let limit = libc::timeval {
        tv_sec: seconds.into(),
        tv_usec: 0,
    };
    check!(
        // SAFETY: the option's value is valid for its length.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_SNDTIMEO,
                (&raw const limit).cast(),
                std::mem::size_of::<libc::timeval>() as libc::socklen_t,
            )
        },
        Setsockopt,
        Arg::word("SO_SNDTIMEO"),
        Arg::Count(seconds as usize, "s")
    )
    .map(drop)
}

/// `accept4(2)`, retried when interrupted.
pub fn accept(socket: BorrowedFd) -> SysResult<OwnedFd> {
    uninterrupted(|| {
        check!(
            // SAFETY: a null address means the peer's is not wanted.
            unsafe {
                libc::accept4(
                    socket.as_raw_fd(),
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    libc::SOCK_CLOEXEC,
                )
            },
            Accept
        )
    })
    .map(own)
}

/// Room for one descriptor's control message, aligned as the kernel wants it.
#[repr(align(8))]
struct Control([u8; 32]);

/// Sends one packet, with at most one descriptor beside it (`SCM_RIGHTS`). Never raises SIGPIPE.
pub fn send(socket: BorrowedFd, bytes: &[u8], fd: Option<BorrowedFd>) -> SysResult<()> {
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr() as *mut _,
        iov_len: bytes.len(),
    };
    let mut control = Control([0; 32]);
    // SAFETY: msghdr is plain data for which zeroes are valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(fd) = fd {
        message.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: the control buffer has room for one header and one descriptor (CMSG_SPACE(4) is 24 bytes).
        unsafe {
            message.msg_controllen = libc::CMSG_SPACE(4) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4) as _;
            std::ptr::write_unaligned(libc::CMSG_DATA(header).cast::<i32>(), fd.as_raw_fd());
        }
    }
    // SAFETY: the message's part and its control buffer live on the stack of this function.
    unsafe { send_message(socket, &message) }
}

/// `sendmsg(2)`. Never raises SIGPIPE.
///
/// # Safety
///
/// What the message points to must be valid for its length.
pub(super) unsafe fn send_message(socket: BorrowedFd, message: &libc::msghdr) -> SysResult<()> {
    uninterrupted(|| {
        check!(
            // SAFETY: the message is the caller's, who answers for it.
            unsafe { libc::sendmsg(socket.as_raw_fd(), message, libc::MSG_NOSIGNAL) },
            Sendmsg
        )
    })
    .map(drop)
}

/// Sends the first part of a stream's bytes, as many as there is room for, and tells how many. Never raises SIGPIPE.
pub fn send_some(socket: BorrowedFd, bytes: &[u8]) -> SysResult<usize> {
    loop {
        let result = check!(
            // SAFETY: the buffer is valid for its length.
            unsafe {
                libc::send(
                    socket.as_raw_fd(),
                    bytes.as_ptr().cast(),
                    bytes.len(),
                    libc::MSG_NOSIGNAL,
                )
            },
            Send
        );
        match result {
            Err(error) if error.errno == Errno::EINTR => continue,
            other => return other.map(|count| count as usize),
        }
    }
}

/// Waits for the next packet and tells its length, which is 0 when the other side has gone. The packet stays.
pub fn next_length(socket: BorrowedFd) -> SysResult<usize> {
    uninterrupted(|| {
        check!(
            // SAFETY: a length of 0 means that the kernel writes nothing to the null pointer.
            unsafe {
                libc::recv(
                    socket.as_raw_fd(),
                    std::ptr::null_mut(),
                    0,
                    libc::MSG_PEEK | libc::MSG_TRUNC,
                )
            },
            Recv,
            Arg::word("MSG_PEEK")
        )
    })
    .map(|length| length as usize)
}

/// Receives one packet into `buffer` and at most one descriptor; more of either is `EMSGSIZE`. A length of 0 means the
/// other side has gone.
pub fn receive(socket: BorrowedFd, buffer: &mut [u8]) -> SysResult<(usize, Option<OwnedFd>)> {
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut control = Control([0; 32]);
    // SAFETY: msghdr is plain data for which zeroes are valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: only computes. Room for exactly one descriptor: the kernel makes no others, and says so.
    message.msg_controllen = unsafe { libc::CMSG_LEN(4) } as _;
    let length = uninterrupted(|| {
        check!(
            // SAFETY: message, its part and its control buffer outlive the call.
            unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC) },
            Recvmsg
        )
    })?;
    let mut received = None;
    // SAFETY: the kernel filled msg_controllen bytes; CMSG_FIRSTHDR checks that a whole header is there.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&message);
        if !header.is_null()
            && (*header).cmsg_level == libc::SOL_SOCKET
            && (*header).cmsg_type == libc::SCM_RIGHTS
            && (*header).cmsg_len >= libc::CMSG_LEN(4) as _
        {
            received = Some(own(std::ptr::read_unaligned(libc::CMSG_DATA(header).cast::<i32>())));
        }
    }
    if message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        // What did come is closed again.
        return Err(SysError::new(
            Call::from(Syscall::Recvmsg).with("the packet is too long or has more than one descriptor".into()),
            Errno::EMSGSIZE,
        ));
    }
    Ok((length as usize, received))
}

/// `shutdown(2)` of both directions: the other side sees an end of file, even if other processes have copies of this end.
pub fn shutdown(socket: BorrowedFd) -> SysResult<()> {
    // SAFETY: no memory is passed.
    check!(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) }, Shutdown).map(drop)
}

/// A socket for nothing but ioctls about the current network namespace.
pub fn control() -> SysResult<OwnedFd> {
    check!(
        // SAFETY: no memory is passed.
        unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) },
        Socket,
        Arg::word("AF_UNIX"),
        Arg::word("SOCK_DGRAM")
    )
    .map(own)
}

/// Brings the loopback interface of a socket's network namespace up (netdevice(7), `SIOCSIFFLAGS`).
pub fn loopback_up(socket: BorrowedFd) -> SysResult<()> {
    // SAFETY: ifreq is plain data for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    check!(
        // SAFETY: the request is a valid ifreq for the whole call.
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as libc::Ioctl, &request) },
        Ioctl,
        Arg::word("SIOCSIFFLAGS"),
        Arg::word("lo"),
        Arg::word("IFF_UP")
    )
    .map(drop)
}

/// A close-on-exec `NETLINK_ROUTE` socket of the current network namespace, see rtnetlink(7).
pub fn netlink_route() -> SysResult<OwnedFd> {
    check!(
        // SAFETY: no memory is passed.
        unsafe {
            libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                libc::NETLINK_ROUTE,
            )
        },
        Socket,
        Arg::word("AF_NETLINK"),
        Arg::word("NETLINK_ROUTE")
    )
    .map(own)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// Sends that many copies of standard input.
    fn send_several(socket: BorrowedFd, count: usize) {
        let fds = vec![0i32; count];
        let mut part = libc::iovec {
            iov_base: b"x".as_ptr() as *mut _,
            iov_len: 1,
        };
        let mut control = [0u64; 16];
        // SAFETY: msghdr is plain data; the control buffer has room for one header and up to 16 descriptors.
        unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(4 * count as u32) as _;
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(4 * count as u32) as _;
            std::ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(header).cast::<i32>(), count);
            assert_eq!(libc::sendmsg(socket.as_raw_fd(), &message, 0), 1);
        }
    }

    #[test]
    fn a_socket_is_reached_by_a_path_of_any_length() {
        let top = std::env::temp_dir().join(format!("orlop-socket-{}", std::process::id()));
        let deep = top.join("d".repeat(250)).join("d".repeat(250));
        std::fs::create_dir_all(&deep).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(top.join("s")).unwrap();
        std::fs::rename(top.join("s"), deep.join("s")).unwrap();
        for name in ["s".to_string(), "n".repeat(255)] {
            let path = deep.join(&name);
            // A name that has itself no room in an address cannot be bound, but linked to.
            if name != "s" {
                std::fs::hard_link(deep.join("s"), &path).unwrap();
            }
            let socket = unix(libc::SOCK_STREAM).unwrap();
            connect(socket.as_fd(), &path).unwrap();
            send(socket.as_fd(), b"x", None).unwrap();
            listener.accept().unwrap();
        }
        drop(listener);
        let refused = |path: &Path| connect(unix(libc::SOCK_STREAM).unwrap().as_fd(), path).unwrap_err();
        let error = refused(&deep.join("s"));
        assert_eq!(error.errno, Errno::ECONNREFUSED);
        assert_eq!(*error.call, Syscall::Connect.of(&*deep.join("s")));
        assert_eq!(refused(&deep.join("missing")).errno, Errno::ENOENT);
        std::fs::remove_dir_all(&top).unwrap();
    }

    #[test]
    fn a_receiver_that_accepts_nobody_is_not_waited_for_for_ever() {
        let path = std::env::temp_dir().join(format!("orlop-full-{}", std::process::id()));
        let listener = unix(libc::SOCK_STREAM).unwrap();
        listen(listener.as_fd(), &path).unwrap();
        let begun = std::time::Instant::now();
        let error = (0..4)
            .map(|_| {
                let socket = unix(libc::SOCK_STREAM).unwrap();
                limit_sending(socket.as_fd(), 1).unwrap();
                connect(socket.as_fd(), &path).map(|()| std::mem::forget(socket))
            })
            .find_map(Result::err);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(error.map(|error| error.errno), Some(Errno::EAGAIN));
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    }

    #[test]
    fn one_descriptor_arrives_and_more_are_refused() {
        let (one, other) = pair().unwrap();
        send(one.as_fd(), b"x", Some(one.as_fd())).unwrap();
        let (length, fd) = receive(other.as_fd(), &mut [0; 8]).unwrap();
        assert_eq!((length, fd.is_some()), (1, true));
        for count in [2, 4, 16] {
            send_several(one.as_fd(), count);
            assert_eq!(receive(other.as_fd(), &mut [0; 8]).unwrap_err().errno, Errno::EMSGSIZE);
        }
        send(one.as_fd(), b"too long", None).unwrap();
        assert_eq!(receive(other.as_fd(), &mut [0; 4]).unwrap_err().errno, Errno::EMSGSIZE);
    }
}
