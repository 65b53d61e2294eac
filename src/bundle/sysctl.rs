//! `linux.sysctl`: only parameters that belong to one of the container's own namespaces may be set.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::checks::Checks;
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::plan::{Namespaces, Sysctl};

/// Parameters of an ipc namespace, besides all of `fs.mqueue`, see ipc_namespaces(7).
const IPC: &[&str] = &[
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// Checks all parameters, also against one another: several spellings name the same file, and so does `domainname` of
/// config.json. None if one of them is wrong.
pub fn sysctls<'a>(
    parameters: impl Iterator<Item = (&'a String, &'a String)>,
    domainname: Option<&str>,
    namespaces: &Namespaces,
    checks: &mut Checks,
) -> Option<Vec<Sysctl>> {
    checks.section(&["linux", "sysctl"], |checks| {
        let mut parameters: Vec<_> = parameters.collect();
        parameters.sort_unstable();
        let mut by_file: BTreeMap<PathBuf, (&str, &str)> = BTreeMap::new();
        if let Some(name) = domainname {
            by_file.insert("kernel/domainname".into(), ("domainname", name));
        }
        let mut sysctls = Vec::new();
        for (key, value) in parameters {
            let Some(sysctl) = checks.keep(sysctl(key, value, namespaces)) else {
                continue;
            };
            if let Some((other, set)) = by_file.insert(sysctl.file.clone(), (key, value))
                && set != value
            {
                let error = with_hint(
                    format!("the value {value:?} contradicts {other}, which is {set:?}: both set the same parameter"),
                    "leave one of the two out",
                );
                checks.keep::<()>(Err(error).with_context(|| At::new(format!("linux.sysctl[{key:?}]"))));
            }
            sysctls.push(sysctl);
        }
        Ok(sysctls)
    })
}

/// Checks one parameter against the container's namespaces.
pub fn sysctl(key: &str, value: &str, namespaces: &Namespaces) -> Result<Sysctl> {
    check(key, value, namespaces).with_context(|| At::new(format!("linux.sysctl[{key:?}]")))
}

fn check(key: &str, value: &str, namespaces: &Namespaces) -> Result<Sysctl> {
    let file = file(key);
    if file
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
        || key.contains('\0')
    {
        return Err(anyhow!(
            "not the name of a kernel parameter: it has an empty part, \".\", \"..\" or NUL"
        ));
    }
    if value.contains(['\n', '\0']) {
        return Err(anyhow!("the value {value:?} contains a line break or NUL"));
    }
    let (flag, namespace) = if file.starts_with("net/") {
        (libc::CLONE_NEWNET, "network")
    } else if file.starts_with("fs/mqueue/") || IPC.contains(&file.as_str()) {
        (libc::CLONE_NEWIPC, "ipc")
    } else if file == "kernel/domainname" {
        (libc::CLONE_NEWUTS, "uts")
    } else if file == "kernel/hostname" {
        return Err(with_hint(
            "the host name is not set as a kernel parameter",
            "use `hostname` of config.json",
        ));
    } else if file.starts_with("user/") {
        (libc::CLONE_NEWUSER, "user")
    } else {
        return Err(with_hint(
            "the parameter does not belong to a namespace: setting it would change the host",
            "set it on the host, if that is intended; a container has its own net, fs.mqueue and System V IPC parameters",
        ));
    };
    if !namespaces.has(flag) {
        return Err(with_hint(
            format!("the container shares the host's {namespace} namespace: setting it would change the host"),
            format!("add {{\"type\": {namespace:?}}} to linux.namespaces"),
        ));
    }
    Ok(Sysctl {
        key: key.into(),
        file: PathBuf::from(file),
        value: value.into(),
    })
}

/// The file below /proc/sys, by the rule of sysctl(8): the first of `.` and `/` in the key is the separator, and the other
/// one is literal (`net.ipv4.conf.eno2/100.forwarding`, `net/ipv4/conf/eno2.100/forwarding`).
fn file(key: &str) -> String {
    match key.find(['.', '/']).and_then(|at| key.as_bytes().get(at)) {
        Some(b'.') => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => key.into(),
    }
}
