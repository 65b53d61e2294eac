//! The options of one mount: what was asked for, beside a line of mountinfo.

use serde_json::{Value, json};

use crate::mountinfo::Mount as Found;
use crate::plan::{IdMapping, IdMaps, Mount, MountKind};

/// The attributes of a mount that mountinfo shows, by their words. Access time modes are not compared: the kernel combines them.
const ATTRIBUTES: [(u64, &str); 7] = [
    (libc::MOUNT_ATTR_RDONLY, "ro"),
    (libc::MOUNT_ATTR_NOSUID, "nosuid"),
    (libc::MOUNT_ATTR_NODEV, "nodev"),
    (libc::MOUNT_ATTR_NOEXEC, "noexec"),
    (libc::MOUNT_ATTR_NOATIME, "noatime"),
    (libc::MOUNT_ATTR_NODIRATIME, "nodiratime"),
    (libc::MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow"),
];

/// The attributes to set and to clear. Those that both name are set.
fn attributes(mount: &Mount) -> (u64, u64) {
    let options = &mount.options;
    let set = options.attributes_of_new();
    (set, (options.attr_clear | options.rec_attr_clear) & !set)
}

/// What the config asks for, as the runtime understands it.
pub fn asked(mount: &Mount) -> Value {
    let (kind, source) = match &mount.kind {
        MountKind::Bind { source, .. } => ("bind", Some(source.to_string_lossy().into_owned())),
        MountKind::Link(target) => ("link", Some(target.to_string_lossy().into_owned())),
        MountKind::New { kind, source, .. } => (kind.as_str(), source.clone()),
        MountKind::Cgroup => ("cgroup2", None),
        MountKind::Remount => ("remount", None),
    };
    let (set, _) = attributes(mount);
    let words = ATTRIBUTES.iter().filter(|(bit, _)| set & bit != 0);
    let mut options: Vec<String> = words.map(|(_, word)| (*word).to_string()).collect();
    // The flags of the file system that are those of the mount, too, are not repeated.
    let own = mount.options.file_system_options().map(ToString::to_string);
    options.extend(own.filter(|word| ATTRIBUTES.iter().all(|(_, known)| known != word)));
    json!({ "type": kind, "source": source, "options": options })
}

/// A line of mountinfo.
pub fn found(mount: &Found) -> Value {
    let flags: Vec<&str> = mount.flags().collect();
    let own: Vec<&str> = mount.options().filter(|option| !flags.contains(option)).collect();
    json!({
        "type": mount.kind(),
        "source": mount.source().to_string_lossy(),
        "root": mount.root().to_string_lossy(),
        "options": flags,
        "fileSystemOptions": own,
    })
}

/// The words for everything that is not as asked for. What the kernel does not show is not compared.
pub fn differences(mount: &Mount, found: &Found, user_namespace: bool, maps: Option<&IdMaps>) -> Vec<String> {
    let mut different = Vec::new();
    let flags: Vec<&str> = found.flags().collect();
    let (set, clear) = attributes(mount);
    let new = matches!(mount.kind, MountKind::New { .. } | MountKind::Cgroup);
    for (bit, word) in ATTRIBUTES {
        let has = flags.contains(&word);
        // A mount of the host keeps the flags that a user namespace locks, and a bind mount those of its source.
        let unwanted = !user_namespace && (clear & bit != 0 || new && bit == libc::MOUNT_ATTR_RDONLY) && set & bit == 0;
        if set & bit != 0 && !has || unwanted && has {
            different.push(word.to_string());
        }
    }
    match &mount.kind {
        MountKind::New { kind, .. } if !found.is(kind) => different.push("type".into()),
        MountKind::Cgroup if !found.is("cgroup2") => different.push("type".into()),
        MountKind::New { .. } => {
            let options = mount.options.file_system_options();
            let options = options.filter_map(|option| Some((option.key(), option.value()?)));
            // The last of several counts.
            let last: std::collections::BTreeMap<&str, &str> = options.collect();
            let other = last
                .into_iter()
                .filter(|(key, value)| !is_as_asked(key, value, found, maps));
            different.extend(other.map(|(key, _)| key.to_string()));
        }
        _ => {}
    }
    different
}

/// Whether a value that the kernel shows is the one asked for. A key that it does not show is not known to be different.
fn is_as_asked(key: &str, asked: &str, found: &Found, maps: Option<&IdMaps>) -> bool {
    let shown = found
        .options()
        .find_map(|option| option.strip_prefix(key)?.strip_prefix('='));
    let Some(shown) = shown else { return true };
    let number = |text: &str| text.parse::<u64>().ok();
    let same = |one: Option<u64>, other: Option<u64>| one.is_none() || other.is_none() || one == other;
    match key {
        "mode" | "ptmxmode" => {
            let octal = |text: &str| u64::from_str_radix(text, 8).ok();
            same(octal(asked), octal(shown))
        }
        // Rounded up to whole pages.
        "size" => match (size(asked), size(shown)) {
            (Some(asked), Some(shown)) => shown == asked || shown == asked.next_multiple_of(procfs::page_size()),
            _ => true,
        },
        "nr_inodes" | "nr_blocks" => same(size(asked), size(shown)),
        "uid" | "gid" => {
            let list: Option<&[IdMapping]> =
                maps.map(|maps| if key == "uid" { maps.uid.as_slice() } else { &maps.gid });
            let host = |id: u32| match list {
                Some(list) => list.iter().find_map(|mapping| mapping.to_host(id)),
                None => Some(id),
            };
            let asked = asked.parse().ok().and_then(host).map(u64::from);
            same(asked, number(shown))
        }
        // Other values have forms of their own.
        _ => true,
    }
}

/// A number of bytes, with the units of memparse() in the kernel; none for a percentage.
fn size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (text.get(..text.len() - 1)?, 10),
        b'm' => (text.get(..text.len() - 1)?, 20),
        b'g' => (text.get(..text.len() - 1)?, 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mountinfo;

    #[test]
    fn values_are_compared_in_the_forms_of_the_kernel() {
        let line = b"1 2 0:3 / /x rw - tmpfs t rw,size=64k,mode=755,gid=100005,nr_inodes=1k,other=7\n";
        let found = mountinfo::mounts(line).next().unwrap();
        let maps = IdMaps {
            uid: Vec::new(),
            gid: vec![IdMapping {
                container: 0,
                host: 100_000,
                size: 10,
            }],
        };
        for (key, value, expected) in [
            ("size", "65536", true),
            ("size", "64K", true),
            ("size", "61441", true),
            ("size", "65537", false),
            ("size", "50%", true),
            ("mode", "0755", true),
            ("mode", "0700", false),
            ("gid", "5", true),
            ("gid", "6", false),
            ("nr_inodes", "1024", true),
            ("nr_inodes", "1023", false),
            ("absent", "1", true),
            ("other", "8", true),
        ] {
            assert_eq!(is_as_asked(key, value, &found, Some(&maps)), expected, "{key}={value}");
        }
        assert!(!is_as_asked("gid", "5", &found, None));
    }
}
