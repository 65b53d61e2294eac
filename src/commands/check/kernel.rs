//! Settings that need a newer kernel than orlop itself does. Distributions add features to older kernels, so a release that is
//! too old is a warning.

use super::findings::{Code, Findings, Level};
use crate::bundle::validate::Checked;
use crate::host::kernel::{OLDEST, Release};
use crate::plan::MountKind;

/// Files of cgroups, and the release that has them.
const FILES: &[(&str, Release)] = &[
    ("cpu.idle", (5, 15)),
    ("memory.zswap.max", (5, 19)),
    ("memory.zswap.writeback", (6, 8)),
    ("dmem.max", (6, 14)),
];

/// File systems whose new mounts can map IDs, and since when.
const MAPPED: &[(&str, Release)] = &[
    ("tmpfs", (6, 3)),
    ("overlay", (5, 19)),
    ("erofs", (5, 19)),
    ("squashfs", (6, 2)),
    ("fuse", (6, 12)),
    ("ceph", (6, 7)),
];

/// Memory policies (`MPOL_*`), and since when.
const POLICIES: &[(&str, Release)] = &[("MPOL_PREFERRED_MANY", (5, 15)), ("MPOL_WEIGHTED_INTERLEAVE", (6, 9))];

/// Adds what a kernel is too old for. `release`: None if it is not known.
pub fn check(checked: &Checked, release: Option<Release>, findings: &mut Findings) {
    let Some(release) = release else { return };
    let mut require = |needed: Release, path: &str, what: &str| {
        if release >= needed {
            return;
        }
        let ((major, minor), (own_major, own_minor)) = (needed, release);
        let text = format!("{path}: {what} requires Linux {major}.{minor}, and this is {own_major}.{own_minor}");
        let hint = "leave it out, unless the distribution has added it to this kernel";
        findings.add(Level::Warning, Code::Kernel, path, text, Some(hint.into()));
    };
    let since = |table: &[(&str, Release)], name: &str| {
        table
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, release)| *release)
    };
    if release < OLDEST {
        require(OLDEST, "ociVersion", "orlop");
    }
    let sections = &checked.sections;
    for setting in sections.cgroup.iter().flat_map(|cgroup| &cgroup.limits.settings) {
        let file = setting.limit.file();
        if let Some(needed) = since(FILES, &file) {
            require(needed, &setting.at, &file);
        }
    }
    for mount in &sections.rootfs.mounts {
        if let (Some(_), MountKind::New { kind, .. }) = (&mount.id_map, &mount.kind)
            && let Some(needed) = since(MAPPED, kind)
        {
            let what = format!("an ID-mapped mount of {kind}");
            require(needed, &mount.place(), &what);
        }
    }
    if let Some(Some(process)) = &sections.process
        && let Some(policy) = &process.memory_policy
        && let Some(needed) = since(POLICIES, &policy.name)
    {
        require(needed, "linux.memoryPolicy.mode", &policy.name);
    }
}
