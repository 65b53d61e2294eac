//! The flags of a bind mount: those of its source, or those of its options.

use super::flags::{bound, has, tree};
use crate::harness::users::{as_user, remapped, rootless};
use crate::harness::{Bundle, Facts};

/// linux/mount.h
const MS_NOSYMFOLLOW: libc::c_ulong = 256;

const LOCKABLE: &[&str] = &["ro", "nosuid", "nodev", "noexec"];
const ALL: libc::c_ulong = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | MS_NOSYMFOLLOW;

/// The flags of the mount on /volume, in the order of this list.
fn flags(facts: &Facts) -> Vec<&'static str> {
    let all = [
        "ro",
        "nosuid",
        "nodev",
        "noexec",
        "nosymfollow",
        "noatime",
        "nodiratime",
        "relatime",
    ];
    all.into_iter().filter(|name| has(facts, "/volume", name)).collect()
}

fn seen(source: libc::c_ulong, options: &[&str]) -> Vec<&'static str> {
    let (bundle, _host) = bound(Bundle::new(), source, options);
    flags(&bundle.facts())
}

#[test]
fn without_flags_it_has_those_of_its_source() {
    let all = ["ro", "nosuid", "nodev", "noexec", "nosymfollow", "relatime"];
    for options in [
        &["bind"][..],
        &["rbind", "rprivate"],
        &["bind", "defaults"],
        // They apply to all mounts of the tree, and change only the flags that they name.
        &["rbind", "rro"],
    ] {
        assert_eq!(seen(ALL, options), all, "{options:?}");
    }
}

#[test]
fn with_flags_it_has_exactly_these() {
    for (options, expected) in [
        (&["bind", "dev"][..], &[][..]),
        (&["bind", "ro"], &["ro"]),
        (&["bind", "nosuid", "nodev", "rprivate"], &["nosuid", "nodev"]),
        (&["bind", "ro", "rw"], &[]),
        (&["bind", "symfollow", "noexec"], &["noexec"]),
        // A flag of the file system has no effect here, but counts as a flag.
        (&["bind", "sync"], &[]),
        (&["bind", "atime", "nosymfollow"], &["nosymfollow"]),
        (&["rbind", "nosuid", "rro"], &["ro", "nosuid"]),
        (&["rbind", "rro", "nosuid"], &["ro", "nosuid"]),
        (&["rbind", "rro", "rw", "nosuid"], &["nosuid"]),
    ] {
        let expected: Vec<_> = expected.iter().copied().chain(["relatime"]).collect();
        assert_eq!(seen(ALL, options), expected, "{options:?}");
    }
}

#[test]
fn the_access_time_mode_is_the_sources_unless_given() {
    let (strict, nodir) = (libc::MS_STRICTATIME, libc::MS_NODIRATIME);
    let both = libc::MS_NOATIME | nodir;
    for (source, options, expected) in [
        (both, &["bind", "ro"][..], &["ro", "noatime", "nodiratime"][..]),
        (strict, &["bind", "ro"], &["ro"]),
        (both, &["bind", "norelatime"], &["noatime", "nodiratime"]),
        (both, &["bind", "relatime"], &["relatime"]),
        (both, &["bind", "strictatime"], &[]),
        (strict, &["bind", "noatime"], &["noatime"]),
        // The mode is relatime where only this is given.
        (libc::MS_NOATIME, &["bind", "nodiratime"], &["nodiratime", "relatime"]),
        (
            strict,
            &["bind", "nodiratime", "norelatime"],
            &["nodiratime", "relatime"],
        ),
        (
            libc::MS_NOATIME,
            &["bind", "nodiratime", "strictatime"],
            &["nodiratime"],
        ),
        // Options that only restrict leave the rest.
        (both, &["bind", "diratime"], &["noatime"]),
        (both, &["bind", "atime"], &["nodiratime", "relatime"]),
        (both, &["rbind", "rstrictatime"], &["nodiratime"]),
        (both, &["rbind", "rstrictatime", "ro"], &["ro", "nodiratime"]),
        (strict, &["rbind", "rnoatime", "nodiratime"], &["noatime", "nodiratime"]),
    ] {
        assert_eq!(seen(source, options), expected, "{options:?}");
    }
}

/// The mounts below are not changed.
#[test]
fn mounts_below_keep_their_flags() {
    let (bundle, _hosts) = tree(Bundle::new(), libc::MS_NOSUID | libc::MS_NOEXEC, &["rbind", "nodev"]);
    let facts = bundle.facts();
    assert_eq!(flags(&facts), ["nodev", "relatime"]);
    assert!(has(&facts, "/volume/below", "nosuid") && has(&facts, "/volume/below", "noexec"));
}

#[test]
fn a_remount_changes_only_the_given_flags() {
    let (bundle, _host) = bound(Bundle::new(), libc::MS_NOSUID | libc::MS_NOATIME, &["bind"]);
    let bundle = bundle.mount("/volume", "none", "none", &["remount", "bind", "ro"]);
    assert_eq!(flags(&bundle.facts()), ["ro", "nosuid", "noatime"]);
}

/// By default a container in a user namespace gets no more than the host's mount allows; an explicit option is applied, or
/// an error (`user_namespace.rs: a_locked_flag_is_named`).
#[test]
fn in_a_user_namespace_lockable_flags_stay_unless_given() {
    let mine = |bundle: Bundle, user: bool| {
        let run = bundle.run_cmd(&[]);
        Facts(if user { as_user(run) } else { run }.run().ok().json())
    };
    for user in [false, true] {
        let namespace = if user { rootless } else { remapped };
        for (source, options, expected) in [
            (ALL, &["bind", "diratime"][..], LOCKABLE),
            (ALL, &["bind", "ro", "symfollow"], LOCKABLE),
            (
                libc::MS_NOSUID | libc::MS_NODEV,
                &["bind", "ro", "exec"],
                &["ro", "nosuid", "nodev"],
            ),
            (MS_NOSYMFOLLOW, &["bind", "noexec"], &["noexec"]),
        ] {
            let (bundle, _host) = bound(namespace(Bundle::new()), source, options);
            let expected: Vec<_> = expected.iter().copied().chain(["relatime"]).collect();
            assert_eq!(flags(&mine(bundle, user)), expected, "{options:?}, user: {user}");
        }
        for (source, kept) in [
            (libc::MS_NOATIME, &["ro", "noatime"][..]),
            (libc::MS_NODIRATIME, &["ro", "nodiratime", "relatime"]),
        ] {
            let (bundle, _host) = bound(namespace(Bundle::new()), source, &["bind", "ro"]);
            assert_eq!(flags(&mine(bundle, user)), kept);
        }
    }
    // Root may clear a flag that is named.
    let (bundle, _host) = bound(remapped(Bundle::new()), ALL, &["bind", "rw", "exec"]);
    assert_eq!(flags(&bundle.facts()), ["nosuid", "nodev", "relatime"]);
}
