//! A bus with a systemd on it, as far as a runtime sees them: it answers the calls, records them, and creates and
//! removes cgroups as systemd would. A `Manner` says how it misbehaves.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use orlop::dbus::Value;
use orlop::dbus::wire::{self, Kind, Message};

/// One call: its name and its arguments.
pub type Call = (String, Vec<Value>);

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    #[default]
    Good,
    /// A failed unit of this name exists until it is reset.
    LeftOver,
    /// A unit of this name exists.
    Taken,
    /// The job ends with `failed`.
    JobFails,
    /// This property is refused.
    Refuses(&'static str),
    /// No process owns the name of systemd.
    NoSystemd,
    /// Authentication fails.
    Rejects,
    /// It closes the connection when a unit is to be started.
    HangsUp,
    /// It sends something that is not a message.
    Babbles,
    /// The scope is not at the path that its name implies.
    Elsewhere,
    /// It is an old version.
    Old,
    /// It is the systemd of an unprivileged user, who owns its cgroups.
    User,
}

pub struct Fake {
    socket: PathBuf,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Fake {
    pub fn new(directory: &Path, manner: Manner) -> Self {
        let socket = directory.join("bus");
        let listener = UnixListener::bind(&socket).expect("bind the bus's socket");
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o777)).expect("open it to all");
        let calls = Arc::new(Mutex::new(Vec::new()));
        let log = calls.clone();
        // It ends with the test's process.
        std::thread::spawn(move || {
            let reset = Arc::new(Mutex::new(false));
            for stream in listener.incoming().flatten() {
                let (log, reset) = (log.clone(), reset.clone());
                std::thread::spawn(move || {
                    let mut session = Session {
                        stream,
                        manner,
                        log,
                        reset,
                        serial: 0,
                        jobs: 0,
                    };
                    // The other side may close the connection.
                    let _ = session.serve();
                });
            }
        });
        Self { socket, calls }
    }

    pub fn address(&self) -> String {
        format!("unix:path={}", self.socket.display())
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("the calls").clone()
    }

    /// The names of the calls, in order.
    pub fn names(&self) -> Vec<String> {
        self.calls().into_iter().map(|(name, _)| name).collect()
    }

    /// The arguments of the only call of this name.
    #[track_caller]
    pub fn call(&self, name: &str) -> Vec<Value> {
        let calls = self.calls();
        let mut found = calls.iter().filter(|(known, _)| known == name);
        let arguments = found
            .next()
            .unwrap_or_else(|| panic!("no {name}: {calls:#?}"))
            .1
            .clone();
        assert!(found.next().is_none(), "several {name}: {calls:#?}");
        arguments
    }

    /// The properties in an argument, by name.
    pub fn properties(argument: &Value) -> Vec<(String, Value)> {
        let Value::Array(kind, pairs) = argument else {
            panic!("{argument:?}")
        };
        assert_eq!(kind, "(sv)");
        let pair = |pair: &Value| match pair {
            Value::Struct(fields) => match fields.as_slice() {
                [Value::Text(name), Value::Variant(value)] => (name.clone(), (**value).clone()),
                _ => panic!("{fields:?}"),
            },
            _ => panic!("{pair:?}"),
        };
        pairs.iter().map(pair).collect()
    }
}

struct Session {
    stream: UnixStream,
    manner: Manner,
    log: Arc<Mutex<Vec<Call>>>,
    /// ResetFailedUnit has been called.
    reset: Arc<Mutex<bool>>,
    serial: u32,
    jobs: u32,
}

enum Answer {
    Values(Vec<Value>),
    Refusal(&'static str, String),
}

fn text(values: &[Value], at: usize) -> String {
    values.get(at).and_then(Value::as_text).unwrap_or_default().to_owned()
}

/// The path of a slice, by systemd's rule, implemented a second time.
fn directory(slice: &str, unit: &str) -> PathBuf {
    let mut path = PathBuf::from("/sys/fs/cgroup");
    let mut name = String::new();
    for part in slice
        .trim_end_matches(".slice")
        .split('-')
        .filter(|part| !part.is_empty())
    {
        name = if name.is_empty() {
            part.to_owned()
        } else {
            format!("{name}-{part}")
        };
        path.push(format!("{name}.slice"));
    }
    path.join(unit)
}

/// The unit's cgroup.
fn find(unit: &str) -> Option<PathBuf> {
    let mut queue = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = queue.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.file_name().is_some_and(|name| name == unit) {
                return Some(path);
            }
            if path.extension().is_some_and(|extension| extension == "slice") {
                queue.push(path);
            }
        }
    }
    None
}

impl Session {
    fn serve(&mut self) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        let begun = loop {
            if let Some(at) = bytes.windows(7).position(|part: &[u8]| part == b"BEGIN\r\n") {
                break at + 7;
            }
            if !self.more(&mut bytes)? {
                return Ok(());
            }
        };
        // As sd-bus does it: it claims no identity, because the socket already carries it.
        assert_eq!(&bytes[..begun], b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
        if self.manner == Manner::Rejects {
            return self.stream.write_all(b"DATA\r\nREJECTED EXTERNAL\r\n");
        }
        self.stream.write_all(b"DATA\r\nOK 1234deadbeef\r\n")?;
        bytes.drain(..begun);
        loop {
            while let Some(length) = wire::length(&bytes)
                .expect("a message")
                .filter(|length| bytes.len() >= *length)
            {
                let message = wire::decode(&bytes[..length]).expect("a message");
                bytes.drain(..length);
                self.answer(message)?;
            }
            if !self.more(&mut bytes)? {
                return Ok(());
            }
        }
    }

    fn more(&mut self, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
        let mut part = [0; 4096];
        let count = self.stream.read(&mut part)?;
        bytes.extend(&part[..count]);
        Ok(count > 0)
    }

    fn answer(&mut self, message: Message) -> std::io::Result<()> {
        assert_eq!(message.kind, Kind::Call);
        let name = message.member.clone().expect("a member");
        self.log
            .lock()
            .expect("the calls")
            .push((name.clone(), message.body.clone()));
        let destination = message.destination.as_deref().expect("a destination");
        let (answer, job) = match (destination, name.as_str()) {
            ("org.freedesktop.DBus", "Hello") => (Answer::Values(vec![Value::text(":1.7")]), None),
            ("org.freedesktop.DBus", "AddMatch") => (Answer::Values(Vec::new()), None),
            (_, _) if self.manner == Manner::NoSystemd => (
                Answer::Refusal(
                    "org.freedesktop.DBus.Error.ServiceUnknown",
                    "The name org.freedesktop.systemd1 was not provided by any .service files".into(),
                ),
                None,
            ),
            ("org.freedesktop.systemd1", "StartTransientUnit") if self.manner == Manner::HangsUp => {
                return self.stream.shutdown(std::net::Shutdown::Both);
            }
            ("org.freedesktop.systemd1", "StartTransientUnit") if self.manner == Manner::Babbles => {
                return self
                    .stream
                    .write_all(b"l\x02\x00\x01\xff\xff\xff\xff\x01\x00\x00\x00\xff\xff\xff\xff");
            }
            ("org.freedesktop.systemd1", _) => self.systemd(&name, &message),
            _ => panic!("a call to {destination}"),
        };
        if message.interface.as_deref() == Some("org.freedesktop.systemd1.Manager") {
            assert_eq!(message.path.as_deref(), Some("/org/freedesktop/systemd1"));
        }
        self.serial += 1;
        let mut reply = match answer {
            Answer::Values(body) => Message {
                body,
                ..Message::new(Kind::Return, self.serial)
            },
            Answer::Refusal(error, text) => Message {
                error: Some(error.into()),
                body: vec![Value::Text(text)],
                ..Message::new(Kind::Error, self.serial)
            },
        };
        reply.answers = Some(message.serial);
        let mut bytes = wire::encode(&reply);
        if let Some((unit, result)) = job {
            // The job of another unit ends before ours.
            for (job, unit) in [(self.jobs + 1000, "other.service".to_owned()), (self.jobs, unit)] {
                self.serial += 1;
                let signal = Message {
                    path: Some("/org/freedesktop/systemd1".into()),
                    interface: Some("org.freedesktop.systemd1.Manager".into()),
                    member: Some("JobRemoved".into()),
                    sender: Some(":1.0".into()),
                    body: vec![
                        Value::Uint32(job),
                        Value::Path(format!("/org/freedesktop/systemd1/job/{job}")),
                        Value::Text(unit),
                        Value::text(result),
                    ],
                    ..Message::new(Kind::Signal, self.serial)
                };
                bytes.extend(wire::encode(&signal));
            }
        }
        // In two parts, for a reader that expects all at once.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        self.stream.write_all(first)?;
        std::thread::yield_now();
        self.stream.write_all(second)
    }

    fn job(&mut self) -> Answer {
        self.jobs += 1;
        Answer::Values(vec![Value::Path(format!(
            "/org/freedesktop/systemd1/job/{}",
            self.jobs
        ))])
    }

    fn systemd(&mut self, name: &str, message: &Message) -> (Answer, Option<(String, &'static str)>) {
        let body = &message.body;
        let nothing = || Answer::Values(Vec::new());
        match name {
            "Subscribe" => (nothing(), None),
            "Get" => {
                let value = match (text(body, 0).as_str(), text(body, 1).as_str()) {
                    ("org.freedesktop.systemd1.Manager", "Version") if self.manner == Manner::Old => {
                        "251.4-1".to_owned()
                    }
                    ("org.freedesktop.systemd1.Manager", "Version") => "255.4-1ubuntu8".to_owned(),
                    ("org.freedesktop.systemd1.Manager", "ControlGroup") => String::new(),
                    ("org.freedesktop.systemd1.Scope", "ControlGroup") => {
                        let log = self.log.lock().expect("the calls");
                        let started = log.iter().rev().find(|(name, _)| name == "StartTransientUnit");
                        let unit = text(&started.expect("a unit").1, 0);
                        let path = find(&unit).expect("its cgroup");
                        path.to_str()
                            .expect("UTF-8")
                            .trim_start_matches("/sys/fs/cgroup")
                            .to_owned()
                    }
                    other => panic!("{other:?}"),
                };
                (Answer::Values(vec![Value::variant(Value::Text(value))]), None)
            }
            "StartTransientUnit" => self.start(body),
            "SetUnitProperties" => (self.refused(&Fake::properties(&body[2])).unwrap_or_else(nothing), None),
            "AttachProcessesToUnit" => {
                let path = find(&text(body, 0)).expect("the unit's cgroup");
                let path = path.join(text(body, 1).trim_start_matches('/'));
                put(&path, &body[2]);
                (nothing(), None)
            }
            "StopUnit" => match find(&text(body, 0)) {
                Some(path) => {
                    fs::remove_dir(&path).expect("the unit's cgroup is empty");
                    (self.job(), Some((text(body, 0), "done")))
                }
                None => {
                    let text = format!("Unit {} not loaded.", text(body, 0));
                    (Answer::Refusal("org.freedesktop.systemd1.NoSuchUnit", text), None)
                }
            },
            "ResetFailedUnit" => {
                *self.reset.lock().expect("whether it was reset") = true;
                let text = format!("Unit {} not loaded.", text(body, 0));
                (Answer::Refusal("org.freedesktop.systemd1.NoSuchUnit", text), None)
            }
            other => panic!("a call of {other}"),
        }
    }

    fn refused(&self, properties: &[(String, Value)]) -> Option<Answer> {
        let Manner::Refuses(refused) = self.manner else {
            return None;
        };
        let found = properties.iter().any(|(name, _)| name == refused);
        found.then(|| {
            Answer::Refusal(
                "org.freedesktop.DBus.Error.PropertyReadOnly",
                format!("Cannot set property {refused}, or unknown property."),
            )
        })
    }

    fn start(&mut self, body: &[Value]) -> (Answer, Option<(String, &'static str)>) {
        let unit = text(body, 0);
        let properties = Fake::properties(&body[2]);
        let property = |name: &str| {
            properties
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value)
        };
        if let Some(answer) = self.refused(&properties) {
            return (answer, None);
        }
        let reset = *self.reset.lock().expect("whether it was reset");
        if self.manner == Manner::Taken || self.manner == Manner::LeftOver && !reset {
            let text = format!("Unit {unit} was already loaded or has a fragment file.");
            return (Answer::Refusal("org.freedesktop.systemd1.UnitExists", text), None);
        }
        if self.manner == Manner::JobFails {
            return (self.job(), Some((unit, "failed")));
        }
        let slice = match self.manner {
            Manner::Elsewhere => "elsewhere.slice".to_owned(),
            _ => property("Slice").and_then(Value::as_text).expect("a slice").to_owned(),
        };
        let path = directory(&slice, &unit);
        fs::create_dir_all(&path).expect("make the unit's cgroup");
        // It is delegated with every available controller.
        for above in path
            .ancestors()
            .skip(1)
            .take_while(|above| above.starts_with("/sys/fs/cgroup"))
            .collect::<Vec<_>>()
            .iter()
            .rev()
        {
            let all = fs::read_to_string(above.join("cgroup.controllers")).expect("its controllers");
            for controller in all.split_whitespace() {
                // The top cgroup may be the one of the test, which cannot enable all controllers.
                let _ = fs::write(above.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
        if self.manner == Manner::User {
            // It was created by a user's process, so all of it belongs to that user.
            let files = fs::read_dir(&path)
                .expect("its files")
                .flatten()
                .map(|entry| entry.path());
            for file in files.chain([path.clone()]) {
                chown(file, Some(1000), Some(1000)).expect("give the cgroup to the user");
            }
        }
        put(&path, property("PIDs").expect("a process"));
        (self.job(), Some((unit, "done")))
    }
}

fn put(path: &Path, pids: &Value) {
    let Value::Array(_, pids) = pids else {
        panic!("{pids:?}")
    };
    assert!(!pids.is_empty(), "a scope needs a process");
    for pid in pids {
        let Value::Uint32(pid) = pid else { panic!("{pid:?}") };
        fs::write(path.join("cgroup.procs"), pid.to_string()).expect("move the process");
    }
}

/// Removes the slices that a bundle's units were in, once they are empty.
pub fn remove_slices(slice: &str) {
    let mut path = directory(slice, "x");
    while path.pop() && path.extension().is_some_and(|extension| extension == "slice") {
        if fs::remove_dir(&path).is_err() {
            break;
        }
    }
}
