//! The ranges of host ids that a plain user may map, see subuid(5): what newuidmap and newgidmap looked for and did not
//! find.

use crate::passwd;

/// What to do about a refusal of one of the helpers, by what it said and by the files that it reads.
pub fn cure(helper: &str, uid: u32, said: &str, read: &dyn Fn(&str) -> Option<String>) -> String {
    if said.contains("write to ") {
        // It agreed with the map, and the kernel did not: it has no more power than its caller.
        return format!(
            "{helper} must be set-uid root (or have the file capability), on a mount without nosuid, and its caller must not \
             have no_new_privs"
        );
    }
    let (file, flag) = match helper {
        "newgidmap" => ("/etc/subgid", "--add-subgids"),
        _ => ("/etc/subuid", "--add-subuids"),
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

/// The user's ranges, for people. Lines begin with a name or an id.
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
            for helper in ["newuidmap", "newgidmap"] {
                let read = |path: &str| Some(if path == "/etc/passwd" { passwd.clone() } else { ids.clone() });
                assert!(!cure(helper, 5, "refused", &read).is_empty());
            }
        }
    }
}
