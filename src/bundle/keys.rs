//! What the types of config.json do not say about its keys: which are required although their type has a default, and what
//! an unknown key probably means. (The known keys are in the types themselves.)

/// Keys that the spec requires, by the name of their type, and that the type would fill in with zero, false or nothing.
/// `process.user` may be missing by the schema of the spec, and `major` and `minor` may in a FIFO; the caller decides. So may
/// `pids.limit`, of which the spec requires nothing, but 0 is a limit.
pub fn required(object: &str) -> &'static [&'static str] {
    match object {
        "Box" => &["height", "width"],
        "LinuxDevice" => &["path", "major", "minor"],
        "LinuxDeviceCgroup" => &["allow"],
        "LinuxHugepageLimit" => &["pageSize", "limit"],
        "LinuxIdMapping" => &["containerID", "hostID", "size"],
        "LinuxPids" => &["limit"],
        "LinuxInterfacePriority" => &["name", "priority"],
        "LinuxThrottleDevice" => &["major", "minor", "rate"],
        "LinuxWeightDevice" => &["major", "minor"],
        "PosixRlimit" => &["soft", "hard"],
        "Process" => &["user"],
        "User" => &["uid", "gid"],
        _ => &[],
    }
}

/// Advice about a key that is unknown in an object, if it looks like a known one.
pub fn advice(key: &str, object: &str, known: &[&str]) -> Option<String> {
    if let Some(meant) = known.iter().find(|other| folded(other) == folded(key)) {
        return Some(format!("did you mean {meant}?"));
    }
    if let Some((.., instead)) = FOREIGN.iter().find(|(of, name, _)| *of == object && *name == key) {
        return Some((*instead).into());
    }
    let near = |how: fn(&str, &str) -> bool| known.iter().find(|other| how(&folded(other), &folded(key)));
    if let Some(meant) = near(are_one_and_many).or_else(|| near(are_a_letter_apart)) {
        return Some(format!("did you mean {meant}?"));
    }
    let (place, _) = ELSEWHERE.iter().find(|(_, keys)| keys.contains(&key))?;
    Some(format!("it is a key of {place}"))
}

/// Keys of other systems and of the spec before version 1.0: the type, the key, and what to use instead.
const FOREIGN: &[(&str, &str, &str)] = &[
    (
        "User",
        "username",
        "it is for Windows; here uid and gid say who the process is",
    ),
    (
        "Process",
        "commandLine",
        "it is for Windows; here args says what the process runs",
    ),
    ("Process", "selinuxProcessLabel", "did you mean selinuxLabel?"),
    ("Linux", "rootfsMountPropagation", "did you mean rootfsPropagation?"),
    ("Linux", "selinuxProcessLabel", "did you mean process.selinuxLabel?"),
    ("LinuxBlockIo", "blkioWeight", "did you mean weight?"),
    ("LinuxBlockIo", "blkioLeafWeight", "did you mean leafWeight?"),
    ("LinuxBlockIo", "blkioWeightDevice", "did you mean weightDevice?"),
    (
        "LinuxBlockIo",
        "blkioThrottleReadBpsDevice",
        "did you mean throttleReadBpsDevice?",
    ),
    (
        "LinuxBlockIo",
        "blkioThrottleWriteBpsDevice",
        "did you mean throttleWriteBpsDevice?",
    ),
    (
        "LinuxBlockIo",
        "blkioThrottleReadIOPSDevice",
        "did you mean throttleReadIOPSDevice?",
    ),
    (
        "LinuxBlockIo",
        "blkioThrottleWriteIOPSDevice",
        "did you mean throttleWriteIOPSDevice?",
    ),
];

/// Keys that confine or limit, and their places. (Elsewhere such a key has no effect, although its author relies on it.)
const ELSEWHERE: &[(&str, &[&str])] = &[
    ("root", &["readonly"]),
    (
        "process",
        &[
            "apparmorProfile",
            "capabilities",
            "noNewPrivileges",
            "oomScoreAdj",
            "rlimits",
            "selinuxLabel",
            "user",
        ],
    ),
    ("process.user", &["uid", "gid", "umask", "additionalGids"]),
    (
        "linux",
        &[
            "cgroupsPath",
            "gidMappings",
            "maskedPaths",
            "mountLabel",
            "namespaces",
            "readonlyPaths",
            "resources",
            "rootfsPropagation",
            "seccomp",
            "sysctl",
            "uidMappings",
        ],
    ),
    (
        "linux.resources",
        &[
            "blockIO",
            "cpu",
            "hugepageLimits",
            "memory",
            "network",
            "pids",
            "rdma",
            "unified",
        ],
    ),
    ("linux.resources.memory", &["disableOOMKiller"]),
];

/// A key without the differences between spelling conventions.
fn folded(key: &str) -> String {
    let letters = key.chars().filter(|letter| !matches!(letter, '_' | '-'));
    letters.flat_map(char::to_lowercase).collect()
}

/// Whether one of two keys is the plural of the other.
fn are_one_and_many(one: &str, other: &str) -> bool {
    let (one, many) = if one.len() < other.len() {
        (one, other)
    } else {
        (other, one)
    };
    let ies = many.strip_suffix("ies");
    many.strip_suffix('s') == Some(one) || ies.is_some() && ies == one.strip_suffix('y')
}

/// Whether two keys differ by one letter: a wrong, additional or missing one, or two in the wrong order. The shortest keys,
/// such as uid and gid, all differ by that little, so they are not compared.
fn are_a_letter_apart(one: &str, other: &str) -> bool {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let (short, long) = if one.len() <= other.len() {
        (one, other)
    } else {
        (other, one)
    };
    if short.len() < 4 {
        return false;
    }
    let same = short.iter().zip(&long).take_while(|(one, other)| one == other).count();
    let rest = |letters: &[char]| letters.get(same..).unwrap_or_default().to_vec();
    match (&*rest(&short), &*rest(&long)) {
        ([a, b, rest @ ..], [c, d, others @ ..]) if a == d && b == c && rest == others => true,
        ([_, rest @ ..], [_, others @ ..]) if rest == others => true,
        (rest, [_, others @ ..]) => rest == others,
        _ => false,
    }
}
