//! The session keyring.

use serde_json::{Value, json};

use crate::harness::Bundle;
use crate::harness::host::has_session_keyrings;
use crate::harness::users::remapped as in_user_namespace;
use crate::need;

#[test]
fn the_keyring_is_new() {
    need!(has_session_keyrings(), "session keyrings");
    let bundle = Bundle::new();
    let name = |flags: &[&str]| {
        let facts = bundle.run_cmd(flags).run().ok().json();
        facts["keyring"]["description"].as_str().unwrap_or_default().to_owned()
    };
    // Named after the container: `_ses.ID` by convention.
    assert!(name(&[]).ends_with("-c0"));
    assert!(!name(&["--no-new-keyring"]).ends_with("-c1"));
}

/// Containers of the same user could join each other's keyring if they knew its name.
#[test]
fn the_keyring_has_no_name_that_another_container_knows() {
    need!(has_session_keyrings(), "session keyrings");
    let name = |facts: &Value| {
        let description = facts["keyring"]["description"].as_str().unwrap();
        description.rsplit(';').next().unwrap().to_owned()
    };
    let bundle = Bundle::new().args(["probe", "sleep"]);
    let c = bundle.start();
    let facts = bundle.orlop(["exec", &c.id, "probe", "facts"]).run().ok().json();
    // It contains the ID for people who read /proc/keys.
    let secret = name(&facts).strip_suffix(&format!("_ses.{}", c.id)).unwrap().to_owned();
    assert!(secret.len() >= 16, "{secret}");
    let facts = bundle.orlop(["exec", &c.id, "probe", "facts"]).run().ok().json();
    assert!(name(&facts).starts_with(&secret), "joined by all of its processes");
    let other = Bundle::new().edit(|c| c["linux"]["maskedPaths"] = json!([]));
    let keys = other.attempt(["keyctl-read"]);
    let keys = keys.detail("keyctl-read").as_str().unwrap();
    assert!(keys.contains("_ses."), "its own: {keys}");
    assert!(!keys.contains(&secret), "{keys}");
}

/// keyctl_join_session_keyring(3): a process that joins later finds the keyring by its name, if it may search it.
#[test]
fn the_keyring_can_be_joined_by_its_name() {
    need!(has_session_keyrings(), "session keyrings");
    for (bundle, permissions) in [
        (Bundle::new(), "3f080000"),
        (in_user_namespace(Bundle::new()), "3f000008"),
    ] {
        let facts = bundle.facts();
        let description = facts["keyring"]["description"].as_str().unwrap();
        assert_eq!(description.split(';').nth(3), Some(permissions), "{description}");
    }
}
