//! `process.env`, and how the runtime uses it.

use std::fs;

use serde_json::{Value, json};

use crate::harness::Bundle;

#[test]
fn the_environment_is_that_of_the_config() {
    let bundle = Bundle::new();
    let facts = bundle.run_cmd(&[]).env("SECRET", "of the caller").run().ok().json();
    let env: Vec<&str> = facts["env"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(env[..2], [path, "TERM=xterm"]);
    assert!(env[2..].iter().all(|entry| entry.starts_with("HOME=")), "{env:?}");

    let asked = json!(["Z=1", "PATH=/bin", "A=2", "HOME=/home", "EMPTY="]);
    let facts = Bundle::new().edit(|c| c["process"]["env"] = asked.clone()).facts();
    assert_eq!(facts["env"], asked, "order and content as given");
}

#[test]
fn the_program_is_found_in_the_containers_path() {
    let bundle = Bundle::new()
        .args(["hidden", "facts"])
        .edit(|c| c["process"]["env"] = json!(["PATH=/nowhere:/etc"]));
    fs::copy(bundle.inside("/bin/probe"), bundle.inside("/etc/hidden")).unwrap();
    let facts = bundle.facts();
    assert_eq!(facts["argv"], json!(["hidden", "facts"]));
}

fn environment(bundle: &Bundle) -> Vec<String> {
    let facts = bundle.facts();
    let entries = facts["env"].as_array().unwrap().iter();
    entries.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn home_is_the_users_in_the_containers_passwd() {
    let bundle = Bundle::new().edit(|c| {
        c["process"]["env"] = json!(["PATH=/bin"]);
        c["process"]["user"]["uid"] = json!(1000);
    });
    let passwd = bundle.inside("/etc/passwd");
    assert_eq!(environment(&bundle), ["PATH=/bin", "HOME=/"], "no such file");
    fs::write(
        &passwd,
        "root:x:0:0::/root:/bin/sh\nme:x:1000:1000:Me:/home/me:/bin/sh\nalso:x:1000:1::/x:\n",
    )
    .unwrap();
    assert_eq!(environment(&bundle), ["PATH=/bin", "HOME=/home/me"]);
    bundle.change(|c| c["process"]["env"] = json!(["HOME=", "PATH=/bin"]));
    assert_eq!(
        environment(&bundle),
        ["PATH=/bin", "HOME=/home/me"],
        "an empty one is none"
    );
    bundle.change(|c| c["process"]["env"] = json!(["HOME=/else", "PATH=/bin"]));
    assert_eq!(environment(&bundle), ["HOME=/else", "PATH=/bin"]);
    bundle.change(|c| c["process"]["user"]["uid"] = json!(7));
    bundle.change(|c| c["process"]["env"] = json!(["PATH=/bin"]));
    assert_eq!(environment(&bundle), ["PATH=/bin", "HOME=/"], "not in the file");
    fs::write(&passwd, "seven:x:7\nbroken\n::::\nseven:x:7:7::/seven:\n").unwrap();
    assert_eq!(environment(&bundle), ["PATH=/bin", "HOME=/seven"]);
    fs::remove_file(&passwd).unwrap();
    fs::create_dir(&passwd).unwrap();
    assert_eq!(environment(&bundle), ["PATH=/bin", "HOME=/"], "a directory");
}

#[test]
fn a_variable_given_twice_has_its_last_value() {
    let asked = json!(["HOME=/", "A=1", "PATH=/nowhere", "A=2", "PATH=/bin"]);
    let bundle = Bundle::new().edit(|c| c["process"]["env"] = asked);
    // The program is found by the PATH that counts.
    assert_eq!(environment(&bundle), ["HOME=/", "A=2", "PATH=/bin"]);
}
