//! Access to the reports of the probe.

use serde_json::Value;

/// The report of `probe facts`.
#[derive(Debug)]
pub struct Facts(pub Value);

impl std::ops::Index<&str> for Facts {
    type Output = Value;
    fn index(&self, key: &str) -> &Value {
        &self.0[key]
    }
}

impl Facts {
    /// The topmost mount at exactly this path.
    #[track_caller]
    pub fn mount(&self, mountpoint: &str) -> &Value {
        let mut all = self.0["mounts"].as_array().expect("mounts").iter().rev();
        all.find(|m| m["mountpoint"] == mountpoint)
            .unwrap_or_else(|| panic!("nothing mounted at {mountpoint}: {:#}", self.0["mounts"]))
    }

    /// Per-mount and superblock options at that path.
    #[track_caller]
    pub fn options(&self, mountpoint: &str) -> Vec<String> {
        let mount = self.mount(mountpoint);
        let lists = [&mount["options"], &mount["super"]];
        lists
            .iter()
            .flat_map(|l| l.as_array().expect("a list"))
            .map(|o| o.as_str().expect("a word").to_owned())
            .collect()
    }

    #[track_caller]
    pub fn path(&self, path: &str) -> &Value {
        self.0["paths"]
            .get(path)
            .unwrap_or_else(|| panic!("{path} was not asked for"))
    }
}

/// The report of `probe try`.
#[derive(Debug)]
pub struct Attempts(pub Value);

impl Attempts {
    fn of(&self, operation: &str) -> &Value {
        let mut all = self.0.as_array().expect("a list").iter();
        all.find(|r| r["op"] == operation)
            .unwrap_or_else(|| panic!("{operation} was not tried"))
    }

    /// "ok" or the errno.
    #[track_caller]
    pub fn result(&self, operation: &str) -> String {
        let report = self.of(operation);
        if report["ok"] == true {
            "ok".into()
        } else {
            report["errno"].as_str().unwrap_or("?").into()
        }
    }

    #[track_caller]
    pub fn detail(&self, operation: &str) -> &Value {
        &self.of(operation)["detail"]
    }
}
