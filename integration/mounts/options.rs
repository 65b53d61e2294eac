//! The effect of each of `mounts[].options`, checked from inside; and options without effect.

use super::flags::bound;
use crate::harness::{Bundle, Facts, HostMount};

/// A directory of the host with a mount below it, both with these flags, in a separate container.
fn tree(flags: libc::c_ulong, options: &[&str]) -> (Bundle, [HostMount; 2]) {
    super::flags::tree(Bundle::new(), flags, options)
}

/// Among the options of the mount or of its file system.
fn has(facts: &Facts, place: &str, option: &str) -> bool {
    facts.options(place).contains(&option.to_owned())
}

/// The access time mode of a mount, of which mountinfo shows two and leaves the third out.
fn time(facts: &Facts, place: &str) -> &'static str {
    match (has(facts, place, "noatime"), has(facts, place, "relatime")) {
        (true, _) => "noatime",
        (_, true) => "relatime",
        _ => "strictatime",
    }
}

#[test]
fn symbolic_links_are_followed_or_not() {
    const NOSYMFOLLOW: libc::c_ulong = 256;
    for (flags, options, top, below) in [
        (0, &["rbind", "nosymfollow"][..], true, false),
        (0, &["rbind", "rnosymfollow"], true, true),
        (NOSYMFOLLOW, &["rbind"], true, true),
        (NOSYMFOLLOW, &["rbind", "symfollow"], false, true),
        (NOSYMFOLLOW, &["rbind", "rsymfollow"], false, false),
        (0, &["rbind", "rnosymfollow", "symfollow"], false, true),
    ] {
        let (bundle, hosts) = tree(flags, options);
        for host in &hosts {
            std::os::unix::fs::symlink("/etc", host.path.join("link")).unwrap();
        }
        let facts = bundle.facts();
        let seen = ["/volume", "/volume/below"].map(|place| has(&facts, place, "nosymfollow"));
        assert_eq!(seen, [top, below], "{options:?}");
        // The flag is enforced, not only shown.
        let tried = bundle.attempt(["list,/volume/link", "list,/volume/below/link"]);
        for (operation, closed) in [("list,/volume/link", top), ("list,/volume/below/link", below)] {
            let expected = if closed { "ELOOP" } else { "ok" };
            assert_eq!(tried.result(operation), expected, "{options:?} {operation}");
        }
    }
}

#[test]
fn the_last_access_time_mode_counts() {
    let relatime = libc::MS_RELATIME;
    for (flags, options, top, below) in [
        (relatime, &["rbind", "noatime"][..], "noatime", "relatime"),
        (relatime, &["rbind", "strictatime"], "strictatime", "relatime"),
        (relatime, &["rbind", "rnoatime"], "noatime", "noatime"),
        (relatime, &["rbind", "rstrictatime"], "strictatime", "strictatime"),
        (libc::MS_NOATIME, &["rbind", "rrelatime"], "relatime", "relatime"),
        (libc::MS_NOATIME, &["rbind", "relatime"], "relatime", "noatime"),
        (libc::MS_NOATIME, &["rbind", "ratime"], "relatime", "relatime"),
        (libc::MS_NOATIME, &["rbind", "atime"], "relatime", "noatime"),
        (
            libc::MS_STRICTATIME,
            &["rbind", "nostrictatime"],
            "relatime",
            "strictatime",
        ),
        (
            libc::MS_STRICTATIME,
            &["rbind", "rnostrictatime"],
            "relatime",
            "relatime",
        ),
        (libc::MS_NOATIME, &["rbind"], "noatime", "noatime"),
        (
            libc::MS_STRICTATIME,
            &["rbind", "rnorelatime"],
            "strictatime",
            "strictatime",
        ),
        (
            relatime,
            &["rbind", "rnoatime", "rstrictatime"],
            "strictatime",
            "strictatime",
        ),
        (relatime, &["rbind", "rnoatime", "relatime"], "relatime", "noatime"),
    ] {
        let (bundle, _hosts) = tree(flags, options);
        let facts = bundle.facts();
        let seen = ["/volume", "/volume/below"].map(|place| time(&facts, place));
        assert_eq!(seen, [top, below], "{options:?}");
    }
    for (options, expected) in [
        (&["noatime"][..], "noatime"),
        (&["relatime"], "relatime"),
        (&["strictatime"], "strictatime"),
        (&["defaults"], "relatime"),
        (&[], "relatime"),
        (&["noatime", "strictatime"], "strictatime"),
    ] {
        let facts = Bundle::new().mount("/tmp", "tmpfs", "tmpfs", options).facts();
        assert_eq!(time(&facts, "/tmp"), expected, "{options:?}");
    }
    for (word, expected) in [("nodiratime", true), ("diratime", false)] {
        let (bundle, _hosts) = tree(
            if expected { 0 } else { libc::MS_NODIRATIME },
            &["rbind", &format!("r{word}")],
        );
        let facts = bundle.facts();
        for place in ["/volume", "/volume/below"] {
            assert_eq!(has(&facts, place, "nodiratime"), expected, "r{word} {place}");
        }
    }
}

#[test]
fn flags_of_the_file_system_are_set_and_cleared() {
    for (word, contrary) in [("sync", "async"), ("lazytime", "nolazytime")] {
        let seen = |mounts: &[&[&str]]| {
            let bundle = mounts.iter().fold(Bundle::new(), |bundle, options| {
                bundle.mount("/tmp", "tmpfs", "tmpfs", options)
            });
            let facts = bundle.facts();
            has(&facts, "/tmp", word)
        };
        assert!(seen(&[&[word]]), "{word}");
        assert!(!seen(&[&[contrary]]), "{contrary}");
        assert!(!seen(&[&[]]), "nothing");
        assert!(!seen(&[&[word, contrary]]), "{word} and then {contrary}");
        assert!(seen(&[&[contrary, word]]), "{contrary} and then {word}");
        assert!(
            !seen(&[&[word], &["remount", contrary]]),
            "{contrary} of what is {word}"
        );
        assert!(seen(&[&[], &["remount", word]]), "{word} of what is not");
        assert!(seen(&[&[word], &["remount", "bind", "nosuid"]]), "{word} stays");
    }
    let facts = Bundle::new().mount("/tmp", "tmpfs", "tmpfs", &["dirsync"]).facts();
    assert!(has(&facts, "/tmp", "dirsync"));
}

#[test]
fn defaults_are_those_of_a_new_mount() {
    let facts = Bundle::new().mount("/tmp", "tmpfs", "tmpfs", &["defaults"]).facts();
    for option in [
        "ro",
        "nosuid",
        "nodev",
        "noexec",
        "noatime",
        "nodiratime",
        "sync",
        "dirsync",
    ] {
        assert!(!has(&facts, "/tmp", option), "{option}");
    }
    // It does not undo earlier options.
    let facts = Bundle::new()
        .mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "defaults"])
        .facts();
    assert!(has(&facts, "/tmp", "nosuid"));
}

#[test]
fn only_rbind_includes_mounts_below() {
    for (options, along) in [(&["bind"][..], false), (&["rbind"], true), (&["rbind", "bind"], true)] {
        let (bundle, _hosts) = tree(0, options);
        let facts = bundle.facts();
        let mounts = facts["mounts"].as_array().unwrap();
        assert_eq!(
            mounts.iter().any(|mount| mount["mountpoint"] == "/volume/below"),
            along,
            "{options:?}"
        );
    }
}

#[test]
fn options_without_effect_are_warned_about() {
    let (bundle, _host) = bound(Bundle::new().args(["true"]), 0, &["bind", "sync", "silent"]);
    let out = bundle.run().ok();
    assert!(out.stderr.contains("\"sync\" has no effect here"), "{}", out.stderr);
    assert!(!out.stderr.contains("silent"), "{}", out.stderr);
    let id = bundle.fresh_id();
    let dir = bundle.dir().to_str().unwrap();
    let out = bundle.orlop(["--debug", "run", "--bundle", dir, &id]).run().ok();
    let line = r#"option \"silent\" has no effect here""#;
    assert!(out.stderr.contains(line), "{}", out.stderr);
}

/// mount(2) and other runtimes ignore it; but a misspelt `ro` must not go unnoticed.
#[test]
fn data_options_of_a_bind_mount_are_warned_about() {
    let source = "/etc";
    let bundle =
        Bundle::new()
            .args(["cat", "/data/hostname"])
            .mount("/data", "bind", source, &["rbind", "mode=755", "nocopy"]);
    let out = bundle.run().ok();
    for option in ["options[1] \"mode=755\"", "options[2] \"nocopy\""] {
        assert!(out.stderr.contains(option), "{out:#?}");
    }
}
