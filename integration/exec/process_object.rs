//! `exec --process`: a file that describes the whole process.

use std::fs::{self};
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::harness::exec::{exec_cmd, exec_facts, idle, process_file};
use crate::harness::{Bundle, Facts};

#[test]
fn a_process_object_sets_everything() {
    let bundle = idle();
    let c = bundle.start();
    let process = json!({
        "args": ["probe", "facts"], "cwd": "/tmp", "env": ["PATH=/bin", "X=1"],
        "user": { "uid": 1000, "gid": 1001, "additionalGids": [4], "umask": 0o077 },
        "capabilities": { "bounding": ["CAP_KILL"] },
        "rlimits": [{ "type": "RLIMIT_NOFILE", "soft": 50, "hard": 60 }],
        "oomScoreAdj": 555,
        "noNewPrivileges": true,
    });
    let file = process_file(&bundle, &process);
    let facts = Facts(exec_cmd(&c, &["--process", &file], &[]).run().ok().json());
    assert_eq!(
        (&facts["uid"][0], &facts["gid"][0], &facts["groups"]),
        (&json!(1000), &json!(1001), &json!([4]))
    );
    assert_eq!((&facts["cwd"], &facts["umask"]), (&json!("/tmp"), &json!("0077")));
    assert_eq!(facts["env"], json!(["PATH=/bin", "X=1", "HOME=/"]));
    assert_eq!(facts["caps"]["bounding"], json!(["CAP_KILL"]));
    assert_eq!(facts["caps"]["effective"], json!([]));
    assert_eq!(facts["rlimits"]["RLIMIT_NOFILE"], json!([50, 60]));
    assert_eq!(facts["oomScoreAdj"], 555);
    assert_eq!(facts["noNewPrivileges"], true);
    // Flags override it.
    let facts = exec_facts(&c, &["-p", &file, "-u", "2000", "--cwd", "/", "-e", "X=2"]);
    assert_eq!((&facts["uid"][0], &facts["gid"][0]), (&json!(2000), &json!(1001)));
    assert_eq!(facts["cwd"], "/");
    assert_eq!(facts["env"], json!(["PATH=/bin", "X=2", "HOME=/"]));
    for (broken, text) in [
        ("", "EOF"),
        ("[]", "not a JSON object"),
        ("{", "EOF"),
        (r#"{"args":[],"cwd":"/","user":{"uid":0,"gid":0}}"#, "process.args"),
        (
            r#"{"args":["true"],"cwd":"tmp","user":{"uid":0,"gid":0}}"#,
            "process.cwd",
        ),
        (
            r#"{"args":["true"],"cwd":"/","user":{"uid":4294967295,"gid":0}}"#,
            "process.user.uid",
        ),
        (r#"{"args":["true"],"cwd":"/","user":{"uid":-1,"gid":0}}"#, "user.uid"),
        (
            r#"{"args":["true"],"cwd":"/","user":{"uid":0,"gid":0},"rlimits":[{"type":"RLIMIT_CORE","soft":2,"hard":1}]}"#,
            "process.rlimits[0]",
        ),
    ] {
        fs::write(&file, broken).unwrap();
        let out = exec_cmd(&c, &["--process", &file], &[]).run().fails_with(text);
        assert_eq!(out.code, 255);
    }
    let out = exec_cmd(&c, &["--process", "/no/such/file"], &[])
        .run()
        .fails_with("/no/such/file");
    assert_eq!(out.code, 255);
}

#[test]
fn a_container_without_a_process_needs_a_process_object() {
    let bundle = idle().edit(|c| drop(c.as_object_mut().unwrap().remove("process")));
    let c = bundle.create();
    let out = exec_cmd(&c, &[], &["true"])
        .run()
        .fails_with("no process to take defaults from");
    assert_eq!(out.code, 255);
    let process =
        json!({ "args": ["probe", "exit", "3"], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 } });
    let file = process_file(&bundle, &process);
    assert_eq!(exec_cmd(&c, &["--process", &file], &[]).run().code, 3);
}

/// A shell's `<(…)` expands to the path of a descriptor that the caller keeps open.
#[test]
fn the_process_file_may_be_an_inherited_descriptor() {
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let file = bundle.path("process.json");
    // Without `user`, which the schema does not require either.
    let process = json!({ "args": ["sh", "-c", "id -u; ls /proc/self/fd | wc -l"], "cwd": "/", "env": ["PATH=/bin"] });
    fs::write(&file, process.to_string()).unwrap();
    symlink("busybox", bundle.inside("/bin/wc")).unwrap();
    let out = bundle
        .orlop(["exec", "--process", "/dev/fd/63", &c.id])
        .pass_fd(fs::File::open(&file).unwrap(), 63)
        .run()
        .ok();
    // The fourth is the directory that ls reads.
    assert_eq!(out.stdout, "0\n4\n");
}

/// A file with few properties must not give other privileges, nor a better OOM score, such as that of an engine
/// that must not be killed.
#[test]
fn confinement_missing_from_a_process_file_is_the_containers() {
    let bundle = idle().edit(|c| c["process"]["oomScoreAdj"] = json!(444));
    let c = bundle.start();
    let wanted = bundle.path("config.json");
    let config: Value = serde_json::from_str(&fs::read_to_string(wanted).unwrap()).unwrap();
    let little = json!({ "args": ["probe", "facts"], "cwd": "/", "env": ["PATH=/bin"] });
    let file = process_file(&bundle, &little);
    let facts: Value = exec_cmd(&c, &["--process", &file], &[]).run().ok().json();
    assert_eq!(facts["oomScoreAdj"], 444);
    for set in ["bounding", "effective", "permitted"] {
        let names = |value: &Value| {
            let mut names: Vec<String> = serde_json::from_value(value.clone()).unwrap();
            names.sort();
            names
        };
        assert_eq!(
            names(&facts["caps"][set]),
            names(&config["process"]["capabilities"][set]),
            "{set}"
        );
    }
    // An empty object says that there are none.
    let none =
        json!({ "args": ["probe", "facts"], "cwd": "/", "env": ["PATH=/bin"], "capabilities": {}, "oomScoreAdj": 500 });
    let facts: Value = exec_cmd(&c, &["--process", &process_file(&bundle, &none)], &[])
        .run()
        .ok()
        .json();
    assert_eq!(
        (&facts["caps"]["bounding"], &facts["oomScoreAdj"]),
        (&json!([]), &json!(500))
    );
}
