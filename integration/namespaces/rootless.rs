//! Containers of an unprivileged user from end to end: with and without subordinate IDs, with and without a delegated
//! cgroup; and the errors when the host does not allow them.

use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::mount::MsFlags;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use serde_json::{Value, json};

use crate::harness::golden::refused;
use crate::harness::users::{as_user, rootless};
use crate::harness::{Bundle, Cmd, Facts, eventually};
use crate::need;

const USER: u32 = 1000;

/// The user's subordinate ids.
const FIRST: u32 = 200_000;

/// A bundle that the user owns, including the state directory.
fn own(bundle: Bundle) -> Bundle {
    let runtime_dir = bundle.path("runtime-dir");
    fs::create_dir(&runtime_dir).unwrap();
    fs::set_permissions(&runtime_dir, fs::Permissions::from_mode(0o700)).unwrap();
    for path in [bundle.dir().to_path_buf(), runtime_dir, bundle.path("config.json")] {
        chown(path, Some(USER), Some(USER)).unwrap();
    }
    bundle
}

/// The user's ID and subordinate IDs, as an engine of an unprivileged user maps them.
fn with_ranges(bundle: Bundle) -> Bundle {
    rootless(bundle).edit(|c| {
        for kind in ["uidMappings", "gidMappings"] {
            c["linux"][kind] = json!([
                { "containerID": 0, "hostID": USER, "size": 1 },
                { "containerID": 1, "hostID": FIRST, "size": 1000 },
            ]);
        }
    })
}

/// The command as the user, with these files about users on the host, for this command only.
fn on_host(bundle: &Bundle, cmd: Cmd, subordinate: &str) -> Cmd {
    let files = [
        ("passwd", "root:x:0:0::/root:/bin/sh\ntester:x:1000:1000::/:/bin/sh\n"),
        ("group", "root:x:0:\ntester:x:1000:\n"),
        ("subuid", subordinate),
        ("subgid", subordinate),
    ];
    let mut binds = Vec::new();
    for (name, text) in files {
        let source = bundle.path(name);
        fs::write(&source, text).unwrap();
        let target = Path::new("/etc").join(name);
        if !target.exists() {
            // Only where there is none; an empty file means the same.
            fs::write(&target, "").unwrap();
        }
        binds.push((c_path(&source), c_path(&target)));
    }
    let cmd = cmd.before_exec(move || {
        let mount = |source: Option<&CStr>, target: &CStr, flags| {
            nix::mount::mount(source, target, None::<&CStr>, flags, None::<&CStr>)
        };
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(None, c"/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
        for (source, target) in &binds {
            mount(Some(source), target, MsFlags::MS_BIND)?;
        }
        Ok(())
    });
    as_user(cmd)
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).unwrap()
}

fn subordinate() -> String {
    format!("tester:{FIRST}:1000\n")
}

fn has_helpers() -> bool {
    ["newuidmap", "newgidmap"]
        .iter()
        .all(|name| Path::new("/usr/bin").join(name).exists())
}

/// A part of the cgroup tree that the user owns, with a session as systemd would create it.
struct Delegated(PathBuf);

impl Delegated {
    fn new() -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/sys/fs/cgroup/user-{}-{serial}", std::process::id()));
        fs::create_dir_all(path.join("session")).unwrap();
        for file in [
            "",
            "cgroup.procs",
            "cgroup.subtree_control",
            "cgroup.threads",
            "session",
            "session/cgroup.procs",
        ] {
            chown(path.join(file), Some(USER), Some(USER)).unwrap();
        }
        Delegated(path)
    }

    /// The command in the session.
    fn enter(&self, cmd: Cmd) -> Cmd {
        let procs = self.0.join("session/cgroup.procs");
        cmd.before_exec(move || fs::write(&procs, "0"))
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.0.join("session"));
        if let Err(error) = fs::remove_dir(&self.0) {
            assert!(std::thread::panicking(), "{}: {error}", self.0.display());
        }
    }
}

/// `orlop spec --rootless`, then `orlop run`, with only the program changed; no `--root`, so that the state goes
/// to the default directory of an unprivileged user.
#[test]
fn the_rootless_specification_runs() {
    let bundle = own(Bundle::new());
    fs::remove_file(bundle.path("config.json")).unwrap();
    let runtime_dir = bundle.path("runtime-dir");
    let call = |args: &[&str]| {
        let cmd = bundle.without_root(args).cwd(bundle.dir());
        as_user(cmd.env("XDG_RUNTIME_DIR", runtime_dir.to_str().unwrap()))
    };
    call(&["spec", "--rootless"]).run().ok();
    let written = bundle.path("config.json");
    assert_eq!(fs::metadata(&written).unwrap().uid(), USER);
    let mut config: Value = serde_json::from_slice(&fs::read(&written).unwrap()).unwrap();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["probe", "facts", "/dev/null", "/sys/kernel"]);
    fs::write(&written, config.to_string()).unwrap();
    let id = bundle.fresh_id();
    let facts = Facts(call(&["run", &id]).run().ok().json());
    assert_eq!(facts["uid"], json!([0, 0, 0, 0]));
    assert_eq!(facts["pid"], 1);
    assert_eq!(facts["hostname"], "orlop");
    assert_eq!(facts["noNewPrivileges"], true);
    assert_eq!(facts.path("/dev/null")["type"], "character device");
    assert_eq!(facts.path("/sys/kernel")["type"], "directory");
    // The state was below the runtime directory, and is gone.
    assert!(runtime_dir.join("orlop").is_dir());
    assert_eq!(fs::read_dir(runtime_dir.join("orlop")).unwrap().count(), 0);
}

#[test]
fn the_state_of_an_unprivileged_user_is_in_the_runtime_directory() {
    let bundle = own(rootless(Bundle::new().args(["probe", "sleep"])));
    let runtime_dir = bundle.path("runtime-dir");
    let id = bundle.fresh_id();
    let call = |args: &[&str]| {
        let cmd = bundle
            .without_root(args)
            .env("XDG_RUNTIME_DIR", runtime_dir.to_str().unwrap());
        as_user(cmd).run()
    };
    call(&["create", "--bundle", bundle.dir().to_str().unwrap(), &id]).ok();
    assert!(runtime_dir.join("orlop").join(&id).join("state.json").is_file());
    assert!(call(&["list", "--quiet"]).ok().stdout.contains(&id));
    call(&["delete", "--force", &id]).ok();
    assert!(!runtime_dir.join("orlop").join(&id).exists());
    as_user(bundle.without_root(["list"]))
        .run()
        .fails_with("XDG_RUNTIME_DIR");
}

#[test]
fn subordinate_ids_are_mapped_by_the_helpers() {
    need!(has_helpers(), "newuidmap and newgidmap");
    let bundle = with_ranges(Bundle::new()).edit(|c| {
        c["process"]["user"] = json!({ "uid": 33, "gid": 34, "additionalGids": [5, 6] });
    });
    let facts = Facts(on_host(&bundle, bundle.run_cmd(&[]), &subordinate()).run().ok().json());
    assert_eq!(facts["uid"], json!([33, 33, 33, 33]));
    assert_eq!(facts["gid"], json!([34, 34, 34, 34]));
    // With the privilege to map groups, they can be dropped too.
    assert_eq!(facts["groups"], json!([5, 6]));
}

#[test]
fn a_container_with_subordinate_ids_works_from_create_to_delete() {
    need!(has_helpers(), "newuidmap and newgidmap");
    let bundle = with_ranges(Bundle::new().args(["probe", "sleep"])).edit(|c| {
        c["process"]["user"] = json!({ "uid": 33, "gid": 34 });
    });
    let id = bundle.fresh_id();
    let call = |args: &[&str]| as_user(bundle.orlop(args)).run();
    on_host(&bundle, bundle.create_cmd(&id, &[]), &subordinate()).run().ok();
    call(&["start", &id]).ok();
    let state = call(&["state", &id]).ok().json();
    assert_eq!(state["status"], "running");
    let process = fs::metadata(format!("/proc/{}", state["pid"])).unwrap();
    assert_eq!((process.uid(), process.gid()), (FIRST + 32, FIRST + 33));
    assert_eq!(
        fs::read_to_string(format!("/proc/{}/setgroups", state["pid"])).unwrap(),
        "allow\n"
    );
    // It runs as another user, and the runtime can still kill it.
    call(&["kill", &id, "KILL"]).ok();
    eventually("the container stops", || {
        call(&["state", &id]).ok().json()["status"] == "stopped"
    });
    call(&["delete", &id]).ok();
}

/// CVE-2014-8989: a map without a helper denies setgroups(2) first, so there are no additional groups.
#[test]
fn additional_groups_need_subordinate_ids() {
    let bundle = rootless(Bundle::new()).edit(|c| c["process"]["user"]["additionalGids"] = json!([0]));
    as_user(bundle.run_cmd(&[]))
        .run()
        .fails_with("process.user.additionalGids");
    bundle.assert_clean();
}

#[test]
fn a_delegated_cgroup_is_used() {
    let delegated = Delegated::new();
    let bundle = rootless(Bundle::new().args(["probe", "sleep"]));
    let id = bundle.fresh_id();
    let call = |args: &[&str]| as_user(delegated.enter(bundle.orlop(args))).run();
    as_user(delegated.enter(bundle.create_cmd(&id, &[]))).run().ok();
    let pid = call(&["state", &id]).ok().json()["pid"].clone();
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let name = delegated.0.file_name().unwrap().to_str().unwrap();
    assert!(cgroup.contains(&format!("/{name}/{id}")), "{cgroup}");
    assert_eq!(fs::metadata(delegated.0.join(&id)).unwrap().uid(), USER);
    call(&["start", &id]).ok();
    call(&["kill", "--all", &id, "KILL"]).ok();
    eventually("the container stops", || {
        call(&["state", &id]).ok().json()["status"] == "stopped"
    });
    call(&["delete", &id]).ok();
    assert!(!delegated.0.join(&id).exists());
}

#[test]
fn a_delegated_cgroup_is_used_with_subordinate_ids() {
    need!(has_helpers(), "newuidmap and newgidmap");
    let delegated = Delegated::new();
    let bundle = with_ranges(Bundle::new().args(["probe", "cat", "/proc/self/cgroup"])).without_namespace("cgroup");
    let out = on_host(&bundle, delegated.enter(bundle.run_cmd(&[])), &subordinate())
        .run()
        .ok();
    let name = delegated.0.file_name().unwrap().to_str().unwrap();
    assert!(
        out.stdout.contains(&format!("/{name}/")) && !out.stdout.contains("session"),
        "{out:#?}"
    );
}

#[test]
fn a_host_without_user_namespaces() {
    let bundle = rootless(Bundle::new());
    // The limit applies to a user namespace and all below it, so one of the test stands in for the host.
    refused(&bundle, "rootless_without_user_namespaces", |cmd| {
        as_user(cmd).before_exec(|| {
            set_dumpable(true)?;
            unshare(CloneFlags::CLONE_NEWUSER)?;
            for (file, text) in [
                ("/proc/self/setgroups", "deny"),
                ("/proc/self/uid_map", "1000 1000 1"),
                ("/proc/self/gid_map", "1000 1000 1"),
                ("/proc/sys/user/max_user_namespaces", "0"),
            ] {
                fs::write(file, text)?;
            }
            Ok(())
        })
    });
}

#[test]
fn a_host_without_the_helpers() {
    let bundle = with_ranges(Bundle::new());
    refused(&bundle, "rootless_without_helpers", |cmd| {
        as_user(cmd.env("PATH", "/nowhere"))
    });
}

#[test]
fn a_user_without_subordinate_ids() {
    need!(has_helpers(), "newuidmap and newgidmap");
    let bundle = with_ranges(Bundle::new());
    let prepare = |cmd| on_host(&bundle, cmd, "somebody:100000:65536\n");
    let out = refused(&bundle, "rootless_without_subordinate_ids", prepare);
    assert!(out.stderr.contains("/etc/subuid has no range for tester"), "{out:#?}");
}

#[test]
fn ids_outside_of_the_users_ranges() {
    need!(has_helpers(), "newuidmap and newgidmap");
    let bundle = with_ranges(Bundle::new());
    let prepare = |cmd| on_host(&bundle, cmd, "1000:100000:65536\n");
    refused(&bundle, "rootless_with_ids_of_others", prepare);
}

/// As in a container, or under a service manager, that sets no_new_privs.
#[test]
fn helpers_without_privilege() {
    need!(has_helpers(), "newuidmap and newgidmap");
    let bundle = with_ranges(Bundle::new());
    let prepare = |cmd| on_host(&bundle, cmd, &subordinate()).before_exec(|| Ok(set_no_new_privs()?));
    refused(&bundle, "rootless_helpers_without_privilege", prepare);
}

#[test]
fn a_host_id_that_is_not_the_users() {
    let bundle = rootless(Bundle::new()).edit(|c| c["linux"]["uidMappings"][0]["hostID"] = json!(0));
    refused(&bundle, "rootless_as_root_of_the_host", |cmd| {
        as_user(cmd.env("PATH", "/nowhere"))
    });
}

#[test]
fn a_cgroup_that_is_not_delegated() {
    let bundle = rootless(Bundle::new()).edit(|c| c["linux"]["cgroupsPath"] = json!("/wanted"));
    refused(&bundle, "rootless_without_delegated_cgroup", as_user);
}

/// The command as root of a user namespace that user 1000 created: an engine of an unprivileged user calls it like this.
fn as_root_of_an_own_namespace(cmd: Cmd) -> Cmd {
    as_user(cmd).before_exec(|| {
        // The /proc files of a process that changed its user belong to root unless it is dumpable.
        set_dumpable(true)?;
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/gid_map", "0 1000 1")?;
        fs::write("/proc/self/uid_map", "0 1000 1")
    })
}

/// A container without a separate user namespace.
fn without_own_user_namespace(bundle: Bundle) -> Bundle {
    own(rootless(bundle).edit(|c| {
        let linux = c["linux"].as_object_mut().unwrap();
        linux.remove("uidMappings");
        linux.remove("gidMappings");
        let namespaces = linux["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "user");
    }))
}

#[test]
fn root_of_an_unprivileged_users_namespace_has_the_hosts_devices() {
    let bundle = without_own_user_namespace(Bundle::new().args(["probe", "facts", "/dev/null", "/dev/zero"]));
    let facts = Facts(as_root_of_an_own_namespace(bundle.run_cmd(&[])).run().ok().json());
    assert_eq!(facts["uid"], json!([0, 0, 0, 0]));
    assert_eq!(facts["pid"], 1);
    for path in ["/dev/null", "/dev/zero"] {
        assert_eq!(facts.path(path)["type"], "character device");
    }
}

#[test]
fn root_of_an_unprivileged_users_namespace_uses_the_runtime_directory() {
    let bundle = without_own_user_namespace(Bundle::new().args(["probe", "sleep"]));
    let runtime_dir = bundle.path("runtime-dir");
    let id = bundle.fresh_id();
    let call = |args: &[&str], user: &str| {
        let cmd = bundle
            .without_root(args)
            .env("XDG_RUNTIME_DIR", runtime_dir.to_str().unwrap())
            .env("USER", user);
        as_root_of_an_own_namespace(cmd).run()
    };
    call(&["create", "--bundle", bundle.dir().to_str().unwrap(), &id], "tester").ok();
    assert!(runtime_dir.join("orlop").join(&id).join("state.json").is_file());
    call(&["delete", "--force", &id], "tester").ok();
    assert!(!runtime_dir.join("orlop").join(&id).exists());
    // If the environment says that the caller is root of this system, root's directory is used.
    call(&["create", "--bundle", bundle.dir().to_str().unwrap(), &id], "root").fails_with("/run/orlop");
}

#[test]
fn root_of_an_unprivileged_users_namespace_may_have_a_delegated_cgroup() {
    let delegated = Delegated::new();
    let bundle = without_own_user_namespace(Bundle::new());
    let cmd = as_root_of_an_own_namespace(delegated.enter(bundle.run_cmd(&[])));
    let facts = Facts(cmd.run().ok().json());
    assert_eq!(facts["uid"], json!([0, 0, 0, 0]));
}
