//! Runs commands as a reader of the documents would type them: as root at a terminal, with orlop in PATH, an image, and a
//! bundle. All of it is in a private mount namespace, with an empty /run/orlop and /srv.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::checkpoint::criu_dir;
use crate::harness::{Bundle, runtime};

/// `image.tar`, and a root file system with the same files.
fn image(bundle: &Bundle) -> &'static (PathBuf, PathBuf) {
    static IMAGE: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let directory = bundle
            .dir()
            .with_file_name(format!("orlop-image-{}", std::process::id()));
        let rootfs = directory.join("rootfs");
        fs::create_dir_all(&rootfs).expect("make the root file system");
        let made = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/make-rootfs"))
            .arg(&rootfs)
            .status()
            .expect("run make-rootfs");
        assert!(made.success());
        let tar = directory.join("image.tar");
        let packed = Command::new("tar")
            .arg("-C")
            .arg(&rootfs)
            .arg("-cf")
            .arg(&tar)
            .arg(".")
            .status();
        assert!(packed.expect("run tar").success());
        (tar, rootfs)
    })
}

/// The bundle /srv/web: a program that runs until it gets SIGTERM.
fn web() -> Value {
    let text = include_str!("../../fixtures/bundles/default/config.json");
    let mut config: Value = serde_json::from_str(text).expect("the default config");
    config["process"]["args"] = json!(["sh", "-c", "trap exit TERM; while :; do sleep 0.1; done"]);
    config["process"]["terminal"] = json!(false);
    let profile = include_str!("../../tests/profiles/docker-default.json");
    config["linux"]["seccomp"] = serde_json::from_str(profile).expect("a profile");
    config
}

/// Whether the cgroups of containers can have limits here.
pub fn has_controllers() -> bool {
    let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    ["cpu", "memory", "pids"]
        .iter()
        .all(|name| list.split_whitespace().any(|word| word == *name))
}

/// Runs blocks of commands one after the other in the same directory; each has a name. Ends with what was said if one fails.
pub fn run(blocks: &[(String, String)]) -> Result<(), String> {
    // Their containers have the same names, and so the same cgroups.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let bundle = Bundle::new();
    let (tar, rootfs) = image(&bundle);
    let work = bundle.path("work");
    let bin = bundle.path("bin");
    fs::create_dir_all(&work).expect("make a directory");
    fs::create_dir_all(&bin).expect("make a directory");
    // A copy: the directories of the session may hide the one that the program was built in.
    fs::copy(runtime(), bin.join("orlop")).expect("copy the program");
    fs::copy(tar, work.join("image.tar")).expect("copy the image");
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles/docker-default.json");
    fs::copy(profile, work.join("profile.json")).expect("copy a profile");
    fs::write(bundle.path("web.json"), web().to_string()).expect("write a config");
    let criu = criu_dir().and_then(|directory| Some((directory.parent()?, directory.file_name()?)));
    let mut script = "set -eu\n".to_string();
    if let Some((from, _)) = &criu {
        let to = bundle.path("criu");
        script += &format!(
            "mkdir {to}\nmount --rbind '{}' {to}\n",
            from.display(),
            to = to.display()
        );
    }
    script += &format!(
        "mkdir -p /srv /run/orlop
mount -t tmpfs none /srv
mount -t tmpfs none /run/orlop
mkdir /srv/web /srv/data /srv/img
cp -a {} /srv/web/rootfs
mkdir /srv/web/rootfs/srv /srv/web/rootfs/data
cp {} /srv/web/config.json
end() {{ orlop delete --force --regex . >/dev/null 2>&1 || true; }}
trap end EXIT
cd {}
",
        rootfs.display(),
        bundle.path("web.json").display(),
        work.display()
    );
    for (index, (name, commands)) in blocks.iter().enumerate() {
        let file = bundle.path(&format!("{index}.sh"));
        fs::write(&file, format!("{commands}\n")).expect("write the commands");
        let name = name.replace('\'', "'\\''");
        script += &format!(
            "echo '== {name}'; sh -eu {} || {{ echo '== failed: {name}'; exit 1; }}\n",
            file.display()
        );
    }
    script += "echo '== end'\n";
    let file = bundle.path("all.sh");
    fs::write(&file, script).expect("write the script");
    let log = bundle.path("log");
    let mut directories = vec![bin];
    directories.extend(criu.map(|(_, name)| bundle.path("criu").join(name)));
    directories.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    // Root's; PATH is that of a user if the tests are started by one.
    directories.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    let path = std::env::join_paths(directories).expect("no colon in a path");
    // script(1) is the terminal.
    let mut running = Command::new("unshare")
        .args([
            "--mount",
            "--propagation=private",
            "timeout",
            "100",
            "script",
            "--quiet",
            "--return",
            "--flush",
            "--command",
        ])
        .arg(format!("sh {}", file.display()))
        .arg(&log)
        .env("PATH", path)
        .env("TERM", "xterm")
        .env("SHELL", "/bin/bash")
        .env("HOME", &work)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("run unshare");
    let mut typed = running.stdin.take().expect("a pipe");
    // A shell in a container is left again.
    let status = loop {
        if let Some(status) = running.try_wait().expect("wait") {
            break status;
        }
        let _ = typed.write_all(b"exit\n");
        std::thread::sleep(Duration::from_millis(200));
    };
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    match status.success() && said.contains("== end") {
        true => Ok(()),
        false => {
            let last: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
            let last = &last[last.len().saturating_sub(12)..];
            Err(format!("{status}:\n{}", last.join("\n")))
        }
    }
}
