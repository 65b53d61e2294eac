//! What a hook of the runtime's finds around it: a working directory and a umask that are not an accident of ours.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;

use crate::harness::Bundle;

/// Names in a hook's arguments that are relative to the bundle are found, wherever the runtime was called.
#[test]
fn hooks_of_the_runtime_begin_in_the_bundle() {
    let mut bundle = Bundle::new().args(["true"]);
    let points = ["prestart", "createRuntime", "poststart", "poststop"];
    for point in points {
        bundle = bundle.with_host_hook(point, &format!("pwd >begun.{point}"));
    }
    bundle.run_cmd(&[]).cwd("/tmp".as_ref()).run().ok();
    for point in points {
        let begun = fs::read_to_string(bundle.path(&format!("begun.{point}"))).unwrap_or_default();
        assert_eq!(Path::new(begun.trim_end()), bundle.dir(), "{point}");
    }
}

/// `delete` comes when the engine has perhaps removed the bundle.
#[test]
fn poststop_hooks_run_where_the_bundle_has_gone() {
    let bundle = Bundle::new()
        .args(["true"])
        .with_host_hook("poststop", "pwd >>\"$OUT\"")
        .edit(|c| c["root"]["readonly"] = json!(false));
    let gone = bundle.path("gone");
    fs::create_dir(&gone).unwrap();
    let rootfs = bundle.inside("/");
    bundle.change(|c| c["root"]["path"] = json!(rootfs));
    fs::rename(bundle.path("config.json"), gone.join("config.json")).unwrap();
    let id = bundle.fresh_id();
    let create = ["create", "--bundle", gone.to_str().unwrap(), &id];
    bundle.orlop(create).run().ok();
    fs::remove_dir_all(&gone).unwrap();
    bundle.orlop(["delete", "--force", &id]).run().ok();
    let log = fs::read_to_string(bundle.path("hooks.log")).unwrap_or_default();
    assert_eq!(log, "/\n", "in its caller's directory");
}

/// What a hook makes is not to be written by everybody because the runtime makes its own files with exact modes.
#[test]
fn create_container_hooks_have_the_callers_umask() {
    for umask in [0o022, 0o027] {
        let bundle = Bundle::new().args(["true"]).with_host_hook(
            "createContainer",
            "umask >\"$OUT\"; : >\"$OUT.made\"; mkdir \"$OUT.dir\"",
        );
        bundle.run_cmd(&[]).umask(umask).run().ok();
        let log = fs::read_to_string(bundle.path("hooks.log")).unwrap();
        assert_eq!(u32::from_str_radix(log.trim(), 8), Ok(umask));
        for (made, full) in [("hooks.log.made", 0o666), ("hooks.log.dir", 0o777)] {
            let mode = fs::metadata(bundle.path(made)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, full & !umask, "{made}");
        }
    }
}

/// The container's own umask is none of theirs, and the other way round.
#[test]
fn the_umask_of_hooks_is_not_the_processs() {
    let bundle = Bundle::new()
        .sh("umask")
        .with_host_hook("createContainer", "umask >>\"$OUT\"")
        .edit(|c| c["process"]["user"]["umask"] = json!(0o77));
    let out = bundle.run_cmd(&[]).umask(0o027).run().ok();
    assert_eq!(out.stdout, "0077\n");
    assert_eq!(fs::read_to_string(bundle.path("hooks.log")).unwrap(), "0027\n");
}

/// execve(2) and nothing else: no shell tries what the kernel refuses, at whatever point it is.
#[test]
fn what_is_no_program_is_refused_at_every_point() {
    for point in ["prestart", "createRuntime", "createContainer", "startContainer"] {
        let bundle = Bundle::new().args(["true"]);
        let (script, path) = match point {
            "startContainer" => (bundle.inside("/bin/script"), "/bin/script".to_owned()),
            _ => (
                bundle.path("script"),
                bundle.path("script").to_str().unwrap().to_owned(),
            ),
        };
        fs::write(&script, "exit 0\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let bundle = bundle.with_hook(point, json!({ "path": path }));
        bundle.run().fails_with("ENOEXEC");
    }
}

/// The list as it stands, like the third argument of execve(2).
#[test]
fn the_environment_of_a_hook_is_its_list() {
    let bundle = Bundle::new().args(["true"]);
    let env = ["B=2", "A=1", "WITHOUT", "A=3", "PATH=/bin:/usr/bin"];
    let out = bundle.path("environ");
    fs::write(&out, "").unwrap();
    let bundle = bundle.edit(|c| {
        c["hooks"] = json!({ "createRuntime": [{ "path": "/usr/bin/cp", "args": ["cp", "/proc/self/environ", out], "env": env }] })
    });
    bundle.run().ok();
    assert_eq!(
        fs::read_to_string(out).unwrap(),
        env.map(|entry| entry.to_owned() + "\0").concat()
    );
}
