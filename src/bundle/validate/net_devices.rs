//! `linux.netDevices`.

use oci_spec::runtime as oci;

use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::plan::{Namespaces, NetDevice};
use crate::sys::process;

pub fn plan(linux: &oci::Linux, namespaces: &Namespaces) -> Result<Vec<NetDevice>> {
    let Some(map) = linux.net_devices().as_ref().filter(|map| !map.is_empty()) else {
        return Ok(Vec::new());
    };
    if !namespaces.has(libc::CLONE_NEWNET) {
        return Err(with_hint(
            "the container shares the host's network namespace, so there is nowhere to move the devices to",
            "add {\"type\": \"network\"} to linux.namespaces",
        ))
        .context(At::new("linux.netDevices"));
    }
    let mut devices: Vec<NetDevice> = Vec::new();
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by_key(|(name, _)| *name);
    for (name, device) in entries {
        let at = || At::new(format!("linux.netDevices.{name}"));
        let new_name = device.name().clone().filter(|name| !name.is_empty());
        let new_name = new_name.unwrap_or_else(|| name.clone());
        if !is_name(name) || name.contains('%') {
            return Err(not_a_name(name)).with_context(at);
        }
        if !is_name(&new_name) {
            return Err(not_a_name(&new_name)).with_context(|| At::new(format!("linux.netDevices.{name}.name")));
        }
        if new_name.contains('%') && (new_name.matches('%').count() != 1 || !new_name.contains("%d")) {
            return Err(anyhow!(
                "{new_name:?} is no template: it may have \"%d\" once, and no other %"
            ))
            .with_context(|| At::new(format!("linux.netDevices.{name}.name")));
        }
        devices.push(NetDevice {
            name: name.clone(),
            new_name,
        });
    }
    let mut names: Vec<&NetDevice> = devices.iter().filter(|device| !device.new_name.contains('%')).collect();
    names.sort_by(|a, b| (&a.new_name, &a.name).cmp(&(&b.new_name, &b.name)));
    for pair in names.windows(2) {
        if let [one, other] = pair
            && one.new_name == other.new_name
        {
            return Err(anyhow!(
                "{:?} is also what {:?} shall be called in the container",
                other.new_name,
                one.name
            ))
            .with_context(|| At::new(format!("linux.netDevices.{}.name", other.name)));
        }
    }
    if process::effective_uid() != 0 {
        return Err(with_hint(
            "only root may take a network device out of the host's network namespace",
            "run the container as root, or connect it by a user-mode network such as pasta or slirp4netns",
        ))
        .context(At::new("linux.netDevices"));
    }
    Ok(devices)
}

fn not_a_name(name: &str) -> crate::error::Error {
    anyhow!("{name:?} cannot be a network device's name: it has 1 to 15 bytes, no blank, slash or colon")
}

/// The kernel's rule (`dev_valid_name`).
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() < libc::IFNAMSIZ
        && !name.contains(|c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace() || c == '\x0b')
}
