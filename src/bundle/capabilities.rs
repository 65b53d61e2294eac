//! `process.capabilities`: names to bits.
//!
//! By the specification a capability that cannot be granted causes a warning, not an error.

use std::str::FromStr;

use caps::Capability;

use super::document::CapabilityNames;
use crate::host::{Bounding, CapabilitySets};
use crate::plan::{Capabilities, Warning};
use crate::sys;

/// The names of a config as bits. `bounding`: what the kernel says about the named ones. A name that it does not know
/// causes a warning.
pub fn bits(names: &CapabilityNames, bounding: Bounding, warnings: &mut Vec<Warning>) -> Capabilities {
    let mut set = |name: &str, list: &Option<Vec<String>>| {
        let mut bits = 0;
        for (index, capability) in list.iter().flatten().enumerate() {
            let place = || format!("process.capabilities.{name}[{index}]");
            match bit(capability) {
                Some(bit) if bounding.known & bit != 0 => bits |= bit,
                Some(_) => {
                    let text = format!("{}: this kernel does not know {capability:?}; ignored", place());
                    warnings.push(Warning::new(place(), text));
                }
                None => {
                    let meant = meant(capability).map_or(String::new(), |meant| format!("; did you mean {meant}?"));
                    let text = format!("{}: unknown capability {capability:?}; ignored{meant}", place());
                    warnings.push(Warning::new(place(), text));
                }
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

/// Adds capabilities to the sets that make them usable now, and never to the inheritable one: an inheritable capability can
/// be gained from a file by any program that is executed later (CVE-2022-29162, CVE-2022-27650, CVE-2025-27612). A
/// capability can be ambient only if it is inheritable, so it becomes ambient only if the config makes it inheritable.
pub fn add(bits: u64, sets: &mut Capabilities) {
    sets.bounding |= bits;
    sets.effective |= bits;
    sets.permitted |= bits;
    sets.ambient |= bits & sets.inheritable;
}

/// The bit of a capability by its name in the config, `CAP_` and upper case.
pub fn bit(name: &str) -> Option<u64> {
    Capability::from_str(name).ok().map(|capability| capability.bitmask())
}

/// The capability that an unknown name probably means: without `CAP_`, or not in capitals.
pub fn meant(name: &str) -> Option<String> {
    // Docker and Podman accept these on their command lines.
    let name = name.trim().to_ascii_uppercase();
    let full = if name.starts_with("CAP_") {
        name
    } else {
        format!("CAP_{name}")
    };
    bit(&full).map(|_| full)
}

/// Whether the running kernel knows a capability of this number.
fn is_known(number: u32) -> bool {
    sys::capabilities::in_bounding(number).is_some()
}

/// The names of the capabilities that the running kernel knows, for `features`.
pub fn names() -> Vec<String> {
    sys::capabilities::names(
        (0..64)
            .filter(|number| is_known(*number))
            .fold(0, |bits, number| bits | 1 << number),
    )
}

/// The most that can be granted: the sets of the runtime, or everything in a new user namespace.
#[derive(Debug, Clone, Copy)]
pub struct Ceiling {
    pub bounding: u64,
    pub permitted: u64,
    pub inheritable: u64,
}

impl Ceiling {
    /// A new user namespace starts with every capability over itself.
    pub const NEW_USER_NAMESPACE: Ceiling = Ceiling {
        bounding: u64::MAX,
        permitted: u64::MAX,
        inheritable: u64::MAX,
    };

    /// What a runtime with these sets can grant.
    pub fn of(own: CapabilitySets, bounding: Bounding) -> Self {
        // Rules of capset(2) for the inheritable set: what is added must be in the bounding set, and without
        // CAP_SETPCAP in the permitted set as well.
        let set_capabilities = own.permitted & Capability::CAP_SETPCAP.bitmask() != 0;
        let addable = if set_capabilities { u64::MAX } else { own.permitted };
        Ceiling {
            bounding: bounding.held,
            permitted: own.permitted,
            inheritable: own.inheritable | bounding.held & addable,
        }
    }
}

/// The wanted capabilities that can be granted. By the specification the others cause a warning, not an error.
pub fn grantable(wanted: Capabilities, ceiling: Ceiling, warnings: &mut Vec<Warning>) -> Capabilities {
    let bounding = wanted.bounding & ceiling.bounding;
    let permitted = wanted.permitted & ceiling.permitted;
    let inheritable = wanted.inheritable & ceiling.inheritable;
    let lacking = (wanted.bounding & !bounding)
        | (wanted.permitted & !permitted)
        | (wanted.inheritable & !inheritable)
        // Ambient and effective ones among these are named only here.
        | ((wanted.effective | wanted.ambient) & !ceiling.permitted);
    let mut warn = |bits: u64, text: &str| {
        if bits != 0 {
            let text = format!(
                "process.capabilities{text}: {}",
                sys::capabilities::names(bits).join(" ")
            );
            warnings.push(Warning::new("process.capabilities", text));
        }
    };
    warn(lacking, ": cannot be granted, the caller lacks them");
    warn(
        wanted.effective & !permitted & !lacking,
        ".effective: ignored, because they are not permitted",
    );
    // In one line: Buildah requests a dozen of them at each step, and shows the warnings to its user.
    let idle = wanted.ambient & !(permitted & inheritable) & !lacking;
    if idle != 0 {
        let names = sys::capabilities::names(idle).join(" ");
        let path = "process.capabilities.ambient";
        let text = format!(
            "{path}: can't raise ambient capability {names}: not both permitted and inheritable; \
             add to inheritable what the program should keep, or leave it out of ambient"
        );
        warnings.push(Warning::new(path, text));
    }
    Capabilities {
        bounding,
        permitted,
        effective: wanted.effective & permitted,
        inheritable,
        ambient: wanted.ambient & permitted & inheritable,
    }
}
