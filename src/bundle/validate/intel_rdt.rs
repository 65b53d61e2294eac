//! `linux.intelRdt`.

use oci_spec::runtime as oci;

use crate::cgroup::resctrl;
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::mountinfo;
use crate::plan::IntelRdt;

pub fn plan(linux: &oci::Linux, warnings: &mut Vec<String>) -> Result<Option<IntelRdt>> {
    let Some(rdt) = linux.intel_rdt() else { return Ok(None) };
    let clos = rdt.clos_id().clone().filter(|id| !id.is_empty());
    if let Some(id) = &clos
        && id != "/"
        && (id.contains(['/', '\n', '\0'])
            || matches!(id.as_str(), "." | "..")
            || resctrl::RESERVED.contains(&id.as_str()))
    {
        return Err(with_hint(
            format!("{id:?} cannot be the name of a class of service"),
            "it is one directory's name below the resctrl mount, and not info, mon_groups or mon_data; \"/\" is the default class",
        ))
        .context(At::new("linux.intelRdt.closID"));
    }
    let mut schemata = Vec::new();
    // The spec wants this order, for a later line about the same resource wins.
    for (value, field, begins) in [
        (rdt.l3_cache_schema(), "l3CacheSchema", ""),
        (rdt.mem_bw_schema(), "memBwSchema", "MB:"),
    ] {
        let Some(line) = value.as_ref().filter(|line| !line.is_empty()) else {
            continue;
        };
        let path = format!("linux.intelRdt.{field}");
        one_line(line, begins).with_context(|| At::new(path.clone()))?;
        schemata.push((path, vec![line.clone()]));
    }
    let lines = rdt.schemata().clone().unwrap_or_default();
    for (index, line) in lines.iter().enumerate() {
        one_line(line, "").with_context(|| At::new(format!("linux.intelRdt.schemata[{index}]")))?;
    }
    if !lines.is_empty() {
        schemata.push(("linux.intelRdt.schemata".into(), lines));
    }
    #[allow(deprecated)]
    for (set, field) in [(rdt.enable_cmt(), "enableCMT"), (rdt.enable_mbm(), "enableMBM")] {
        if *set == Some(true) {
            warnings.push(format!(
                "linux.intelRdt.{field} is not in the specification any more and has no effect; enableMonitoring is"
            ));
        }
    }
    Ok(Some(IntelRdt {
        mount: resctrl::mount_point(&mountinfo::read()?).context(At::new("linux.intelRdt"))?,
        clos,
        schemata,
        monitoring: rdt.enable_monitoring().unwrap_or(false),
    }))
}

/// A schema is one line, about the resource that it begins with.
pub fn one_line(line: &str, begins: &str) -> Result<()> {
    if line.contains(['\n', '\0']) {
        return Err(anyhow!("{line:?} is not one line"));
    }
    if !line.starts_with(begins) || !line.contains(':') {
        return Err(with_hint(
            format!("{line:?} is not a schema of this resource"),
            "write RESOURCE:ID=VALUE;ID=VALUE, for example \"L3:0=7f0;1=1f\" or \"MB:0=20;1=70\"",
        ));
    }
    Ok(())
}
