//! `--systemd-cgroup` with a fake bus and a fake systemd: the exact calls, and what becomes of a container when they
//! answer differently. Tests with the real systemd are in `guest/booted/`.

pub mod fake;
mod properties;
mod scopes;

use std::fs;
use std::path::PathBuf;

use serde_json::{Value as Json, json};

use self::fake::{Fake, Manner};
use crate::harness::{Bundle, Cmd, Output, runtime};

/// A container whose cgroup the fake creates.
struct Scoped {
    bundle: Bundle,
    fake: Fake,
    id: String,
    slice: String,
}

impl Scoped {
    fn new(manner: Manner) -> Self {
        Self::of(Bundle::new().args(["probe", "sleep"]), manner)
    }

    fn of(bundle: Bundle, manner: Manner) -> Self {
        let fake = Fake::new(bundle.dir(), manner);
        let id = bundle.fresh_id();
        // A slice for this bundle, inside another.
        let slice = format!("test-{}.slice", id.replace('-', "_"));
        bundle.change(|c| c["linux"]["cgroupsPath"] = json!(format!("{slice}:orlop:{id}")));
        Self {
            bundle,
            fake,
            id,
            slice,
        }
    }

    fn resources(self, resources: Json) -> Self {
        self.bundle.change(|c| {
            for (section, value) in resources.as_object().expect("sections") {
                c["linux"]["resources"][section] = value.clone();
            }
        });
        self
    }

    fn annotation(self, name: &str, value: &str) -> Self {
        self.bundle.change(|c| c["annotations"][name] = json!(value));
        self
    }

    fn orlop(&self, args: &[&str]) -> Cmd {
        self.bundle
            .orlop(args)
            .env("DBUS_SYSTEM_BUS_ADDRESS", &self.fake.address())
    }

    fn create(&self) -> Output {
        let bundle = self.bundle.dir().to_str().expect("UTF-8");
        self.orlop(&["--systemd-cgroup", "create", "--bundle", bundle, &self.id])
            .run()
    }

    fn on(&self, verb: &[&str]) -> Output {
        self.orlop(&[verb, &[self.id.as_str()]].concat()).run()
    }

    fn unit(&self) -> String {
        format!("orlop-{}.scope", self.id)
    }

    fn leaf(&self) -> PathBuf {
        PathBuf::from("/sys/fs/cgroup/test.slice")
            .join(&self.slice)
            .join(self.unit())
    }

    fn content(&self, file: &str) -> String {
        let text = fs::read_to_string(self.leaf().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        text.trim().to_owned()
    }

    fn pid(&self) -> i64 {
        self.on(&["state"]).ok().json()["pid"].as_i64().expect("a pid")
    }
}

impl Drop for Scoped {
    fn drop(&mut self) {
        self.orlop(&["delete", "--force", &self.id]).spawn().wait_quietly();
        fake::remove_slices(&self.slice);
    }
}

const OURS: &str = "the calls of orlop";

/// Other runtimes make other calls.
fn is_orlop() -> bool {
    runtime().ends_with("orlop")
}
