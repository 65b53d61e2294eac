//! What a checkpoint keeps only if it is told to.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use serde_json::{Value, json};

use super::{Part, sys};

/// Messages to a socket of the host, as to that of a log.
pub struct ToHost {
    socket: UnixDatagram,
    sent: u64,
}

impl ToHost {
    pub fn new(dir: &Path) -> Self {
        let socket = UnixDatagram::unbound().expect("socket");
        // CRIU connects to the name that the host's socket has, which must be the same in the container.
        let name = fs::read_link(dir.join("log")).expect("the name of the socket");
        socket.connect(name).expect("connect");
        ToHost { socket, sent: 0 }
    }
}

impl Part for ToHost {
    fn check(&mut self) -> Result<(), String> {
        // Not more than the reader can take.
        if self.sent.is_multiple_of(16) {
            self.socket
                .send(&self.sent.to_ne_bytes())
                .map_err(|e| format!("send: {e}"))?;
        }
        self.sent += 1;
        Ok(())
    }

    fn same(&mut self) -> Value {
        json!(format!("{:?}", self.socket.peer_addr()))
    }

    fn grows(&mut self) -> Value {
        json!({ "sent": self.sent })
    }
}

/// A TCP connection that nobody has accepted yet.
pub struct Waiting {
    listener: TcpListener,
    _client: TcpStream,
}

impl Waiting {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
        Waiting {
            listener,
            _client: client,
        }
    }
}

impl Part for Waiting {
    fn same(&mut self) -> Value {
        json!(format!("{:?}", self.listener.local_addr()))
    }
}

/// An open file whose name is gone while it has another.
pub struct Linked(File);

impl Linked {
    pub fn new(dir: &Path) -> Self {
        let (name, other) = (dir.join("linked"), dir.join("other name"));
        let mut file = File::create_new(&name).expect("create");
        file.write_all(&sys::pattern(700, 31)).expect("write");
        fs::hard_link(&name, other).expect("link");
        let file = File::open(&name).expect("open");
        fs::remove_file(&name).expect("remove");
        Linked(file)
    }
}

impl Part for Linked {
    fn same(&mut self) -> Value {
        let mut bytes = Vec::new();
        let _ = self.0.seek(SeekFrom::Start(0));
        let _ = self.0.read_to_end(&mut bytes);
        json!(sys::hash(&bytes))
    }
}

/// A connection to itself that need not survive: `lost` tells whether it has been closed.
pub struct Closable {
    server: TcpStream,
    client: TcpStream,
    _listener: TcpListener,
}

impl Closable {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        Closable {
            server,
            client,
            _listener: listener,
        }
    }
}

impl Part for Closable {
    fn same(&mut self) -> Value {
        Value::Null
    }

    fn grows(&mut self) -> Value {
        let passed = self
            .client
            .write_all(b"x")
            .and_then(|()| self.server.read_exact(&mut [0]));
        json!({ "lost": u64::from(passed.is_err()) })
    }
}

/// A child in a cgroup below that of the container.
pub struct Cgroup(libc::pid_t);

impl Cgroup {
    pub fn new() -> Self {
        let group = Path::new("/sys/fs/cgroup/below");
        fs::create_dir(group).expect("make a cgroup");
        let child = sys::fork(|| sys::pause());
        fs::write(group.join("cgroup.procs"), child.to_string()).expect("move the child");
        Cgroup(child)
    }
}

impl Part for Cgroup {
    fn same(&mut self) -> Value {
        let of = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let v2 = |text: String| text.lines().find(|line| line.starts_with("0::")).map(str::to_owned);
        json!([v2(of("self")), v2(of(&self.0.to_string()))])
    }
}
