//! A connection to a D-Bus message bus: one thread, one call at a time (D-Bus Specification, "Authentication Protocol",
//! "Message Bus"). Run by the runtime.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::Value;
use super::wire::{self, Kind, Message};
use crate::error::{Context, Error, Result, anyhow, bail, call_with_hint, with_hint};
use crate::interrupt::Interrupts;
use crate::sys::{SysError, datagram, descriptor, fs, socket};

/// The address of the system bus, unless DBUS_SYSTEM_BUS_ADDRESS is set.
const SYSTEM: &str = "unix:path=/run/dbus/system_bus_socket";
/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// An error from the bus or a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DbusError {
    /// `org.freedesktop.systemd1.UnitExists`
    pub name: String,
    pub text: String,
}

impl fmt::Display for DbusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.as_str() {
            "" => f.write_str(&self.name),
            text => write!(f, "{text} ({})", self.name),
        }
    }
}

impl std::error::Error for DbusError {}

/// A method: the service and object to call, and what to call.
#[derive(Debug, Clone, Copy)]
pub struct Method<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub name: &'a str,
}

pub struct Bus {
    socket: OwnedFd,
    /// Bytes that have been received and not decoded yet.
    buffer: Vec<u8>,
    serial: u32,
    signals: VecDeque<Message>,
    interrupts: Option<Rc<Interrupts>>,
}

/// The address of the bus of a systemd: the system bus, or the user's session bus.
pub fn address(user: bool) -> Result<String> {
    let named = |variable: &str| {
        let value = std::env::var_os(variable).filter(|value| !value.is_empty());
        value.map(|value| value.into_string()).transpose()
    };
    let not_text = |_| anyhow!("the address of the bus is not UTF-8");
    if !user {
        return Ok(named("DBUS_SYSTEM_BUS_ADDRESS")
            .map_err(not_text)?
            .unwrap_or_else(|| SYSTEM.into()));
    }
    if let Some(address) = named("DBUS_SESSION_BUS_ADDRESS").map_err(not_text)? {
        return Ok(address);
    }
    match named("XDG_RUNTIME_DIR").map_err(not_text)? {
        Some(directory) => Ok(format!("unix:path={}", percent_encoded(&format!("{directory}/bus")))),
        None => Err(with_hint(
            "cannot find the bus of the user's systemd: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set",
            "log in so that systemd starts for the user (`loginctl enable-linger`), or leave --systemd-cgroup out",
        )),
    }
}

fn percent_encoded(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/.\\*".contains(&byte);
    let encode = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02x}"),
    };
    path.bytes().map(encode).collect()
}

/// The sockets in an address, in order. A name in the abstract namespace begins with `@` (D-Bus Specification, "Server
/// Addresses").
pub fn sockets(address: &str) -> Result<Vec<PathBuf>> {
    let mut sockets = Vec::new();
    for part in address.split(';').filter(|part| !part.is_empty()) {
        let Some(keys) = part.strip_prefix("unix:") else {
            continue;
        };
        for (key, value) in keys.split(',').filter_map(|pair| pair.split_once('=')) {
            let value = decoded(value).ok_or_else(|| anyhow!("{part:?} has an incomplete %-escape"))?;
            match key {
                "path" => sockets.push(PathBuf::from(value)),
                "abstract" => sockets.push(PathBuf::from(format!("@{value}"))),
                _ => {}
            }
        }
    }
    if sockets.is_empty() {
        return Err(with_hint(
            format!("{address:?} does not name a unix socket"),
            "the address of a bus has the form unix:path=/run/dbus/system_bus_socket",
        ));
    }
    Ok(sockets)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [a, b, tail @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push((digit(a)? << 4 | digit(b)?) as u8);
                tail
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*first);
                tail
            }
        };
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

impl Bus {
    /// Connects and says hello. An interrupting signal ends any wait for an answer.
    pub fn connect(address: &str, interrupts: Option<Rc<Interrupts>>) -> Result<Self> {
        let connect = || -> Result<Self> {
            let mut bus = Bus::over(open(address)?, interrupts);
            bus.introduce()?;
            Ok(bus)
        };
        connect().with_context(|| format!("the bus at {address:?}"))
    }

    fn over(socket: OwnedFd, interrupts: Option<Rc<Interrupts>>) -> Self {
        Bus {
            socket,
            buffer: Vec::new(),
            serial: 0,
            signals: VecDeque::new(),
            interrupts,
        }
    }

    /// Authenticates and says hello.
    fn introduce(&mut self) -> Result<()> {
        // No user ID is sent: the bus gets it from the kernel, and in a user namespace ours would be wrong. Everything up to the
        // first call is sent at once, to save round trips.
        self.write(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        let hello = self.send(&HELLO, Vec::new())?;
        self.authenticated()?;
        self.answer(hello, HELLO.name)?;
        Ok(())
    }

    fn authenticated(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            while let Some(length) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..length + 2).collect();
                let line = String::from_utf8_lossy(&line);
                match line.split_ascii_whitespace().next() {
                    Some("OK") => return Ok(()),
                    Some("DATA") => {}
                    _ => {
                        return Err(with_hint(
                            format!("D-Bus authentication rejected: {:?}", line.trim()),
                            "an unprivileged user can only use their own bus, DBUS_SESSION_BUS_ADDRESS",
                        ));
                    }
                }
            }
            if self.buffer.len() > 4096 {
                bail!("the other side is not a message bus");
            }
            self.receive(end)?;
        }
    }

    /// Sends bytes. It is not an error yet if the other side has hung up: what it sent before, which is read next, may say why.
    fn write(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let sent = match socket::send_some(self.socket.as_fd(), bytes) {
                Err(error) if hung_up(&error) => return Ok(()),
                other => other?,
            };
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits for bytes and receives them.
    fn receive(&mut self, end: Instant) -> Result<()> {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(with_hint(
                    format!("no answer within {} s", PATIENCE.as_secs()),
                    "see `systemctl status` and the journal",
                ));
            }
            let mut waiting = vec![(self.socket.as_fd(), libc::POLLIN)];
            if let Some(interrupts) = &self.interrupts {
                waiting.push((interrupts.fd(), libc::POLLIN));
            }
            let events = descriptor::poll(&waiting, left.as_millis() as i32 + 1)?;
            if events.first().is_some_and(|events| *events != 0) {
                break;
            }
            if let Some(interrupts) = &self.interrupts {
                interrupts.check()?;
            }
        }
        let mut bytes = [0; 4096];
        let count = match fs::read(self.socket.as_fd(), &mut bytes) {
            Err(error) if hung_up(&error) => 0,
            other => other?,
        };
        if count == 0 {
            bail!("the bus closed the connection");
        }
        self.buffer.extend(bytes.get(..count).unwrap_or_default());
        Ok(())
    }

    /// The next message of any type.
    fn next(&mut self, end: Instant) -> Result<Message> {
        loop {
            if let Some(length) = wire::length(&self.buffer)?
                && let Some(bytes) = self.buffer.get(..length)
            {
                let message = wire::decode(bytes)?;
                self.buffer.drain(..length);
                return Ok(message);
            }
            self.receive(end)?;
        }
    }

    /// Sends a call without waiting for its answer. Returns the serial number to pass to [`Bus::answer`].
    pub fn send(&mut self, method: &Method, body: Vec<Value>) -> Result<u32> {
        self.serial += 1;
        let message = Message {
            path: Some(method.path.into()),
            interface: Some(method.interface.into()),
            member: Some(method.name.into()),
            destination: Some(method.destination.into()),
            body,
            ..Message::new(Kind::Call, self.serial)
        };
        self.write(&wire::encode(&message))?;
        Ok(self.serial)
    }

    /// Waits for the answer to a call. Signals that arrive before it are kept, other answers are dropped.
    pub fn answer(&mut self, serial: u32, name: &str) -> Result<Vec<Value>> {
        let end = Instant::now() + PATIENCE;
        loop {
            let message = self.next(end).with_context(|| format!("{name}()"))?;
            match message.kind {
                Kind::Signal => self.signals.push_back(message),
                Kind::Return if message.answers == Some(serial) => return Ok(message.body),
                Kind::Error if message.answers == Some(serial) => {
                    let text = message.body.first().and_then(Value::as_text).unwrap_or_default();
                    return Err(Error::new(DbusError {
                        name: message.error.unwrap_or_default(),
                        text: text.into(),
                    })
                    .context(format!("{name}()")));
                }
                _ => {}
            }
        }
    }

    pub fn call(&mut self, method: &Method, body: Vec<Value>) -> Result<Vec<Value>> {
        let serial = self.send(method, body)?;
        self.answer(serial, method.name)
    }

    /// Waits for the next signal that matches. Others are dropped.
    pub fn signal(&mut self, is_wanted: impl Fn(&Message) -> bool) -> Result<Message> {
        let end = Instant::now() + PATIENCE;
        loop {
            let message = match self.signals.pop_front() {
                Some(message) => message,
                None => self.next(end)?,
            };
            if message.kind == Kind::Signal && is_wanted(&message) {
                return Ok(message);
            }
        }
    }
}

pub const BUS: &str = "org.freedesktop.DBus";

const HELLO: Method = Method {
    destination: BUS,
    path: "/org/freedesktop/DBus",
    interface: BUS,
    name: "Hello",
};

/// Subscribes to the signals that a rule describes.
pub const ADD_MATCH: Method = Method {
    name: "AddMatch",
    ..HELLO
};

/// Whether the other side has closed the connection, possibly before it had read everything that we sent.
fn hung_up(error: &SysError) -> bool {
    matches!(error.errno, Errno::EPIPE | Errno::ECONNRESET)
}

/// Connects to the first socket that has a listener.
/// Whether something is listening at an address. Nothing is sent.
pub fn try_connect(address: &str) -> Result<()> {
    open(address).map(drop)
}

fn open(address: &str) -> Result<OwnedFd> {
    let mut failure = None;
    for path in sockets(address)? {
        let socket = socket::unix(libc::SOCK_STREAM)?;
        match datagram::connect(socket.as_fd(), &path) {
            Ok(()) => return Ok(socket),
            Err(error) => failure = failure.or(Some((path, error))),
        }
    }
    match failure {
        Some((path, error)) => Err(not_connected(&path, error)),
        None => bail!("the address has no socket"),
    }
}

fn not_connected(path: &Path, error: SysError) -> Error {
    let cure = match error.errno {
        Errno::ENOENT | Errno::ECONNREFUSED | Errno::ENOTDIR => {
            "start dbus, or leave --systemd-cgroup out, to create cgroups without systemd"
        }
        Errno::EACCES | Errno::EPERM => {
            "this user may not connect to it; leave --systemd-cgroup out, or run as another user"
        }
        _ => "its address is in DBUS_SYSTEM_BUS_ADDRESS or, for an unprivileged user, in DBUS_SESSION_BUS_ADDRESS",
    };
    call_with_hint(error, format!("nothing is listening on {path:?}"), cure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_sockets() {
        let table: &[(&str, &[&str])] = &[
            (
                "unix:path=/run/dbus/system_bus_socket",
                &["/run/dbus/system_bus_socket"],
            ),
            ("unix:path=/run/user/1000/bus,guid=00ff", &["/run/user/1000/bus"]),
            ("unix:guid=1,abstract=/tmp/dbus-x", &["@/tmp/dbus-x"]),
            ("tcp:host=a;unix:path=/a%20b%3bc;;unix:path=/d", &["/a b;c", "/d"]),
        ];
        for (address, expected) in table {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(sockets(address).unwrap(), expected, "{address}");
        }
        for address in [
            "",
            "unix:",
            "unix:tmpdir=/tmp",
            "tcp:host=a",
            "/run/bus",
            "unix:path=/a%2",
            "unix:path=/a%zz",
            "unix:path=%00",
        ] {
            assert!(sockets(address).is_err(), "{address}");
        }
        assert_eq!(decoded(&percent_encoded("/run/a b;c=é%")).unwrap(), "/run/a b;c=é%");
    }

    /// The bus answers and closes the connection before it has received everything.
    #[test]
    fn the_reason_why_a_bus_hangs_up_is_reported() {
        for (said, heard) in [
            (
                "DATA\r\nREJECTED EXTERNAL\r\n",
                "D-Bus authentication rejected: \"REJECTED EXTERNAL\"",
            ),
            ("DATA\r\n", "the bus closed the connection"),
        ] {
            let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            std::io::Write::write_all(&mut theirs, said.as_bytes()).unwrap();
            drop(theirs);
            let error = Bus::over(ours.into(), None).introduce().unwrap_err();
            assert_eq!(error.to_string(), heard);
        }
    }
}
