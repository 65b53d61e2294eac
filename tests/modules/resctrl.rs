//! Classes of service in plain directories that stand in for the resctrl file system. Only what orlop creates appears there.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use orlop::cgroup::resctrl::{SchemataUpdate, assign, create, mount_point, place, remove, take_back};
use orlop::error::Report;
use orlop::plan::IntelRdt;
use orlop::state::record::ClassState;

struct Tree(TempDir);

impl Tree {
    /// The default class, and `gold`, which existed before.
    fn new() -> Self {
        let tree = Tree(tempfile::tempdir().unwrap());
        for group in ["", "gold"] {
            let directory = tree.path(group);
            fs::create_dir_all(directory.join("mon_groups")).unwrap();
            fs::write(directory.join("schemata"), "    L3:0=00ff;1=0fff\n    MB:0=100;1= 50\n").unwrap();
            fs::write(directory.join("tasks"), "").unwrap();
        }
        fs::create_dir(tree.path("info")).unwrap();
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn plan(&self, clos: Option<&str>, schemata: &[(&str, &[&str])]) -> IntelRdt {
        let lines = |lines: &[&str]| lines.iter().map(|line| line.to_string()).collect();
        IntelRdt {
            mount: self.0.path().into(),
            clos: clos.map(String::from),
            schemata: schemata
                .iter()
                .map(|(field, text)| (format!("linux.intelRdt.{field}"), lines(text)))
                .collect(),
            monitoring: false,
        }
    }

    /// Removes a group as the kernel does, together with the kernel's files in it.
    fn delete(&self, state: &ClassState) {
        for directory in [&state.monitoring, &state.directory].into_iter().flatten() {
            for file in ["schemata", "tasks"] {
                let _ = fs::remove_file(directory.join(file));
            }
        }
        remove(state).unwrap();
    }
}

fn refusal(plan: &IntelRdt) -> Report {
    Report::of(&create(plan, "box").unwrap_err())
}

#[test]
fn the_mount_point_is_found() {
    let line = |kind: &str| {
        format!(
            "24 1 0:22 / /sys/fs/other rw shared:2 - tmpfs tmpfs rw\n40 24 0:36 / /mnt/rdt rw,relatime shared:9 - {kind} {kind} rw\n"
        )
    };
    assert_eq!(mount_point(line("resctrl").as_bytes()).unwrap(), Path::new("/mnt/rdt"));
    let escaped = line("resctrl").replace("/mnt/rdt", "/mnt/rdt\\040here");
    assert_eq!(mount_point(escaped.as_bytes()).unwrap(), Path::new("/mnt/rdt here"));
    for without in [line("resctrl2"), line("tmpfs"), String::new()] {
        let report = Report::of(&mount_point(without.as_bytes()).unwrap_err());
        assert_eq!(report.msg, "no resctrl file system is mounted");
        assert!(report.hint.unwrap().contains("mount -t resctrl"));
    }
}

/// "L3 first, MB last", then `schemata`. The class is named after the container, and is removed with it.
#[test]
fn a_class_for_one_container_is_created_and_removed() {
    let tree = Tree::new();
    let plan = tree.plan(
        None,
        &[
            ("l3CacheSchema", &["L3:0=f"]),
            ("memBwSchema", &["MB:0=20"]),
            ("schemata", &["L2:0=1", "L3:1=3"]),
        ],
    );
    let planned = place(&plan, "box");
    let class = create(&plan, "box").unwrap();
    assert_eq!(planned.directory, Some(tree.path("box")));
    assert_eq!(class.state.directory, planned.directory);
    assert_eq!(tree.text("box/schemata"), "L3:0=f\nMB:0=20\nL2:0=1\nL3:1=3\n");
    assign(&class.state, 4711).unwrap();
    assert_eq!(tree.text("box/tasks"), "4711");
    tree.delete(&class.state);
    assert!(!tree.path("box").exists());
    // A second removal is not an error: someone else may have removed it.
    remove(&class.state).unwrap();
}

#[test]
fn without_schemata_nothing_is_written() {
    let tree = Tree::new();
    create(&tree.plan(None, &[]), "box").unwrap();
    assert!(!tree.path("box/schemata").exists());
    let before = tree.text("gold/schemata");
    let class = create(&tree.plan(Some("gold"), &[]), "box").unwrap();
    assert_eq!(tree.text("gold/schemata"), before);
    assert!(class.state.directory.is_none());
}

#[test]
fn a_named_class_is_created_and_stays() {
    let tree = Tree::new();
    let plan = tree.plan(Some("silver"), &[("schemata", &["L3:0=3"])]);
    let class = create(&plan, "box").unwrap();
    assert_eq!(tree.text("silver/schemata"), "L3:0=3\n");
    assert!(place(&plan, "box").directory.is_none() && class.state.directory.is_none());
    tree.delete(&class.state);
    assert!(tree.path("silver").exists());
}

#[test]
fn a_named_class_without_schemata_must_exist() {
    let tree = Tree::new();
    let report = refusal(&tree.plan(Some("silver"), &[]));
    assert_eq!(report.path.as_deref(), Some("linux.intelRdt.closID"));
    assert!(
        report.msg.contains("there is no such class of service"),
        "{}",
        report.msg
    );
    assert!(!tree.path("silver").exists());
}

#[test]
fn an_existing_class_is_compared() {
    let tree = Tree::new();
    let before = tree.text("gold/schemata");
    let same: [(&str, &[&str]); 5] = [
        ("l3CacheSchema", &["L3:0=ff;1=fff"]),
        ("l3CacheSchema", &["L3:1=0FFF"]),
        ("memBwSchema", &["MB:0=100;1=50"]),
        ("memBwSchema", &["MB: 1=050 ;"]),
        ("schemata", &["MB:0=100", "L3:0=ff"]),
    ];
    for one in same {
        let class = create(&tree.plan(Some("gold"), &[one]), "box").unwrap();
        assert!(class.state.directory.is_none());
    }
    let other: [(&str, &[&str], &str); 6] = [
        ("l3CacheSchema", &["L3:0=ff;1=ff"], "its L3 of 1 is fff, not ff"),
        ("l3CacheSchema", &["L3:0=0"], "its L3 of 0 is ff, not 0"),
        ("l3CacheSchema", &["L3:2=ff"], "its L3 has no domain 2"),
        ("memBwSchema", &["MB:0=10"], "its MB of 0 is 100, not 10"),
        ("schemata", &["MB:0=100", "L2:0=1"], "it has no L2"),
        ("schemata", &["L3:0"], "is not RESOURCE:ID=VALUE"),
    ];
    for (field, lines, word) in other {
        let report = refusal(&tree.plan(Some("gold"), &[(field, lines)]));
        assert_eq!(report.path, Some(format!("linux.intelRdt.{field}")));
        assert!(report.msg.contains(word), "{}", report.msg);
    }
    assert_eq!(tree.text("gold/schemata"), before);
}

/// The class is named after the container, but the kernel reserves some names.
#[test]
fn a_class_must_not_have_the_name_of_a_kernel_directory() {
    let tree = Tree::new();
    for id in ["info", "mon_groups"] {
        let report = Report::of(&create(&tree.plan(None, &[]), id).unwrap_err());
        assert_eq!(report.path.as_deref(), Some("linux.intelRdt.closID"));
    }
    assert!(tree.path("info").exists() && !tree.path("info/tasks").exists());
}

/// `/` is the root of the resctrl file system.
#[test]
fn the_default_class_is_used_as_it_is() {
    let tree = Tree::new();
    let class = create(&tree.plan(Some("/"), &[("memBwSchema", &["MB:0=100"])]), "box").unwrap();
    assign(&class.state, 12).unwrap();
    assert_eq!(tree.text("tasks"), "12");
    assert!(class.state.directory.is_none() && class.state.monitoring.is_none());
    refusal(&tree.plan(Some("/"), &[("memBwSchema", &["MB:0=7"])]));
}

/// A class with the container's id exists already, so it is neither created nor removed.
#[test]
fn an_existing_class_is_not_removed() {
    let tree = Tree::new();
    let plan = tree.plan(None, &[("memBwSchema", &["MB:0=100"])]);
    assert!(place(&plan, "gold").directory.is_none());
    let class = create(&plan, "gold").unwrap();
    assert!(class.state.directory.is_none());
}

#[test]
fn a_monitoring_group_goes_with_the_container() {
    let tree = Tree::new();
    let plan = IntelRdt {
        monitoring: true,
        ..tree.plan(Some("gold"), &[])
    };
    let class = create(&plan, "box").unwrap();
    let group = tree.path("gold/mon_groups/box");
    assert_eq!(class.state.monitoring.as_ref(), Some(&group));
    assert_eq!(place(&plan, "box").monitoring.as_ref(), Some(&group));
    assign(&class.state, 99).unwrap();
    assert_eq!(
        (tree.text("gold/tasks"), tree.text("gold/mon_groups/box/tasks")),
        ("99".into(), "99".into())
    );
    tree.delete(&class.state);
    assert!(!group.exists() && tree.path("gold").exists());
}

/// The kernel explains the failure in a separate file. What was created before the failure is removed.
#[test]
fn a_failure_leaves_nothing_and_quotes_the_kernel() {
    let tree = Tree::new();
    // A monitoring group cannot be created without the directory for them, as on a kernel without monitoring.
    fs::write(tree.path("info/last_cmd_status"), "Monitoring is not supported\n").unwrap();
    let plan = IntelRdt {
        monitoring: true,
        ..tree.plan(Some("silver"), &[("schemata", &["L3:0=3"])])
    };
    let report = refusal(&plan);
    assert!(
        report.msg.contains("the kernel says: Monitoring is not supported"),
        "{}",
        report.msg
    );
    assert_eq!(report.path.as_deref(), Some("linux.intelRdt.enableMonitoring"));
    // Here the file stays that the kernel would remove with its directory.
    assert!(report.msg.contains("cleaning up failed too"), "{}", report.msg);
    fs::remove_file(tree.path("silver/schemata")).unwrap();
    fs::remove_dir(tree.path("silver")).unwrap();
    let class = create(&tree.plan(Some("silver"), &[("schemata", &["L3:0=3"])]), "box").unwrap();
    fs::remove_file(tree.path("silver/schemata")).unwrap();
    take_back(&class).unwrap();
    assert!(!tree.path("silver").exists());
}

fn written(class: &ClassState, lines: &[&str]) -> SchemataUpdate {
    let mut change = SchemataUpdate::prepare(class, lines).unwrap();
    change.write().unwrap();
    change
}

/// The kernel accepts the line of one resource without the others. The old line of each changed resource is restored.
#[test]
fn shares_are_changed_and_put_back() {
    let tree = Tree::new();
    let class = create(&tree.plan(Some("gold"), &[]), "box").unwrap().state;
    let before = tree.text("gold/schemata");
    let mut change = written(&class, &["L3:0=f", "MB:1=20"]);
    change.keep();
    drop(change);
    assert_eq!(tree.text("gold/schemata"), format!("{before}L3:0=f\nMB:1=20\n"));

    fs::write(tree.path("gold/schemata"), &before).unwrap();
    drop(written(&class, &["MB:1=20"]));
    assert_eq!(
        tree.text("gold/schemata"),
        format!("{before}MB:1=20\n    MB:0=100;1= 50\n")
    );
    // The default class is the mount point itself, which has the kernel's info directory.
    let class = create(&tree.plan(Some("/"), &[]), "box").unwrap().state;
    written(&class, &["MB:0=10"]).keep();
    assert!(tree.text("schemata").ends_with("MB:0=10\n"));
    assert!(SchemataUpdate::prepare(&ClassState::default(), &["MB:0=10"]).is_err());
}
