//! `linux.devices`, and the devices of every container.

use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

use super::mounts::normalize_dots;
use super::options::PlanContext;
use crate::bundle::checks::Checks;
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::plan::{Device, IdMapping, IdMaps};

/// The devices that the spec requires in every container (config-linux.md, "Default Devices"; console and ptmx come with
/// the terminal and devpts).
pub const DEFAULT_DEVICES: &[(&str, u32, u32)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// The nodes in the container's /dev. `fill_dev`: it is the container's own. None if one of them is wrong.
pub fn devices(context: &PlanContext, fill_dev: bool, checks: &mut Checks) -> Option<Vec<Device>> {
    checks.section(&["linux", "devices"], |checks| {
        let mut devices = Vec::new();
        for (index, entry) in context.linux.devices().iter().flatten().enumerate() {
            let at = || At::object(format!("linux.devices[{index}]"), entry.path().display());
            let checked = device(index, entry, fill_dev, context.id_maps).with_context(at);
            devices.extend(checks.keep(checked));
        }
        // A privileged container of Docker lists it. /dev/ptmx becomes a link into the container's own devpts all the same, for
        // which a node, bind mounted in a user namespace, would be in the way.
        devices.retain(|device| !fill_dev || normalize_dots(&device.path) != Path::new("/dev/ptmx"));
        for (name, major, minor) in DEFAULT_DEVICES.iter().filter(|_| fill_dev) {
            let path = Path::new("/dev").join(name);
            if !devices.iter().any(|device| device.path == path) {
                devices.push(Device {
                    index: None,
                    path,
                    kind: libc::S_IFCHR,
                    number: libc::makedev(*major, *minor),
                    mode: 0o666,
                    uid: 0,
                    gid: 0,
                    expected: false,
                });
            }
        }
        Ok(devices)
    })
}

fn device(index: usize, entry: &LinuxDevice, fill_dev: bool, id_maps: Option<&IdMaps>) -> Result<Device> {
    let kind = match entry.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => libc::S_IFCHR,
        LinuxDeviceType::B => libc::S_IFBLK,
        LinuxDeviceType::P => libc::S_IFIFO,
        LinuxDeviceType::A => return Err(anyhow!("type must be c, b, u or p")),
    };
    if !entry.path().is_absolute() {
        return Err(anyhow!("path must be absolute"));
    }
    if entry.path().file_name().is_none() {
        return Err(anyhow!("path must end in the name of the device"));
    }
    let number = |name: &str, n: i64, bits: u32| {
        u32::try_from(n)
            .ok()
            .filter(|n| *n < 1 << bits)
            .ok_or_else(|| anyhow!("{name} {n} is outside 0 to {}", (1 << bits) - 1))
    };
    let number = if kind == libc::S_IFIFO {
        0
    } else {
        libc::makedev(number("major", entry.major(), 12)?, number("minor", entry.minor(), 20)?)
    };
    if let Some(maps) = id_maps {
        mapped(entry.uid(), &maps.uid, "uid")?;
        mapped(entry.gid(), &maps.gid, "gid")?;
    }
    Ok(Device {
        index: Some(index),
        path: entry.path().clone(),
        expected: !fill_dev && normalize_dots(entry.path()).starts_with("/dev"),
        kind,
        number,
        mode: entry.file_mode().unwrap_or(0o666) & 0o7777,
        uid: entry.uid().unwrap_or(0),
        gid: entry.gid().unwrap_or(0),
    })
}

/// The owner of a device is an ID of the container.
fn mapped(id: Option<u32>, maps: &[IdMapping], field: &str) -> Result<()> {
    match id {
        Some(id) if !maps.iter().any(|map| map.holds(id)) => Err(with_hint(
            format!("{field} {id} is not mapped into the container's user namespace"),
            format!("see linux.{field}Mappings"),
        )),
        _ => Ok(()),
    }
}
