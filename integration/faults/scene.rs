//! What is disturbed: a verb on a container of one of several configs, and how to find out what became of it.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};

use super::tracer::Files;
use crate::cgroup::systemd::fake::{Fake, Manner, remove_slices};
use crate::harness::seccomp::{denying, docker, with};
use crate::harness::users::remapped;
use crate::harness::{Bundle, Cmd, HOOK_POINTS, Holder, Output, eventually, receive};

/// What the container's program, or that of an exec, prints when it runs.
const RAN: &str = "the program ran";
/// How it ends.
const CODE: i32 = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    Run,
    Create,
    Start,
    Exec,
    Update,
    Pause,
    Resume,
    Kill,
    Delete,
    DeleteForce,
    State,
    List,
}

impl Verb {
    pub const ALL: [Verb; 12] = [
        Verb::Run,
        Verb::Create,
        Verb::Start,
        Verb::Exec,
        Verb::Update,
        Verb::Pause,
        Verb::Resume,
        Verb::Kill,
        Verb::Delete,
        Verb::DeleteForce,
        Verb::State,
        Verb::List,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Verb::Run => "run",
            Verb::Create => "create",
            Verb::Start => "start",
            Verb::Exec => "exec",
            Verb::Update => "update",
            Verb::Pause => "pause",
            Verb::Resume => "resume",
            Verb::Kill => "kill",
            Verb::Delete => "delete",
            Verb::DeleteForce => "delete-force",
            Verb::State => "state",
            Verb::List => "list",
        }
    }

    /// Whether the container does not exist before it.
    pub fn makes(self) -> bool {
        matches!(self, Verb::Run | Verb::Create)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Config {
    /// The default bundle of the tests.
    Default,
    /// With what Docker adds: its seccomp profile, a hostname file, a volume.
    Docker,
    /// In a user namespace.
    Userns,
    /// In a scope of systemd.
    Systemd,
    /// Hooks, an ID-mapped mount, a seccomp agent, a terminal, a network device.
    Everything,
}

impl Config {
    pub const ALL: [Config; 5] = [
        Config::Default,
        Config::Docker,
        Config::Userns,
        Config::Systemd,
        Config::Everything,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Config::Default => "default",
            Config::Docker => "docker",
            Config::Userns => "userns",
            Config::Systemd => "systemd",
            Config::Everything => "everything",
        }
    }
}

/// The stand-in for the host's network namespace, and the device that a container gets from it.
struct Network(Holder);

const DEVICE: &str = "orlop0";

impl Network {
    fn ip(&self, words: &str) -> bool {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.0.path("network"))).arg("ip");
        command
            .args(words.split(' '))
            .output()
            .is_ok_and(|output| output.status.success())
    }

    fn has_device(&self) -> bool {
        self.ip(&format!("link show dev {DEVICE}"))
    }

    fn make_device(&self) {
        // The kernel destroys the other end of an earlier pair a little later.
        eventually("there is a network device", || {
            self.has_device() || self.ip(&format!("link add {DEVICE} type veth peer name orlop1"))
        });
    }
}

/// A bundle, and what its config needs.
pub struct Scene {
    pub bundle: Bundle,
    pub config: Config,
    fake: Option<Fake>,
    network: Option<Network>,
    console: Option<PathBuf>,
}

fn volume(bundle: &Bundle) -> PathBuf {
    let dir = bundle.path("volume");
    fs::create_dir_all(&dir).expect("a volume");
    fs::create_dir_all(bundle.inside("/volume")).expect("its mount point");
    chown(&dir, Some(0), Some(0)).expect("chown");
    dir
}

fn bind(bundle: &Bundle, more: Value) {
    let mut mount = json!({ "destination": "/volume", "source": volume(bundle), "options": ["bind", "rprivate"] });
    for (key, value) in more.as_object().into_iter().flatten() {
        mount[key] = value.clone();
    }
    bundle.change(|c| c["mounts"].as_array_mut().expect("mounts").push(mount));
}

/// Keeps the last descriptors that arrive at a socket, as an engine keeps terminals and an agent the filters.
fn keep_descriptors(bundle: &Bundle, name: &str) -> PathBuf {
    let path = bundle.path(name);
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        let mut kept: Vec<OwnedFd> = Vec::new();
        for connection in listener.incoming().flatten() {
            // A disturbed runtime may reset the connection.
            kept.extend(std::panic::catch_unwind(|| receive(&connection).1).ok().flatten());
            // Those of containers that have long been deleted.
            let old = kept.len().saturating_sub(8);
            kept.drain(..old);
        }
    });
    path
}

impl Scene {
    pub fn new(config: Config) -> Self {
        let bundle = Bundle::new();
        // `list` expects it, also where the verb ended before it would have made it.
        fs::create_dir_all(bundle.state_root()).expect("the state root");
        let mut scene = Scene {
            bundle,
            config,
            fake: None,
            network: None,
            console: None,
        };
        match config {
            Config::Default => {}
            Config::Docker => {
                bind(&scene.bundle, Value::Null);
                scene.bundle = with(scene.bundle, docker());
            }
            Config::Userns => scene.bundle = remapped(scene.bundle),
            Config::Systemd => scene.fake = Some(Fake::new(scene.bundle.dir(), Manner::Good)),
            Config::Everything => scene.add_everything(),
        }
        scene
    }

    fn add_everything(&mut self) {
        let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 10 }]);
        bind(
            &self.bundle,
            json!({ "options": ["bind", "idmap"], "uidMappings": map, "gidMappings": map }),
        );
        self.bundle.change(|c| {
            for point in HOOK_POINTS {
                c["hooks"][point] = json!([{ "path": "/bin/true" }]);
            }
            c["process"]["terminal"] = json!(true);
            c["linux"]["netDevices"] = json!({ DEVICE: { "name": "eth0" } });
        });
        self.console = Some(keep_descriptors(&self.bundle, "console.sock"));
        let mut profile = denying(&["mkdir"], "SCMP_ACT_NOTIFY");
        profile["listenerPath"] = json!(keep_descriptors(&self.bundle, "agent.sock"));
        self.bundle.change(|c| c["linux"]["seccomp"] = profile);
        self.network = Some(Network(Holder::new(libc::CLONE_NEWNET)));
    }

    fn slice(&self, id: &str) -> String {
        format!("test-{}.slice", id.replace('-', "_"))
    }

    fn orlop(&self, arguments: &[&str]) -> Cmd {
        let systemd: &[&str] = if self.fake.is_some() {
            &["--systemd-cgroup"]
        } else {
            &[]
        };
        let cmd = self.bundle.orlop([systemd, arguments].concat());
        match &self.fake {
            Some(fake) => cmd.env("DBUS_SYSTEM_BUS_ADDRESS", &fake.address()),
            None => cmd,
        }
    }

    /// The command that makes a container: `run` if the program is to end, else `create`.
    fn making(&self, verb: Verb, id: &str) -> Cmd {
        let ends = verb == Verb::Run && self.console.is_none();
        let script = format!("echo {RAN}; exit {CODE}");
        let args = if ends {
            json!(["sh", "-c", script])
        } else {
            json!(["probe", "sleep"])
        };
        self.bundle.change(|c| {
            c["process"]["args"] = args;
            if self.fake.is_some() {
                c["linux"]["cgroupsPath"] = json!(format!("{}:orlop:{id}", self.slice(id)));
            }
        });
        if let Some(network) = &self.network {
            network.make_device();
        }
        let dir = self.bundle.dir().to_str().expect("UTF-8");
        let console = self.console.as_deref().and_then(Path::to_str);
        let flags = console.map(|path| ["--console-socket", path]);
        let detach: &[&str] = if verb == Verb::Run && !ends { &["--detach"] } else { &[] };
        let name = if verb == Verb::Run { "run" } else { "create" };
        let flags = flags.as_ref().map_or(&[][..], |flags| flags);
        let cmd = self.orlop(&[&[name, "--bundle", dir], flags, detach, &[id]].concat());
        match &self.network {
            Some(network) => {
                let namespace = fs::File::open(network.0.path("network")).expect("the network namespace");
                cmd.before_exec(move || Ok(setns(&namespace, CloneFlags::CLONE_NEWNET)?))
            }
            None => cmd,
        }
    }

    /// Brings a new container to where the verb begins. The commands that are to be traced with the verb come back: those whose
    /// processes it goes on with.
    pub fn prepare(&self, verb: Verb, id: &str) -> Vec<Cmd> {
        if verb == Verb::Start {
            return vec![self.making(Verb::Create, id)];
        }
        if !verb.makes() {
            self.making(Verb::Create, id).run().ok();
            if verb != Verb::Delete {
                self.orlop(&["start", id]).run().ok();
            }
            if verb == Verb::Resume {
                self.orlop(&["pause", id]).run().ok();
            }
        }
        Vec::new()
    }

    pub fn command(&self, verb: Verb, id: &str) -> Cmd {
        let script = format!("echo {RAN}; exit {CODE}");
        match verb {
            Verb::Run | Verb::Create => self.making(verb, id),
            Verb::Exec => self.orlop(&["exec", id, "sh", "-c", &script]),
            Verb::Update => self.orlop(&["update", "--unified", "cgroup.max.depth=5", id]),
            Verb::Kill => self.orlop(&["kill", id, "KILL"]),
            Verb::DeleteForce => self.orlop(&["delete", "--force", id]),
            Verb::List => self.orlop(&["list", "--format", "json"]),
            Verb::Start | Verb::Pause | Verb::Resume | Verb::Delete | Verb::State => self.orlop(&[verb.name(), id]),
        }
    }

    /// The exit code of success.
    pub fn success(&self, verb: Verb) -> i32 {
        match verb {
            Verb::Exec => CODE,
            Verb::Run if self.console.is_none() => CODE,
            _ => 0,
        }
    }

    pub fn delete(&self, id: &str) -> Output {
        self.orlop(&["delete", "--force", id]).run()
    }

    /// What an undisturbed `state` says; none if the ID is free.
    pub fn status(&self, id: &str) -> Option<String> {
        if !self.bundle.state_root().join(id).exists() {
            return None;
        }
        let output = self.orlop(&["state", id]).run();
        let status = serde_json::from_str::<Value>(&output.stdout).ok();
        let status = status.and_then(|state| state["status"].as_str().map(str::to_owned));
        Some(status.unwrap_or_else(|| format!("no status: {}", output.stderr)))
    }

    /// Whether what the verb is for is the case; none if the verb only asks.
    pub fn holds(&self, verb: Verb, id: &str, stdout: &str) -> Option<bool> {
        let is = |status: Option<&str>| Some(self.status(id).as_deref() == status);
        match verb {
            Verb::Run if self.console.is_none() => Some(stdout.contains(RAN)),
            Verb::Run | Verb::Start | Verb::Resume => is(Some("running")),
            Verb::Create => is(Some("created")),
            Verb::Exec => Some(stdout.contains(RAN)),
            Verb::Pause => is(Some("paused")),
            Verb::Kill => is(Some("stopped")),
            Verb::Delete | Verb::DeleteForce => is(None),
            Verb::Update => {
                let depth = self.cgroup(id).join("cgroup.max.depth");
                Some(fs::read_to_string(depth).is_ok_and(|text| text.trim() == "5"))
            }
            Verb::State => (!stdout.is_empty()).then(|| stdout.contains("\"running\"")),
            Verb::List => (!stdout.is_empty()).then(|| stdout.contains(id) && stdout.contains("running")),
        }
    }

    fn cgroup(&self, id: &str) -> PathBuf {
        let top = Path::new("/sys/fs/cgroup");
        match &self.fake {
            Some(_) => top
                .join("test.slice")
                .join(self.slice(id))
                .join(format!("orlop-{id}.scope")),
            None => top.join(id),
        }
    }

    /// What a power failure leaves: no process, no cgroup, and the files of the state in the given condition.
    pub fn lose_power(&self, id: &str, files: Files) {
        let cgroup = self.cgroup(id);
        let _ = fs::write(cgroup.join("cgroup.kill"), "1");
        eventually("the cgroup is gone", || {
            !cgroup.exists() || fs::remove_dir(&cgroup).is_ok()
        });
        for entry in fs::read_dir(self.bundle.state_root().join(id))
            .into_iter()
            .flatten()
            .flatten()
        {
            if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                continue;
            }
            let content = fs::read(entry.path()).expect("a file of the state");
            let kept = match files {
                Files::Whole => content.len(),
                Files::Torn => content.len() / 2,
                Files::Empty => 0,
            };
            fs::write(entry.path(), &content[..kept]).expect("cut a file of the state");
        }
    }

    /// The processes in the container's cgroup.
    pub fn processes(&self, id: &str) -> usize {
        let text = fs::read_to_string(self.cgroup(id).join("cgroup.procs")).unwrap_or_default();
        text.lines().count()
    }

    /// The names of the files of the bundle and of the container's state, which a verb may add to only as it does when it succeeds.
    pub fn files(&self, id: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut queue = vec![self.bundle.dir().to_owned()];
        while let Some(dir) = queue.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path == self.bundle.path("output") {
                    continue;
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    queue.push(path.clone());
                }
                let name = path.strip_prefix(self.bundle.dir()).unwrap_or(&path);
                found.insert(name.to_string_lossy().replace(id, "ID"));
            }
        }
        found
    }

    /// What is left of a container that is gone.
    pub fn left(&self, id: &str) -> Vec<String> {
        if self.fake.is_some() {
            // systemd removes a scope whose last process has ended.
            let end = Instant::now() + Duration::from_millis(300);
            while fs::remove_dir(self.cgroup(id)).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy)
                && Instant::now() < end
            {
                std::thread::sleep(Duration::from_millis(3));
            }
        }
        let left = self.bundle.lasting_leaks();
        if self.fake.is_some() {
            remove_slices(&self.slice(id));
        }
        left
    }

    /// Whether the network device is where it was before.
    pub fn has_its_device(&self) -> bool {
        self.network.as_ref().is_none_or(Network::has_device)
    }
}
