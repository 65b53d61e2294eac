//! Our reader of config.json agrees with the oci-spec crate, the public model: every section has the same value in both.
//!
//! Each of them rejects some configs that the other one accepts, see `bundle::document`; these are not compared.

use oci_spec::runtime as oci;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::config::places;
use orlop::bundle::document::Spec;
use orlop::bundle::text::read_as;
use orlop::commands::spec::default_spec;

/// Compares both readings of a config. Returns whether both accept it.
fn compare(config: &Value) -> bool {
    let text = config.to_string();
    let (Ok(ours), Ok(model)) = (
        read_as::<Spec>(text.as_bytes()),
        serde_json::from_str::<oci::Spec>(&text),
    ) else {
        return false;
    };
    assert_eq!(ours.version(), model.version());
    assert_eq!(ours.root(), model.root());
    assert_eq!(ours.mounts(), model.mounts());
    assert_eq!(ours.hostname(), model.hostname());
    assert_eq!(ours.domainname(), model.domainname());
    assert_eq!(ours.hooks(), model.hooks());
    assert_eq!(ours.annotations(), model.annotations());
    assert_eq!(ours.linux(), model.linux());
    assert_eq!(ours.process().is_some(), model.process().is_some());
    if let (Some(ours), Some(model)) = (ours.process(), model.process()) {
        assert_eq!(ours.terminal(), model.terminal());
        assert_eq!(ours.console_size(), model.console_size());
        assert_eq!(ours.user(), model.user());
        assert_eq!(ours.args(), model.args());
        assert_eq!(ours.env(), model.env());
        assert_eq!(ours.cwd(), model.cwd());
        assert_eq!(ours.rlimits(), model.rlimits());
        assert_eq!(ours.no_new_privileges(), model.no_new_privileges());
        assert_eq!(ours.apparmor_profile(), model.apparmor_profile());
        assert_eq!(ours.oom_score_adj(), model.oom_score_adj());
        assert_eq!(ours.selinux_label(), model.selinux_label());
    }
    true
}

/// A config with every key, except those whose placeholders in the file the crate rejects, and the sections of other systems.
fn every_key() -> Value {
    let mut config: Value = serde_json::from_str(include_str!("../every_key.json")).unwrap();
    let process = config["process"].as_object_mut().unwrap();
    for key in ["capabilities", "scheduler", "ioPriority", "execCPUAffinity"] {
        process.remove(key);
    }
    for section in ["windows", "solaris", "vm", "zos", "freebsd"] {
        config.as_object_mut().unwrap().remove(section);
    }
    config
}

#[test]
fn whole_configs_have_the_same_values_as_in_the_oci_spec_crate() {
    assert!(compare(&default_spec()) && compare(&every_key()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Some values are missing or replaced.
    #[test]
    fn changed_configs_have_the_same_values_as_in_the_oci_spec_crate(
        config in select(vec![default_spec(), every_key()]),
        changes in prop::collection::vec((any::<Index>(), select(vec![
            json!(null), json!(0), json!(-1), json!(4096), json!(""), json!("host"), json!(true), json!([]), json!({}),
        ])), 1..4),
    ) {
        let mut config = config;
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&config, String::new(), &mut all);
            if let Some(found) = config.pointer_mut(&all[place.index(all.len())]) {
                *found = value;
            }
        }
        compare(&config);
    }
}
