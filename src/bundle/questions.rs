//! What a config needs to know about the host.

use std::path::Path;

use oci_spec::runtime as oci;

use super::capabilities;
use super::document::{CapabilityNames, Process};
use super::raw::{Config, RawProcess};
use super::validate::mounts::{COPY_SYMLINK, absolute};
use super::validate::{Cgroups, RuntimeOptions};
use crate::host::Questions;

/// What checking a container's config depends on.
pub fn of_container(config: &Config, options: &RuntimeOptions) -> Questions {
    let spec = &config.spec;
    let linux = spec.linux().as_ref();
    let namespaces = linux
        .and_then(|linux| linux.namespaces().as_deref())
        .unwrap_or_default();
    let user = namespaces
        .iter()
        .find(|entry| entry.typ() == oci::LinuxNamespaceType::User);
    let mounts = spec.mounts().as_deref().unwrap_or_default();
    let mut questions = Questions {
        user: true,
        group: user.is_some(),
        root_of_host: matches!(options.cgroup, Cgroups::Systemd(_)),
        // A new user namespace starts with every capability.
        capability_sets: user.is_none_or(|user| joined_path(user).is_some()),
        selinux: linux.is_some_and(|linux| is_given(linux.mount_label())),
        namespaces: namespaces
            .iter()
            .filter_map(|entry| Some((entry.typ() as u64, joined_path(entry)?.to_path_buf())))
            .collect(),
        root: spec
            .root()
            .as_ref()
            .map(oci::Root::path)
            .filter(|path| !path.as_os_str().is_empty())
            .map(|path| config.bundle.join(path)),
        hosts_dev: !mounts
            .iter()
            .any(|mount| absolute(mount.destination()) == Path::new("/dev") && !has_option(mount, "remount")),
        links: mounts
            .iter()
            .filter(|mount| has_option(mount, COPY_SYMLINK))
            .filter_map(|mount| Some(config.bundle.join(mount.source().as_ref()?)))
            .collect(),
        mounts: linux.is_some_and(|linux| linux.intel_rdt().is_some()),
        ..Questions::default()
    };
    if let Some(process) = spec.process() {
        about_process(process, &mut questions);
    }
    questions
}

/// What checking a process that joins a container depends on. `user_namespace`: it enters another user namespace.
pub fn of_process(raw: &RawProcess, user_namespace: bool) -> Questions {
    let mut questions = Questions {
        user: user_namespace,
        capability_sets: !user_namespace,
        ..Questions::default()
    };
    about_process(&raw.process, &mut questions);
    questions.capabilities |= raw.added_capabilities;
    questions
}

fn about_process(process: &Process, questions: &mut Questions) {
    questions.capabilities = process.capabilities().as_ref().map_or(0, named);
    questions.apparmor = is_given(process.apparmor_profile());
    questions.selinux |= is_given(process.selinux_label());
}

/// Every capability that is named in one of the sets.
fn named(names: &CapabilityNames) -> u64 {
    let sets = [
        &names.bounding,
        &names.effective,
        &names.permitted,
        &names.inheritable,
        &names.ambient,
    ];
    let names = sets.into_iter().flatten().flatten();
    names
        .filter_map(|name| capabilities::bit(name))
        .fold(0, |bits, bit| bits | bit)
}

/// Engines send an empty label for none.
fn is_given(label: &Option<String>) -> bool {
    label.as_ref().is_some_and(|label| !label.is_empty())
}

fn joined_path(entry: &oci::LinuxNamespace) -> Option<&Path> {
    entry.path().as_deref().filter(|path| path.is_absolute())
}

fn has_option(mount: &oci::Mount, option: &str) -> bool {
    mount.options().iter().flatten().any(|word| word == option)
}
