//! `process.cwd`.

use std::fs::{self};
use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::json;

use crate::harness::Bundle;
use crate::harness::users::remapped as in_user_namespace;

/// Only a group of the process may enter the directory: chdir(2) before the change of the user fails.
#[test]
fn a_working_directory_that_only_the_user_may_enter() {
    let bundle = in_user_namespace(Bundle::new()).edit(|c| {
        c["process"]["user"] = json!({ "uid": 1000, "gid": 1000, "additionalGids": [7] });
        c["process"]["cwd"] = json!("/home/work");
    });
    let (home, work) = (bundle.inside("/home"), bundle.inside("/home/work"));
    fs::create_dir_all(&work).unwrap();
    // No user of the container owns it; its group is 7 in the container.
    chown(&home, Some(5), Some(100_007)).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o070)).unwrap();
    assert_eq!(bundle.facts()["cwd"], "/home/work");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    let out = bundle.run().fails_with("process.cwd \"/home/work\"");
    assert!(out.stderr.contains("EACCES"), "{out:#?}");
}

#[test]
fn a_missing_working_directory_is_made() {
    let bundle = Bundle::new().args(["probe", "facts", "/new", "/new/deeper"]).edit(|c| {
        c["process"]["cwd"] = json!("/new/deeper");
        c["root"]["readonly"] = json!(false);
    });
    let facts = bundle.facts();
    assert_eq!(facts["cwd"], "/new/deeper");
    for made in ["/new", "/new/deeper"] {
        assert_eq!(facts.path(made)["mode"], "0755", "{made}");
    }
}
