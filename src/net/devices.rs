//! `linux.netDevices`: moves network devices from the host's network namespace into the container's (config-linux.md,
//! "Network Devices"). Runs in the runtime, because only it is in the namespace that they come from.
//!
//! The kernel moves a device first and renames it afterwards, and a device with the old or the new name may already exist
//! there. So a device is moved under a unique temporary name, which also serves to find it again, because its index may change. If
//! a later step fails, the device is moved back.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use nix::errno::Errno;

use super::rtnetlink::{Address, Route};
use crate::error::{At, Context, Error, Result, call_with_hint, with_cleanup, with_hint};
use crate::own_namespace::OwnNamespace;
use crate::plan::NetDevice;
use crate::sys::{SysError, SysResult, fs, process};

/// The devices that were moved, and what is needed to move them back.
pub struct Taken {
    own_namespace: OwnNamespace,
    outside: Route,
    inside: Route,
    moved: Vec<Moved>,
}

struct Moved {
    /// Its name on the host.
    name: String,
    /// Its name while it is moved.
    travelling: String,
    /// Its index in the container, once it is known to have arrived.
    index: Option<i32>,
    was_up: bool,
    addresses: Vec<Address>,
}

/// Moves all devices, or none, into the network namespace at a path.
pub fn take(devices: &[NetDevice], target: &Path) -> Result<Taken> {
    let own_namespace = OwnNamespace::network()?;
    let namespace = fs::open_namespace(target)?;
    let mut taken = Taken {
        outside: Route::open()?,
        // A socket belongs to the network namespace that it is made in.
        inside: own_namespace.visit(namespace.as_fd(), Route::open)?,
        own_namespace,
        moved: Vec::new(),
    };
    // All at once: listing those of one device is no faster.
    let mut addresses = taken.outside.permanent_addresses()?;
    for device in devices {
        let moving = taken
            .take(device, &namespace, &mut addresses)
            .with_context(|| At::object(format!("linux.netDevices.{}", device.name), &device.new_name));
        if let Err(error) = moving {
            return Err(with_cleanup(error, taken.give_back()));
        }
    }
    Ok(taken)
}

/// Whether a device exists that is to be moved.
pub fn find(device: &NetDevice) -> Result<()> {
    let found = Route::open()?.link(&device.name).map_err(explain);
    found
        .map(drop)
        .with_context(|| At::object(format!("linux.netDevices.{}", device.name), &device.new_name))
}

/// The devices that are still to be moved into the network namespace at a path: one that existed before the container, and
/// outlives it, keeps those that it was given for an earlier one.
pub fn still_outside(devices: &[NetDevice], target: &Path) -> Result<Vec<NetDevice>> {
    let own_namespace = OwnNamespace::network()?;
    let mut outside = Route::open()?;
    let mut inside = own_namespace.visit(fs::open_namespace(target)?.as_fd(), Route::open)?;
    let exists = |route: &mut Route, name: &str| match route.link(name) {
        Err(error) if error.errno == Errno::ENODEV => Ok(false),
        other => other.map(|_| true),
    };
    let mut left = Vec::new();
    for device in devices {
        if exists(&mut outside, &device.name)? || !exists(&mut inside, &device.new_name)? {
            left.push(device.clone());
        }
    }
    Ok(left)
}

impl Taken {
    fn take(
        &mut self,
        device: &NetDevice,
        namespace: &OwnedFd,
        addresses: &mut BTreeMap<i32, Vec<Address>>,
    ) -> Result<()> {
        let link = self.outside.link(&device.name).map_err(explain)?;
        let addresses = addresses.remove(&link.index).unwrap_or_default();
        // Checked first, so that a device is not brought down in vain. The kernel checks again.
        match self.inside.link(&device.new_name) {
            Ok(_) => return Err(clash(None)),
            Err(error) if error.errno == Errno::ENODEV => {}
            Err(error) => return Err(error.into()),
        }
        let travelling = travelling_name(link.index);
        // Recorded first: the kernel may have moved it although its answer was lost.
        self.moved.push(Moved {
            name: device.name.clone(),
            travelling: travelling.clone(),
            index: None,
            was_up: link.up,
            addresses: addresses.clone(),
        });
        self.outside
            .send_away(link.index, namespace.as_fd(), &travelling)
            .map_err(explain)?;
        let index = self.inside.link(&travelling)?.index;
        if let Some(moved) = self.moved.last_mut() {
            moved.index = Some(index);
        }
        self.inside
            .rename(index, &device.new_name)
            .map_err(|error| match error.errno {
                Errno::EEXIST => clash(Some(error)),
                _ => error.into(),
            })?;
        for mut address in addresses {
            address.relabel(&device.name, &device.new_name);
            self.inside.add_address(index, &address)?;
        }
        Ok(self.inside.set_up(index)?)
    }

    /// Moves the devices back and restores their state. Only for a container that was not created: otherwise they belong to its
    /// network namespace.
    pub fn give_back(mut self) -> Result<()> {
        let mut result = Ok(());
        for moved in self.moved.drain(..).rev() {
            let mut back = || -> SysResult<()> {
                let inside = match moved.index {
                    Some(index) => index,
                    None => match self.inside.link(&moved.travelling) {
                        // It has never left.
                        Err(error) if error.errno == Errno::ENODEV => return Ok(()),
                        other => other?.index,
                    },
                };
                self.inside.send_away(inside, self.own_namespace.as_fd(), &moved.name)?;
                let index = self.outside.link(&moved.name)?.index;
                for address in &moved.addresses {
                    self.outside.add_address(index, address)?;
                }
                if moved.was_up {
                    self.outside.set_up(index)?;
                }
                Ok(())
            };
            if let Err(error) = back() {
                result = Err(error).with_context(|| format!("network device {:?}", moved.name));
            }
        }
        result
    }
}

/// A unique name, made from the time, which advances, and the pid, which no other process has.
fn travelling_name(index: i32) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mixed = now.as_nanos() as u64 ^ (process::pid() as u64) << 32 ^ index as u64;
    format!("mv{:012x}", mixed & 0xffff_ffff_ffff)
}

fn clash(error: Option<SysError>) -> Error {
    let text = "the container's network namespace already has a device of this name";
    let cure = "choose another `name`, or one that ends with %d, which the kernel replaces with the first free number";
    match error {
        Some(error) => call_with_hint(error, text, cure),
        None => with_hint(text, cure),
    }
}

fn explain(error: SysError) -> Error {
    let (text, cure) = match error.errno {
        Errno::ENODEV => (
            "the host has no such network device",
            "`ip link` lists the devices of the network namespace that orlop runs in",
        ),
        Errno::EINVAL => (
            "the device cannot leave its network namespace",
            "loopback devices, and others that `ethtool -k` shows as netns-local, cannot be moved",
        ),
        Errno::EPERM => (
            "not permitted to move the device",
            "moving a network device requires CAP_NET_ADMIN in both network namespaces",
        ),
        _ => return error.into(),
    };
    call_with_hint(error, text, cure)
}
