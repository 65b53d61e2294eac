//! Changing `linux.resources`: what the command line or a file asks for is merged into what the container has. Pure.
//!
//! A field that is missing, null, empty or, where zero means "not set", zero keeps the old value, because engines send all
//! fields at every update. Lists with one entry per device or page size are changed entry by entry, `devices` as a whole.

use serde_json::{Map, Value, json};

use crate::cli::Limits;
use crate::error::{At, Context, Result, with_hint};
use crate::plan::Warning;
use crate::plan::limits::Section;

/// The command line's limits in the form of `linux.resources`.
pub fn asked(limits: &Limits) -> Value {
    let unified: Map<String, Value> = limits
        .unified
        .iter()
        .map(|(file, value)| (file.clone(), json!(value)))
        .collect();
    json!({
        "memory": {
            "limit": limits.memory,
            "reservation": limits.memory_reservation,
            "swap": limits.memory_swap,
            "kernel": limits.kernel_memory,
            "kernelTCP": limits.kernel_memory_tcp
        },
        "cpu": {
            "shares": limits.cpu_share,
            "quota": limits.cpu_quota,
            "burst": limits.cpu_burst,
            "period": limits.cpu_period,
            "realtimeRuntime": limits.cpu_rt_runtime,
            "realtimePeriod": limits.cpu_rt_period,
            "cpus": limits.cpuset_cpus,
            "mems": limits.cpuset_mems,
            "idle": limits.cpu_idle
        },
        "pids": { "limit": limits.pids_limit },
        "blockIO": { "weight": limits.blkio_weight },
        "unified": unified
    })
}

/// Refuses a document without any known section, such as a whole config.json. Unknown keys beside known ones, which a later
/// version of the specification may define, and an empty document only cause a warning.
pub fn check_sections(asked: &Value, warnings: &mut Vec<Warning>) -> Result<()> {
    const FORM: &str = "write it as linux.resources: {\"memory\": {\"limit\": 67108864}}";
    let Some(sections) = asked.as_object() else {
        return Ok(());
    };
    let unknown: Vec<&str> = sections
        .keys()
        .map(String::as_str)
        .filter(|key| section_of(key).is_none())
        .collect();
    if sections.is_empty() {
        let text = format!("the new resources are empty, so nothing is updated; {FORM}");
        warnings.push(Warning::new("", text));
    } else if unknown.len() == sections.len() {
        return Err(with_hint(
            "not a section of linux.resources, and there are no other keys",
            format!("{FORM}; its sections are {}", Section::ALL.map(Section::key).join(", ")),
        ))
        .context(At::new(unknown.join(", ")));
    } else if !unknown.is_empty() {
        let text = format!("unknown keys in the new resources are ignored: {}", unknown.join(", "));
        warnings.push(Warning::new(unknown.first().copied().unwrap_or_default(), text));
    }
    Ok(())
}

fn section_of(key: &str) -> Option<Section> {
    Section::ALL.into_iter().find(|section| section.key() == key)
}

/// Removes kernel memory limits, which cgroup v2 does not have. Returns whether one was set.
pub fn drop_kernel_memory(asked: &mut Value) -> bool {
    let Some(memory) = asked.get_mut("memory").and_then(Value::as_object_mut) else {
        return false;
    };
    let mut limited = false;
    for field in ["kernel", "kernelTCP"] {
        let value = memory.remove(field).and_then(|value| value.as_i64());
        limited |= !matches!(value, None | Some(0 | -1));
    }
    limited
}

/// Fields for which zero is a value.
const ZERO_COUNTS: &[(Section, &str)] = &[
    (Section::Cpu, "burst"),
    (Section::Cpu, "idle"),
    (Section::Pids, "limit"),
    (Section::Memory, "swappiness"),
];

/// Merges `asked` into `resources`. Returns the sections in which something was asked.
pub fn merge(resources: &mut Map<String, Value>, asked: &Value) -> Vec<Section> {
    let mut named = Vec::new();
    for (key, asked) in asked.as_object().into_iter().flatten() {
        let section = section_of(key);
        let changed = match (section, asked) {
            (Some(Section::Devices), Value::Array(_)) => {
                resources.insert(key.clone(), asked.clone());
                true
            }
            (Some(Section::HugepageLimits), Value::Array(entries)) => {
                in_list(resources, key, |list| upsert(list, entries, &["pageSize"]))
            }
            (Some(Section::Rdma), Value::Object(devices)) => in_object(resources, key, |old| {
                let mut changed = false;
                for (device, asked) in devices {
                    changed |= in_object(old, device, |old| fields(old, asked, |_| true));
                }
                changed
            }),
            (Some(Section::Unified), _) => in_object(resources, key, |old| fields(old, asked, |_| true)),
            (section, Value::Object(_)) => {
                let zero_counts = |field: &str| section.is_some_and(|section| ZERO_COUNTS.contains(&(section, field)));
                in_object(resources, key, |old| fields(old, asked, zero_counts))
            }
            _ => false,
        };
        if changed {
            named.extend(section);
        }
    }
    // If the limit on memory is lifted, the one on memory and swap together makes no sense any more.
    let number = |path: &str| {
        asked
            .pointer(path)
            .and_then(Value::as_i64)
            .filter(|number| *number != 0)
    };
    if number("/memory/limit") == Some(-1) && number("/memory/swap").is_none() {
        in_object(resources, "memory", |memory| memory.remove("swap").is_some());
    }
    named
}

/// Changes the fields of one section. Returns whether anything was asked.
fn fields(old: &mut Map<String, Value>, asked: &Value, zero_counts: impl Fn(&str) -> bool) -> bool {
    let mut changed = false;
    for (field, value) in asked.as_object().into_iter().flatten() {
        changed |= match value {
            Value::Null => false,
            Value::Number(number) if number.as_f64() == Some(0.0) && !zero_counts(field) => false,
            Value::String(text) if text.is_empty() && !zero_counts(field) => false,
            Value::Array(entries) if field != "priorities" => {
                in_list(old, field, |list| upsert(list, entries, &["major", "minor"]))
            }
            _ => {
                old.insert(field.clone(), value.clone());
                // It says how to change a limit, and is not one.
                field != "checkBeforeUpdate"
            }
        };
    }
    changed
}

/// Changes the last entry with the same key, or adds one.
fn upsert(old: &mut Vec<Value>, entries: &[Value], key: &[&str]) -> bool {
    for entry in entries {
        let same = |other: &&mut Value| key.iter().all(|name| other.get(name) == entry.get(name));
        match (old.iter_mut().rev().find(same), entry) {
            (Some(Value::Object(old)), Value::Object(entry)) => {
                old.extend(entry.iter().map(|(field, value)| (field.clone(), value.clone())));
            }
            _ => old.push(entry.clone()),
        }
    }
    !entries.is_empty()
}

/// Changes the object under a key, which is created if it is missing.
fn in_object(map: &mut Map<String, Value>, key: &str, change: impl FnOnce(&mut Map<String, Value>) -> bool) -> bool {
    let mut object = match map.get_mut(key).map(Value::take) {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    };
    let changed = change(&mut object);
    map.insert(key.into(), Value::Object(object));
    changed
}

fn in_list(map: &mut Map<String, Value>, key: &str, change: impl FnOnce(&mut Vec<Value>) -> bool) -> bool {
    let mut list = match map.get_mut(key).map(Value::take) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    let changed = change(&mut list);
    map.insert(key.into(), Value::Array(list));
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(old: Value, asked: Value) -> (Value, Vec<Section>) {
        let Value::Object(mut resources) = old else {
            panic!("not an object")
        };
        let named = merge(&mut resources, &asked);
        (Value::Object(resources), named)
    }

    #[test]
    fn zero_empty_and_missing_fields_keep_the_old_value() {
        let old = json!({
            "memory": { "limit": 5, "swap": 9 }, "cpu": { "shares": 7, "cpus": "0" }, "pids": { "limit": 3 },
            "blockIO": { "weight": 500 }, "unified": { "memory.high": "4" }
        });
        let (new, named) = merged(
            old.clone(),
            json!({
                "memory": { "limit": 0, "reservation": 0, "swap": null, "kernel": 0 },
                "cpu": { "shares": 0, "cpus": "", "mems": "" }, "blockIO": { "weight": 0, "weightDevice": [] },
                "pids": {}, "unified": {}, "devices": null, "hugepageLimits": []
            }),
        );
        assert!(named.is_empty(), "{named:?}");
        for path in [
            "/memory/limit",
            "/memory/swap",
            "/cpu/shares",
            "/cpu/cpus",
            "/pids/limit",
            "/blockIO/weight",
        ] {
            assert_eq!(new.pointer(path), old.pointer(path), "{path}");
        }
        let (_, named) = merged(old, asked(&Limits::default()));
        assert!(named.is_empty(), "{named:?}");
    }

    #[test]
    fn some_zeros_are_values() {
        let (new, named) = merged(
            json!({ "cpu": { "idle": 1, "burst": 5 }, "pids": { "limit": 3 }, "hugepageLimits": [{ "pageSize": "2MB", "limit": 1 }] }),
            json!({ "cpu": { "idle": 0, "burst": 0 }, "pids": { "limit": 0 }, "hugepageLimits": [{ "pageSize": "2MB", "limit": 0 }] }),
        );
        assert_eq!(
            new,
            json!({ "cpu": { "idle": 0, "burst": 0 }, "pids": { "limit": 0 }, "hugepageLimits": [{ "pageSize": "2MB", "limit": 0 }] })
        );
        assert_eq!(named, [Section::Cpu, Section::Pids, Section::HugepageLimits]);
    }

    #[test]
    fn a_quota_keeps_the_period_and_a_period_the_quota() {
        let old = json!({ "cpu": { "quota": 5000, "period": 10000 } });
        let (new, _) = merged(old.clone(), json!({ "cpu": { "quota": 6000, "period": 0 } }));
        assert_eq!(new, json!({ "cpu": { "quota": 6000, "period": 10000 } }));
        let (new, _) = merged(old, json!({ "cpu": { "period": 20000 } }));
        assert_eq!(new, json!({ "cpu": { "quota": 5000, "period": 20000 } }));
    }

    #[test]
    fn lifting_the_memory_limit_lifts_the_swap_limit() {
        let old = json!({ "memory": { "limit": 5, "swap": 9 } });
        let (new, _) = merged(old.clone(), json!({ "memory": { "limit": -1 } }));
        assert_eq!(new, json!({ "memory": { "limit": -1 } }));
        let (new, _) = merged(old, json!({ "memory": { "limit": -1, "swap": -1 } }));
        assert_eq!(new, json!({ "memory": { "limit": -1, "swap": -1 } }));
    }

    #[test]
    fn entries_of_devices_are_changed_or_added() {
        let rate = |minor: u64, rate: u64| json!({ "major": 8, "minor": minor, "rate": rate });
        let (new, named) = merged(
            json!({ "blockIO": { "throttleReadBpsDevice": [rate(0, 1), rate(16, 2)] } }),
            json!({ "blockIO": { "throttleReadBpsDevice": [rate(16, 7), rate(32, 3)] } }),
        );
        assert_eq!(
            new,
            json!({ "blockIO": { "throttleReadBpsDevice": [rate(0, 1), rate(16, 7), rate(32, 3)] } })
        );
        assert_eq!(named, [Section::BlockIo]);
        let (new, _) = merged(
            json!({ "rdma": { "a": { "hcaHandles": 1 } }, "unified": { "x.y": "1" }, "devices": [1] }),
            json!({ "rdma": { "a": { "hcaObjects": 2 }, "b": { "hcaHandles": 3 } }, "unified": { "x.z": "" }, "devices": [] }),
        );
        assert_eq!(
            new,
            json!({
                "rdma": { "a": { "hcaHandles": 1, "hcaObjects": 2 }, "b": { "hcaHandles": 3 } },
                "unified": { "x.y": "1", "x.z": "" }, "devices": []
            })
        );
    }

    #[test]
    fn sections_of_another_type_are_replaced() {
        let (new, named) = merged(
            json!({ "memory": null, "pids": 3 }),
            json!({ "memory": { "limit": 1 }, "pids": { "limit": 2 } }),
        );
        assert_eq!(new, json!({ "memory": { "limit": 1 }, "pids": { "limit": 2 } }));
        assert_eq!(named, [Section::Memory, Section::Pids]);
    }
}
