//! The ranges of host IDs that an unprivileged user may map, see subuid(5): what newuidmap and newgidmap looked for and did
//! not find.

use crate::passwd;

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
    let (file, flag) = match ids {
        Ids::Users => ("/etc/subuid", "--add-subuids"),
        Ids::Groups => ("/etc/subgid", "--add-subgids"),
    };
    let passwd = read("/etc/passwd").unwrap_or_default();
    let Some(name) = passwd::name_of(&passwd, uid) else {
        return format!("the user {uid} must be in /etc/passwd, and have a range in {file}");
    };
    let ranges = ranges(uid, name, &read(file).unwrap_or_default());
    if ranges.is_empty() {
        return format!("{file} has no range for {name}: as root, `usermod {flag} 100000-165535 {name}`");
    }
    format!(
        "hostID and size must stay within what {file} gives {name}: {}",
        ranges.join(", ")
    )
}

/// The user's ranges, as text for a hint. Lines begin with a name or an ID.
fn ranges(uid: u32, name: &str, text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            let (whose, range) = line.split_once(':')?;
            let (first, count) = range.split_once(':')?;
            let (first, count): (u64, u64) = (first.parse().ok()?, count.trim().parse().ok()?);
            let own = whose == name || whose.parse() == Ok(uid);
            (own && count > 0).then(|| format!("{first} to {}", first.saturating_add(count - 1)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_beyond_all_numbers_does_not_overflow() {
        let text = "u:18446744073709551615:18446744073709551615\nu:100000:65536\n";
        assert_eq!(
            ranges(5, "u", text),
            ["18446744073709551615 to 18446744073709551615", "100000 to 165535"]
        );
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
