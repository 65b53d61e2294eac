//! TCP: a connection whose both ends are here, and a server for a client outside.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use serde_json::{Value, json};

use super::{Part, sys};

pub struct Connection {
    listener: TcpListener,
    server: TcpStream,
    client: TcpStream,
    datagrams: UdpSocket,
    sent: u64,
}

impl Connection {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
        let (mut server, _) = listener.accept().expect("accept");
        client.set_nodelay(true).expect("TCP_NODELAY");
        // Unread data in one direction.
        server.write_all(b"unread").expect("send");
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("bind");
        Connection {
            listener,
            server,
            client,
            datagrams,
            sent: 0,
        }
    }
}

impl Part for Connection {
    fn check(&mut self) -> Result<(), String> {
        self.sent += 1;
        let number = self.sent.to_be_bytes();
        let mut bytes = [0; 8];
        self.client.write_all(&number).map_err(|e| format!("send: {e}"))?;
        self.server
            .read_exact(&mut bytes)
            .map_err(|e| format!("receive: {e}"))?;
        if bytes != number {
            return Err(format!("{bytes:?} instead of {number:?}"));
        }
        Ok(())
    }

    fn same(&mut self) -> Value {
        let mut bytes = [0; 100];
        let length = sys::peek(self.client.as_raw_fd(), &mut bytes);
        json!({
            "unread": String::from_utf8_lossy(&bytes[..length]),
            "addresses": format!("{:?} {:?} {:?}", self.listener.local_addr(), self.client.local_addr(), self.client.peer_addr()),
            "no delay": self.client.nodelay().ok(),
            "datagrams": format!("{:?}", self.datagrams.local_addr()),
        })
    }

    fn grows(&mut self) -> Value {
        json!({ "sent": self.sent })
    }
}

/// Listens on port 7000 and sends back to one client what it says.
pub struct Server {
    listener: TcpListener,
    client: Option<TcpStream>,
    returned: u64,
}

impl Server {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:7000").expect("bind");
        listener.set_nonblocking(true).expect("O_NONBLOCK");
        Server {
            listener,
            client: None,
            returned: 0,
        }
    }
}

impl Part for Server {
    fn check(&mut self) -> Result<(), String> {
        if let Ok((client, _)) = self.listener.accept() {
            client.set_nonblocking(true).expect("O_NONBLOCK");
            self.client = Some(client);
        }
        let Some(client) = &mut self.client else {
            return Ok(());
        };
        let mut bytes = [0; 4096];
        match client.read(&mut bytes) {
            Ok(count @ 1..) => {
                self.returned += count as u64;
                client.write_all(&bytes[..count]).map_err(|e| format!("send: {e}"))
            }
            Ok(_) => {
                self.client = None;
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(e) => {
                self.client = None;
                Err(format!("receive: {e}"))
            }
        }
    }

    fn same(&mut self) -> Value {
        json!({ "address": format!("{:?}", self.listener.local_addr()) })
    }

    fn grows(&mut self) -> Value {
        json!({ "returned": self.returned })
    }
}
