//! Mount options: the effect of each one alone, of their order, and properties of any list.

mod any;

use orlop::bundle::mount_options::{NAMES, OptionError};
use orlop::plan::{FsOption, MountOptions, Propagation, PropagationKind, Reach};

// include/uapi/linux/mount.h, repeated here so that a wrong constant in the table is noticed.
const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;
const ATIME: u64 = 0x70;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

fn parse(options: &[&str]) -> MountOptions {
    MountOptions::parse(options).unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

fn flag(word: &str) -> FsOption {
    FsOption::flag(word)
}

fn string(key: &str, value: &str) -> FsOption {
    FsOption::String(key.into(), value.into())
}

fn none() -> MountOptions {
    MountOptions::default()
}

fn set(bit: u64) -> MountOptions {
    MountOptions {
        attr_set: bit,
        ..none()
    }
}

fn clear(bit: u64) -> MountOptions {
    MountOptions {
        attr_clear: bit,
        ..none()
    }
}

fn rec_set(bit: u64) -> MountOptions {
    MountOptions {
        rec_attr_set: bit,
        ..none()
    }
}

fn rec_clear(bit: u64) -> MountOptions {
    MountOptions {
        rec_attr_clear: bit,
        ..none()
    }
}

fn atime(mode: u64) -> MountOptions {
    MountOptions {
        attr_set: mode,
        attr_clear: ATIME,
        ..none()
    }
}

fn rec_atime(mode: u64) -> MountOptions {
    MountOptions {
        rec_attr_set: mode,
        rec_attr_clear: ATIME,
        ..none()
    }
}

fn superblock(word: &str) -> MountOptions {
    MountOptions {
        superblock: vec![flag(word)],
        ..none()
    }
}

fn legacy_flag(flag: u64) -> MountOptions {
    MountOptions { mount2: flag, ..none() }
}

fn propagation(kind: PropagationKind, reach: Reach) -> MountOptions {
    MountOptions {
        propagation: vec![Propagation { kind, reach }],
        ..none()
    }
}

/// The effect of every option alone, on a new file system.
fn effects() -> Vec<(&'static str, MountOptions)> {
    use PropagationKind::*;
    use Reach::*;
    vec![
        ("async", none()),
        ("atime", atime(0)),
        (
            "bind",
            MountOptions {
                bind: Some(Plain),
                ..none()
            },
        ),
        ("defaults", none()),
        ("dev", clear(NODEV)),
        ("diratime", clear(NODIRATIME)),
        ("dirsync", superblock("dirsync")),
        ("exec", clear(NOEXEC)),
        (
            "idmap",
            MountOptions {
                idmap: Some(Plain),
                ..none()
            },
        ),
        ("iversion", legacy_flag(libc::MS_I_VERSION)),
        ("lazytime", superblock("lazytime")),
        ("loud", none()),
        ("mand", superblock("mand")),
        ("noatime", atime(NOATIME)),
        ("nodev", set(NODEV)),
        ("nodiratime", set(NODIRATIME)),
        ("noexec", set(NOEXEC)),
        ("noiversion", none()),
        ("nolazytime", none()),
        ("nomand", none()),
        ("norelatime", none()),
        ("nostrictatime", atime(0)),
        ("nosuid", set(NOSUID)),
        ("nosymfollow", set(NOSYMFOLLOW)),
        ("private", propagation(Private, Plain)),
        ("ratime", rec_atime(0)),
        (
            "rbind",
            MountOptions {
                bind: Some(Recursive),
                ..none()
            },
        ),
        ("rdev", rec_clear(NODEV)),
        ("rdiratime", rec_clear(NODIRATIME)),
        ("relatime", atime(0)),
        (
            "remount",
            MountOptions {
                remount: true,
                ..none()
            },
        ),
        ("rexec", rec_clear(NOEXEC)),
        (
            "ridmap",
            MountOptions {
                idmap: Some(Recursive),
                ..none()
            },
        ),
        ("rnoatime", rec_atime(NOATIME)),
        ("rnodev", rec_set(NODEV)),
        ("rnodiratime", rec_set(NODIRATIME)),
        ("rnoexec", rec_set(NOEXEC)),
        ("rnorelatime", none()),
        ("rnostrictatime", rec_atime(0)),
        ("rnosuid", rec_set(NOSUID)),
        ("rnosymfollow", rec_set(NOSYMFOLLOW)),
        (
            "ro",
            MountOptions {
                superblock: vec![flag("ro")],
                ..set(RDONLY)
            },
        ),
        ("rprivate", propagation(Private, Recursive)),
        ("rrelatime", rec_atime(0)),
        ("rro", rec_set(RDONLY)),
        ("rrw", rec_clear(RDONLY)),
        ("rshared", propagation(Shared, Recursive)),
        ("rslave", propagation(Slave, Recursive)),
        ("rstrictatime", rec_atime(STRICTATIME)),
        ("rsuid", rec_clear(NOSUID)),
        ("rsymfollow", rec_clear(NOSYMFOLLOW)),
        ("runbindable", propagation(Unbindable, Recursive)),
        ("rw", clear(RDONLY)),
        ("shared", propagation(Shared, Plain)),
        ("silent", legacy_flag(libc::MS_SILENT)),
        ("slave", propagation(Slave, Plain)),
        ("strictatime", atime(STRICTATIME)),
        ("suid", clear(NOSUID)),
        ("symfollow", clear(NOSYMFOLLOW)),
        ("sync", superblock("sync")),
        (
            "tmpcopyup",
            MountOptions {
                tmpcopyup: true,
                ..none()
            },
        ),
        ("unbindable", propagation(Unbindable, Plain)),
    ]
}

#[test]
fn every_option_alone() {
    for (name, expected) in effects() {
        assert_eq!(parse(&[name]), expected, "{name}");
    }
}

#[test]
fn names_are_exactly_the_options_and_sorted() {
    let table: Vec<_> = effects().into_iter().map(|(name, _)| name).collect();
    assert_eq!(NAMES, table);
    assert!(NAMES.is_sorted_by(|a, b| a < b));
}

#[test]
fn every_option_alone_on_a_bind_mount() {
    for (name, expected) in effects() {
        let without_effect = match name {
            "dirsync" | "iversion" | "lazytime" | "mand" | "silent" | "sync" => vec![name],
            _ => vec![],
        };
        let bind = expected.bind.or(Some(Reach::Plain));
        // Only flags of the mount itself have an effect.
        let flags = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW;
        let attr_unnamed = match name {
            "async" | "dev" | "dirsync" | "exec" | "iversion" | "lazytime" | "loud" | "mand" | "nodev" | "noexec"
            | "noiversion" | "nolazytime" | "nomand" | "nosuid" | "nosymfollow" | "ro" | "rw" | "silent" | "suid"
            | "symfollow" | "sync" | "atime" | "diratime" | "norelatime" | "nostrictatime" => flags,
            "noatime" | "relatime" | "strictatime" => flags | NODIRATIME,
            "nodiratime" => flags | ATIME,
            _ => 0,
        } & !(expected.attr_set | expected.attr_clear);
        let expected = MountOptions {
            bind,
            attr_unnamed,
            superblock: vec![],
            mount2: 0,
            without_effect,
            ..expected
        };
        assert_eq!(parse(&["bind", name]), expected, "{name}");
    }
}

#[test]
fn flags_that_a_bind_mount_does_not_mention_are_cleared() {
    let unnamed = |options: &[&str]| parse(options).attr_unnamed;
    assert_eq!(unnamed(&["rbind", "rprivate", "defaults", "rro", "x=y"]), 0);
    assert_eq!(unnamed(&["ro", "nosuid"]), 0, "a new file system");
    assert_eq!(unnamed(&["remount", "bind", "ro"]), 0);
    let others = NODEV | NOEXEC | NOSYMFOLLOW;
    assert_eq!(unnamed(&["bind", "ro", "nosuid"]), others);
    assert_eq!(
        unnamed(&["bind", "ro", "suid"]),
        others,
        "suid clears a flag that it mentions"
    );
    assert_eq!(unnamed(&["ro", "nosuid", "bind"]), others);
    assert_eq!(
        unnamed(&["rbind", "rnosuid", "ro"]),
        others,
        "rnosuid also applies to this mount"
    );
    // Access time options that are reverted or overridden by a later one.
    let flags = others | RDONLY | NOSUID;
    assert_eq!(unnamed(&["bind", "relatime", "norelatime"]), flags);
    assert_eq!(unnamed(&["bind", "noatime", "atime"]), flags);
    assert_eq!(unnamed(&["bind", "noatime", "rstrictatime"]), flags);
    assert_eq!(unnamed(&["bind", "rstrictatime", "nodiratime"]), flags);
    assert_eq!(unnamed(&["bind", "strictatime", "atime"]), flags | NODIRATIME);
    assert_eq!(unnamed(&["bind", "noatime", "diratime"]), flags);
    let options = parse(&["bind", "ro"]);
    assert_eq!(options.unnamed_unlockable(), NOSYMFOLLOW);
}

#[test]
fn a_remount_also_clears_options() {
    for word in ["async", "nolazytime", "nomand", "sync", "dirsync", "lazytime", "mand"] {
        assert_eq!(parse(&["remount", word]).superblock, [flag(word)], "{word}");
        assert_eq!(parse(&[word, "remount"]).superblock, [flag(word)], "{word}");
    }
    let rw = parse(&["remount", "rw"]);
    assert_eq!((rw.attr_clear, rw.superblock), (RDONLY, vec![flag("rw")]));
    for word in ["iversion", "noiversion", "silent", "loud"] {
        assert_eq!(parse(&["remount", word]).without_effect, [word]);
    }
    let bind = parse(&["remount", "bind", "ro", "rw", "async"]);
    assert_eq!(
        (bind.superblock, bind.attr_clear, bind.without_effect),
        (vec![], RDONLY, vec!["async"])
    );
}

#[test]
fn the_later_of_two_opposite_options_wins() {
    let pairs = [
        ("async", "sync"),
        ("dev", "nodev"),
        ("diratime", "nodiratime"),
        ("exec", "noexec"),
        ("iversion", "noiversion"),
        ("lazytime", "nolazytime"),
        ("loud", "silent"),
        ("mand", "nomand"),
        ("noatime", "relatime"),
        ("noatime", "strictatime"),
        ("relatime", "strictatime"),
        ("ro", "rw"),
        ("suid", "nosuid"),
        ("symfollow", "nosymfollow"),
        ("idmap", "ridmap"),
        ("rdev", "rnodev"),
        ("rdiratime", "rnodiratime"),
        ("rexec", "rnoexec"),
        ("rnoatime", "rrelatime"),
        ("rnoatime", "rstrictatime"),
        ("rrelatime", "rstrictatime"),
        ("rro", "rrw"),
        ("rsuid", "rnosuid"),
        ("rsymfollow", "rnosymfollow"),
    ];
    for (a, b) in pairs {
        assert_eq!(parse(&[a, b]), parse(&[b]), "{a},{b}");
        assert_eq!(parse(&[b, a]), parse(&[a]), "{b},{a}");
    }
}

#[test]
fn a_later_recursive_option_overrides_a_plain_one() {
    let pairs = [
        ("noatime", "rstrictatime"),
        ("nodev", "rdev"),
        ("noexec", "rexec"),
        ("nosuid", "rsuid"),
        ("nosymfollow", "rsymfollow"),
        ("ro", "rrw"),
        ("rw", "rro"),
        ("suid", "rnosuid"),
    ];
    for (plain, recursive) in pairs {
        assert_eq!(parse(&[plain, recursive]), parse(&[recursive]), "{plain},{recursive}");
    }
}

#[test]
fn a_plain_option_after_a_recursive_one_changes_only_the_top_mount() {
    let options = parse(&["rbind", "rro", "rw"]);
    assert_eq!(
        (options.rec_attr_set, options.attr_set, options.attr_clear),
        (RDONLY, 0, RDONLY)
    );
    let options = parse(&["rbind", "rw", "rro"]);
    assert_eq!(
        (options.rec_attr_set, options.attr_set, options.attr_clear),
        (RDONLY, 0, 0)
    );
}

#[test]
fn defaults_reverts_no_option() {
    assert_eq!(parse(&["ro", "defaults"]), parse(&["ro"]));
    assert_eq!(parse(&["defaults", "nosuid"]), parse(&["nosuid"]));
}

#[test]
fn recursive_bind_stays_recursive() {
    assert_eq!(parse(&["rbind", "bind"]).bind, Some(Reach::Recursive));
    assert_eq!(parse(&["bind", "rbind"]).bind, Some(Reach::Recursive));
    assert_eq!(parse(&["rw"]).bind, None);
}

#[test]
fn options_that_only_negate_an_access_time_mode() {
    // this mode was selected: back to the kernel's default
    assert_eq!(parse(&["noatime", "atime"]), atime(0));
    assert_eq!(parse(&["strictatime", "nostrictatime"]), atime(0));
    assert_eq!(parse(&["relatime", "norelatime"]), none());
    assert_eq!(parse(&["rrelatime", "rnorelatime"]), none());
    // another mode was selected: it stays
    assert_eq!(parse(&["strictatime", "atime"]), atime(STRICTATIME));
    assert_eq!(parse(&["noatime", "nostrictatime"]), atime(NOATIME));
    assert_eq!(parse(&["noatime", "norelatime"]), atime(NOATIME));
    assert_eq!(parse(&["strictatime", "norelatime"]), atime(STRICTATIME));
    assert_eq!(parse(&["rstrictatime", "ratime"]), rec_atime(STRICTATIME));
    assert_eq!(parse(&["rstrictatime", "atime"]), rec_atime(STRICTATIME));
    // a recursive option also applies to the top mount
    assert_eq!(parse(&["noatime", "ratime"]), rec_atime(0));
    assert_eq!(parse(&["rstrictatime", "noatime", "ratime"]), rec_atime(STRICTATIME));
}

#[test]
fn nodiratime_is_independent_of_the_access_time_mode() {
    let options = parse(&["nodiratime", "noatime"]);
    assert_eq!((options.attr_set, options.attr_clear), (NODIRATIME | NOATIME, ATIME));
}

#[test]
fn propagation_keeps_its_order() {
    use PropagationKind::*;
    let options = parse(&["rslave", "shared"]);
    let kinds: Vec<_> = options.propagation.iter().map(|p| (p.kind, p.reach)).collect();
    assert_eq!(kinds, [(Slave, Reach::Recursive), (Shared, Reach::Plain)]);
    // include/uapi/linux/mount.h
    let flags = [Unbindable, Private, Slave, Shared].map(PropagationKind::flag);
    assert_eq!(flags, [1 << 17, 1 << 18, 1 << 19, 1 << 20]);
}

#[test]
fn the_mounts_of_the_default_configuration() {
    let dev = parse(&["nosuid", "strictatime", "mode=755", "size=65536k"]);
    let expected = MountOptions {
        attr_set: NOSUID | STRICTATIME,
        attr_clear: ATIME,
        data: vec![string("mode", "755"), string("size", "65536k")],
        ..none()
    };
    assert_eq!(dev, expected);
    assert_eq!(dev.data_string(), "mode=755,size=65536k");

    let pts = parse(&["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]);
    assert_eq!(pts.attr_set, NOSUID | NOEXEC);
    assert_eq!(pts.data_string(), "newinstance,ptmxmode=0666,mode=0620,gid=5");
    assert_eq!(pts.data.first(), Some(&flag("newinstance")));

    let sys = parse(&["nosuid", "noexec", "nodev", "ro"]);
    assert_eq!(
        (sys.attr_set, sys.data_string().as_str()),
        (NOSUID | NOEXEC | NODEV | RDONLY, "ro")
    );
}

#[test]
fn unknown_options_go_to_the_file_system_in_order() {
    let options = parse(&["b", "nosuid", "a=1=2", "ro", "b", "c=", "RO"]);
    assert_eq!(
        options.data,
        [flag("b"), string("a", "1=2"), flag("b"), string("c", ""), flag("RO")]
    );
    assert_eq!(options.data_string(), "ro,b,a=1=2,b,c=,RO");
}

#[test]
fn one_string_may_contain_several_options_for_the_file_system() {
    assert_eq!(
        parse(&["size=1k,mode=700,,noswap,"]).data,
        [string("size", "1k"), string("mode", "700"), flag("noswap")]
    );
    let label = r#"context="system_u:object_r:t:s0:c1,c2",size=1k"#;
    assert_eq!(
        parse(&[label]).data,
        [string("context", "system_u:object_r:t:s0:c1,c2"), string("size", "1k")]
    );
    assert_eq!(parse(&[r#"other="a,b""#]).data, [string("other", r#""a,b""#)]);
    assert_eq!(
        parse(&[r"lowerdir=/a\,b:/c,userxattr"]).data,
        [string("lowerdir", r"/a\,b:/c"), flag("userxattr")]
    );
    assert_eq!(
        parse(&[r"lowerdir=/a\\,userxattr"]).data,
        [string("lowerdir", r"/a\\"), flag("userxattr")]
    );
}

#[test]
fn options_that_fsconfig_does_not_support_need_mount2() {
    for options in [&["silent"][..], &["iversion", "ro"], &["a", &"x".repeat(256)]] {
        assert!(parse(options).needs_mount2(), "{options:?}");
    }
    for options in [
        &[][..],
        &["sync", "loud", "noiversion", "a=b"],
        &["silent", "loud"],
        &["bind", "silent"],
    ] {
        assert!(!parse(options).needs_mount2(), "{options:?}");
    }
    assert_eq!(parse(&["remount", "silent", "iversion"]).mount2, 0);
}

#[test]
fn fsconfig_accepts_up_to_255_bytes() {
    assert!(string("lowerdir", &"x".repeat(255)).fits_fsconfig());
    assert!(!string("lowerdir", &"x".repeat(256)).fits_fsconfig());
    assert!(!flag(&"x".repeat(256)).fits_fsconfig());
}

/// Podman 5 writes an empty string for the size of a systemd container's tmpfs.
#[test]
fn empty_options_are_ignored() {
    assert_eq!(parse(&["ro", "", "size=1m", ""]), parse(&["ro", "size=1m"]));
}

#[test]
fn errors_name_the_option() {
    for (options, index, option, text) in [
        (&["a\0b"][..], 0, "a\0b", "contains a NUL byte"),
        (&["nosuid", "=1"], 1, "=1", "has no name"),
        (&[",,"], 0, ",,", "has no name"),
    ] {
        let error = MountOptions::parse(options).unwrap_err();
        assert_eq!((error.index(), error.option()), (index, option));
        assert_eq!(error.to_string(), text);
    }
}

/// Unknown options have no effect on a bind mount. An option that was meant to confine the container must not be ignored.
#[test]
fn confining_options_inside_unknown_ones_are_errors() {
    let meant = |options: &[&str]| match MountOptions::parse(options) {
        Err(OptionError::Meant { words, .. }) => words,
        other => panic!("{options:?}: {other:?}"),
    };
    for (options, words) in [
        (&["rbind,ro,nosuid"][..], &["rbind", "ro", "nosuid"][..]),
        (&["bind", "ro,x"], &["ro", "x"]),
        (&["x,nosuid", "rbind"], &["x", "nosuid"]),
        (&["bind", " ro"], &["ro"]),
        (&["bind", "ro,"], &["ro"]),
        (&["bind", "nosuid;nodev"], &["nosuid", "nodev"]),
        (&["bind", "RO"], &["ro"]),
        (&["bind", "NoExec=true"], &["noexec"]),
        (&["bind", "readonly"], &["ro"]),
        (&["bind", "read-only"], &["ro"]),
        (&["size=1m,nosuid"], &["size=1m", "nosuid"]),
        (&["bind,size=1m"], &["bind", "size=1m"]),
    ] {
        assert_eq!(meant(options), words, "{options:?}");
    }
    for options in [
        &["ro,size=1m"][..],
        &["sync,lazytime"],
        &["size=1m,mode=700"],
        &["lowerdir=/ro:/noexec,upperdir=/nosuid"],
        &["bind", "size=1m,mode=700"],
        &["bind", "x-robust", "z", "U", "nocopy"],
    ] {
        parse(options);
    }
}

/// As with mount(2), and engines rely on it: the size of a tmpfs has no effect on a bind mount.
#[test]
fn file_system_options_have_no_effect_on_a_bind_mount() {
    let ignored = |options: &[&str]| {
        let parsed = parse(options);
        assert_eq!((parsed.data_string(), parsed.bind.is_some()), (String::new(), true));
        parsed.ignored_on_bind
    };
    let option = |index: usize, text: &str| (index, text.to_owned());
    assert_eq!(
        ignored(&["rbind", "size=1k", "ro", "mode=1"]),
        [option(1, "size=1k"), option(3, "mode=1")]
    );
    // the option that makes it a bind mount may come later
    assert_eq!(ignored(&["nosuid", "x", "bind"]), [option(1, "x")]);
    assert_eq!(MountOptions::parse(&["size=1k"]).unwrap().ignored_on_bind, []);
}

/// The attributes of the mount and decisions that depend on them must agree.
#[test]
fn a_new_mount_is_read_only_if_the_last_option_says_so() {
    for (options, expected) in [
        (&[] as &[&str], false),
        (&["ro"], true),
        (&["rro"], true),
        (&["rw"], false),
        (&["ro", "rw"], false),
        (&["rw", "ro"], true),
        (&["ro", "rrw"], false),
        (&["rro", "rw"], false),
        (&["rro", "rrw"], false),
        (&["rrw", "rro"], true),
        (&["rw", "rro"], true),
        (&["ro", "defaults"], true),
    ] {
        let parsed = parse(options);
        assert_eq!(parsed.is_read_only(), expected, "{options:?}");
        assert_eq!(parsed.attributes_of_new() & RDONLY != 0, expected, "{options:?}");
    }
    assert_eq!(parse(&["rnosuid", "ro", "suid"]).attributes_of_new(), RDONLY);
}
