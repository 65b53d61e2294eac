//! How the mount namespace of a container is created: of its own mounts where the kernel can do that (Linux 7.0), else as a copy
//! of the host's. The container must look the same. All other tests run with the first way on such a kernel, and with the
//! second one under `setarch --uname-2.6`.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::harness::host::makes_namespaces_of_trees;
use crate::harness::namespaces::in_pid_namespace_of;
use crate::harness::users::remapped;
use crate::harness::{Bundle, Cmd, Facts, Holder, HostMount, eventually};
use crate::need;

const FEATURE: &str = "mount namespaces of a tree (OPEN_TREE_NAMESPACE)";
const OF_TREE: &str = "the mount namespace is made of the container's mounts";
const COPIED: &str = "the mount namespace is a copy of the host's";

/// What `create` says about the way, for a config or with other flags.
fn way(bundle: &Bundle, flags: &[&str]) -> String {
    way_of(bundle.orlop(debug(bundle, flags)))
}

fn debug(bundle: &Bundle, flags: &[&str]) -> Vec<String> {
    let dir = bundle.dir().to_str().unwrap().to_owned();
    let words = [&["--log-level", "debug", "run", "--bundle", &dir], flags].concat();
    let id = bundle.fresh_id();
    words.into_iter().map(str::to_owned).chain([id]).collect()
}

fn way_of(cmd: Cmd) -> String {
    let out = cmd.run().ok();
    let found = out.stderr.lines().find(|line| line.contains("the mount namespace is"));
    found.unwrap_or_else(|| panic!("no word about it: {out:#?}")).to_owned()
}

/// Makes a kernel that can do it one that cannot: uname(2) names an old release.
fn on_an_old_kernel(cmd: Cmd) -> Cmd {
    cmd.before_exec(|| {
        // SAFETY: the call takes no pointer; UNAME26 changes only what uname(2) says.
        match unsafe { libc::personality(0x0002_0000) } {
            -1 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        }
    })
}

#[test]
fn the_way_is_chosen_by_one_question_to_the_kernel() {
    need!(makes_namespaces_of_trees(), FEATURE);
    let bundle = Bundle::new().args(["true"]);
    assert!(way(&bundle, &[]).contains(OF_TREE));
    let failing = "exec strace -qq -o /dev/null -e inject=open_tree:error=EINVAL:when=2 \"$0\" \"$@\"";
    let copied = way_of(bundle.orlop(debug(&bundle, &[])).through_shell(failing));
    assert!(copied.contains("the kernel has no OPEN_TREE_NAMESPACE"), "{copied}");
    let refused = way_of(
        bundle
            .orlop(debug(&bundle, &[]))
            .through_shell(&failing.replace("EINVAL", "EPERM")),
    );
    assert!(refused.contains("is refused here"), "{refused}");
    // An old kernel is not asked.
    let calls = bundle.path("calls");
    let traced = format!(
        "exec strace -f -o {} -e trace=open_tree,unshare,clone3 \"$0\" \"$@\"",
        calls.display()
    );
    on_an_old_kernel(bundle.orlop(debug(&bundle, &[])).through_shell(&traced))
        .run()
        .ok();
    let calls = fs::read_to_string(calls).unwrap();
    assert!(calls.contains("CLONE_NEWNS") && !calls.contains("0x2|"), "{calls}");
    assert!(!calls.contains("OPEN_TREE_NAMESPACE"), "{calls}");
}

#[test]
fn a_config_that_needs_paths_or_propagation_gets_a_copy() {
    need!(makes_namespaces_of_trees(), FEATURE);
    let new = || Bundle::new().args(["true"]);
    let hook = || json!({ "path": "/bin/true" });
    let other = new().args(["probe", "sleep"]);
    let other = other.start();
    let volume = HostMount::tmpfs(&other_volume(), 0);
    let source = volume.as_str();
    let holder = Holder::remapped(libc::CLONE_NEWUSER, 0, 100_000);
    let joined_user = new().edit(|c| {
        let list = c["linux"]["namespaces"].as_array_mut().unwrap();
        list.push(json!({ "type": "user", "path": holder.path("user") }));
    });
    let cases = [
        ("a user namespace", remapped(new()), &[] as &[&str]),
        ("a joined user namespace", joined_user, &[]),
        ("--no-pivot", new(), &["--no-pivot"]),
        ("prestart", new().with_hook("prestart", hook()), &[]),
        ("createRuntime", new().with_hook("createRuntime", hook()), &[]),
        ("createContainer", new().with_hook("createContainer", hook()), &[]),
        ("mount(2)", new().mount("/tmp", "tmpfs", "tmpfs", &["silent"]), &[]),
        ("tmpfs ro", new().mount("/tmp", "tmpfs", "tmpfs", &["ro"]), &[]),
        ("remount", new().mount("/dev", "", "", &["remount", "nosuid"]), &[]),
        ("rslave", new().mount("/tmp", "bind", source, &["rbind", "rslave"]), &[]),
        (
            "shared",
            new().edit(|c| c["linux"]["rootfsPropagation"] = json!("shared")),
            &[],
        ),
        (
            "unbindable",
            new().edit(|c| c["linux"]["rootfsPropagation"] = json!("unbindable")),
            &[],
        ),
    ];
    for (name, bundle, flags) in cases {
        let way = way(&bundle, flags);
        assert!(way.contains(COPIED), "{name}: {way}");
    }
    for (name, bundle) in [
        ("startContainer", new().with_hook("startContainer", hook())),
        ("poststart", new().with_hook("poststart", hook())),
        ("rprivate", new().mount("/tmp", "bind", source, &["rbind", "rprivate"])),
        (
            "rprivate root",
            new().edit(|c| c["linux"]["rootfsPropagation"] = json!("rprivate")),
        ),
        ("a late birth", in_pid_namespace_of(&other, new())),
    ] {
        let way = way(&bundle, &[]);
        assert!(way.contains(OF_TREE), "{name}: {way}");
    }
}

fn other_volume() -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("orlop-volume-{}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

/// The mounts as the container sees them: without numbers, which differ, and without what they say of the host's mounts.
fn table(out: &Facts) -> Vec<Value> {
    let mut mounts = out["mounts"].as_array().unwrap().clone();
    for mount in &mut mounts {
        let mount = mount.as_object_mut().unwrap();
        for key in ["id", "parent", "device", "source"] {
            mount.remove(key);
        }
        for field in mount["propagation"].as_array_mut().unwrap() {
            let word = field.as_str().unwrap().split(':').next().unwrap().to_owned();
            *field = json!(word);
        }
    }
    // Those of a tree are listed from its root to its leaves, others in the order in which they were mounted.
    mounts.sort_by_key(|mount| mount["mountpoint"].to_string());
    mounts
}

#[test]
fn the_container_has_the_same_mounts_as_with_a_copy() {
    need!(makes_namespaces_of_trees(), FEATURE);
    let bundle = Bundle::new();
    let host = HostMount::tmpfs(&bundle.path("volume"), 0).shared();
    let below = HostMount::tmpfs(&host.path.join("below"), 0).shared();
    let source = host.as_str().to_owned();
    let bundle = bundle
        .mount("/volume", "none", &source, &["rbind", "ro", "nosuid"])
        .mount("/private", "none", &source, &["rbind", "rprivate"])
        .mount("/null", "none", "/dev/null", &["bind"])
        .edit(|c| {
            c["linux"]["maskedPaths"] = json!(["/proc/kcore", "/proc/keys", "/proc/acpi", "/sys/firmware"]);
            c["linux"]["readonlyPaths"] = json!(["/proc/sys", "/proc/irq"]);
        });
    let new = bundle.facts();
    let old = Facts(on_an_old_kernel(bundle.run_cmd(&[])).run().ok().json());
    assert_eq!(table(&new), table(&old));
    let mountinfo: Vec<&str> = new["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|m| m["mountpoint"].as_str())
        .collect();
    assert!(
        !mountinfo.iter().any(|point| point.contains("orlop-")),
        "mounts of the host: {mountinfo:?}"
    );
    drop(below);
}

/// A copy of a shared mount of the host is its peer until it is made a slave: a mask on a file in it would be on the host too.
#[test]
fn nothing_that_is_mounted_in_the_tree_appears_on_the_host() {
    need!(makes_namespaces_of_trees(), FEATURE);
    let bundle = Bundle::new();
    let top = HostMount::itself(bundle.dir()).shared();
    let host = HostMount::tmpfs(&bundle.path("volume"), 0).shared();
    fs::create_dir(host.path.join("inside")).unwrap();
    fs::write(host.path.join("file"), "of the host").unwrap();
    let source = host.as_str().to_owned();
    let bundle = bundle
        .args(["probe", "sleep"])
        .mount("/volume", "none", &source, &["rbind"])
        .mount("/volume/inside", "tmpfs", "tmpfs", &[])
        .edit(|c| c["linux"]["maskedPaths"] = json!(["/volume/file"]));
    let mounts = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    let container = bundle.start();
    container.until("ready");
    assert_eq!(mounts(), before);
    assert_eq!(fs::read_to_string(host.path.join("file")).unwrap(), "of the host");
    // What is mounted on the host's null device does not cover the mask.
    let pid = container.pid();
    let mask = format!("/proc/{pid}/root/volume/file");
    let number = fs::metadata(&mask).map(|stat| stat.rdev()).unwrap_or(0);
    let propagated = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let masks = propagated.lines().filter(|line| line.contains(" /null /"));
    for line in masks {
        assert!(!line.contains(" shared:"), "{line}");
    }
    assert_eq!(number, libc::makedev(1, 3));
    drop((container, top));
}

/// The namespace cannot have a mount of an older mount namespace. Of one that is bind mounted on the host, below a volume, nothing
/// is left; as a volume of its own it is an error.
#[test]
fn mount_namespaces_are_not_mounted_in_the_container() {
    need!(makes_namespaces_of_trees(), FEATURE);
    let bundle = Bundle::new().args(["probe", "try", "read,/volume/pinned", "stat,/net"]);
    let host = HostMount::tmpfs(&bundle.path("volume"), 0);
    // A namespace can be pinned only in one that is older.
    let holder = Holder::new(libc::CLONE_NEWNS | libc::CLONE_NEWNET);
    for kind in ["mount", "network"] {
        let file = host.path.join(kind);
        fs::write(&file, "").unwrap();
        bind(Path::new(&holder.path(kind)), &file);
    }
    let source = host.as_str().to_owned();
    let facts = Bundle::new().mount("/volume", "none", &source, &["rbind"]).facts();
    let points = |facts: &Facts| -> Vec<String> {
        let mounts = facts["mounts"].as_array().unwrap();
        mounts
            .iter()
            .map(|m| m["mountpoint"].as_str().unwrap().to_owned())
            .collect()
    };
    let found = points(&facts);
    assert!(found.contains(&"/volume/network".into()), "{found:?}");
    assert!(!found.contains(&"/volume/mount".into()), "{found:?}");
    Bundle::new()
        .mount("/net", "none", &format!("{source}/network"), &["bind"])
        .facts()
        .mount("/net");
    let refused = |source: &str, old: bool| {
        let single = Bundle::new().mount("/mnt-ns", "none", source, &["bind"]);
        let cmd = single.run_cmd(&[]);
        let cmd = if old { on_an_old_kernel(cmd) } else { cmd };
        let out = cmd.run().fails_with("move_mount(): ELOOP");
        assert!(out.stderr.contains("mounts["), "{out:#?}");
    };
    refused(&format!("{source}/mount"), false);
    for old in [false, true] {
        refused(&holder.path("mount"), old);
    }
}

fn bind(source: &Path, target: &Path) {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

#[test]
fn the_hosts_root_can_be_a_volume() {
    need!(makes_namespaces_of_trees(), FEATURE);
    let bundle = Bundle::new().args(["probe", "try", "list,/host", "list,/host/proc/self"]);
    let bundle = bundle.mount("/host", "none", "/", &["rbind", "ro"]);
    let out = bundle.run().ok();
    assert!(out.stdout.contains("proc") && out.stdout.contains("usr"), "{out:#?}");
}

/// The working directory is created in the tree, before the root becomes read-only, and entered in the namespace.
#[test]
fn the_working_directory_and_the_root_are_in_the_namespace() {
    need!(makes_namespaces_of_trees(), FEATURE);
    let bundle = Bundle::new().edit(|c| c["process"]["cwd"] = json!("/made/for/it"));
    let facts = bundle.facts();
    assert_eq!(facts["cwd"], "/made/for/it");
    assert!(facts.options("/").contains(&"ro".to_owned()));
    // Through a link in the image, inside the root.
    let bundle = Bundle::new().edit(|c| c["process"]["cwd"] = json!("/link/deeper"));
    symlink("/", bundle.inside("/link")).unwrap();
    assert_eq!(bundle.facts()["cwd"], "/deeper");
}

/// The kernel protects a mount point from unlink(2) only in the namespace of the caller.
#[test]
fn a_mount_on_dev_ptmx_is_not_lost() {
    for old in [false, true] {
        let bundle = Bundle::new()
            .args(["true"])
            .mount("/dev/ptmx", "bind", "/dev/null", &["bind"]);
        let cmd = bundle.run_cmd(&[]);
        let cmd = if old { on_an_old_kernel(cmd) } else { cmd };
        cmd.run().fails_with("something else is mounted there");
    }
}

/// The time of a copy would grow with the mounts of the host, and none of them may appear.
#[test]
fn a_host_with_three_thousand_mounts_makes_no_difference() {
    need!(makes_namespaces_of_trees(), FEATURE);
    let bundle = Bundle::new();
    let host = HostMount::tmpfs(&bundle.path("many"), 0);
    for number in 0..3000 {
        let place = host.path.join(number.to_string());
        fs::create_dir(&place).unwrap();
        bind(&place, &place);
    }
    let facts = bundle.facts();
    let few = Bundle::new().facts();
    let count = |facts: &Facts| facts["mounts"].as_array().unwrap().len();
    assert_eq!(count(&facts), count(&few));
    // No mount of the host is copied: the whole life of a container needs no more memory for mounts than without them.
    let calls = bundle.path("calls");
    let traced = format!(
        "exec strace -f -o {} -e trace=umount2,pivot_root,unshare,clone3 \"$0\" \"$@\"",
        calls.display()
    );
    bundle.run_cmd(&[]).through_shell(&traced).run().ok();
    let calls = fs::read_to_string(calls).unwrap();
    for call in ["CLONE_NEWNS", "pivot_root(", "umount2("] {
        assert!(!calls.contains(call), "{call}: {calls}");
    }
    drop(host);
}

#[test]
fn a_mount_on_the_host_reaches_the_container_by_the_default_propagation() {
    need!(makes_namespaces_of_trees(), FEATURE);
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let host = HostMount::tmpfs(&bundle.path("volume"), 0).shared();
    let source = host.as_str().to_owned();
    let bundle =
        bundle
            .mount("/volume", "none", &source, &["rbind"])
            .mount("/private", "none", &source, &["rbind", "rprivate"]);
    let container = bundle.start();
    container.until("ready");
    let later = HostMount::tmpfs(&host.path.join("later"), 0);
    let inside = || fs::read_to_string(format!("/proc/{}/mountinfo", container.pid())).unwrap();
    eventually("the host's mount arrives", || inside().contains(" /volume/later "));
    assert!(!inside().contains(" /private/later "));
    drop(later);
}
