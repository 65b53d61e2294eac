//! `process.capabilities`: names to bits.
//!
//! The spec wants a capability that cannot be granted warned about, not refused.

use std::str::FromStr;

use caps::Capability;

use super::document::CapabilityNames;
use super::plan::Capabilities;
use crate::error::{Result, bail};
use crate::sys;

/// The names of a config as bits. A name that cannot be had is warned about.
pub fn bits(names: &CapabilityNames, warnings: &mut Vec<String>) -> Capabilities {
    let mut set = |name: &str, list: &Option<Vec<String>>| {
        let mut bits = 0;
        for (index, capability) in list.iter().flatten().enumerate() {
            let place = || format!("process.capabilities.{name}[{index}]");
            match bit(capability) {
                Some(bit) if bits & bit != 0 || is_known(bit.trailing_zeros()) => bits |= bit,
                Some(_) => warnings.push(format!(
                    "{}: this kernel does not know {capability:?}; ignored",
                    place()
                )),
                None => warnings.push(format!("{}: unknown capability {capability:?}; ignored", place())),
            }
        }
        bits
    };
    Capabilities {
        bounding: set("bounding", &names.bounding),
        effective: set("effective", &names.effective),
        permitted: set("permitted", &names.permitted),
        inheritable: set("inheritable", &names.inheritable),
        ambient: set("ambient", &names.ambient),
    }
}

/// The bit of a capability by its name in the config, `CAP_` and upper case.
pub fn bit(name: &str) -> Option<u64> {
    Capability::from_str(name).ok().map(|capability| capability.bitmask())
}

/// Whether the running kernel knows a capability of this number.
fn is_known(number: u32) -> bool {
    sys::process::in_bounding(number).is_some()
}

/// The names of the capabilities that the running kernel knows, for `features`.
pub fn names() -> Vec<String> {
    names_of(
        (0..64)
            .filter(|number| is_known(*number))
            .fold(0, |bits, number| bits | 1 << number),
    )
}

/// Names by number: the set that they come from has no order.
fn names_of(bits: u64) -> Vec<String> {
    let mut names: Vec<(u8, String)> = caps::all()
        .into_iter()
        .filter(|capability| capability.bitmask() & bits != 0)
        .map(|capability| (capability.index(), capability.to_string()))
        .collect();
    names.sort_unstable();
    names.into_iter().map(|(_, name)| name).collect()
}

/// Refuses nothing, but tells what the caller itself does not have and so cannot give on.
pub fn without_ungrantable(mut wanted: Capabilities, warnings: &mut Vec<String>) -> Result<Capabilities> {
    let Ok(own) = sys::process::capget() else {
        bail!("capget failed")
    };
    let missing = (wanted.permitted | wanted.effective) & !own.permitted;
    if missing != 0 {
        let names = names_of(missing).join(" ");
        warnings.push(format!(
            "process.capabilities: cannot be granted, the caller lacks them: {names}"
        ));
    }
    for set in [
        &mut wanted.bounding,
        &mut wanted.effective,
        &mut wanted.permitted,
        &mut wanted.inheritable,
        &mut wanted.ambient,
    ] {
        *set &= own.permitted;
    }
    Ok(wanted)
}
