//! The program called by a link named runc or crun.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Bundle, Cmd, alive, eventually, runtime};

/// The program called by this name, with only these arguments.
fn called(bundle: &Bundle, name: &str, args: &[&str]) -> Cmd {
    let link = bundle.path(name);
    if !link.exists() {
        symlink(runtime(), &link).unwrap();
    }
    bundle.without_root(args).program(&link)
}

#[test]
fn the_version_is_that_of_the_name() {
    let bundle = Bundle::new();
    let first = |name: &str| -> String {
        let text = called(&bundle, name, &["--version"]).run().ok().stdout;
        text.lines().next().unwrap().to_string()
    };
    let own = first("orlop");
    let number = own.strip_prefix("orlop version ").expect("a version line");
    assert_eq!(first("runc"), format!("runc version 1.5.1+orlop.{number}"));
    assert_eq!(first("crun"), format!("crun version 1.29.1+orlop.{number}"));
    assert_eq!(first("docker-runc"), own);
    let of_crun = called(&bundle, "crun", &["--root", "/tmp/x", "--version"])
        .run()
        .ok()
        .stdout;
    assert!(of_crun.contains("\nrundir: /tmp/x\n"), "{of_crun}");
}

/// All verbs of one name work on the same containers, those of another name on others.
#[test]
fn the_state_directory_is_that_of_the_name() {
    for name in ["runc", "crun"] {
        let bundle = Bundle::new().args(["probe", "sleep"]);
        let (id, dir) = (bundle.fresh_id(), bundle.dir().to_str().unwrap().to_owned());
        let call = |args: &[&str]| called(&bundle, name, args).run();
        call(&["run", "--detach", "--bundle", &dir, &id]).ok();
        let state = Path::new("/run").join(name).join(&id);
        assert!(state.join("state.json").exists());
        assert!(call(&["list", "--quiet"]).ok().stdout.lines().any(|line| line == id));
        let own = called(&bundle, "orlop", &["list", "--quiet"]).run().ok();
        assert!(!own.stdout.contains(&id), "{}", own.stdout);
        call(&["exec", &id, "probe", "facts"]).ok();
        // What init and the protected copy of the program need does not depend on the name.
        let again = call(&["create", "--bundle", &dir, &id]).fails_with("already exists");
        assert!(
            again.stderr.contains(&format!("`{name} delete --force {id}`")),
            "{}",
            again.stderr
        );
        call(&["delete", "--force", &id]).ok();
        assert!(!state.exists());
    }
}

#[test]
fn exit_codes_are_those_of_the_name() {
    let bundle = Bundle::new();
    let code = |name: &str, args: &[&str]| called(&bundle, name, args).run().code;
    let table: [(&[&str], [i32; 3]); 6] = [
        (&[], [1, 0, 1]),
        (&["bogus"], [1, 3, 1]),
        (&["list", "--bogus"], [1, 1, 64]),
        (&["exec", "--bogus"], [255, 1, 64]),
        (&["exec", "no-such-container", "true"], [255, 255, 1]),
        (&["state", "no-such-container"], [1, 1, 1]),
    ];
    for (args, expected) in table {
        assert_eq!(
            ["orlop", "runc", "crun"].map(|name| code(name, args)),
            expected,
            "{args:?}"
        );
    }
    // As runc, help that was not asked for is an answer and not an error.
    let help = called(&bundle, "runc", &[]).run().ok();
    assert!(help.stdout.contains("Usage: runc ") && help.stderr.is_empty());
}

/// An engine that finds orlop in the place of runc calls `delete --force` for containers that runc has created.
#[test]
fn delete_by_force_does_not_forget_a_running_container_of_runc() {
    let bundle = Bundle::new();
    let id = bundle.fresh_id();
    let directory: PathBuf = bundle.state_root().join(&id);
    std::fs::create_dir_all(&directory).unwrap();
    let mut process = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = process.id() as i32;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap();
    let state = format!(r#"{{"id":"{id}","init_process_pid":{pid},"init_process_start":{start}}}"#);
    std::fs::write(directory.join("state.json"), state).unwrap();
    for args in [
        &["delete", "--force", &id][..],
        &["kill", &id],
        &["state", &id],
        &["delete", &id],
    ] {
        bundle.orlop(args).run().fails_with(&format!(
            "the container was created by runc, and its process {pid} is running"
        ));
    }
    assert!(alive(pid) && directory.join("state.json").exists());
    // A zombie does not run.
    process.kill().unwrap();
    eventually("the process ends", || !alive(pid));
    bundle.orlop(["delete", "--force", &id]).run().ok();
    assert!(!directory.exists());
    process.wait().unwrap();
}
