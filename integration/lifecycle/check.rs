//! `check` agrees with `create` and `start`: what it calls an error they refuse, with the same words, and what it passes they
//! accept.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::golden::{OWN_TEXTS, own_texts};
use crate::harness::users::{as_user, rootless};
use crate::harness::{Bundle, Output};
use crate::need;

mod broken {
    include!("../../tests/broken/rootfs.rs");
}

const BROKEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/bundles/broken");

fn findings(output: &Output) -> Vec<Value> {
    let document: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    document["findings"].as_array().expect("a list").clone()
}

fn check(bundle: &Bundle) -> Vec<Value> {
    let dir = bundle.dir().to_str().unwrap().to_owned();
    findings(&bundle.orlop(["check", "--format", "json", &dir]).run())
}

fn errors(findings: &[Value]) -> Vec<&Value> {
    findings.iter().filter(|finding| finding["level"] == "error").collect()
}

/// What `create`, and if that succeeds `start`, print when they refuse a bundle. None if they accept it.
fn refusal(bundle: &Bundle) -> Option<String> {
    let id = bundle.fresh_id();
    let created = bundle.create_cmd(&id, &[]).run();
    if created.code != 0 {
        return Some(created.stderr);
    }
    let started = bundle.orlop(["start", &id]).run();
    bundle.orlop(["delete", "--force", &id]).run().ok();
    (started.code != 0).then_some(started.stderr)
}

#[test]
fn create_and_start_refuse_every_broken_bundle_with_the_words_of_check() {
    need!(own_texts(), OWN_TEXTS);
    let names: BTreeSet<_> = fs::read_dir(BROKEN)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.path())
        .collect();
    assert!(names.len() >= 25);
    for path in names {
        let name = path.display();
        let bundle = Bundle::new();
        broken::make(&bundle.inside("/"), None);
        fs::copy(path.join("config.json"), bundle.path("config.json")).unwrap();
        let findings = check(&bundle);
        let errors = errors(&findings);
        let said = refusal(&bundle).unwrap_or_else(|| panic!("{name}: accepted"));
        let message = |error: &Value| error["message"].as_str().unwrap().to_owned();
        let of_specification: Vec<_> = errors.iter().filter(|error| error["code"] == "specification").collect();
        if let Some(first) = of_specification.first() {
            // They are all reported before anything is done.
            let place = format!(":{}:{}: ", first["line"], first["column"]);
            let place = if first["line"].is_null() { ": ".into() } else { place };
            let first_line = said.lines().next().unwrap_or_default();
            let begin = message(first).lines().next().unwrap_or_default().to_owned();
            assert!(first_line.ends_with(&format!("{place}{begin}")), "{name}: {first_line}");
            for error in &of_specification {
                assert!(
                    said.contains(message(error).as_str()),
                    "{name}: {}\n{said}",
                    message(error)
                );
            }
        } else {
            // What only a file system knows has its own words, and the same place.
            let place = |error: &Value| format!("{} ", error["path"].as_str().unwrap());
            let is_said = |error: &&Value| match message(error) {
                own if own.ends_with(" does not exist") => said.contains(&place(error)),
                shared => said.contains(&shared),
            };
            let known = errors.iter().any(is_said);
            assert!(known, "{name}: {errors:#?}\n{said}");
        }
        bundle.assert_clean();
    }
}

fn add_mount(config: &mut Value, mount: Value) {
    config["mounts"].as_array_mut().unwrap().push(mount);
}

type Edit = fn(&mut Value);

/// Variations of a config that works. Some of them work as well, others do not; `check` must tell which.
const VARIATIONS: &[(&str, Edit)] = &[
    ("as it is", |_| {}),
    ("no process", |c| drop(c.as_object_mut().unwrap().remove("process"))),
    ("a name in PATH", |c| c["process"]["args"] = json!(["sh", "-c", "true"])),
    ("PATH is empty", |c| {
        c["process"]["args"] = json!(["sh"]);
        c["process"]["env"] = json!(["PATH="]);
    }),
    ("no environment", |c| {
        c["process"]["args"] = json!(["sh"]);
        c["process"]["env"] = json!([]);
    }),
    ("a relative program", |c| {
        c["process"]["args"] = json!(["./sh"]);
        c["process"]["cwd"] = json!("/bin");
    }),
    ("a missing relative program", |c| c["process"]["args"] = json!(["./sh"])),
    ("a way around", |c| {
        c["process"]["args"] = json!(["/etc/../bin/../../bin/sh", "-c", "true"])
    }),
    ("another user", |c| {
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 })
    }),
    ("another user and a private program", |c| {
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        c["process"]["args"] = json!(["/bin/private"]);
    }),
    ("a private program for its owner", |c| {
        c["process"]["args"] = json!(["/bin/private", "-c", "true"])
    }),
    ("a program in a directory that may not be searched", |c| {
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        c["process"]["args"] = json!(["/closed/sh"]);
    }),
    ("a missing directory", |c| {
        c["process"]["cwd"] = json!("/no/such/directory")
    }),
    ("a program in a bind mount", |c| {
        add_mount(
            c,
            json!({ "destination": "/opt", "source": "rootfs/bin", "options": ["rbind", "ro"] }),
        );
        c["process"]["args"] = json!(["/opt/sh", "-c", "true"]);
    }),
    ("a program in a noexec bind mount", |c| {
        add_mount(
            c,
            json!({ "destination": "/opt", "source": "rootfs/bin", "options": ["rbind", "noexec"] }),
        );
        c["process"]["args"] = json!(["/opt/sh"]);
    }),
    ("a program hidden by a bind mount", |c| {
        add_mount(
            c,
            json!({ "destination": "/bin", "source": "rootfs/etc", "options": ["rbind"] }),
        );
        c["process"]["args"] = json!(["/bin/sh"]);
    }),
    ("a bind mount of a file", |c| {
        add_mount(
            c,
            json!({ "destination": "/run-me", "source": "rootfs/bin/sh", "options": ["bind"] }),
        );
        c["process"]["args"] = json!(["/run-me", "-c", "true"]);
    }),
    ("a source that an earlier mount makes", |c| {
        add_mount(c, json!({ "destination": "/made", "type": "tmpfs" }));
        add_mount(
            c,
            json!({ "destination": "/copy", "source": "rootfs/made", "options": ["rbind"] }),
        );
    }),
    ("a missing source", |c| {
        add_mount(
            c,
            json!({ "destination": "/x", "source": "no/such", "options": ["bind"] }),
        )
    }),
    ("a file on a directory", |c| {
        add_mount(
            c,
            json!({ "destination": "/etc", "source": "rootfs/bin/sh", "options": ["bind"] }),
        );
    }),
    ("a directory on a file", |c| {
        add_mount(
            c,
            json!({ "destination": "/bin/sh", "source": "rootfs/etc", "options": ["bind"] }),
        );
    }),
    ("a limit of open files", |c| {
        c["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 500, "hard": 500 }]);
    }),
    ("more open files than the kernel has", |c| {
        c["process"]["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 500, "hard": 2_000_000_000 }]);
    }),
    ("a limit of memory", |c| {
        c["linux"]["resources"]["memory"] = json!({ "limit": 100_000_000 })
    }),
    ("a weight of CPU time", |c| {
        c["linux"]["resources"]["cpu"] = json!({ "shares": 512 })
    }),
    ("a link to the program", |c| {
        c["process"]["args"] = json!(["/bin/link", "-c", "true"])
    }),
    ("a script", |c| c["process"]["args"] = json!(["/bin/script-of-sh"])),
    ("a script of a script", |c| {
        c["process"]["args"] = json!(["/bin/script-of-script"])
    }),
    ("a script without a first line", |c| {
        c["process"]["args"] = json!(["/bin/no-first-line"])
    }),
    ("mqueue", |c| {
        add_mount(c, json!({ "destination": "/mq", "type": "mqueue" }))
    }),
    ("an unknown file system", |c| {
        add_mount(c, json!({ "destination": "/x", "type": "nosuchfs" }))
    }),
    ("a hook", |c| {
        c["hooks"] = json!({ "createRuntime": [{ "path": "/bin/true" }] })
    }),
    ("a missing hook", |c| {
        c["hooks"] = json!({ "createRuntime": [{ "path": "/no/such" }] })
    }),
    ("a hook in the container", |c| {
        c["hooks"] = json!({ "startContainer": [{ "path": "/bin/true" }] })
    }),
    ("a missing hook in the container", |c| {
        c["hooks"] = json!({ "startContainer": [{ "path": "/bin/absent" }] })
    }),
    ("a hook after the end that is missing", |c| {
        c["hooks"] = json!({ "poststop": [{ "path": "/no/such" }] })
    }),
    ("a namespace of this process", |c| {
        let list = c["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|entry| entry["type"] != "ipc");
        list.push(json!({ "type": "ipc", "path": "/proc/1/ns/ipc" }));
    }),
    ("a missing namespace", |c| {
        let list = c["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|entry| entry["type"] != "ipc");
        list.push(json!({ "type": "ipc", "path": "/no/such" }));
    }),
    ("a missing network device", |c| {
        c["linux"]["netDevices"] = json!({ "nosuchdev0": {} })
    }),
    ("a user namespace", |c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "user" }));
        for map in ["uidMappings", "gidMappings"] {
            c["linux"][map] = json!([{ "containerID": 0, "hostID": 100000, "size": 65536 }]);
        }
    }),
    ("a limit of processes", |c| {
        c["linux"]["resources"]["pids"] = json!({ "limit": 100 })
    }),
    ("unknown keys", |c| c["vendor"] = json!({})),
    ("no linux section", |c| {
        c.as_object_mut().unwrap().remove("linux");
        c.as_object_mut().unwrap().remove("mounts");
        c.as_object_mut().unwrap().remove("hostname");
        c["root"]["readonly"] = json!(false);
    }),
];

fn varied(edit: Edit) -> Bundle {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let bundle = Bundle::new().writable().args(["true"]);
    let put = |name: &str, text: &str, mode: u32| {
        let path = bundle.inside(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    symlink("sh", bundle.inside("/bin/link")).unwrap();
    put("/bin/script-of-sh", "#!/bin/sh\nexit 0\n", 0o755);
    put("/bin/script-of-script", "#!/bin/script-of-sh\n", 0o755);
    put("/bin/no-first-line", "exit 0\n", 0o755);
    fs::copy(bundle.inside("/bin/busybox"), bundle.inside("/bin/private")).unwrap();
    fs::set_permissions(bundle.inside("/bin/private"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::create_dir(bundle.inside("/closed")).unwrap();
    symlink("/bin/sh", bundle.inside("/closed/sh")).unwrap();
    fs::set_permissions(bundle.inside("/closed"), fs::Permissions::from_mode(0o700)).unwrap();
    bundle.edit(edit)
}

#[test]
fn what_check_passes_is_accepted_and_what_it_does_not_is_refused() {
    need!(own_texts(), OWN_TEXTS);
    let mut counts = [0, 0];
    for (name, edit) in VARIATIONS {
        let bundle = varied(*edit);
        let findings = check(&bundle);
        let errors = errors(&findings);
        let is_startable = bundle.config().get("process").is_some();
        match refusal(&bundle) {
            // `start` refuses a container without a process, and `create` does not.
            Some(said) if errors.is_empty() => assert!(!is_startable, "{name}: passed, and refused\n{said}"),
            Some(said) => {
                counts[0] += 1;
                let known = errors
                    .iter()
                    .any(|error| said.contains(error["message"].as_str().unwrap()));
                assert!(known, "{name}: {errors:#?}\n{said}");
            }
            None => {
                counts[1] += 1;
                assert!(errors.is_empty(), "{name}: accepted, and not passed\n{errors:#?}");
            }
        }
    }
    assert!(counts.iter().all(|count| *count >= 10), "{counts:?}");
}

#[test]
fn the_bundles_of_this_repository_pass() {
    for name in ["default", "hello"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/bundles")
            .join(name)
            .join("config.json");
        let bundle = Bundle::new();
        fs::copy(path, bundle.path("config.json")).unwrap();
        fs::write(bundle.inside("/hello"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(
            bundle.inside("/hello"),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let findings = check(&bundle);
        assert_eq!(errors(&findings), [&json!(null); 0], "{name}");
    }
}

/// The answers are those for the user who asks.
#[test]
fn an_unprivileged_user_gets_their_own_answers() {
    need!(own_texts(), OWN_TEXTS);
    let bundle = Bundle::new().args(["true"]);
    let dir = bundle.dir().to_str().unwrap().to_owned();
    let command = || bundle.orlop(["check", "--format", "json", dir.as_str()]);
    let as_root = findings(&command().run());
    assert!(errors(&as_root).is_empty(), "{as_root:#?}");
    let found = findings(&as_user(command()).run());
    let refused = errors(&found);
    let refused = refused.first().unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!(refused["path"], "linux.namespaces");
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("user 1000 is unprivileged"),
        "{refused}"
    );
    // A bundle for such a user passes.
    let bundle = rootless(Bundle::new().args(["true"]));
    let dir = bundle.dir().to_str().unwrap().to_owned();
    let found = findings(&as_user(bundle.orlop(["check", "--format", "json", dir.as_str()])).run());
    assert!(errors(&found).is_empty(), "{found:#?}");
    as_user(bundle.run_cmd(&[])).run().ok();
}

#[test]
fn a_read_only_host_suffices_and_nothing_is_left() {
    need!(own_texts(), OWN_TEXTS);
    let bundle = Bundle::new().args(["true"]);
    let dir = bundle.dir().to_str().unwrap().to_owned();
    let state = bundle.path("no-state");
    let read_only = "exec unshare -m --propagation private sh -c 'while read -r _ point kind _; do \
                     case $kind in cgroup*) ;; *) mount -o remount,bind,ro \"$point\" 2>/dev/null ;; esac; done </proc/self/mounts; \
                     touch / 2>/dev/null && exit 70; exec \"$0\" \"$@\"' \"$0\" \"$@\"";
    let arguments = ["--root", state.to_str().unwrap(), "check", "--format", "json", &dir];
    let output = bundle.without_root(arguments).through_shell(read_only).run();
    assert_eq!(errors(&findings(&output)), [&json!(null); 0]);
    assert_eq!(output.code, 0);
    assert!(!state.exists());
}
