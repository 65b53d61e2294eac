//! The bundle and its config.json: their paths, which sections may be absent, and later edits, which have no effect.

use std::fs::{self};

use serde_json::json;

use crate::harness::{Bundle, Facts};

#[test]
fn bundle_defaults_to_the_current_directory_and_may_be_relative() {
    let bundle = Bundle::new().args(["true"]);
    let id = bundle.fresh_id();
    bundle.orlop(["create", &id]).cwd(bundle.dir()).run().ok();
    assert_eq!(
        bundle.orlop(["state", &id]).run().ok().json()["bundle"],
        json!(bundle.dir())
    );

    let id = bundle.fresh_id();
    let name = bundle.dir().file_name().unwrap().to_str().unwrap();
    bundle
        .orlop(["create", "--bundle", name, &id])
        .cwd(bundle.dir().parent().unwrap())
        .run()
        .ok();
    assert_eq!(
        bundle.orlop(["state", &id]).run().ok().json()["bundle"],
        json!(bundle.dir())
    );
}

/// A config without settings that need a mount namespace.
fn without_mounts(bundle: Bundle) -> Bundle {
    bundle.edit(|c| {
        c.as_object_mut().unwrap().remove("mounts");
        c["root"]["readonly"] = json!(false);
    })
}

#[test]
fn the_path_of_the_root_is_absolute_or_relative_to_the_bundle() {
    for absolute in [false, true] {
        let bundle = Bundle::new();
        fs::write(bundle.inside("/etc/mark"), "this image").unwrap();
        let root = if absolute {
            bundle.inside("/").to_str().unwrap().to_owned()
        } else {
            "./rootfs/".to_owned()
        };
        let bundle = bundle.edit(|c| c["root"]["path"] = json!(root));
        // From another directory, so that it is not found relative to the working directory.
        let bundle = bundle.args(["probe", "cat", "/etc/mark"]);
        let out = bundle.run_cmd(&[]).cwd("/".as_ref()).run().ok();
        assert_eq!(out.stdout, "this image", "{root}");
    }
}

#[test]
fn the_linux_section_may_be_absent() {
    let bundle = without_mounts(Bundle::new().args(["probe", "exit", "7"])).edit(|c| {
        c.as_object_mut().unwrap().remove("linux");
        c.as_object_mut().unwrap().remove("hostname");
    });
    let out = bundle.run();
    assert_eq!(out.code, 7, "{out:#?}");
    bundle.assert_clean();
}

#[test]
fn sections_of_other_platforms_are_ignored() {
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        c["vm"] = json!({ "kernel": { "path": "/no/such/kernel" } });
        c["zos"] = json!({ "namespaces": [{ "type": "pid" }] });
        c["windows"] = json!({ "layerFolders": ["C:\\layer"] });
        c["solaris"] = json!({ "milestone": "svc:/milestone/container:default" });
        c["freebsd"] = json!({ "jail": { "host": "new" } });
    });
    bundle.run().ok();
}

/// CVE-2021-43784: data that is too long for a length field is an error and never parsed as something else.
#[test]
fn lists_and_paths_of_any_length_are_accepted_or_refused() {
    let long = format!("/proc/self/ns/net/{}", "x".repeat(70_000));
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        let list = c["linux"]["namespaces"].as_array_mut().unwrap();
        let network = list.iter_mut().find(|n| n["type"] == "network");
        network.expect("a network namespace")["path"] = json!(long);
    });
    bundle.run().fails_with("linux.namespaces");
    bundle.assert_clean();

    let mappings: Vec<_> = (0..6000)
        .map(|n| json!({ "containerID": n, "hostID": 100_000 + n, "size": 1 }))
        .collect();
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "user" }));
        c["linux"]["uidMappings"] = json!(mappings);
        c["linux"]["gidMappings"] = json!(mappings);
    });
    bundle.run().fails_with("linux.uidMappings");
    bundle.assert_clean();

    let value = "v".repeat(70_000);
    let bundle = Bundle::new().edit(|c| {
        let env = c["process"]["env"].as_array_mut().unwrap();
        env.push(json!(format!("LONG={value}")));
        c["annotations"] = json!({ "long": value });
    });
    let facts = Facts(bundle.run().ok().json());
    assert!(facts["env"].to_string().contains(&value));
}

#[test]
fn another_file_can_be_used_as_the_config() {
    let bundle = Bundle::new().args(["probe", "exit", "3"]);
    let other = bundle.path("other.json");
    fs::rename(bundle.path("config.json"), &other).expect("rename");
    let id = bundle.fresh_id();
    // Relative to the working directory; the root file system is still relative to the bundle.
    let out = bundle
        .orlop([
            "run",
            "-f",
            "other.json",
            "--bundle",
            bundle.dir().to_str().unwrap(),
            &id,
        ])
        .cwd(bundle.dir())
        .run();
    assert_eq!(out.code, 3, "{}", out.stderr);
    let out = bundle
        .create_cmd(&bundle.fresh_id(), &["--config", "/nowhere.json"])
        .run();
    out.fails_with("open(\"/nowhere.json\"): ENOENT");
    fs::rename(other, bundle.path("config.json")).expect("rename");
}

#[test]
fn later_edits_of_the_config_have_no_effect() {
    let bundle = Bundle::new().args(["probe", "print", "as created"]);
    let c = bundle.create();
    bundle.change(|config| config["process"]["args"] = json!(["probe", "print", "edited"]));
    c.start();
    c.until("as created");

    let c = bundle.create();
    fs::remove_file(bundle.path("config.json")).unwrap();
    c.start();
    c.until("edited");
    c.until_stopped();
    c.delete();
}

#[test]
fn process_may_be_absent_until_start() {
    let bundle = Bundle::new().edit(|c| {
        c.as_object_mut().unwrap().remove("process");
    });
    let c = bundle.create();
    assert_eq!(c.status(), "created");
    c.try_start().fails_with("process");
}

#[test]
fn mounts_may_be_absent() {
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        c.as_object_mut().unwrap().remove("mounts");
        c["linux"]["maskedPaths"] = json!([]);
        c["linux"]["readonlyPaths"] = json!([]);
    });
    bundle.run().ok();
}

#[test]
fn unknown_properties_are_ignored() {
    let bundle = Bundle::new().args(["true"]).edit(|c| {
        c["futureSection"] = json!({ "a": 1 });
        c["process"]["futureField"] = json!(true);
        c["linux"]["futureField"] = json!(["x"]);
        c["solaris"] = json!({ "milestone": "x" });
    });
    bundle.run().ok();
}

#[test]
fn create_without_a_readable_config_leaves_nothing() {
    for (content, reason) in [
        (None, "config.json not found"),
        (Some(""), "config.json: the file is empty"),
        (Some("{"), "config.json:1:1: EOF"),
        (Some("[]"), "config.json: not a JSON object"),
        (Some("null"), "config.json: not a JSON object"),
        (Some("{}"), "ociVersion: missing or empty"),
    ] {
        let bundle = Bundle::new();
        match content {
            None => fs::remove_file(bundle.path("config.json")).unwrap(),
            Some(text) => fs::write(bundle.path("config.json"), text).unwrap(),
        }
        bundle.create_cmd(&bundle.fresh_id(), &[]).run().fails_for(reason);
        bundle.assert_clean();
    }
}
