//! The stored config of a container, as far as a checkpoint depends on it. It was validated when the container was created.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::bundle::validate::devices::DEFAULT_DEVICES;
use crate::bundle::validate::mounts::normalize_dots;
use crate::error::{Context, Result};
use crate::sys::process::NAMESPACES;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    pub mounts: Vec<Mount>,
    hooks: Hooks,
    linux: Linux,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Mount {
    pub destination: PathBuf,
    #[serde(rename = "type")]
    kind: Option<String>,
    options: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Hooks {
    prestart: Vec<serde_json::Value>,
    create_runtime: Vec<serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    namespaces: Vec<Namespace>,
    masked_paths: Vec<PathBuf>,
    devices: Vec<Device>,
    net_devices: BTreeMap<String, serde_json::Value>,
    seccomp: Seccomp,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    path: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Device {
    path: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Seccomp {
    listener_path: Option<String>,
}

impl Config {
    pub fn parse(text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text).context("the config of the container")
    }

    /// Whether the container joins a namespace (`CLONE_NEW*`) that has a path.
    pub fn joins(&self, flag: i32) -> bool {
        self.namespaces(flag).any(|namespace| namespace.path.is_some())
    }

    /// Whether the container has a new namespace of this kind.
    pub fn makes(&self, flag: i32) -> bool {
        self.namespaces(flag).any(|namespace| namespace.path.is_none())
    }

    fn namespaces(&self, flag: i32) -> impl Iterator<Item = &Namespace> {
        let kind = NAMESPACES.iter().find(|kind| kind.flag == flag as u64);
        let all = self.linux.namespaces.iter();
        all.filter(move |namespace| kind.is_some_and(|kind| kind.name == namespace.kind))
    }

    /// Whether something besides CRIU puts network interfaces into the container.
    pub fn network_comes_from_outside(&self) -> bool {
        !self.hooks.prestart.is_empty() || !self.hooks.create_runtime.is_empty() || !self.linux.net_devices.is_empty()
    }

    pub fn has_seccomp_listener(&self) -> bool {
        self.linux.seccomp.listener_path.is_some()
    }

    pub fn masks(&self, point: &Path) -> bool {
        self.linux.masked_paths.iter().any(|path| normalize_dots(path) == point)
    }

    pub fn has_device(&self, point: &Path) -> bool {
        let listed = self
            .linux
            .devices
            .iter()
            .any(|device| normalize_dots(&device.path) == point);
        let in_dev = point.strip_prefix("/dev").ok();
        let default = |name: &str| in_dev == Some(Path::new(name));
        listed || default("ptmx") || DEFAULT_DEVICES.iter().any(|(name, ..)| default(name))
    }
}

impl Mount {
    /// Whether it shows a file or directory from elsewhere, and not a new file system.
    pub fn is_bind(&self) -> bool {
        self.kind.as_deref() == Some("bind") || self.options.iter().any(|option| option == "bind" || option == "rbind")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_checkpoint_needs_is_read() {
        let config = Config::parse(
            br#"{"mounts": [{"destination": "/a", "type": "none", "options": ["rbind"]}, {"destination": "/b", "type": "tmpfs"}],
                 "linux": {"namespaces": [{"type": "network", "path": "/n"}, {"type": "pid"}], "maskedPaths": ["/proc/./kcore"]}}"#,
        )
        .unwrap();
        assert_eq!(
            config.mounts.iter().map(Mount::is_bind).collect::<Vec<_>>(),
            [true, false]
        );
        assert!(config.joins(libc::CLONE_NEWNET) && !config.joins(libc::CLONE_NEWPID));
        assert!(config.makes(libc::CLONE_NEWPID) && !config.makes(libc::CLONE_NEWNET));
        assert!(config.masks(Path::new("/proc/kcore")) && config.has_device(Path::new("/dev/null")));
        assert!(!config.network_comes_from_outside() && !config.has_seccomp_listener());
    }
}
