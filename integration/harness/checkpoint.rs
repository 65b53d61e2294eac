//! Containers that are checkpointed and restored, and the workload in them that notices a loss.
//!
//!     let work = Workload::start(bundle(), &["memory"]);
//!     let before = work.report();
//!     let image = checkpoint(&work.container, &[]);
//!     restore(&work.container, &image, &[]);
//!     work.assert_continues(&before);

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use super::{Bundle, Cmd, Container, Output, eventually};

/// As the list of skipped tests has it.
pub const CRIU: &str = "criu, and kcmp(2) in the kernel";

/// The directory of the program that fixtures/criu has made, or of `CRIU_BIN`.
pub fn criu_dir() -> Option<&'static Path> {
    static DIR: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let chosen = std::env::var_os("CRIU_BIN")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from);
        let path = chosen.or_else(|| {
            // target/TRIPLE/PROFILE/deps/integration-…
            let own = std::env::current_exe().ok()?;
            Some(own.ancestors().nth(4)?.join("criu/bin/criu"))
        })?;
        path.exists().then(|| path.parent().map(Path::to_owned))?
    };
    DIR.get_or_init(find).as_deref()
}

pub fn has_criu() -> bool {
    criu_dir().is_some() && has_kcmp()
}

/// CRIU compares with it what processes share. The kernel may be built without it.
fn has_kcmp() -> bool {
    let own = std::process::id();
    // SAFETY: the call takes no pointer; it compares descriptor 0 of this process with itself.
    unsafe { libc::syscall(libc::SYS_kcmp, own, own, 0, 0, 0) == 0 }
}

/// The command with CRIU in its PATH, behind these directories.
pub fn with_criu(cmd: Cmd, before: &[&Path]) -> Cmd {
    let dirs = before.iter().copied().chain(criu_dir());
    let usual = [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ];
    let all = std::env::join_paths(dirs.chain(usual.iter().map(Path::new))).expect("no colon in a path");
    cmd.env("PATH", all.to_str().expect("a UTF-8 path"))
}

/// Where a checkpoint is kept: CRIU's images, and its logs.
pub struct Image {
    pub dir: PathBuf,
    pub work: PathBuf,
}

impl Image {
    /// A place in the bundle for one that does not exist yet.
    pub fn new(bundle: &Bundle) -> Self {
        let n = bundle.commands.get();
        Image {
            dir: bundle.path(&format!("image.{n}")),
            work: bundle.path(&format!("work.{n}")),
        }
    }

    pub fn flags(&self) -> [&str; 4] {
        let [dir, work] = [&self.dir, &self.work].map(|path| path.to_str().expect("a UTF-8 path"));
        ["--image-path", dir, "--work-path", work]
    }

    /// The errors in CRIU's logs, and the end of each.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for dir in [&self.work, &self.dir] {
            for name in ["dump.log", "restore.log"] {
                let Ok(text) = fs::read(dir.join(name)) else { continue };
                let text = String::from_utf8_lossy(&text).into_owned();
                let lines: Vec<&str> = text.lines().collect();
                let end = lines.len().saturating_sub(8);
                let told = lines.iter().enumerate();
                let told = told.filter(|(i, line)| *i >= end || line.contains("Error") || line.contains("Warn"));
                let told: Vec<&str> = told.map(|(_, line)| *line).collect();
                all += &format!("{}:\n{}\n", dir.join(name).display(), told.join("\n"));
            }
        }
        all
    }

    #[track_caller]
    fn succeeded(&self, output: Output) -> Output {
        assert_eq!(output.code, 0, "{output:#?}\n{}", self.logs());
        output
    }
}

/// A bundle with a root file system that the workload may write to.
pub fn bundle() -> Bundle {
    Bundle::new().writable()
}

/// A command whose standard output and error are the null device: CRIU cannot save a container that has a file of the host open.
/// What the runtime says goes to a log.
pub fn silent(cmd: Cmd) -> Cmd {
    let null = || File::options().write(true).open("/dev/null").expect("/dev/null");
    cmd.pass_fd(null(), 1).pass_fd(null(), 2)
}

/// Runs the bundle in the background.
#[track_caller]
pub fn start(bundle: &Bundle) -> Container<'_> {
    start_with(bundle, &[], silent)
}

/// Runs the bundle in the background with more flags; `streams` decides what its standard streams are.
#[track_caller]
pub fn start_with<'a>(bundle: &'a Bundle, flags: &[&str], streams: impl FnOnce(Cmd) -> Cmd) -> Container<'a> {
    let id = bundle.fresh_id();
    let log = bundle.path("run.log");
    let dir = bundle.dir().to_str().expect("a UTF-8 path");
    let all = [
        &[
            "--log",
            log.to_str().expect("UTF-8"),
            "run",
            "--detach",
            "--bundle",
            dir,
        ],
        flags,
        &[&id],
    ]
    .concat();
    let output = streams(bundle.orlop(all)).run();
    let said = || fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(output.code, 0, "{output:#?}\n{}", said());
    Container {
        bundle,
        id,
        output: PathBuf::new(),
    }
}

/// `checkpoint` with flags.
pub fn checkpoint_cmd(c: &Container, image: &Image, flags: &[&str]) -> Cmd {
    let all = [&["checkpoint"], &image.flags() as &[&str], flags, &[&c.id]].concat();
    with_criu(c.bundle.orlop(all), &[])
}

/// Checkpoints a container, and ends it unless the flags keep it.
#[track_caller]
pub fn checkpoint(c: &Container, flags: &[&str]) -> Image {
    let image = Image::new(c.bundle);
    image.succeeded(checkpoint_cmd(c, &image, flags).run());
    image
}

/// `restore` in the background with flags; the bundle is that of the container, whose id it gets.
pub fn restore_cmd(c: &Container, image: &Image, flags: &[&str]) -> Cmd {
    restore_foreground_cmd(c, image, &[&["--detach"], flags].concat())
}

pub fn restore_foreground_cmd(c: &Container, image: &Image, flags: &[&str]) -> Cmd {
    let bundle = c.bundle.dir().to_str().expect("a UTF-8 path");
    let all = [
        &["restore", "--bundle", bundle],
        &image.flags() as &[&str],
        flags,
        &[&c.id],
    ]
    .concat();
    with_criu(c.bundle.orlop(all), &[])
}

#[track_caller]
pub fn restore(c: &Container, image: &Image, flags: &[&str]) {
    image.succeeded(restore_cmd(c, image, flags).run());
}

/// A container under another id, which does not exist yet.
pub fn another<'a>(bundle: &'a Bundle) -> Container<'a> {
    Container {
        bundle,
        id: bundle.fresh_id(),
        output: PathBuf::new(),
    }
}

/// `probe checkpointed` in a container.
pub struct Workload<'a> {
    pub container: Container<'a>,
    /// Its directory, as the host sees it.
    dir: RefCell<PathBuf>,
}

/// What it has said about itself.
pub struct Report(pub Value);

impl Report {
    /// A fact that may not change.
    pub fn same(&self, pointer: &str) -> &Value {
        self.0["same"]
            .pointer(pointer)
            .unwrap_or_else(|| panic!("no {pointer} in {:#}", self.0))
    }

    /// A number that may not become smaller.
    pub fn grows(&self, key: &str) -> u64 {
        self.0["grows"][key]
            .as_u64()
            .unwrap_or_else(|| panic!("no {key} in {:#}", self.0))
    }
}

/// Gives the bundle the workload as its process.
pub fn with_parts(bundle: Bundle, parts: &[&str]) -> Bundle {
    bundle.args([&["probe", "checkpointed", "/tmp"], parts].concat().iter().copied())
}

impl<'a> Workload<'a> {
    /// In a bundle made by [`with_parts`].
    #[track_caller]
    pub fn start(bundle: &'a Bundle) -> Self {
        Self::of(start(bundle))
    }

    /// The workload of a container that has been started.
    #[track_caller]
    pub fn of(container: Container<'a>) -> Self {
        let dir = container.bundle.inside("/tmp");
        Self::at(container, &dir)
    }

    /// Its /tmp is this directory of the host.
    #[track_caller]
    pub fn at(container: Container<'a>, dir: &Path) -> Self {
        eventually("the workload is ready", || dir.join("ready").exists());
        Workload {
            container,
            dir: RefCell::new(dir.to_owned()),
        }
    }

    /// It has been restored with another root file system.
    pub fn moved_to(&self, rootfs: &Path) {
        *self.dir.borrow_mut() = rootfs.join("tmp");
    }

    fn ask(&self, query: &str) {
        let dir = self.dir.borrow();
        fs::write(dir.join("new"), query).expect("write the query");
        fs::rename(dir.join("new"), dir.join("query")).expect("rename the query");
    }

    #[track_caller]
    pub fn report(&self) -> Report {
        let answer = self.dir.borrow().join("answer");
        let _ = fs::remove_file(&answer);
        self.ask("facts");
        eventually("the workload answers", || answer.exists());
        let text = fs::read_to_string(&answer).expect("read the answer");
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["faults"], serde_json::json!([]), "faults seen by the workload");
        Report(value)
    }

    /// It ends with this code.
    pub fn exit(&self, code: i32) {
        self.ask(&format!("exit {code}"));
    }

    /// Nothing has been lost since the report, and everything goes on.
    #[track_caller]
    pub fn assert_continues(&self, before: &Report) -> Report {
        let after = self.report();
        let mut changed = Vec::new();
        differences(&before.0["same"], &after.0["same"], "", &mut changed);
        assert!(changed.is_empty(), "{}", changed.join("\n"));
        let numbers = |report: &Report| report.0["grows"].as_object().expect("an object").clone();
        let earlier = numbers(before);
        for (key, value) in numbers(&after) {
            assert!(
                value.as_u64() >= earlier[&key].as_u64(),
                "{key}: {value} after {}",
                earlier[&key]
            );
        }
        for key in earlier.keys() {
            eventually(&format!("{key} goes on"), || {
                numbers(&self.report())[key].as_u64() > earlier[key].as_u64()
            });
        }
        after
    }
}

/// Each place where two documents differ.
fn differences(before: &Value, after: &Value, path: &str, found: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                differences(
                    value,
                    b.get(key).unwrap_or(&Value::Null),
                    &format!("{path}/{key}"),
                    found,
                );
            }
            let new = b.iter().filter(|(key, _)| !a.contains_key(*key));
            found.extend(new.map(|(key, value)| format!("{path}/{key}: new: {value}")));
        }
        _ if before == after => {}
        _ => found.push(format!("{path}: {after}, before {before}")),
    }
}
