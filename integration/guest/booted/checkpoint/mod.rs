//! `checkpoint` and `restore` with what few kernels have: cgroup controllers, tracking of changed memory, pages on demand, systemd.
//! User-mode Linux can do none of it, so these tests run in the emulated guest. A second state root stands for another machine.

mod lazy_pages;
mod limits;
mod migration;
mod page_server;
mod pre_dump;
mod scope;
mod stats;

use std::cell::Cell;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::cgroup::with_leaf;
use crate::harness::checkpoint::{criu_dir, silent, with_criu};
use crate::harness::{Bundle, Cmd, Output, Running, alive, eventually};
use stats::Stats;

const CHECKPOINT: &str = "checkpoint and restore";
const TRACKING: &str = "checkpoint and restore with tracking of changed memory";
const ON_DEMAND: &str = "checkpoint and restore with pages on demand";

/// An emulated processor copies hundreds of megabytes slowly.
const PATIENCE: Duration = Duration::from_secs(180);

/// The state roots, in the bundle.
const HERE: &str = "state";
const THERE: &str = "there";

fn can_checkpoint() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| criu_checks(&[]))
}

/// Whether the kernel has a feature, by CRIU's name of it.
fn has_feature(name: &str) -> bool {
    can_checkpoint() && criu_checks(&["--feature", name])
}

fn criu_checks(flags: &[&str]) -> bool {
    let program = criu_dir().map(|dir| dir.join("criu"));
    let output = program.map(|criu| Command::new(criu).arg("check").args(flags).output());
    output.is_some_and(|output| output.is_ok_and(|output| output.status.success()))
}

/// A container that is moved from one state root to the other.
struct Movable {
    bundle: Bundle,
    id: String,
    leaf: PathBuf,
    root: Cell<&'static str>,
}

impl Movable {
    /// Created and started, with streams that every machine has.
    #[track_caller]
    fn start(bundle: Bundle) -> Self {
        let (bundle, leaf) = with_leaf(bundle.writable());
        let id = bundle.fresh_id();
        let movable = Self {
            bundle,
            id,
            leaf,
            root: Cell::new(HERE),
        };
        without_streams(&movable.bundle, &[], &movable.id);
        movable.on(&["start"]).ok();
        movable
    }

    /// [`Movable::start`] of a program that rewrites `hot` of `total` MiB of memory at `rate` MiB/s.
    #[track_caller]
    fn rewriting(total: u32, hot: u32, rate: u32) -> Self {
        let (total, hot, rate) = (total.to_string(), hot.to_string(), rate.to_string());
        let bundle = Bundle::new().args(["probe", "rewrite", &total, &hot, &rate, "/tmp/report"]);
        let movable = Self::start(bundle);
        movable.until_it_goes_on();
        movable
    }

    fn cmd(&self, args: &[&str]) -> Cmd {
        let root = self.path(self.root.get());
        let cmd = self.bundle.without_root([&["--root", root.as_str()], args].concat());
        with_criu(cmd, &[]).within(PATIENCE)
    }

    fn on(&self, verb: &[&str]) -> Output {
        self.cmd(&[verb, &[self.id.as_str()]].concat()).run()
    }

    fn status(&self) -> String {
        let state = self.on(&["state"]).ok().json();
        state["status"].as_str().expect("a status").to_owned()
    }

    /// A path in the bundle.
    fn path(&self, name: &str) -> String {
        self.bundle.path(name).to_str().expect("a UTF-8 path").to_owned()
    }

    fn checkpoint_cmd(&self, images: &str, flags: &[&str]) -> Cmd {
        let (image_path, work_path) = (self.path(images), self.path(&work(images)));
        let paths = ["checkpoint", "--image-path", &image_path, "--work-path", &work_path];
        self.cmd(&[&paths, flags, &[self.id.as_str()]].concat())
    }

    #[track_caller]
    fn checkpoint(&self, images: &str, flags: &[&str]) {
        let output = self.checkpoint_cmd(images, flags).run();
        show_log(&output, &self.bundle.path(&work(images)).join("dump.log"));
        output.ok();
    }

    /// Restores it in this state root, where it then is.
    #[track_caller]
    fn restore(&self, root: &'static str, images: &str, flags: &[&str]) {
        self.root.set(root);
        let bundle = self.path("");
        let (image_path, work_path) = (self.path(images), self.path(&work(images)));
        let paths = [
            "--image-path",
            &image_path,
            "--work-path",
            &work_path,
            "--bundle",
            &bundle,
        ];
        let args = [&["restore", "--detach"], &paths[..], flags, &[self.id.as_str()]].concat();
        let output = self.cmd(&args).run();
        show_log(&output, &self.bundle.path(&work(images)).join("restore.log"));
        output.ok();
    }

    /// CRIU as a server of one kind, in the directory `images`.
    fn criu(&self, images: &str, args: &[&str]) -> Running {
        let directory = self.path(images);
        fs::create_dir_all(&directory).expect("make the directory for images");
        let work_path = self.path(&work(images));
        fs::create_dir_all(&work_path).expect("make the working directory");
        let paths = ["--images-dir", &directory, "--work-dir", &work_path];
        let criu = self.bundle.without_root([args, &paths].concat());
        criu.program(&criu_dir().expect("CRIU").join("criu"))
            .within(PATIENCE)
            .spawn()
    }

    /// A page server that receives pages into the directory `images`, and its port.
    fn page_server(&self, images: &str, flags: &[&str]) -> (Running, String) {
        let port = free_port().to_string();
        let args = ["page-server", "--address", "127.0.0.1", "--port", &port];
        let server = self.criu(images, &[&args, flags].concat());
        until_listening(&port);
        (server, port)
    }

    /// The latest report of `probe rewrite`.
    fn report(&self) -> Value {
        let text = fs::read_to_string(self.bundle.inside("/tmp/report")).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn steps(&self) -> u64 {
        self.report()["steps"].as_u64().unwrap_or(0)
    }

    /// Its program takes a hundred further steps.
    #[track_caller]
    fn until_it_goes_on(&self) {
        let before = self.steps();
        in_time("the program goes on", || self.steps() > before + 100);
    }

    /// All its memory is as the program left it; the program ends with that. Its last report.
    #[track_caller]
    fn assert_memory_intact(&self) -> Value {
        fs::write(self.bundle.inside("/tmp/report.check"), "").expect("ask for a check");
        in_time("the program checks its memory", || self.report()["checked"] == true);
        let report = self.report();
        assert_eq!(report["bad"], 0, "pages are lost or old: {report}");
        report
    }

    /// Deleted, with nothing left in either state root.
    #[track_caller]
    fn delete(&self) {
        self.on(&["delete", "--force"]).ok();
        for root in [HERE, THERE] {
            let left = fs::read_dir(self.bundle.path(root)).map_or(0, Iterator::count);
            assert_eq!(left, 0, "the state root {root} is not empty");
        }
        self.bundle.assert_clean();
    }
}

impl Drop for Movable {
    fn drop(&mut self) {
        for root in [HERE, THERE] {
            if self.bundle.path(root).join(&self.id).exists() {
                self.root.set(root);
                self.on(&["delete", "--force"]);
            }
        }
    }
}

/// `create` of a container that has none of this machine's files open.
#[track_caller]
fn without_streams(bundle: &Bundle, global: &[&str], id: &str) {
    let log = bundle.path("create.log");
    let (log_path, directory) = (log.to_str().expect("UTF-8"), bundle.dir().to_str().expect("UTF-8"));
    let args = [&["--log", log_path], global, &["create", "--bundle", directory, id]].concat();
    let output = silent(bundle.orlop(args)).run();
    assert_eq!(output.code, 0, "{}", fs::read_to_string(&log).unwrap_or_default());
}

/// As `eventually`, but with more patience.
#[track_caller]
fn in_time(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The directory for logs and statistics that goes with one for images.
fn work(images: &str) -> String {
    format!("work-{images}")
}

/// What CRIU says is the reason of most failures.
fn show_log(output: &Output, log: &Path) {
    if output.code != 0 {
        let text = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        eprintln!(
            "{}:\n{}",
            log.display(),
            lines[lines.len().saturating_sub(15)..].join("\n")
        );
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number").port()
}

/// (A connection as a test would be taken for the only client.)
#[track_caller]
fn until_listening(port: &str) {
    let local = format!("0100007F:{:04X} 00000000:0000 0A", port.parse::<u16>().expect("a port"));
    eventually("the page server listens", || {
        fs::read_to_string("/proc/net/tcp").is_ok_and(|sockets| sockets.contains(&local))
    });
}

/// The images that are not pages are carried over by other means.
fn carry(movable: &Movable, from: &str, to: &str) {
    for entry in fs::read_dir(movable.bundle.path(from)).expect("the images").flatten() {
        if entry.path().is_file() && entry.file_name() != "parent" {
            let to = movable.bundle.path(to).join(entry.file_name());
            fs::copy(entry.path(), to).expect("copy an image");
        }
    }
}

/// Names of the files with pages.
fn page_files(movable: &Movable, images: &str) -> Vec<String> {
    let entries = fs::read_dir(movable.bundle.path(images)).expect("the images").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("pages-")).collect()
}
