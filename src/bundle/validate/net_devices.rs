//! `linux.netDevices`.

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxNetDevice;

use super::options::PlanContext;
use crate::bundle::checks::Checks;
use crate::error::{At, Context, Error, Result, anyhow, with_hint};
use crate::plan::NetDevice;

/// The network devices that move into the container. None if something about them is wrong.
pub fn net_devices(context: &PlanContext, checks: &mut Checks) -> Option<Vec<NetDevice>> {
    checks.section(&["linux", "netDevices"], |checks| {
        let Some(map) = context.linux.net_devices().as_ref().filter(|map| !map.is_empty()) else {
            return Ok(Vec::new());
        };
        if !context.namespaces.has(libc::CLONE_NEWNET) {
            return Err(with_hint(
                "the container shares the host's network namespace, so the devices cannot be moved anywhere",
                "add {\"type\": \"network\"} to linux.namespaces",
            ))
            .context(At::new("linux.netDevices"));
        }
        let entries: BTreeMap<_, _> = map.iter().collect();
        let devices: Vec<NetDevice> = entries
            .into_iter()
            .filter_map(|(name, device)| {
                let checked = net_device(name, device);
                checks.keep(checked.with_context(|| At::new(format!("linux.netDevices.{name}"))))
            })
            .collect();
        names_differ(&devices, checks);
        if !context.facts.is_root() {
            return Err(with_hint(
                "only root may take a network device out of the host's network namespace",
                "run the container as root, or connect it by a user-mode network such as pasta or slirp4netns",
            ))
            .context(At::new("linux.netDevices"));
        }
        Ok(devices)
    })
}

fn net_device(name: &str, device: &LinuxNetDevice) -> Result<NetDevice> {
    let at = || At::new(format!("linux.netDevices.{name}.name"));
    let new_name = device.name().clone().filter(|name| !name.is_empty());
    let new_name = new_name.unwrap_or_else(|| name.into());
    if !is_name(name) || name.contains('%') {
        return Err(not_a_name(name));
    }
    if !is_name(&new_name) {
        return Err(not_a_name(&new_name)).with_context(at);
    }
    if new_name.contains('%') && (new_name.matches('%').count() != 1 || !new_name.contains("%d")) {
        return Err(anyhow!(
            "{new_name:?} is not a template: it may contain \"%d\" once, and no other %"
        ))
        .with_context(at);
    }
    Ok(NetDevice {
        name: name.into(),
        new_name,
    })
}

/// Two devices cannot have the same name in the container.
fn names_differ(devices: &[NetDevice], checks: &mut Checks) {
    let mut names: Vec<&NetDevice> = devices.iter().filter(|device| !device.new_name.contains('%')).collect();
    names.sort_by(|a, b| (&a.new_name, &a.name).cmp(&(&b.new_name, &b.name)));
    for pair in names.windows(2) {
        if let [one, other] = pair
            && one.new_name == other.new_name
        {
            let error = anyhow!(
                "{:?} would also be the name of {:?} in the container",
                other.new_name,
                one.name
            );
            let at = At::new(format!("linux.netDevices.{}.name", other.name));
            checks.keep::<()>(Err(error).context(at));
        }
    }
}

fn not_a_name(name: &str) -> Error {
    anyhow!("{name:?} cannot be the name of a network device: it has 1 to 15 bytes, no blank, slash or colon")
}

/// The kernel's rule (`dev_valid_name`).
fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() < libc::IFNAMSIZ
        && !name.contains(|c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace() || c == '\x0b')
}
