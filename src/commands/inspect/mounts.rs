//! The mounts of the container, and its masked and read-only paths. Both lists are compared as text: no path inside the container
//! is opened, because its processes could make that wait for ever.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

use super::entry::{Entry, Section, Verdict};
use super::mount_options::{asked, differences, found};
use super::subject::{Subject, text};
use crate::mountinfo::{self, Mount as Found};
use crate::plan::{Mount, MountKind, Plan, Reach};
use crate::rootfs::notify;

pub fn sections(subject: &Subject) -> Vec<Section> {
    let Some(pid) = subject.pid() else {
        return vec![Section::new("mounts", "Mounts", gone(subject))];
    };
    let info = match mountinfo::read_of(pid) {
        Ok(info) => info,
        Err(error) => {
            let entry = Entry::unknown("all", Value::Null, text(&error));
            return vec![Section::new("mounts", "Mounts", vec![entry])];
        }
    };
    let Some(plan) = &subject.plan else {
        let mounts = mountinfo::mounts(&info);
        let entries = mounts.map(|mount| Entry::found(mount.point().to_string_lossy(), found(&mount)));
        return vec![Section::new("mounts", "Mounts", entries.collect())];
    };
    let mut table = Table::new(&info, plan);
    let mut mounts = table.root();
    mounts.extend(table.planned(subject.has_user_namespace()));
    let masked = table.covered(&plan.rootfs.masked, "masked");
    let readonly = table.covered(&plan.rootfs.readonly_paths, "ro");
    table.take_own();
    mounts.extend(table.rest());
    vec![
        Section::new("mounts", "Mounts", mounts),
        Section::new("maskedPaths", "Masked paths", masked),
        Section::new("readonlyPaths", "Read-only paths", readonly),
    ]
}

/// Without a process the mount namespace is gone.
fn gone(subject: &Subject) -> Vec<Entry> {
    let mounts = subject.plan.iter().flat_map(|plan| &plan.rootfs.mounts);
    let entry = |mount: &Mount| Entry::asked(mount.destination.to_string_lossy(), asked(mount));
    mounts.map(entry).collect()
}

/// The mounts that were found, of which each is explained once.
struct Table<'a> {
    plan: &'a Plan,
    found: Vec<(PathBuf, Found<'a>)>,
    explained: Vec<bool>,
    /// The IDs of mounts that may have others below them: those came with them.
    trees: Vec<u64>,
    links: HashMap<PathBuf, PathBuf>,
}

impl<'a> Table<'a> {
    fn new(info: &'a [u8], plan: &'a Plan) -> Self {
        let found: Vec<_> = mountinfo::mounts(info).map(|mount| (mount.point(), mount)).collect();
        Table {
            plan,
            explained: vec![false; found.len()],
            found,
            trees: Vec::new(),
            links: HashMap::new(),
        }
    }

    /// The indices of the unexplained mounts at a path, the lowest first: one that covers another is on it.
    fn at(&self, path: &Path) -> Vec<usize> {
        let here = |index: &usize| {
            let open = self.explained.get(*index) == Some(&false);
            open && self.found.get(*index).is_some_and(|(point, _)| point == path)
        };
        let mut stack: Vec<usize> = (0..self.found.len()).filter(here).collect();
        let id = |index: usize| self.found.get(index).map(|(_, mount)| (mount.id, mount.parent));
        let on = |one: usize, other: usize| matches!((id(one), id(other)), (Some((_, parent)), Some((id, _))) if parent == id);
        let all = stack.clone();
        let depth = |index: usize| {
            let mut depth = 0;
            let mut now = index;
            while let Some(below) = all.iter().find(|other| on(now, **other)).filter(|_| depth < all.len()) {
                depth += 1;
                now = *below;
            }
            depth
        };
        stack.sort_by_key(|index| depth(*index));
        stack
    }

    fn explain(&mut self, index: usize) {
        if let Some(explained) = self.explained.get_mut(index) {
            *explained = true;
        }
    }

    fn mount(&self, index: usize) -> Option<&Found<'a>> {
        self.found.get(index).map(|(_, mount)| mount)
    }

    fn root(&mut self) -> Vec<Entry> {
        let all = self.at(Path::new("/"));
        let Some(mount) = all.last().and_then(|index| self.mount(*index)) else {
            // Its root is a directory of a mount that it does not see.
            return Vec::new();
        };
        let asked = if self.plan.rootfs.readonly {
            json!("ro")
        } else {
            Value::Null
        };
        let verdict = match self.plan.rootfs.readonly {
            true => Verdict::of(mount.flags().any(|flag| flag == "ro")),
            false => Verdict::NotAsked,
        };
        let entry = Entry::new("/", asked, found(mount), verdict);
        for index in all {
            self.explain(index);
        }
        vec![entry]
    }

    /// The entries of `mounts`, each with the mount that it led to.
    fn planned(&mut self, user_namespace: bool) -> Vec<Entry> {
        let plan = self.plan;
        let mounts: Vec<(PathBuf, &Mount)> = plan
            .rootfs
            .mounts
            .iter()
            .map(|mount| (self.resolve(&mount.destination), mount))
            .collect();
        let makes = |mount: &Mount| !matches!(mount.kind, MountKind::Remount | MountKind::Link(_));
        let mut pairs: Vec<Option<usize>> = vec![None; mounts.len()];
        for (position, (path, mount)) in mounts.iter().enumerate().filter(|(_, (_, mount))| makes(mount)) {
            // One that is missing was on the others, which stay.
            let index = self.at(path).first().copied();
            if let (Some(index), Some(pair)) = (index, pairs.get_mut(position)) {
                *pair = Some(index);
                self.explain(index);
                if brings_others(mount)
                    && let Some(id) = self.mount(index).map(|mount| mount.id)
                {
                    self.trees.push(id);
                }
            }
        }
        let entry = |(position, (path, mount)): (usize, &(PathBuf, &Mount))| {
            let remounted = || {
                mounts
                    .iter()
                    .skip(position + 1)
                    .find(|(other, later)| other == path && later.kind == MountKind::Remount)
            };
            let pair = match mount.kind {
                // It changes the mount of an earlier entry, or another one.
                MountKind::Remount => {
                    let earlier = mounts.iter().zip(&pairs).take(position).rev();
                    earlier
                        .into_iter()
                        .find(|((other, _), pair)| other == path && pair.is_some())
                        .and_then(|(_, pair)| *pair)
                }
                MountKind::Link(_) => return Entry::asked(mount.destination.to_string_lossy(), asked(mount)),
                _ => pairs.get(position).copied().flatten(),
            };
            self.entry(mount, pair, remounted().is_some(), user_namespace)
        };
        mounts.iter().enumerate().map(entry).collect()
    }

    fn entry(&self, mount: &Mount, pair: Option<usize>, remounted: bool, user_namespace: bool) -> Entry {
        let name = mount.destination.to_string_lossy();
        match pair.and_then(|index| self.mount(index)) {
            Some(seen) if remounted => Entry::new(name, asked(mount), found(seen), Verdict::NotAsked),
            Some(seen) => {
                let verdict =
                    Verdict::of(differences(mount, seen, user_namespace, self.plan.id_maps.as_ref()).is_empty());
                Entry::new(name, asked(mount), found(seen), verdict)
            }
            None if mount.kind == MountKind::Remount => Entry::asked(name, asked(mount)),
            None => Entry::new(name, asked(mount), Value::Null, Verdict::Missing),
        }
    }

    /// Masked or read-only paths. `option`: what the mount on each must be.
    fn covered(&mut self, paths: &[PathBuf], option: &'static str) -> Vec<Entry> {
        let mut entries = Vec::new();
        for path in paths {
            let name = path.to_string_lossy().into_owned();
            let resolved = self.resolve(path);
            let Some(index) = self.at(&resolved).last().copied() else {
                entries.push(self.uncovered(&resolved, name, option));
                continue;
            };
            self.explain(index);
            let Some(seen) = self.mount(index) else { continue };
            let holds = match option {
                "ro" => seen.flags().any(|flag| flag == "ro"),
                // The null device, or an empty tmpfs that nothing can be written to.
                _ => seen.is_top("null") || seen.is("tmpfs") && seen.flags().any(|flag| flag == "ro"),
            };
            let (id, found) = (seen.id, found(seen));
            self.trees.push(id);
            entries.push(Entry::new(name, option, found, Verdict::of(holds)));
        }
        entries
    }

    /// A path without a mount: it did not exist when the container was created, or was uncovered since.
    fn uncovered(&self, path: &Path, name: String, option: &'static str) -> Entry {
        // On a read-only mount above it a path is read-only, too, but it may be mounted on its own; and a path that did not exist
        // when the container was created is never covered.
        let above = self.found.iter().filter(|(point, _)| path.starts_with(point));
        let above = above.max_by_key(|(point, _)| point.components().count());
        let hidden = above.is_some_and(|(_, mount)| mount.is("tmpfs") && mount.flags().any(|flag| flag == "ro"));
        if hidden {
            return Entry::new(name, option, "below a masked path", Verdict::Equal);
        }
        match above {
            // The files of these do not come and go, so the host's tell.
            Some((point, mount)) if mount.is_whole() && (mount.is("proc") || mount.is("sysfs")) => {
                let host = if mount.is("proc") { "/proc" } else { "/sys" };
                let rest = path.strip_prefix(point).unwrap_or(path);
                match std::fs::symlink_metadata(Path::new(host).join(rest)) {
                    Ok(_) => Entry::new(name, option, Value::Null, Verdict::Missing),
                    Err(_) => Entry::new(name, option, "does not exist", Verdict::Equal),
                }
            }
            _ => Entry::unknown(
                name,
                option,
                "no mount is there; perhaps the path did not exist at create",
            ),
        }
    }

    /// Explains what the runtime mounts on its own account, and what came with other mounts.
    fn take_own(&mut self) {
        let rootfs = &self.plan.rootfs;
        let mut own: Vec<PathBuf> = rootfs.devices.iter().map(|device| device.path.clone()).collect();
        own.push("/dev/console".into());
        own.push(notify::PATH.into());
        for path in own {
            let resolved = self.resolve(&path);
            if let Some(index) = self.at(&resolved).first().copied() {
                self.explain(index);
            }
        }
    }

    /// What nothing explains.
    fn rest(&self) -> Vec<Entry> {
        let parents: HashMap<u64, u64> = self.found.iter().map(|(_, mount)| (mount.id, mount.parent)).collect();
        let came_along = |mount: &Found| {
            let mut now = mount.id;
            // More steps would be a circle.
            for _ in 0..parents.len() {
                let Some(parent) = parents.get(&now) else { return false };
                if self.trees.contains(parent) {
                    return true;
                }
                now = *parent;
            }
            false
        };
        let open = self
            .found
            .iter()
            .zip(&self.explained)
            .filter(|(_, explained)| !**explained);
        let entry = |((point, mount), _): (&(PathBuf, Found), &bool)| {
            let verdict = if came_along(mount) {
                Verdict::NotAsked
            } else {
                Verdict::Additional
            };
            Entry::new(point.to_string_lossy(), Value::Null, found(mount), verdict)
        };
        open.map(entry).collect()
    }

    /// The path without symbolic links of the image, as mountinfo shows it. Only the links are read, of the directory on the
    /// host; what other mounts cover is taken as it is.
    fn resolve(&mut self, path: &Path) -> PathBuf {
        const MOST_LINKS: usize = 40;
        let mut rest: Vec<PathBuf> = parts(path);
        let mut done = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == Path::new("..") {
                done.pop();
                continue;
            }
            let next = done.join(&part);
            let on_host = self.plan.rootfs.path.join(next.strip_prefix("/").unwrap_or(&next));
            let target = self
                .links
                .get(&on_host)
                .cloned()
                .or_else(|| std::fs::read_link(&on_host).ok());
            match target {
                Some(target) if links < MOST_LINKS => {
                    links += 1;
                    if target.is_absolute() {
                        done = PathBuf::from("/");
                    }
                    rest.extend(parts(&target));
                    self.links.insert(on_host, target);
                }
                _ => done = next,
            }
        }
        done
    }
}

/// The components, the last one first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let parts = path.components().rev();
    let named = parts.filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    named.map(|part| PathBuf::from(part.as_os_str())).collect()
}

/// Whether mounts below it come with it: those of the host.
fn brings_others(mount: &Mount) -> bool {
    match &mount.kind {
        MountKind::Bind { .. } => mount.options.bind == Some(Reach::Recursive),
        MountKind::New { fallback, .. } => fallback.is_some(),
        MountKind::Cgroup => true,
        MountKind::Link(_) | MountKind::Remount => false,
    }
}
