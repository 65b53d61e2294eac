//! What holds for any options.

use proptest::prelude::*;

use super::*;

/// Runs the options one by one on two mounts, the top one and one below it, as if each were a call of its own.
fn one_by_one(options: &[&str], (mut top, mut below): (u64, u64)) -> (u64, u64) {
    for name in options {
        let alone = parse(&[name]);
        top = top & !alone.rec_attr_clear | alone.rec_attr_set;
        below = below & !alone.rec_attr_clear | alone.rec_attr_set;
        top = top & !alone.attr_clear | alone.attr_set;
    }
    (top, below)
}

fn known() -> impl Strategy<Value = &'static str> {
    prop::sample::select(NAMES)
}

/// Words that deny an access time mode look at what was asked before, so one alone does not tell its effect.
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
    fn anything_is_an_answer_and_never_a_panic(options in prop::collection::vec(prop_oneof![
        known().prop_map(str::to_owned),
        ".{0,12}",
        "[a-z,=\"\\\\]{0,12}",
    ], 0..12)) {
        if let Ok(result) = MountOptions::parse(&options) {
            prop_assert!(result.bind.is_none() || result.data.is_empty() && result.superblock.is_empty());
            // what is lost and what is asked for exclude each other, but for the mode, which is cleared to be set
            let asked = result.attr_set | result.rec_attr_set | result.attr_clear;
            prop_assert_eq!(result.attr_unnamed & asked, 0);
            for (set, clear) in [(result.attr_set, result.attr_clear), (result.rec_attr_set, result.rec_attr_clear)] {
                // what mount_setattr(2) demands
                let all = RDONLY | NOSUID | NODEV | NOEXEC | ATIME | NODIRATIME | NOSYMFOLLOW;
                prop_assert_eq!((set | clear) & !all, 0);
                prop_assert!([0, NOATIME, STRICTATIME].contains(&(set & ATIME)));
                prop_assert!(clear & ATIME == ATIME || (set | clear) & ATIME == 0);
                prop_assert_eq!(set & clear & !ATIME, 0);
            }
        }
    }

    #[test]
    fn what_is_unknown_goes_to_data(words in prop::collection::vec("[a-zA-Z_.]{1,9}(=[a-z0-9:/=]{0,9})?", 0..9)) {
        prop_assume!(words.iter().all(|word| NAMES.binary_search(&word.as_str()).is_err()));
        let result = MountOptions::parse(&words).unwrap();
        prop_assert_eq!(result.data_string(), words.join(","));
        prop_assert_eq!(MountOptions { data: vec![], ..result }, none());
    }

    #[test]
    fn two_calls_do_what_one_call_an_option_would(
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
    fn the_superblock_obeys_the_last_word(options in prop::collection::vec(known(), 0..16)) {
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
