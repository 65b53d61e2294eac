//! The section about cgroups.

use serde_json::{Value, json};

use super::report::{Fact, Section, Status, ok};
use crate::cgroup::delegation::{CONTROLLERS, Own, Tree, tree};
use crate::error::Report;
use crate::sys::process;

pub fn section() -> Section {
    let facts = match tree() {
        Ok(Some(tree)) => facts(&tree),
        Ok(None) => vec![ok("version", Value::Null, "").but(
            Status::Missing,
            "cgroup version 2 is not mounted: only containers without a cgroup can be created",
            "mount -t cgroup2 none /sys/fs/cgroup",
        )],
        Err(error) => vec![ok("version", Value::Null, "").but(Status::Unknown, Report::of(&error).msg, "")],
    };
    Section { key: "cgroup", facts }
}

fn facts(tree: &Tree) -> Vec<Fact> {
    let missing = lacking(&tree.controllers);
    let mut facts = vec![
        ok(
            "version",
            2,
            if tree.has_v1 {
                "beside version 1, which orlop does not use"
            } else {
                ""
            },
        ),
        ok("mount", tree.mount.to_string_lossy(), ""),
        ok("controllers", json!(tree.controllers), "at the root of the tree").unless(
            missing.is_empty(),
            Status::Limited,
            format!("at the root of the tree; {}", refused(&missing)),
            match missing
                .iter()
                .any(|name| tree.taken_by_v1.iter().any(|taken| taken == name))
            {
                true => format!(
                    "version 1 has {}: boot with systemd.unified_cgroup_hierarchy=1",
                    tree.taken_by_v1.join(", ")
                ),
                false => {
                    "use a kernel that has them, and no boot parameter that disables them (cgroup_disable=)".into()
                }
            },
        ),
    ];
    match &tree.own {
        Some(own) => facts.extend(own_facts(own, tree)),
        None => facts.push(ok("own", Value::Null, "").but(
            Status::Limited,
            "the cgroup of this process is outside its cgroup namespace; linux.cgroupsPath must be absolute",
            "",
        )),
    }
    facts
}

fn own_facts(own: &Own, tree: &Tree) -> Vec<Fact> {
    let delegate = match process::is_root_of_host() {
        true => "enable them in cgroup.subtree_control of the cgroups above",
        false => {
            "run under `systemd-run --user --scope -p Delegate=yes`, and delegate them with Delegate= in user@.service"
        }
    };
    // What the root lacks is reported there.
    let missing: Vec<&str> = lacking(&own.parent_controllers)
        .into_iter()
        .filter(|name| tree.controllers.iter().any(|there| there == name))
        .collect();
    let mut facts = vec![
        ok("own", own.path.to_string_lossy(), "the cgroup of this process"),
        ok("ownControllers", json!(own.controllers), ""),
        ok(
            "parent",
            own.parent.to_string_lossy(),
            "containers without linux.cgroupsPath get their cgroups here",
        ),
        ok(
            "delegated",
            json!(own.parent_controllers),
            "can be used in these cgroups",
        )
        .unless(
            missing.is_empty(),
            Status::Limited,
            format!("not delegated here: {}; {}", missing.join(", "), refused(&missing)),
            delegate,
        ),
        writable(own),
    ];
    if let Some(kill) = own.kill {
        facts.push(ok("kill", kill, "processes of a container are killed at once").unless(
            kill,
            Status::Missing,
            "the kernel has no cgroup.kill",
            "upgrade the kernel to 5.14 or newer",
        ));
    }
    facts
}

fn writable(own: &Own) -> Fact {
    let fact = ok("writable", own.writable.is_ok(), "cgroups can be created here");
    match &own.writable {
        Ok(()) => fact,
        Err(error) => fact.but(
            Status::Limited,
            format!("{error}; only containers without a cgroup and without limits can be created"),
            match error.errno {
                nix::errno::Errno::EROFS => {
                    "if orlop runs in a container, start that with a writable cgroup tree (Docker: --privileged)"
                }
                _ => "run under `systemd-run --user --scope -p Delegate=yes`, or as root",
            },
        ),
    }
}

/// The controllers that limits need and that are not there.
fn lacking(there: &[String]) -> Vec<&'static str> {
    let lacking = CONTROLLERS.iter().copied();
    lacking
        .filter(|name| !there.iter().any(|found| found == name))
        .collect()
}

fn refused(missing: &[&str]) -> String {
    format!("limits of {} are refused", missing.join(", "))
}
