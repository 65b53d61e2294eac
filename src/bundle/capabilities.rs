//! `process.capabilities`: names to bits.
//!
//! The spec wants a capability that cannot be granted warned about, not refused.

use std::str::FromStr;

use caps::Capability;

use super::document::CapabilityNames;
use crate::error::Result;
use crate::plan::Capabilities;
use crate::sys;

/// The names of a config as bits, and those of them that are in this process's bounding set. A name that the kernel does
/// not know is warned about.
pub fn bits(names: &CapabilityNames, warnings: &mut Vec<String>) -> (Capabilities, u64) {
    // Most names stand in several sets, and the kernel is asked about each once.
    let (mut known, mut bounded) = (0, 0);
    let mut set = |name: &str, list: &Option<Vec<String>>| {
        let mut bits = 0;
        for (index, capability) in list.iter().flatten().enumerate() {
            let place = || format!("process.capabilities.{name}[{index}]");
            let Some(bit) = bit(capability) else {
                let meant = meant(capability).map_or(String::new(), |meant| format!("; did you mean {meant}?"));
                warnings.push(format!(
                    "{}: unknown capability {capability:?}; ignored{meant}",
                    place()
                ));
                continue;
            };
            if known & bit == 0 {
                let Some(held) = sys::capabilities::in_bounding(bit.trailing_zeros()) else {
                    warnings.push(format!(
                        "{}: this kernel does not know {capability:?}; ignored",
                        place()
                    ));
                    continue;
                };
                known |= bit;
                bounded |= if held { bit } else { 0 };
            }
            bits |= bit;
        }
        bits
    };
    let sets = Capabilities {
        bounding: set("bounding", &names.bounding),
        effective: set("effective", &names.effective),
        permitted: set("permitted", &names.permitted),
        inheritable: set("inheritable", &names.inheritable),
        ambient: set("ambient", &names.ambient),
    };
    (sets, bounded)
}

/// The bit of a capability, if it is in this process's bounding set.
pub fn bounded(bit: u64) -> u64 {
    match sys::capabilities::in_bounding(bit.trailing_zeros()) {
        Some(true) => bit,
        _ => 0,
    }
}

/// The bit of a capability by its name in the config, `CAP_` and upper case.
pub fn bit(name: &str) -> Option<u64> {
    Capability::from_str(name).ok().map(|capability| capability.bitmask())
}

/// The capability that an unknown name probably means: one written without `CAP_`, or not in capitals.
pub fn meant(name: &str) -> Option<String> {
    // What Docker and Podman take on their command lines.
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

/// What can be given at most: the sets of whoever makes the container, or everything in a new user namespace.
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

    /// This process's own; `bounding` is what [`bits`] found of its bounding set.
    pub fn own(bounding: u64) -> Result<Self> {
        let own = sys::capabilities::capget()?;
        // Rules of capset(2) for the inheritable set: what is added must be in the bounding set, and without
        // CAP_SETPCAP in the permitted set as well.
        let set_capabilities = own.permitted & Capability::CAP_SETPCAP.bitmask() != 0;
        let addable = if set_capabilities { u64::MAX } else { own.permitted };
        Ok(Ceiling {
            bounding,
            permitted: own.permitted,
            inheritable: own.inheritable | bounding & addable,
        })
    }
}

/// What of the wanted sets can be had. The specification wants the rest warned about, not refused.
pub fn grantable(wanted: Capabilities, ceiling: Ceiling, warnings: &mut Vec<String>) -> Capabilities {
    let bounding = wanted.bounding & ceiling.bounding;
    let permitted = wanted.permitted & ceiling.permitted;
    let inheritable = wanted.inheritable & ceiling.inheritable;
    let lacking = (wanted.bounding & !bounding)
        | (wanted.permitted & !permitted)
        | (wanted.inheritable & !inheritable)
        // Every ambient or effective one of these is named once, here.
        | ((wanted.effective | wanted.ambient) & !ceiling.permitted);
    let mut warn = |bits: u64, text: &str| {
        if bits != 0 {
            warnings.push(format!("process.capabilities{text}: {}", names_of(bits).join(" ")));
        }
    };
    warn(lacking, ": cannot be granted, the caller lacks them");
    warn(
        wanted.effective & !permitted & !lacking,
        ".effective: ignored, because they are not permitted",
    );
    // In one line: Buildah asks for a dozen of them at each step, and shows its user what is said.
    let idle = wanted.ambient & !(permitted & inheritable) & !lacking;
    if idle != 0 {
        let names = names_of(idle).join(" ");
        warnings.push(format!(
            "process.capabilities.ambient: can't raise ambient capability {names}: not both permitted and inheritable; \
             add to inheritable what the program is to keep, or leave it out of ambient"
        ));
    }
    Capabilities {
        bounding,
        permitted,
        effective: wanted.effective & permitted,
        inheritable,
        ambient: wanted.ambient & permitted & inheritable,
    }
}
