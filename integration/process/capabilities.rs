//! `process.capabilities`.

use caps::Capability;
use serde_json::{Value, json};

use super::identity::facts;
use crate::harness::Bundle;
use crate::harness::host::drop_bounding;
use crate::harness::users::remapped as in_user_namespace;

#[test]
fn capabilities_are_those_of_the_config() {
    let facts = facts();
    let three = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"]);
    for set in ["bounding", "permitted", "effective"] {
        assert_eq!(facts["caps"][set], three, "{set}");
    }
    for set in ["inheritable", "ambient"] {
        assert_eq!(facts["caps"][set], json!([]), "{set}");
    }
    assert_eq!(facts["securebits"], 0);
    assert_eq!(facts["noNewPrivileges"], true);
    assert_eq!(facts["seccomp"], 0);
}

#[test]
fn no_capabilities_means_none() {
    for capabilities in [json!({}), Value::Null] {
        let facts = Bundle::new()
            .edit(|c| match capabilities {
                Value::Null => drop(c["process"].as_object_mut().unwrap().remove("capabilities")),
                empty => c["process"]["capabilities"] = empty,
            })
            .facts();
        for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
            assert_eq!(facts["caps"][set], json!([]), "{set}");
        }
    }
}

#[test]
fn an_unknown_or_unavailable_capability_is_a_warning() {
    let bundle = Bundle::new().with_caps(&["CAP_FROM_THE_FUTURE"]);
    let out = bundle.run().ok();
    assert!(out.stderr.contains("CAP_FROM_THE_FUTURE"), "no warning: {out:#?}");
    assert_eq!(
        out.json()["caps"]["effective"],
        json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"])
    );
}

#[test]
fn other_users_have_no_effective_capabilities_of_their_own() {
    let facts = Bundle::new()
        .edit(|c| c["process"]["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [5, 7] }))
        .facts();
    assert_eq!(facts["uid"], json!([1000, 1000, 1000, 1000]));
    assert_eq!(facts["gid"], json!([1001, 1001, 1001, 1001]));
    let mut groups: Vec<u64> = facts["groups"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    groups.sort_unstable();
    assert_eq!(groups, [5, 7]);
    // The process has exactly the sets of the specification, also for a user other than root.
    assert_eq!(facts["caps"]["ambient"], json!([]));
    assert_eq!(facts["caps"]["inheritable"], json!([]));
    assert_eq!(
        facts["caps"]["bounding"],
        json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"])
    );
}

fn caps(bundle: Bundle, sets: Value) -> (Value, String) {
    let out = bundle.edit(|c| c["process"]["capabilities"] = sets).run().ok();
    (out.json()["caps"].clone(), out.stderr)
}

#[test]
fn capabilities_of_each_set_alone() {
    for bundle in [Bundle::new as fn() -> Bundle, || in_user_namespace(Bundle::new())] {
        for set in ["bounding", "permitted", "inheritable"] {
            let (found, stderr) = caps(bundle(), json!({ set: ["CAP_CHOWN", "CAP_NET_RAW"] }));
            for other in ["bounding", "permitted", "inheritable", "effective", "ambient"] {
                let mut expected = json!([]);
                if other == set && set != "permitted" {
                    expected = json!(["CAP_CHOWN", "CAP_NET_RAW"]);
                }
                // Capabilities outside root's bounding set are lost at execve(2), see capabilities(7).
                assert_eq!(found[other], expected, "{other} with {set} alone");
            }
            assert!(stderr.is_empty(), "{stderr}");
        }
    }
}

/// What the specification calls "cannot be granted otherwise".
#[test]
fn capabilities_that_cannot_be_granted_are_a_warning() {
    for bundle in [Bundle::new as fn() -> Bundle, || in_user_namespace(Bundle::new())] {
        let (found, stderr) = caps(
            bundle(),
            json!({
                "bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"],
                "effective": ["CAP_CHOWN", "CAP_KILL"], "ambient": ["CAP_CHOWN"],
            }),
        );
        assert_eq!(
            (&found["effective"], &found["ambient"]),
            (&json!(["CAP_CHOWN"]), &json!([]))
        );
        assert!(
            stderr.contains("process.capabilities.effective") && stderr.contains("CAP_KILL"),
            "{stderr}"
        );
        assert!(
            stderr.contains("process.capabilities.ambient") && stderr.contains("CAP_CHOWN"),
            "{stderr}"
        );
    }
}

#[test]
fn capabilities_beyond_the_callers_bounding_set_are_a_warning() {
    let bundle = Bundle::new().with_caps(&["CAP_CHOWN"]);
    let without_chown = || drop_bounding(Capability::CAP_CHOWN);
    let out = bundle.run_cmd(&[]).before_exec(without_chown).run().ok();
    assert!(out.stderr.contains("CAP_CHOWN"), "no warning: {out:#?}");
    let rest = json!(["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_AUDIT_WRITE"]);
    for set in ["bounding", "permitted", "effective"] {
        assert_eq!(out.json()["caps"][set], rest, "{set}");
    }
}

#[test]
fn ambient_capabilities_reach_another_user() {
    for bundle in [Bundle::new(), in_user_namespace(Bundle::new())] {
        let kill = json!(["CAP_KILL"]);
        let bundle = bundle.edit(|c| {
            c["process"]["user"]["uid"] = json!(1000);
            for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
                c["process"]["capabilities"][set] = kill.clone();
            }
        });
        let facts = bundle.facts();
        for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
            assert_eq!(facts["caps"][set], kill, "{set}");
        }
    }
}
