//! `--systemd-cgroup` with the systemd that booted the machine, which `make guest-full` starts. The settings are read
//! back from systemd and from the kernel.

mod checkpoint;
mod limits;
mod scopes;
mod service;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::users::{as_user, rootless};
use crate::harness::{Bundle, Cmd, Output};

const USER: u32 = 1000;
const BOOTED: &str = "a machine booted by systemd";

fn is_booted() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

fn systemctl(args: &[&str]) -> String {
    let output = Command::new("systemctl").args(args).output().expect("run systemctl");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The value in systemd; empty if there is none.
fn shown(flags: &[&str], unit: &str, property: &str) -> String {
    let text = systemctl(&[flags, &["show", "--property", property, unit]].concat());
    let value = text.trim().strip_prefix(&format!("{property}="));
    value.unwrap_or_default().to_owned()
}

struct Scoped {
    bundle: Bundle,
    id: String,
    user: bool,
}

impl Scoped {
    fn new(resources: Value) -> Self {
        Self::of(Bundle::new().args(["probe", "sleep"]), resources, false)
    }

    /// A plain user's.
    fn of_user(resources: Value) -> Self {
        Self::of(rootless(Bundle::new().args(["probe", "sleep"])), resources, true)
    }

    fn of(bundle: Bundle, resources: Value, user: bool) -> Self {
        let id = bundle.fresh_id();
        bundle.change(|c| {
            c["linux"]["cgroupsPath"] = json!(format!(
                "{}:test:{id}",
                if user { "user.slice" } else { "system.slice" }
            ));
            for (section, value) in resources.as_object().expect("sections") {
                c["linux"]["resources"][section] = value.clone();
            }
        });
        Self { bundle, id, user }
    }

    fn orlop(&self, args: &[&str]) -> Cmd {
        let cmd = self.bundle.orlop([&["--systemd-cgroup"], args].concat());
        if self.user {
            as_user(cmd.env("XDG_RUNTIME_DIR", &format!("/run/user/{USER}")))
        } else {
            cmd
        }
    }

    fn on(&self, verb: &[&str]) -> Output {
        self.orlop(&[verb, &[self.id.as_str()]].concat()).run()
    }

    fn create(&self) -> Output {
        let bundle = self.bundle.dir().to_str().expect("UTF-8");
        self.orlop(&["create", "--bundle", bundle, &self.id]).run()
    }

    fn unit(&self) -> String {
        format!("test-{}.scope", self.id)
    }

    fn shown(&self, property: &str) -> String {
        let machine = format!("--machine={USER}@");
        let flags: &[&str] = if self.user { &["--user", &machine] } else { &[] };
        shown(flags, &self.unit(), property)
    }

    fn slice(&self) -> PathBuf {
        let root = Path::new("/sys/fs/cgroup");
        if self.user {
            let manager = format!("user.slice/user-{USER}.slice/user@{USER}.service");
            root.join(manager).join("user.slice")
        } else {
            root.join("system.slice")
        }
    }

    fn leaf(&self) -> PathBuf {
        self.slice().join(self.unit())
    }

    fn content(&self, file: &str) -> String {
        let text = fs::read_to_string(self.leaf().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        text.trim().to_owned()
    }

    fn pid(&self) -> String {
        self.on(&["state"]).ok().json()["pid"].to_string()
    }

    #[track_caller]
    fn assert_shown(&self, properties: &[(&str, &str)]) {
        for (property, value) in properties {
            assert_eq!(self.shown(property), *value, "{property}");
        }
    }

    #[track_caller]
    fn assert_contents(&self, files: &[(&str, &str)]) {
        for (file, content) in files {
            assert_eq!(self.content(file), *content, "{file}");
        }
    }
}

impl Drop for Scoped {
    fn drop(&mut self) {
        self.on(&["delete", "--force"]);
    }
}
