//! `linux.intelRdt`.

use oci_spec::runtime::LinuxIntelRdt;

use super::options::PlanContext;
use crate::bundle::checks::Checks;
use crate::cgroup::resctrl;
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::plan::{IntelRdt, Warning};

/// The container's share of caches and memory bandwidth. The outer None means that something about it is wrong.
pub fn intel_rdt(context: &PlanContext, checks: &mut Checks) -> Option<Option<IntelRdt>> {
    let Some(rdt) = context.linux.intel_rdt() else {
        return checks.is_readable(&["linux", "intelRdt"]).then_some(None);
    };
    let clos = rdt.clos_id().clone().filter(|id| !id.is_empty());
    let schemata = checks.section(&["linux", "intelRdt"], |checks| {
        if let Some(id) = &clos {
            checks.keep(class_name(id).context(At::new("linux.intelRdt.closID")));
        }
        Ok(schemata(rdt, checks))
    })?;
    #[allow(deprecated)]
    for (set, field) in [(rdt.enable_cmt(), "enableCMT"), (rdt.enable_mbm(), "enableMBM")] {
        if *set == Some(true) {
            let path = format!("linux.intelRdt.{field}");
            let text = format!("{path} was removed from the specification and has no effect; use enableMonitoring");
            checks.warnings.push(Warning::new(path, text));
        }
    }
    let mounts = context.facts.mounts.as_deref().unwrap_or_default();
    let mount = checks.keep(resctrl::mount_point(mounts).context(At::new("linux.intelRdt")))?;
    Some(Some(IntelRdt {
        mount,
        clos,
        schemata,
        monitoring: rdt.enable_monitoring().unwrap_or(false),
    }))
}

/// The name of a class of service is that of a directory. `/` is the default class.
fn class_name(id: &str) -> Result<()> {
    let is_reserved = matches!(id, "." | "..") || resctrl::RESERVED.contains(&id);
    if id != "/" && (id.contains(['/', '\n', '\0']) || is_reserved) {
        return Err(with_hint(
            format!("{id:?} cannot be the name of a class of service"),
            "it is one directory's name below the resctrl mount, and not info, mon_groups or mon_data; \"/\" is the default class",
        ));
    }
    Ok(())
}

/// In the order that the spec wants: a later line about the same resource wins.
fn schemata(rdt: &LinuxIntelRdt, checks: &mut Checks) -> Vec<(String, Vec<String>)> {
    let mut schemata = Vec::new();
    for (value, field, begins) in [
        (rdt.l3_cache_schema(), "l3CacheSchema", ""),
        (rdt.mem_bw_schema(), "memBwSchema", "MB:"),
    ] {
        let Some(line) = value.as_ref().filter(|line| !line.is_empty()) else {
            continue;
        };
        let path = format!("linux.intelRdt.{field}");
        checks.keep(one_line(line, begins).with_context(|| At::new(path.clone())));
        schemata.push((path, vec![line.clone()]));
    }
    let lines = rdt.schemata().clone().unwrap_or_default();
    for (index, line) in lines.iter().enumerate() {
        checks.keep(one_line(line, "").with_context(|| At::new(format!("linux.intelRdt.schemata[{index}]"))));
    }
    if !lines.is_empty() {
        schemata.push(("linux.intelRdt.schemata".into(), lines));
    }
    schemata
}

/// A schema is one line, and begins with its resource.
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
