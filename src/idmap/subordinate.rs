//! The ranges of host IDs that an unprivileged user may map, see subuid(5): what newuidmap and newgidmap looked for and did
//! not find.

use crate::passwd;
use crate::plan::IdMapping;

/// The IDs that a map is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    Users,
    Groups,
}

impl Ids {
    /// The set-uid program that writes a map of several ranges for an unprivileged user.
    pub fn helper(self) -> &'static str {
        match self {
            Ids::Users => "newuidmap",
            Ids::Groups => "newgidmap",
        }
    }

    /// The file of /proc/PID that holds the map.
    pub fn file(self) -> &'static str {
        match self {
            Ids::Users => "uid_map",
            Ids::Groups => "gid_map",
        }
    }

    /// The file with the ranges, and the option of usermod(8) that adds one.
    pub fn ranges(self) -> (&'static str, &'static str) {
        match self {
            Ids::Users => ("/etc/subuid", "--add-subuids"),
            Ids::Groups => ("/etc/subgid", "--add-subgids"),
        }
    }
}

/// What to do when the helper refuses a map, by its error text and by the files that it reads.
pub fn cure(ids: Ids, uid: u32, said: &str, read: &dyn Fn(&str) -> Option<String>) -> String {
    if said.contains("write to ") {
        let helper = ids.helper();
        // The helper accepted the map and the kernel did not: the helper has no more privileges than its caller.
        return format!(
            "{helper} must be set-uid root (or have the file capability), on a mount without nosuid, and its caller must not \
             have no_new_privs"
        );
    }
    let (file, flag) = ids.ranges();
    let passwd = read("/etc/passwd").unwrap_or_default();
    let Some(name) = passwd::name_of(&passwd, uid) else {
        return format!("the user {uid} must be in /etc/passwd, and have a range in {file}");
    };
    let ranges = shown(&ranges(uid, name, &read(file).unwrap_or_default()));
    if ranges.is_empty() {
        return format!("{file} has no range for {name}: as root, `usermod {flag} 100000-165535 {name}`");
    }
    format!(
        "hostID and size must stay within what {file} gives {name}: {}",
        ranges.join(", ")
    )
}

/// Ranges in words.
pub fn shown(ranges: &[(u64, u64)]) -> Vec<String> {
    let words = |(first, count): &(u64, u64)| format!("{first} to {}", first.saturating_add(count - 1));
    ranges.iter().map(words).collect()
}

/// Whether the helper allows a user these maps, by the files that it reads. If the host takes the ranges from elsewhere
/// (nsswitch.conf), only the helper knows.
pub fn allows(ids: Ids, uid: u32, maps: &[IdMapping], read: &dyn Fn(&str) -> Option<String>) -> bool {
    if are_elsewhere(read) {
        return true;
    }
    let passwd = read("/etc/passwd").unwrap_or_default();
    let Some(name) = passwd::name_of(&passwd, uid) else {
        return false;
    };
    let mut ranges = ranges(uid, name, &read(ids.ranges().0).unwrap_or_default());
    if ids == Ids::Users {
        // It always allows the caller's own ID.
        ranges.push((u64::from(uid), 1));
    }
    holds_all(&ranges, maps)
}

/// Whether the host takes the ranges from elsewhere than the files.
pub fn are_elsewhere(read: &dyn Fn(&str) -> Option<String>) -> bool {
    let sources = read("/etc/nsswitch.conf").unwrap_or_default();
    sources.lines().any(|line| line.trim_start().starts_with("subid"))
}

/// Whether each map is within one of the ranges.
pub fn holds_all(ranges: &[(u64, u64)], maps: &[IdMapping]) -> bool {
    maps.iter().all(|map| {
        let (first, end) = (u64::from(map.host), u64::from(map.host) + u64::from(map.size));
        let holds = |(start, count): &(u64, u64)| *start <= first && end <= start.saturating_add(*count);
        ranges.iter().any(holds)
    })
}

/// The IDs of a user namespace, by the text of its map, see user_namespaces(7).
pub fn own_ranges(text: &str) -> Vec<(u64, u64)> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (first, count) = (words.next()?, words.nth(1)?);
            Some((first.parse().ok()?, count.parse().ok()?))
        })
        .collect()
}

/// The user's ranges: the first ID, and the number of IDs. Lines begin with a name or an ID.
pub fn ranges(uid: u32, name: &str, text: &str) -> Vec<(u64, u64)> {
    text.lines()
        .filter_map(|line| {
            let (whose, range) = line.split_once(':')?;
            let (first, count) = range.split_once(':')?;
            let (first, count): (u64, u64) = (first.parse().ok()?, count.trim().parse().ok()?);
            let own = whose == name || whose.parse() == Ok(uid);
            (own && count > 0).then_some((first, count))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_beyond_all_numbers_does_not_overflow() {
        let text = "u:18446744073709551615:18446744073709551615\nu:100000:65536\n";
        assert_eq!(ranges(5, "u", text), [(u64::MAX, u64::MAX), (100000, 65536)]);
    }

    proptest::proptest! {
        #[test]
        fn no_file_of_the_host_makes_it_panic(passwd in "([a-z]{0,3}|:|5|\n|[0-9]{0,22}| ){0,40}", ids in "([a-z]{0,3}|:|5|\n|[0-9]{0,22}){0,40}") {
            for which in [Ids::Users, Ids::Groups] {
                let read = |path: &str| Some(if path == "/etc/passwd" { passwd.clone() } else { ids.clone() });
                assert!(!cure(which, 5, "refused", &read).is_empty());
            }
        }
    }
}
