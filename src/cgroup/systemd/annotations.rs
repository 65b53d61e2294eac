//! Annotations that set properties of a container's scope: `org.systemd.property.TimeoutStopUSec: "uint64 5"`. Pure.

use super::gvariant;
use crate::dbus::Value;
use crate::error::{At, Context, Result, anyhow, bail, with_hint};

pub const PREFIX: &str = "org.systemd.property.";

/// The properties that annotations set, by name.
pub fn properties<'a>(annotations: impl Iterator<Item = (&'a String, &'a String)>) -> Result<Vec<(String, Value)>> {
    let mut properties = Vec::new();
    for (key, value) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let property = property(name, value).with_context(|| At::object(format!("annotations.{key}"), value))?;
        properties.push(property);
    }
    properties.sort_by(|a: &(String, Value), b| a.0.cmp(&b.0));
    let twice = properties.windows(2).find_map(|pair| match pair {
        [(one, _), (other, _)] if one == other => Some(one),
        _ => None,
    });
    match twice {
        Some(name) => Err(anyhow!("{name} is set both in seconds and in microseconds"))
            .context(At::new(format!("annotations.{PREFIX}{name}"))),
        None => Ok(properties),
    }
}

fn property(name: &str, value: &str) -> Result<(String, Value)> {
    let bytes = name.as_bytes();
    if bytes.len() < 3
        || !bytes.iter().all(u8::is_ascii_alphabetic)
        || !bytes.first().is_some_and(u8::is_ascii_uppercase)
    {
        return Err(with_hint(
            format!("{name:?} is not a valid property name"),
            "names look like TimeoutStopUSec; `systemctl show` lists them",
        ));
    }
    let value = gvariant::parse(value)
        .context("the value must be in GVariant text format: true, 'text', uint64 5, ['a', 'b']")?;
    // Unit files use seconds, D-Bus properties microseconds.
    match name.strip_suffix("Sec").filter(|rest| !rest.ends_with('U')) {
        Some(rest) => Ok((format!("{rest}USec"), microseconds(&value)?)),
        None => Ok((name.into(), value)),
    }
}

fn microseconds(value: &Value) -> Result<Value> {
    let seconds = match value {
        Value::Double(seconds) => *seconds,
        Value::Byte(number) => f64::from(*number),
        Value::Int16(number) => f64::from(*number),
        Value::Uint16(number) => f64::from(*number),
        Value::Int32(number) => f64::from(*number),
        Value::Uint32(number) => f64::from(*number),
        Value::Int64(number) => *number as f64,
        Value::Uint64(number) => *number as f64,
        _ => bail!("the value of a property whose name ends with Sec must be a number of seconds"),
    };
    let microseconds = seconds * 1e6;
    // Above that, a double does not hold every integer.
    if !(0.0..9e15).contains(&microseconds) {
        bail!("{seconds} is not a valid number of seconds");
    }
    Ok(Value::Uint64(microseconds as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_set_properties() {
        let list = |pairs: &[(&str, &str)]| {
            let pairs: Vec<(String, String)> = pairs
                .iter()
                .map(|(k, v)| (format!("{PREFIX}{k}"), v.to_string()))
                .collect();
            properties(pairs.iter().map(|(k, v)| (k, v)))
        };
        assert_eq!(
            list(&[("TimeoutStopUSec", "uint64 5"), ("CollectMode", "'inactive'")]).unwrap(),
            [
                ("CollectMode".to_string(), Value::text("inactive")),
                ("TimeoutStopUSec".to_string(), Value::Uint64(5))
            ]
        );
        for (value, microseconds) in [
            ("5", 5_000_000),
            ("uint64 2", 2_000_000),
            ("0.25", 250_000),
            ("double 0", 0),
        ] {
            assert_eq!(
                list(&[("TimeoutStopSec", value)]).unwrap(),
                [("TimeoutStopUSec".to_string(), Value::Uint64(microseconds))]
            );
        }
        for (name, value) in [
            ("TimeoutStopSec", "'5'"),
            ("TimeoutStopSec", "-1"),
            ("TimeoutStopSec", "inf"),
            ("TimeoutStopSec", "double nan"),
            ("timeout", "5"),
            ("A b", "5"),
            ("", "5"),
            ("Ab", "5"),
            ("Descri\u{e9}", "'x'"),
            ("Description", "x"),
        ] {
            assert!(list(&[(name, value)]).is_err(), "{name} {value}");
        }
        assert!(list(&[("TimeoutStopSec", "1"), ("TimeoutStopUSec", "uint64 1")]).is_err());
        let other = [("org.systemd.proper".to_string(), "x".to_string())];
        assert_eq!(properties(other.iter().map(|(k, v)| (k, v))).unwrap(), []);
    }
}
