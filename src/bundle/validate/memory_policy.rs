//! `linux.memoryPolicy` and `linux.personality`: where the process's memory comes from, and which machine it sees.

use oci_spec::runtime::{LinuxMemoryPolicy, LinuxPersonality, LinuxPersonalityDomain, MemoryPolicyFlagType};

use crate::cpu_list::CpuList;
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::plan::MemoryPolicy;

/// Names and numbers of linux/mempolicy.h, in the order of the specification.
pub const MODES: [(&str, i32); 7] = [
    ("MPOL_DEFAULT", DEFAULT),
    ("MPOL_BIND", BIND),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
    ("MPOL_PREFERRED", PREFERRED),
    ("MPOL_PREFERRED_MANY", PREFERRED_MANY),
    ("MPOL_LOCAL", LOCAL),
];
const DEFAULT: i32 = 0;
const PREFERRED: i32 = 1;
const BIND: i32 = 2;
const LOCAL: i32 = 4;
const PREFERRED_MANY: i32 = 5;

pub const FLAGS: [(&str, i32); 3] = [
    ("MPOL_F_NUMA_BALANCING", NUMA_BALANCING),
    ("MPOL_F_RELATIVE_NODES", RELATIVE_NODES),
    ("MPOL_F_STATIC_NODES", STATIC_NODES),
];
const NUMA_BALANCING: i32 = 1 << 13;
const RELATIVE_NODES: i32 = 1 << 14;
const STATIC_NODES: i32 = 1 << 15;

/// linux/personality.h
const PER_LINUX: u32 = 0;
const PER_LINUX32: u32 = 8;

/// Checks a policy by the rules of set_mempolicy(2), except that the nodes exist.
pub fn memory_policy(policy: &LinuxMemoryPolicy) -> Result<MemoryPolicy> {
    let name = policy.mode().to_string();
    let mode = MODES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, mode)| *mode)
        .ok_or_else(|| anyhow!("unknown mode"))
        .with_context(|| At::object("linux.memoryPolicy.mode", &name))?;
    let nodes = nodes(policy.nodes().as_deref().unwrap_or_default(), mode, &name)?;
    let mut flags = 0;
    for flag in policy.flags().iter().flatten() {
        flags |= match flag {
            MemoryPolicyFlagType::MpolFNumaBalancing => NUMA_BALANCING,
            MemoryPolicyFlagType::MpolFRelativeNodes => RELATIVE_NODES,
            MemoryPolicyFlagType::MpolFStaticNodes => STATIC_NODES,
        };
    }
    let refuse = |text: String| Err(anyhow!(text)).context(At::new("linux.memoryPolicy.flags"));
    if flags & STATIC_NODES != 0 && flags & RELATIVE_NODES != 0 {
        return refuse("MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES are mutually exclusive".into());
    }
    if flags & NUMA_BALANCING != 0 && !matches!(mode, BIND | PREFERRED_MANY) {
        return refuse(format!(
            "MPOL_F_NUMA_BALANCING requires MPOL_BIND or MPOL_PREFERRED_MANY, not {name}"
        ));
    }
    if flags != 0 && nodes.is_empty() {
        return refuse(format!("{name} without nodes accepts no flags"));
    }
    Ok(MemoryPolicy {
        mode: mode | flags,
        name,
        nodes,
    })
}

/// The memory nodes, as the mode requires them.
fn nodes(list: &str, mode: i32, name: &str) -> Result<CpuList> {
    let at = || At::object("linux.memoryPolicy.nodes", list);
    let nodes = if list.is_empty() {
        CpuList::default()
    } else {
        CpuList::parse(list)
            .context("invalid memory policy nodes")
            .with_context(at)?
    };
    match mode {
        DEFAULT | LOCAL if !nodes.is_empty() => {
            Err(anyhow!("{name} mode requires 0 nodes but got {}", nodes.len())).with_context(at)
        }
        DEFAULT | LOCAL | PREFERRED => Ok(nodes),
        _ if nodes.is_empty() => Err(with_hint(
            format!("{name} requires at least one node"),
            "name the memory nodes as in \"0-3,7\"",
        ))
        .context(At::new("linux.memoryPolicy.nodes")),
        _ => Ok(nodes),
    }
}

/// The number for personality(2).
pub fn personality(personality: &LinuxPersonality) -> Result<u32> {
    if let Some(flag) = personality.flags().iter().flatten().next() {
        return Err(with_hint(
            "the specification supports no flags yet",
            "leave linux.personality.flags out, or empty",
        ))
        .context(At::object("linux.personality.flags[0]", flag));
    }
    Ok(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => PER_LINUX,
        LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
    })
}
