//! What every integration test is made of.
//!
//!     let bundle = Bundle::new().args(["probe", "exit", "3"]);
//!     assert_eq!(bundle.run().code, 3);
//!
//! A [`Bundle`] is a directory on a tmpfs with a config.json, a root file system (hard links to busybox and
//! the probe), the runtime's `--root`, and the output files. When it is dropped every container in it is deleted and
//! the host is searched for leftovers: a process, a cgroup, a mount or a state directory fails the test.
//! No command waits forever: each has a time limit, after which it is killed by its PID.

mod canary;
pub mod cgroup;
pub mod checkpoint;
mod command;
mod console;
mod container;
mod copies;
pub mod exec;
pub mod golden;
mod holder;
pub mod host;
mod host_mount;
mod leaks;
pub mod namespaces;
pub mod openmetrics;
mod received;
mod report;
pub mod seccomp;
mod silent;
pub mod users;

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::unistd::{Uid, setresuid};
use serde_json::{Value, json};

/// The names of the lists of hooks in the config, in the order in which they run.
pub const HOOK_POINTS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

pub use canary::Canary;
pub use command::{Cmd, Output, Running};
pub use console::{ConsoleSocket, Terminal, controlled_by, pty, set_size};
pub use container::Container;
pub use copies::Copies;
pub use holder::{Holder, KINDS, cgroup_of, file_of, own_namespace};
pub use host_mount::HostMount;
pub use leaks::{alive, eventually};
pub use received::{receive, receive_with_descriptor};
pub use report::{Attempts, Facts};
pub use silent::{SilentMount, SilentSocket};

/// Ends the test when the host lacks a feature that it needs, and records that: the missing feature is listed in the summary
/// and the test counts as skipped there, never as passed.
#[macro_export]
macro_rules! need {
    ($condition:expr, $feature:expr) => {
        if !$condition {
            $crate::harness::record_skip(&$feature);
            return;
        }
    };
}

pub fn record_skip(feature: &str) {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    eprintln!("skipped: {feature}");
    if let Ok(path) = std::env::var("SKIPPED") {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .expect("open the list of skipped tests");
        writeln!(file, "{test}: {feature}").expect("write the list of skipped tests");
    }
}

/// The program under test: `RUNTIME` (a name or path, e.g. runc or crun), else `ORLOP_BIN`, else the release binary.
pub fn runtime() -> &'static Path {
    static RUNTIME: OnceLock<PathBuf> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let chosen = std::env::var_os("RUNTIME")
            .or_else(|| std::env::var_os("ORLOP_BIN"))
            .filter(|v| !v.is_empty());
        let path = chosen.map_or_else(|| built("orlop"), PathBuf::from);
        if path.components().count() > 1 {
            return fs::canonicalize(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
        let dirs = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&dirs)
            .map(|dir| dir.join(&path))
            .find(|full| full.is_file());
        found.unwrap_or_else(|| panic!("no runtime {} in PATH", path.display()))
    })
}

/// A release binary beside this test binary (`target/TRIPLE/PROFILE/deps/integration-…`).
fn built(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("path of the test binary");
    let triple = own
        .ancestors()
        .nth(3)
        .expect("test binary lies in target/TRIPLE/PROFILE/deps");
    let path = triple.join("release").join(name);
    assert!(
        path.exists(),
        "{} is missing; run the tests by `make test` or `make integration`",
        path.display()
    );
    path
}

fn probe() -> PathBuf {
    std::env::var_os("PROBE_BIN").map_or_else(|| built("probe"), PathBuf::from)
}

/// A directory with the files that all root file systems link to, made once on the tmpfs.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        assert!(
            std::env::var_os("PURE_V2").is_some(),
            "needs root and a cgroup tree of its own: `make integration`, or run it under integration/pure-v2"
        );
        let dir = temp_dir("template");
        fs::copy(probe(), dir.join("probe")).expect("copy the probe");
        let busybox = ["/bin/busybox", "/usr/bin/busybox"]
            .iter()
            .find(|p| Path::new(p).exists());
        fs::copy(
            busybox.expect("a static busybox (apt install busybox-static)"),
            dir.join("busybox"),
        )
        .expect("copy busybox");
        dir
    })
}

static SERIAL: AtomicU32 = AtomicU32::new(0);

/// A new directory under TMPDIR whose name is unique: leaks are found by it.
fn temp_dir(what: &str) -> PathBuf {
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    // All have the same length, so that no name is the beginning of another.
    let path = std::env::temp_dir().join(format!("orlop-{}-{serial:05}-{what}", std::process::id()));
    fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}

pub struct Bundle {
    /// It contains all files of the bundle; its name is unique on the host.
    dir: PathBuf,
    config: RefCell<Value>,
    commands: Cell<u32>,
    ids: Cell<u32>,
    /// Set by a test that leaves something behind on purpose.
    pub tolerate_leaks: Cell<bool>,
}

impl Bundle {
    /// The default specification, whose process is `probe facts`.
    pub fn new() -> Self {
        let template = template();
        let dir = temp_dir("bundle");
        let rootfs = dir.join("rootfs");
        for sub in ["bin", "dev", "etc", "proc", "root", "sys", "tmp"] {
            fs::create_dir_all(rootfs.join(sub)).expect("make the root file system");
        }
        fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod");
        for program in ["probe", "busybox"] {
            fs::hard_link(template.join(program), rootfs.join("bin").join(program)).expect("link a program");
        }
        for applet in ["sh", "true", "cat", "sleep", "id", "ls", "touch", "env"] {
            symlink("busybox", rootfs.join("bin").join(applet)).expect("link an applet");
        }
        fs::create_dir(dir.join("output")).expect("make the output directory");
        let text = include_str!("../../fixtures/bundles/default/config.json");
        let config = serde_json::from_str(text).expect("the default bundle's config.json");
        let bundle = Self {
            dir,
            config: RefCell::new(config),
            commands: Cell::new(0),
            ids: Cell::new(0),
            tolerate_leaks: Cell::new(false),
        };
        bundle.save();
        bundle
    }

    pub fn args<S: Into<String>>(self, args: impl IntoIterator<Item = S>) -> Self {
        let args: Vec<String> = args.into_iter().map(Into::into).collect();
        self.edit(|c| c["process"]["args"] = json!(args))
    }

    /// A shell script as the container's process.
    pub fn sh(self, script: &str) -> Self {
        self.args(["sh", "-c", script])
    }

    pub fn edit(self, f: impl FnOnce(&mut Value)) -> Self {
        self.change(f);
        self
    }

    /// [`Bundle::edit`] for a bundle already in use.
    pub fn change(&self, f: impl FnOnce(&mut Value)) {
        f(&mut self.config.borrow_mut());
        self.save();
    }

    /// The config as it is now.
    pub fn config(&self) -> Value {
        self.config.borrow().clone()
    }

    /// A root file system that the container may change.
    pub fn writable(self) -> Self {
        self.edit(|c| c["root"]["readonly"] = json!(false))
    }

    /// Adds an entry to `mounts`.
    pub fn mount(self, destination: &str, kind: &str, source: &str, options: &[&str]) -> Self {
        let mount = json!({ "destination": destination, "type": kind, "source": source, "options": options });
        self.edit(|c| c["mounts"].as_array_mut().expect("mounts").push(mount))
    }

    /// Removes the mount at `destination` from the config.
    pub fn without_mount(self, destination: &str) -> Self {
        self.edit(|c| {
            c["mounts"]
                .as_array_mut()
                .expect("mounts")
                .retain(|m| m["destination"] != destination)
        })
    }

    /// Removes a namespace from the config.
    pub fn without_namespace(self, kind: &str) -> Self {
        self.edit(|c| {
            c["linux"]["namespaces"]
                .as_array_mut()
                .expect("namespaces")
                .retain(|n| n["type"] != kind)
        })
    }

    /// Adds capabilities to the bounding, permitted and effective sets.
    pub fn with_caps(self, names: &[&str]) -> Self {
        self.edit(|c| {
            for set in ["bounding", "effective", "permitted"] {
                let list = c["process"]["capabilities"][set]
                    .as_array_mut()
                    .expect("a capability set");
                list.extend(names.iter().map(|name| json!(name)));
            }
        })
    }

    pub fn with_hook(self, kind: &str, hook: Value) -> Self {
        self.edit(|c| {
            let hooks = c
                .as_object_mut()
                .expect("an object")
                .entry("hooks")
                .or_insert_with(|| json!({}));
            let list = hooks
                .as_object_mut()
                .expect("an object")
                .entry(kind)
                .or_insert_with(|| json!([]));
            list.as_array_mut().expect("a list").push(hook);
        })
    }

    /// A hook that runs a shell script on the host. `$OUT` is [`Bundle::path`] of "hooks.log".
    pub fn with_host_hook(self, kind: &str, script: &str) -> Self {
        let log = self.path("hooks.log");
        let hook = json!({
            "path": "/bin/sh", "args": ["sh", "-c", script],
            "env": [format!("OUT={}", log.display()), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        });
        self.with_hook(kind, hook)
    }

    fn save(&self) {
        let text = serde_json::to_string_pretty(&*self.config.borrow()).expect("JSON");
        fs::write(self.dir.join("config.json"), text).expect("write config.json");
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path beside config.json.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A path inside the root file system, as the host sees it.
    pub fn inside(&self, path: &str) -> PathBuf {
        self.dir.join("rootfs").join(path.trim_start_matches('/'))
    }

    /// The runtime's `--root`.
    pub fn state_root(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The unique part of every path and ID of this bundle.
    fn mark(&self) -> &str {
        let name = self.dir.file_name().and_then(OsStr::to_str).expect("a UTF-8 name");
        name.trim_end_matches("-bundle")
    }

    pub fn fresh_id(&self) -> String {
        let n = self.ids.replace(self.ids.get() + 1);
        format!("{}-c{n}", self.mark())
    }

    /// The runtime with `--root` of this bundle and these arguments.
    pub fn orlop<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        let n = self.commands.replace(self.commands.get() + 1);
        let args: Vec<String> = args.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let mut all = vec![
            "--root".to_owned(),
            self.state_root().to_str().expect("a UTF-8 path").to_owned(),
        ];
        all.extend(args);
        Cmd::new(self.dir.join("output").join(format!("{n}")), all, self.mark())
    }

    /// The runtime with only these arguments.
    pub fn without_root<S: AsRef<str>>(&self, args: impl IntoIterator<Item = S>) -> Cmd {
        let n = self.commands.replace(self.commands.get() + 1);
        let args = args.into_iter().map(|a| a.as_ref().to_owned()).collect();
        Cmd::new(self.dir.join("output").join(format!("{n}")), args, self.mark())
    }

    /// `run` in the foreground under a fresh id, with further flags.
    pub fn run_cmd(&self, flags: &[&str]) -> Cmd {
        let id = self.fresh_id();
        let bundle = self.dir.to_str().expect("a UTF-8 path");
        self.orlop([&["run", "--bundle", bundle], flags, &[&id]].concat())
    }

    pub fn run(&self) -> Output {
        self.run_cmd(&[]).run()
    }

    /// Runs `probe facts` (or what the bundle's args are) to its end and reads its report.
    #[track_caller]
    pub fn facts(&self) -> Facts {
        Facts(self.run().ok().json())
    }

    pub fn create_cmd(&self, id: &str, flags: &[&str]) -> Cmd {
        let bundle = self.dir.to_str().expect("a UTF-8 path");
        self.orlop([&["create", "--bundle", bundle], flags, &[id]].concat())
    }

    /// A created container under a fresh id.
    #[track_caller]
    pub fn create(&self) -> Container<'_> {
        let id = self.fresh_id();
        let output = self.dir.join("output").join(format!("{}.out", self.commands.get()));
        self.create_cmd(&id, &[]).run().ok();
        Container {
            bundle: self,
            id,
            output,
        }
    }

    /// A created and started container.
    #[track_caller]
    pub fn start(&self) -> Container<'_> {
        let container = self.create();
        container.start();
        container
    }

    /// Runs operations of `probe try` to their end; the reports in order.
    #[track_caller]
    pub fn attempt<S: Into<String>>(self, operations: impl IntoIterator<Item = S>) -> Attempts {
        let mut args = vec!["probe".to_owned(), "try".to_owned()];
        args.extend(operations.into_iter().map(Into::into));
        let bundle = self.args(args);
        Attempts(bundle.run().ok().json())
    }

    /// What this bundle has left on the host: processes, cgroups, mounts, state directories, by name.
    pub fn leaks(&self) -> Vec<String> {
        let mut found = leaks::find(self.mark());
        found.extend(
            leaks::entries(&self.state_root())
                .iter()
                .map(|path| format!("state {}", path.display())),
        );
        found
    }

    /// What is left of [`Bundle::leaks`] after a second: the kernel finishes some work later.
    pub fn lasting_leaks(&self) -> Vec<String> {
        let mut leaks = self.leaks();
        for _ in 0..100 {
            if leaks.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            leaks = self.leaks();
        }
        leaks
    }

    /// Nothing of the bundle stays on the host.
    #[track_caller]
    pub fn assert_clean(&self) {
        let leaks = self.lasting_leaks();
        assert!(leaks.is_empty(), "left behind: {leaks:#?}");
    }

    /// [`Bundle::assert_clean`] for a test that uses a cgroup itself.
    #[track_caller]
    pub fn assert_clean_but(&self, own: &Path) {
        let own = format!("cgroup {}", own.display());
        eventually("nothing else is left", || self.leaks().iter().all(|leak| *leak == own));
    }

    /// IDs that the runtime still knows, from the directories of its state root.
    fn known_ids(&self) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned());
        let dirs = leaks::entries(&self.state_root())
            .into_iter()
            .filter(|path| path.is_dir());
        dirs.filter_map(name)
            .filter(|name| name.starts_with(self.mark()))
            .collect()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        for id in self.known_ids() {
            // The container of another user must be deleted as that user.
            let owner = fs::metadata(self.state_root().join(&id)).map_or(0, |metadata| metadata.uid());
            let delete = self.orlop(["delete", "--force", &id]).before_exec(move || {
                if owner != 0 {
                    let owner = Uid::from_raw(owner);
                    setresuid(owner, owner, owner)?;
                }
                Ok(())
            });
            delete.spawn().wait_quietly();
        }
        let failing = std::thread::panicking();
        let clean = failing
            || self.tolerate_leaks.get()
            || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.assert_clean())).is_ok();
        leaks::sweep(self.mark());
        let _ = fs::remove_dir_all(&self.dir);
        assert!(clean, "the test left something behind, see above");
    }
}
