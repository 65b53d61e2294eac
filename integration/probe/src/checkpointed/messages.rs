//! Pipes and Unix sockets with data in flight.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use serde_json::{Value, json};

use super::{Part, sys};

const IN_PIPE: usize = 10_000;

pub struct Messages {
    pipe: (OwnedFd, OwnedFd),
    fifo: OwnedFd,
    stream: (UnixStream, UnixStream),
    datagram: (UnixDatagram, UnixDatagram),
    packets: (OwnedFd, OwnedFd),
    /// A listener with a name in the file system, and a connection to it.
    named: (UnixListener, UnixStream, UnixStream),
    abstract_: (UnixListener, UnixStream, UnixStream),
    bound: (UnixDatagram, UnixDatagram),
    sent: u64,
}

impl Messages {
    pub fn new(dir: &Path) -> Self {
        let pipe = sys::pipe(libc::O_NONBLOCK | libc::O_CLOEXEC);
        // SAFETY: the call takes no pointer.
        sys::done(unsafe { libc::fcntl(pipe.1.as_raw_fd(), libc::F_SETPIPE_SZ, 128 << 10) });
        assert_eq!(
            sys::write(pipe.1.as_raw_fd(), &sys::pattern(IN_PIPE, 7)),
            IN_PIPE as isize
        );
        let path = dir.join("fifo");
        let name = crate::facts::c_path(&path.to_string_lossy());
        // SAFETY: a string that ends with a NUL.
        sys::done(unsafe { libc::mkfifo(name.as_ptr(), 0o600) });
        // SAFETY: as above.
        let fifo = sys::owned(unsafe { libc::open(name.as_ptr(), libc::O_RDWR | libc::O_NONBLOCK) });
        sys::write(fifo.as_raw_fd(), b"in the fifo");

        let stream = UnixStream::pair().expect("socketpair");
        stream.0.set_nonblocking(true).expect("O_NONBLOCK");
        sys::write(stream.1.as_raw_fd(), b"in the stream");
        let datagram = UnixDatagram::pair().expect("socketpair");
        for text in ["one", "two"] {
            datagram.1.send(text.as_bytes()).expect("send");
        }
        let packets = socket_pair(libc::SOCK_SEQPACKET);
        sys::write(packets.1.as_raw_fd(), b"a packet");

        let connect = |listener: UnixListener, address: &SocketAddr| {
            let client = UnixStream::connect_addr(address).expect("connect");
            let (server, _) = listener.accept().expect("accept");
            sys::write(client.as_raw_fd(), b"from the client");
            (listener, server, client)
        };
        let address = SocketAddr::from_pathname(dir.join("socket")).expect("an address");
        let named = connect(UnixListener::bind_addr(&address).expect("bind"), &address);
        let address = SocketAddr::from_abstract_name("checkpointed").expect("an address");
        let abstract_ = connect(UnixListener::bind_addr(&address).expect("bind"), &address);
        let bound = (
            UnixDatagram::bind(dir.join("datagrams")).expect("bind"),
            UnixDatagram::unbound().expect("socket"),
        );
        bound.1.connect(dir.join("datagrams")).expect("connect");
        bound.1.send(b"waiting").expect("send");
        Messages {
            pipe,
            fifo,
            stream,
            datagram,
            packets,
            named,
            abstract_,
            bound,
            sent: 0,
        }
    }
}

fn socket_pair(kind: i32) -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: the kernel writes two descriptors, to what outlives the call.
    sys::done(unsafe { libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()) });
    // SAFETY: the descriptors are new, so nothing else owns them.
    ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).into()
}

/// The content of a pipe, which stays in it.
fn in_pipe(pipe: RawFd) -> String {
    let (from, to) = sys::pipe(0);
    // SAFETY: the call takes no pointer.
    sys::done(unsafe { libc::fcntl(to.as_raw_fd(), libc::F_SETPIPE_SZ, 128 << 10) });
    // SAFETY: the call takes no pointer.
    sys::done(unsafe { libc::tee(pipe, to.as_raw_fd(), 128 << 10, libc::SPLICE_F_NONBLOCK) } as i64);
    drop(to);
    let mut bytes = vec![0; 128 << 10];
    let mut length = 0;
    while let count @ 1.. = sys::read(from.as_raw_fd(), &mut bytes[length..]) {
        length += count as usize;
    }
    sys::hash(&bytes[..length])
}

fn text_in(socket: &impl AsRawFd) -> String {
    let mut bytes = [0; 100];
    let length = sys::peek(socket.as_raw_fd(), &mut bytes);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

fn flags(fd: &impl AsRawFd) -> [i32; 2] {
    // SAFETY: the call takes no pointer.
    [libc::F_GETFL, libc::F_GETFD].map(|what| unsafe { libc::fcntl(fd.as_raw_fd(), what) })
}

impl Part for Messages {
    /// Each connection still carries what is sent through it, in the other direction too.
    fn check(&mut self) -> Result<(), String> {
        self.sent += 1;
        let number = self.sent.to_ne_bytes();
        let pairs: [(&str, RawFd, RawFd); 5] = [
            ("stream", self.stream.0.as_raw_fd(), self.stream.1.as_raw_fd()),
            ("datagram", self.datagram.0.as_raw_fd(), self.datagram.1.as_raw_fd()),
            ("packets", self.packets.0.as_raw_fd(), self.packets.1.as_raw_fd()),
            ("named", self.named.1.as_raw_fd(), self.named.2.as_raw_fd()),
            ("abstract", self.abstract_.1.as_raw_fd(), self.abstract_.2.as_raw_fd()),
        ];
        for (name, from, to) in pairs {
            let mut bytes = [0; 8];
            if sys::write(from, &number) != 8 || sys::read(to, &mut bytes) != 8 || bytes != number {
                return Err(format!("{name}: {bytes:?} instead of {number:?}"));
            }
        }
        Ok(())
    }

    fn same(&mut self) -> Value {
        // SAFETY: the call takes no pointer.
        let capacity = unsafe { libc::fcntl(self.pipe.0.as_raw_fd(), libc::F_GETPIPE_SZ) };
        json!({
            "pipe": in_pipe(self.pipe.0.as_raw_fd()),
            "capacity": capacity,
            "flags": [flags(&self.pipe.0), flags(&self.pipe.1), flags(&self.stream.0), flags(&self.stream.1)],
            "fifo": [json!(in_pipe(self.fifo.as_raw_fd())), json!(flags(&self.fifo))],
            "stream": text_in(&self.stream.0),
            // Only the first can be seen without taking it out.
            "datagram": [json!(text_in(&self.datagram.0)), json!(sys::unread(self.datagram.0.as_raw_fd()))],
            "packets": text_in(&self.packets.0),
            "named": [text_in(&self.named.1), format!("{:?}", self.named.0.local_addr())],
            "abstract": [text_in(&self.abstract_.1), format!("{:?}", self.abstract_.0.local_addr())],
            "bound": [text_in(&self.bound.0), format!("{:?}", self.bound.1.peer_addr())],
        })
    }

    fn grows(&mut self) -> Value {
        json!({ "sent": self.sent })
    }
}
