//! Values of options that are more than a word or a number. An error is the end of the sentence "invalid value …: ".

use std::net::Ipv6Addr;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;

/// The format of an answer for people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextFormat {
    Text,
    Json,
}

/// `--user`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: Option<u32>,
}

const NAME: &str =
    "expected a number, not a name: names are not looked up in the container, where `id` prints the numbers";

/// Accepts only digits, because a number that is read as another one is another user (CVE-2026-30892). The highest number
/// tells the kernel to leave the ID as it is, which would be root.
pub fn id_number(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(id) if digits && id != u32::MAX => Ok(id),
        _ if text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') => Err(NAME.into()),
        _ => Err(format!("expected a number from 0 to {}", u32::MAX - 1)),
    }
}

pub fn user(text: &str) -> Result<User, String> {
    Ok(match text.split_once(':') {
        Some((uid, gid)) => User {
            uid: id_number(uid)?,
            gid: Some(id_number(gid).map_err(|reason| format!("group: {reason}"))?),
        },
        None => User {
            uid: id_number(text)?,
            gid: None,
        },
    })
}

pub fn absolute(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') {
        Ok(text.into())
    } else {
        Err("expected an absolute path".into())
    }
}

/// A path below the container's cgroup, with or without a leading slash. Empty for the cgroup itself.
pub fn sub_cgroup(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("expected a path; / is the container's cgroup".into());
    }
    if text.contains(':') {
        return Err("a controller can be named only for cgroup v1; cgroup v2 has a single hierarchy".into());
    }
    let mut below = PathBuf::new();
    for part in Path::new(text).components() {
        match part {
            Component::Normal(name) => below.push(name),
            Component::ParentDir => return Err("bad sub cgroup path: \"..\" is not allowed".into()),
            _ => {}
        }
    }
    Ok(below)
}

/// A time as Go programs write it: numbers with units, which add up. A whole number without a unit is in seconds.
pub fn interval(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time greater than 0, such as 5, 500ms, 5s or 1m30s".to_string();
    if let Ok(seconds) = text.parse::<u32>()
        && seconds > 0
        && !text.starts_with('+')
    {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let mut total = 0f64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(end);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        total += number.parse::<f64>().map_err(|_| wrong())? * seconds;
        rest = tail;
    }
    match Duration::try_from_secs_f64(total) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(wrong()),
    }
}

/// A number of bytes, optionally with a unit to the base of 1024: `512M`, `1.5g`, `64KiB`; or -1.
pub fn size(text: &str) -> Result<i64, String> {
    let wrong = || "expected a byte count such as 1073741824, 512M or 1.5G, or -1 for no limit".to_string();
    if text == "-1" {
        return Ok(-1);
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let (power, rest) = match unit.chars().next().and_then(|first| "kmgtp".find(first)) {
        Some(place) => (place + 1, unit.get(1..).unwrap_or_default()),
        None => (0, unit.as_str()),
    };
    if !matches!(rest, "" | "b" | "ib" | "i") || !number.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(wrong());
    }
    let factor = 1i64 << (10 * power);
    let bytes = match number.parse::<i64>() {
        Ok(number) => number.checked_mul(factor),
        Err(_) => {
            let number = number.parse::<f64>().map_err(|_| wrong())? * factor as f64;
            (number < i64::MAX as f64).then_some(number as i64)
        }
    };
    bytes.ok_or_else(wrong)
}

/// `FILE=VALUE`.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((file, value)) if !file.is_empty() => Ok((file.into(), value.into())),
        _ => Err("expected FILE=VALUE".into()),
    }
}

/// The page server of CRIU, which receives the memory of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageServer {
    /// A host name or an address, without the brackets of an IPv6 address.
    pub address: String,
    pub port: u16,
}

/// `ADDRESS:PORT`, with an IPv6 address in brackets.
pub fn page_server(text: &str) -> Result<PageServer, String> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once("]:").ok_or("expected [ADDRESS]:PORT")?;
            address
                .parse::<Ipv6Addr>()
                .map_err(|_| format!("{address:?} is not an IPv6 address"))?;
            (address, port)
        }
        None => match text.rsplit_once(':').ok_or("expected ADDRESS:PORT")? {
            (address, _) if address.contains(':') => {
                return Err("expected an IPv6 address in brackets: [ADDRESS]:PORT".into());
            }
            (address, _) if address.contains(['[', ']']) => return Err(format!("{address:?} is not an address")),
            parts => parts,
        },
    };
    if address.is_empty() {
        return Err("the address is missing: expected ADDRESS:PORT".into());
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(PageServer {
            address: address.into(),
            port,
        }),
        _ => Err("expected a port from 1 to 65535".into()),
    }
}

pub fn relative(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.starts_with('/') {
        Err("expected a path relative to --image-path".into())
    } else {
        Ok(text.into())
    }
}

/// The number of a file descriptor.
pub fn descriptor(text: &str) -> Result<i32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits => Ok(number),
        _ => Err("expected the number of an open file descriptor".into()),
    }
}

/// `apparmor:PROFILE` or `selinux:LABEL`; a label contains colons too.
pub fn lsm_profile(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some(("apparmor" | "selinux", name)) if !name.is_empty() => Ok(text.into()),
        _ => Err("expected apparmor:PROFILE or selinux:LABEL".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_units() {
        let table = [
            ("0", 0),
            ("-1", -1),
            ("1073741824", 1 << 30),
            ("512M", 512 << 20),
            ("512m", 512 << 20),
            ("512MB", 512 << 20),
            ("512mib", 512 << 20),
            ("64 k", 64 << 10),
            ("1.5G", 3 << 29),
            ("100b", 100),
            ("2T", 2 << 40),
            ("8191P", 8191 << 50),
            ("9223372036854775807", i64::MAX),
        ];
        for (text, bytes) in table {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "M",
            "-2",
            "-1M",
            "+1",
            "1x",
            "1mm",
            "1  m",
            "1.5.2G",
            ".5G",
            "8192P",
            "9223372036854775808",
            "1e3",
            "0x10",
            "é",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_with_units() {
        let table = [
            ("5s", 5000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5s", 1500),
            ("1h", 3_600_000),
            ("5", 5000),
        ];
        for (text, milliseconds) in table {
            assert_eq!(interval(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in [
            "",
            "0",
            "0s",
            "+5",
            "0.5",
            "s",
            "-5s",
            "5x",
            "5 s",
            "1m30",
            "..s",
            "99999999999999999999h",
        ] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_page_server_has_an_address_and_a_port() {
        for (text, address, port) in [
            ("127.0.0.1:1", "127.0.0.1", 1),
            ("host.example:65535", "host.example", 65535),
            ("[::1]:9876", "::1", 9876),
            ("[2001:db8::2]:80", "2001:db8::2", 80),
        ] {
            let address = address.into();
            assert_eq!(page_server(text), Ok(PageServer { address, port }), "{text}");
        }
        for (text, why) in [
            ("", "expected ADDRESS:PORT"),
            ("host", "expected ADDRESS:PORT"),
            (":80", "the address is missing: expected ADDRESS:PORT"),
            ("host:", "expected a port from 1 to 65535"),
            ("host:0", "expected a port from 1 to 65535"),
            ("host:+1", "expected a port from 1 to 65535"),
            ("host:65536", "expected a port from 1 to 65535"),
            ("host:http", "expected a port from 1 to 65535"),
            ("::1:80", "expected an IPv6 address in brackets: [ADDRESS]:PORT"),
            ("::1", "expected an IPv6 address in brackets: [ADDRESS]:PORT"),
            ("[::1]", "expected [ADDRESS]:PORT"),
            ("[::1]80", "expected [ADDRESS]:PORT"),
            ("[::1]:", "expected a port from 1 to 65535"),
            ("[127.0.0.1]:80", "\"127.0.0.1\" is not an IPv6 address"),
            ("host]:80", "\"host]\" is not an address"),
            ("[]:80", "\"\" is not an IPv6 address"),
        ] {
            assert_eq!(page_server(text), Err(why.into()), "{text}");
        }
    }

    #[test]
    fn values_that_criu_gets() {
        assert_eq!(descriptor("0"), Ok(0));
        assert_eq!(descriptor("2147483647"), Ok(i32::MAX));
        for text in ["", "-1", "+3", "2147483648", "3x", "x"] {
            assert!(descriptor(text).is_err(), "{text}");
        }
        for text in ["before", "../before", "./a/b"] {
            assert_eq!(relative(text), Ok(text.into()));
        }
        for text in ["", "/", "/srv/before"] {
            assert!(relative(text).is_err(), "{text}");
        }
        for text in ["apparmor:web", "selinux:system_u:system_r:container_t:s0:c82,c137"] {
            assert_eq!(lsm_profile(text), Ok(text.into()));
        }
        for text in [
            "",
            "web",
            "apparmor",
            "apparmor:",
            "selinux:",
            "smack:x",
            "AppArmor:x",
            ":x",
        ] {
            assert!(lsm_profile(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        /// Every kind of value: what is accepted is within its bounds, and nothing causes a panic.
        #[test]
        fn any_text_is_a_value_or_a_mistake(
            text in "([0-9]{1,21}|[kKmMgGtTpP]|i|b|B|\\.|-|\\+|:|/|=|,| |ns|us|ms|s|m|h|µs|é|e9|inf|nan|0x){0,8}",
            any in ".{0,12}",
        ) {
            for text in [&text, &any] {
                if let Ok(user) = user(text) {
                    let written = match user.gid {
                        Some(gid) => (user.uid, gid),
                        None => (user.uid, 0),
                    };
                    assert!(written.0 != u32::MAX && written.1 != u32::MAX);
                    assert!(text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':'));
                }
                assert!(size(text).is_ok_and(|size| size >= -1) || size(text).is_err());
                assert!(interval(text).map_or(true, |time| !time.is_zero()));
                if let Ok(path) = sub_cgroup(text) {
                    assert!(path.components().all(|part| matches!(part, Component::Normal(_))));
                }
                if let Ok((file, value)) = assignment(text) {
                    assert_eq!(format!("{file}={value}"), *text);
                }
                assert_eq!(absolute(text).is_ok(), text.starts_with('/'));
                assert!(relative(text).is_err() || absolute(text).is_err());
                if let Ok(server) = page_server(text) {
                    let (address, port) = text.rsplit_once(':').expect("a port");
                    assert_eq!(address.trim_matches(['[', ']']), server.address);
                    assert!(server.port > 0 && port.parse() == Ok(server.port));
                }
                assert!(descriptor(text).is_ok_and(|fd| fd >= 0) || descriptor(text).is_err());
                assert!(lsm_profile(text).map_or(true, |profile| profile == *text));
            }
        }
    }
}
