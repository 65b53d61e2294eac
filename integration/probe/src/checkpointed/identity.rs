//! Everything that `probe facts` reports and that a restore keeps.

use serde_json::{Map, Value, json};

use super::Part;
use crate::facts;

pub struct Identity;

impl Part for Identity {
    fn same(&mut self) -> Value {
        let Value::Object(mut all) = facts::all(Value::Null, &[]) else {
            unreachable!("facts are an object");
        };
        // Other parts open descriptors, and the tests look at namespaces and keyrings by themselves.
        for key in ["fds", "keyring", "namespaces", "mounts"] {
            all.remove(key);
        }
        all.insert("mounts".into(), mounts());
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
        all.insert("comm".into(), json!(comm.trim()));
        all.into()
    }
}

/// The session keyring of the moment.
pub struct Keyring;

impl Part for Keyring {
    fn same(&mut self) -> Value {
        facts::keyring()
    }
}

/// The mounts by what a process can see of them: identifiers and device numbers are new after a restore.
fn mounts() -> Value {
    let Value::Array(list) = facts::mounts() else {
        unreachable!("mounts are a list");
    };
    let mut seen = Map::new();
    for mut mount in list {
        let object = mount.as_object_mut().expect("an object");
        for key in ["id", "parent", "device", "propagation"] {
            object.remove(key);
        }
        // A masked path has another null device: that of the host.
        if object["root"] == "/null" {
            object.retain(|key, _| ["root", "mountpoint"].contains(&key.as_str()));
        }
        let at = object.remove("mountpoint").unwrap_or_default();
        let at = at.as_str().unwrap_or_default().to_owned();
        // Stacked ones, in order.
        let stack = seen.entry(at).or_insert_with(|| json!([]));
        stack.as_array_mut().expect("a list").push(mount);
    }
    // Sorted: the order in which they were mounted is not kept.
    let mut sorted: Vec<(String, Value)> = seen.into_iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    sorted.into_iter().collect::<Map<_, _>>().into()
}
