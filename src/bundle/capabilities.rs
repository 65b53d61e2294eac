//! `process.capabilities`: names to bits.
//!
//! The spec wants a capability that cannot be granted warned about, not refused, so the names are read from the JSON
//! itself: a closed enum would fail the whole config on the first name it does not know.

use std::str::FromStr;

use caps::Capability;
use serde_json::Value;

use super::plan::Capabilities;
use crate::error::{At, Context, Result, bail};
use crate::sys;

/// Takes `process.capabilities` out of a config and turns it into bits. Absent means none at all.
pub fn take(config: &mut Value, warnings: &mut Vec<String>) -> Result<Capabilities> {
    let Some(mut section) = config
        .get_mut("process")
        .and_then(|p| p.get_mut("capabilities"))
        .map(Value::take)
    else {
        return Ok(Capabilities::default());
    };
    if !section.is_object() && !section.is_null() {
        return Err(crate::error::anyhow!(
            "expected an object with sets of capabilities, found {section}"
        ))
        .context(At::new("process.capabilities"));
    }
    let mut set = |name: &str| -> Result<u64> {
        let path = format!("process.capabilities.{name}");
        match section.get_mut(name).map(Value::take) {
            None | Some(Value::Null) => Ok(0),
            Some(Value::Array(names)) => bits(&names, &path, warnings),
            Some(other) => Err(crate::error::anyhow!(
                "expected an array of capability names, found {other}"
            ))
            .context(At::new(path)),
        }
    };
    Ok(Capabilities {
        bounding: set("bounding")?,
        effective: set("effective")?,
        permitted: set("permitted")?,
        inheritable: set("inheritable")?,
        ambient: set("ambient")?,
    })
}

fn bits(names: &[Value], path: &str, warnings: &mut Vec<String>) -> Result<u64> {
    let mut bits = 0;
    for (index, name) in names.iter().enumerate() {
        let Value::String(name) = name else {
            return Err(crate::error::anyhow!("expected a capability name, found {name}"))
                .context(At::new(format!("{path}[{index}]")));
        };
        match bit(name) {
            Some(bit) if bits & bit != 0 || is_known(bit.trailing_zeros()) => bits |= bit,
            Some(_) => warnings.push(format!("{path}[{index}]: this kernel does not know {name:?}; ignored")),
            None => warnings.push(format!("{path}[{index}]: unknown capability {name:?}; ignored")),
        }
    }
    Ok(bits)
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
