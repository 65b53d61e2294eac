//! Properties of any list of options.

use proptest::prelude::*;

use super::*;

/// Applies the options one by one to two mounts, the top one and one below it, as if each were a separate call.
fn one_by_one(options: &[&str], (mut top, mut below): (u64, u64)) -> (u64, u64) {
    for name in options {
        let option = parse(&[name]);
        top = top & !option.rec_attr_clear | option.rec_attr_set;
        below = below & !option.rec_attr_clear | option.rec_attr_set;
        top = top & !option.attr_clear | option.attr_set;
    }
    (top, below)
}

fn known() -> impl Strategy<Value = &'static str> {
    prop::sample::select(NAMES)
}

/// Options whose effect does not depend on earlier ones. Those that negate an access time mode do.
fn absolute() -> impl Strategy<Value = &'static str> {
    known().prop_filter("relative", |name| {
        !["atime", "norelatime", "nostrictatime"]
            .iter()
            .any(|word| name.strip_prefix('r').unwrap_or(name) == *word)
    })
}

/// Attributes that a mount can have.
fn attributes() -> impl Strategy<Value = u64> {
    let flags = any::<u64>().prop_map(|bits| bits & (RDONLY | NOSUID | NODEV | NOEXEC | NODIRATIME | NOSYMFOLLOW));
    (flags, prop::sample::select(vec![0, NOATIME, STRICTATIME])).prop_map(|(flags, mode)| flags | mode)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsing_any_options_never_panics(options in prop::collection::vec(prop_oneof![
        known().prop_map(str::to_owned),
        ".{0,12}",
        "[a-z,=\"\\\\]{0,12}",
    ], 0..12)) {
        if let Ok(result) = MountOptions::parse(&options) {
            prop_assert!(result.bind.is_none() || result.data.is_empty() && result.superblock.is_empty());
            // Mentioned and unmentioned flags are disjoint.
            let mentioned = result.attr_set | result.rec_attr_set | result.attr_clear;
            prop_assert_eq!(result.attr_unnamed & mentioned, 0);
            for (set, clear) in [(result.attr_set, result.attr_clear), (result.rec_attr_set, result.rec_attr_clear)] {
                // The requirements of mount_setattr(2). The access time mode must be cleared to be set.
                let all = RDONLY | NOSUID | NODEV | NOEXEC | ATIME | NODIRATIME | NOSYMFOLLOW;
                prop_assert_eq!((set | clear) & !all, 0);
                prop_assert!([0, NOATIME, STRICTATIME].contains(&(set & ATIME)));
                prop_assert!(clear & ATIME == ATIME || (set | clear) & ATIME == 0);
                prop_assert_eq!(set & clear & !ATIME, 0);
            }
        }
    }

    #[test]
    fn unknown_options_go_to_the_file_system(words in prop::collection::vec("[a-zA-Z_.]{1,9}(=[a-z0-9:/=]{0,9})?", 0..9)) {
        prop_assume!(words.iter().all(|word| NAMES.binary_search(&word.as_str()).is_err()));
        let result = MountOptions::parse(&words).unwrap();
        prop_assert_eq!(result.data_string(), words.join(","));
        prop_assert_eq!(MountOptions { data: vec![], ..result }, none());
    }

    #[test]
    fn two_calls_have_the_same_effect_as_one_call_for_each_option(
        options in prop::collection::vec(absolute(), 0..12),
        before in (attributes(), attributes()),
    ) {
        let result = parse(&options);
        let (mut top, mut below) = before;
        top = top & !result.rec_attr_clear | result.rec_attr_set;
        below = below & !result.rec_attr_clear | result.rec_attr_set;
        top = top & !result.attr_clear | result.attr_set;
        prop_assert_eq!((top, below), one_by_one(&options, before));
    }

    #[test]
    fn the_superblock_has_the_last_option(options in prop::collection::vec(known(), 0..16)) {
        prop_assume!(!options.iter().any(|name| ["bind", "rbind", "remount"].contains(name)));
        let result = parse(&options);
        for (on, off) in [
            ("ro", vec!["rw", "rrw"]), ("sync", vec!["async"]), ("lazytime", vec!["nolazytime"]),
            ("mand", vec!["nomand"]), ("dirsync", vec![]),
        ] {
            let last = options.iter().rev().find(|name| **name == on || off.contains(name));
            prop_assert_eq!(result.superblock.contains(&flag(on)), last == Some(&on), "{}", on);
        }
    }
}
