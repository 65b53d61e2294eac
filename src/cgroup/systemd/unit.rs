//! The scope of a container: its name, its slice, and its place in the cgroup tree (systemd.unit(5), systemd.slice(5)). Pure.

use std::path::PathBuf;

use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::plan::Scope;

/// A scope and the slice that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// `machine.slice`
    pub slice: String,
    /// `libpod-ID.scope`
    pub name: String,
}

impl Scope {
    /// The unit of the container with this id.
    pub fn unit(&self, id: &str) -> Result<Unit> {
        unit(self.path.as_deref(), id, self.user)
    }
}

/// The prefix of unit names, unless cgroupsPath gives another.
const PREFIX: &str = "orlop";
/// The longest name of a unit (systemd.unit(5)).
const LONGEST: usize = 255;

/// The unit for a `linux.cgroupsPath`, whose form for systemd is `SLICE:PREFIX:NAME`. An empty slice means the default one. `user`:
/// for the systemd of a user.
pub fn unit(path: Option<&str>, id: &str, user: bool) -> Result<Unit> {
    let usual = if user { "user.slice" } else { "system.slice" };
    let Some(path) = path.filter(|path| !path.is_empty()) else {
        return Ok(Unit {
            slice: usual.into(),
            name: checked(format!("{PREFIX}-{}.scope", escaped(id)))?,
        });
    };
    let at = || At::object("linux.cgroupsPath", path);
    let parts: Vec<&str> = path.split(':').collect();
    let [slice, prefix, name] = parts.as_slice() else {
        return Err(with_hint(
            "with --systemd-cgroup it must have the form SLICE:PREFIX:NAME",
            "for example \"system.slice:orlop:web\" for the unit orlop-web.scope; or leave --systemd-cgroup out",
        ))
        .with_context(at);
    };
    if name.is_empty() {
        return Err(with_hint("the unit has no name", "write SLICE:PREFIX:NAME")).with_context(at);
    }
    if name.ends_with(".slice") {
        return Err(with_hint(
            format!("{name:?} is the name of a slice, and a slice cannot hold processes"),
            "a container is a scope: use a name without \".slice\"",
        ))
        .with_context(at);
    }
    let slice = if slice.is_empty() { usual } else { slice };
    expand(slice).with_context(at)?;
    Ok(Unit {
        slice: slice.into(),
        name: checked(format!("{prefix}-{name}.scope")).with_context(at)?,
    })
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte)
}

fn checked(name: String) -> Result<String> {
    if name.len() > LONGEST || !name.bytes().all(is_allowed) || name.matches('@').count() > 1 || name.starts_with('@') {
        return Err(with_hint(
            format!("{name:?} is not a valid unit name"),
            "a unit name has at most 255 characters: letters, digits and : - _ . \\",
        ));
    }
    Ok(name)
}

/// Escapes what a unit name must not contain, as systemd-escape(1) does.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte != b'@' && byte != b'\\' && is_allowed(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped += &format!("\\x{byte:02x}");
        }
    }
    escaped
}

/// A slice's path below the root of its systemd's part of the cgroup tree: `a-b.slice` is in `a.slice`.
pub fn expand(slice: &str) -> Result<PathBuf> {
    let wrong = || {
        with_hint(
            format!("{slice:?} is not a valid slice name"),
            "write it as system.slice or a-b.slice (which is inside a.slice); -.slice is the root",
        )
    };
    let name = slice.strip_suffix(".slice").ok_or_else(wrong)?;
    if name == "-" {
        return Ok(PathBuf::new());
    }
    let allowed = name.bytes().all(|byte| is_allowed(byte) && byte != b'@');
    if !allowed || slice.len() > LONGEST || name.split('-').any(str::is_empty) {
        return Err(wrong());
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    Ok(ends
        .map(|end| format!("{}.slice", name.get(..end).unwrap_or_default()))
        .collect())
}

/// The D-Bus object path of a unit.
pub fn object(name: &str) -> String {
    let mut path = String::from("/org/freedesktop/systemd1/unit/");
    for (at, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || at > 0 && byte.is_ascii_digit() {
            path.push(char::from(byte));
        } else {
            path += &format!("_{byte:02x}");
        }
    }
    path
}

/// The number in systemd's version: `252.38-1~deb12u1`, `v245.4`.
pub fn version(text: &str) -> Result<u32> {
    let digits = text.trim_start_matches('v');
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let number = digits.get(..end).unwrap_or_default().parse();
    number.map_err(|_| anyhow!("systemd reports the version {text:?}, which has no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroups_path_gives_a_unit() {
        let long = "x".repeat(255 - "orlop-.scope".len());
        let table: &[(Option<&str>, &str, bool, &str, &str)] = &[
            (None, "web", false, "system.slice", "orlop-web.scope"),
            (None, "web", true, "user.slice", "orlop-web.scope"),
            (Some(""), "web", false, "system.slice", "orlop-web.scope"),
            (None, "a+b.c_d-1", false, "system.slice", "orlop-a\\x2bb.c_d-1.scope"),
            (
                Some("machine.slice:libpod:4f"),
                "4f",
                false,
                "machine.slice",
                "libpod-4f.scope",
            ),
            (Some(":libpod:4f"), "4f", true, "user.slice", "libpod-4f.scope"),
            (Some(":libpod:4f"), "4f", false, "system.slice", "libpod-4f.scope"),
            (Some("-.slice:p:n"), "4f", false, "-.slice", "p-n.scope"),
            (Some("a-b-c.slice::n"), "4f", false, "a-b-c.slice", "-n.scope"),
            (
                Some("system.slice:docker:4f"),
                "x",
                false,
                "system.slice",
                "docker-4f.scope",
            ),
        ];
        for (path, id, user, slice, name) in table {
            let unit = unit(*path, id, *user).unwrap();
            assert_eq!((unit.slice.as_str(), unit.name.as_str()), (*slice, *name), "{path:?}");
        }
        assert!(unit(None, &long, false).is_ok());
        assert!(unit(None, &(long + "x"), false).is_err());
        for path in [
            "/docker/4f",
            "web",
            "a:b",
            "a.slice:b:c:d",
            "a.slice:b:",
            "::",
            "a:b:c",
            "a.slice:b:c.slice",
            "a.slice:b:c/d",
            "a.slice:b/../..:c",
            "../a.slice:b:c",
            "a/b.slice:c:d",
            "a--b.slice:c:d",
            "-a.slice:c:d",
            "a-.slice:c:d",
            ".slice:c:d",
            "a b.slice:c:d",
            "a.slice:b:c d",
            "a.slice:b:c@d@e",
            "a.slice:b:c\n",
            "a.slice:é:c",
        ] {
            assert!(unit(Some(path), "id", false).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_slice_is_inside_the_slices_in_its_name() {
        for (slice, path) in [
            ("-.slice", ""),
            ("system.slice", "system.slice"),
            ("a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice"),
            ("user-1000.slice", "user.slice/user-1000.slice"),
        ] {
            assert_eq!(expand(slice).unwrap(), PathBuf::from(path));
        }
    }

    #[test]
    fn objects_and_versions() {
        assert_eq!(
            object("libpod-4f.scope"),
            "/org/freedesktop/systemd1/unit/libpod_2d4f_2escope"
        );
        assert_eq!(object("4f"), "/org/freedesktop/systemd1/unit/_34f");
        for (text, number) in [("252.38-1~deb12u1", 252), ("v245.4-1.fc32", 245), ("249", 249)] {
            assert_eq!(version(text).unwrap(), number);
        }
        for text in ["", "v", "systemd 252", "-1"] {
            assert!(version(text).is_err(), "{text}");
        }
    }
}
