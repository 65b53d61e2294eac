//! A container that exists.

use std::fs::{self};
use std::path::PathBuf;

use serde_json::Value;

use super::{Bundle, Cmd, Output, eventually};

/// A container that exists; deleted with its bundle.
pub struct Container<'a> {
    pub bundle: &'a Bundle,
    pub id: String,
    pub(super) output: PathBuf,
}

impl Container<'_> {
    fn orlop(&self, args: &[&str]) -> Cmd {
        self.bundle.orlop([args, &[&self.id]].concat())
    }

    #[track_caller]
    pub fn start(&self) {
        self.try_start().ok();
    }

    pub fn try_start(&self) -> Output {
        self.orlop(&["start"]).run()
    }

    #[track_caller]
    pub fn state(&self) -> Value {
        self.orlop(&["state"]).run().ok().json()
    }

    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().expect("a status").to_owned()
    }

    #[track_caller]
    pub fn pid(&self) -> i32 {
        self.state()["pid"].as_i64().expect("a pid") as i32
    }

    pub fn try_kill(&self, signal: &[&str]) -> Output {
        self.bundle.orlop([&["kill", &self.id], signal].concat()).run()
    }

    #[track_caller]
    pub fn kill(&self, signal: &str) {
        self.try_kill(&[signal]).ok();
    }

    pub fn try_delete(&self) -> Output {
        self.orlop(&["delete"]).run()
    }

    #[track_caller]
    pub fn delete(&self) {
        self.try_delete().ok();
    }

    /// What the container's process has written so far.
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    #[track_caller]
    pub fn until(&self, text: &str) {
        eventually(&format!("`{text}` on the container's stdout"), || {
            self.stdout().contains(text)
        });
    }

    #[track_caller]
    pub fn until_stopped(&self) {
        eventually("the container stops", || self.status() == "stopped");
    }
}
