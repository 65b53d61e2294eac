//! Containers that join namespaces.

use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Bundle, Container, Holder};

/// The namespaces of the config, each with its path if it has one.
pub fn with_namespaces<'a>(bundle: Bundle, list: impl IntoIterator<Item = (&'a str, Option<String>)>) -> Bundle {
    let list: Vec<Value> = list
        .into_iter()
        .map(|(kind, path)| match path {
            Some(path) => json!({ "type": kind, "path": path }),
            None => json!({ "type": kind }),
        })
        .collect();
    bundle.edit(|c| c["linux"]["namespaces"] = json!(list))
}

/// The default ones, with these joined.
pub fn joining(bundle: Bundle, holder: &Holder, kinds: &[&str]) -> Bundle {
    let mut list: Vec<&str> = vec!["pid", "network", "ipc", "uts", "mount", "cgroup"];
    list.extend(
        kinds
            .iter()
            .filter(|kind| !["pid", "network", "ipc", "uts", "mount", "cgroup"].contains(kind)),
    );
    with_namespaces(
        bundle,
        list.iter()
            .map(|kind| (*kind, kinds.contains(kind).then(|| holder.path(kind)))),
    )
}

pub fn has_time_namespaces() -> bool {
    Path::new("/proc/self/ns/time").exists()
}

pub fn in_pid_namespace_of(c: &Container, bundle: Bundle) -> Bundle {
    let path = format!("/proc/{}/ns/pid", c.pid());
    bundle.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        let pid = namespaces.iter_mut().find(|namespace| namespace["type"] == "pid");
        pid.unwrap()["path"] = json!(path);
    })
}
