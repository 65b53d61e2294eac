//! What is in force for init: privileges, limits, scheduling, terminal, keyring. And the processes of the container.

use serde_json::{Value, json};

use super::entry::{Entry, Section, Verdict};
use super::subject::{Subject, proc, text};
use crate::cgroup::members;
use crate::plan::{Capabilities, Process};
use crate::process_facts::{self, Status};
use crate::sys::capabilities;
use crate::sys::sched::{self, SchedAttr};

/// Until `start` init is a copy of the runtime, which only then becomes the program.
const NOT_STARTED: &str = "in force once the program is started";

pub fn sections(subject: &Subject) -> Vec<Section> {
    let mut sections = Vec::new();
    match (subject.pid(), &subject.facts) {
        (Some(pid), Some(Ok(facts))) => {
            let process = Init { subject, pid, facts };
            let open = |entries: Vec<Entry>| process.if_started(entries);
            sections.push(Section::new(
                "capabilities",
                "Capabilities",
                open(process.capabilities()),
            ));
            sections.push(Section::new("confinement", "Confinement", open(process.confinement())));
            sections.push(Section::new(
                "rlimits",
                "Resource limits (soft, hard)",
                open(process.rlimits()),
            ));
            sections.push(Section::new("scheduling", "Scheduling", open(process.scheduling())));
            sections.push(Section::new("streams", "Terminal and keyring", open(process.streams())));
        }
        (_, Some(Err(reason))) => {
            let entry = Entry::unknown("init", Value::Null, reason.as_str());
            sections.push(Section::new("confinement", "Confinement", vec![entry]));
        }
        _ => {}
    }
    sections.push(Section::new("processes", "Processes", processes(subject)));
    sections
}

/// One of the five sets, by its name.
type NamedSet = (&'static str, fn(&Capabilities) -> u64);

/// The init process.
struct Init<'a> {
    subject: &'a Subject<'a>,
    pid: i32,
    facts: &'a Status,
}

impl Init<'_> {
    /// Before `start` nothing about the process is compared.
    fn if_started(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let open = |mut entry: Entry| {
            if !self.subject.is_started() && !entry.asked.is_null() {
                entry.found = Value::Null;
                entry.verdict = Verdict::Unknown(NOT_STARTED.into());
            }
            entry
        };
        entries.into_iter().map(open).collect()
    }

    fn process(&self) -> Option<&Process> {
        self.subject.process()
    }

    fn capabilities(&self) -> Vec<Entry> {
        let (found, asked) = (
            self.facts.capabilities,
            self.process().map(|process| process.capabilities),
        );
        let after = self.process().map(after_execve);
        let sets: [NamedSet; 5] = [
            ("bounding", |sets| sets.bounding),
            ("effective", |sets| sets.effective),
            ("permitted", |sets| sets.permitted),
            ("inheritable", |sets| sets.inheritable),
            ("ambient", |sets| sets.ambient),
        ];
        let entry = |(name, set): NamedSet| {
            let wanted = asked.as_ref().map(set);
            let names = |bits| Value::from(capabilities::names(bits));
            let verdict = match wanted {
                None => Verdict::NotAsked,
                Some(wanted) => Verdict::of(set(&found) == wanted || after.as_ref().map(set) == Some(set(&found))),
            };
            Entry::new(name, wanted.map_or(Value::Null, names), names(set(&found)), verdict)
        };
        sets.into_iter().map(entry).collect()
    }

    fn confinement(&self) -> Vec<Entry> {
        let process = self.process();
        let user = |ids: [u32; 4]| json!(ids.get(1));
        let mut entries = vec![
            Entry::found("user (on the host)", user(self.facts.uids)),
            Entry::found("group (on the host)", user(self.facts.gids)),
            Entry::compared(
                "no_new_privs",
                json!(process.map(|process| process.no_new_privileges)),
                json!(self.facts.no_new_privileges),
            ),
            self.seccomp(),
        ];
        entries.push(Entry::found("seccomp filters", json!(self.facts.seccomp_filters)));
        entries.push(self.label());
        entries
    }

    fn seccomp(&self) -> Entry {
        let name = |mode: u32| match mode {
            0 => "none",
            1 => "strict",
            _ => "filter",
        };
        let asked = self
            .process()
            .map(|process| if process.seccomp.is_some() { "filter" } else { "none" });
        let found = self.facts.seccomp.map(name);
        let entry = Entry::compared("seccomp", json!(asked), json!(found));
        // Without a filter of its own, a container has those of its creator.
        let inherited = || {
            process_facts::status(crate::sys::process::pid())
                .ok()
                .and_then(|own| own.seccomp_filters)
        };
        let verdict = match entry.verdict {
            Verdict::Differs if asked == Some("none") && inherited() == self.facts.seccomp_filters => Verdict::Equal,
            other => other,
        };
        Entry { verdict, ..entry }
    }

    /// The label of AppArmor or SELinux; AppArmor adds its mode in parentheses.
    fn label(&self) -> Entry {
        const NAME: &str = "label";
        let process = self.process();
        let asked = process.and_then(|process| process.apparmor_profile.as_ref().or(process.selinux_label.as_ref()));
        match process_facts::line(self.pid, "attr/current") {
            Ok(found) => {
                let profile = found.split(" (").next().unwrap_or_default();
                let verdict = match asked {
                    Some(asked) => Verdict::of(asked == profile || *asked == found),
                    None => Verdict::NotAsked,
                };
                Entry::new(NAME, json!(asked), found, verdict)
            }
            // No security module has labels.
            Err(error) if asked.is_none() && error.errno == nix::errno::Errno::EINVAL => {
                Entry::found(NAME, Value::Null)
            }
            Err(error) => Entry::unknown(NAME, json!(asked), error.to_string()),
        }
    }

    fn rlimits(&self) -> Vec<Entry> {
        let found = match process_facts::limits(self.pid) {
            Ok(found) => found,
            Err(error) => return vec![Entry::unknown("all", Value::Null, error.to_string())],
        };
        let number = |value: u64| {
            if value == u64::MAX {
                "unlimited".into()
            } else {
                value.to_string()
            }
        };
        let pair = |soft: u64, hard: u64| json!([number(soft), number(hard)]);
        let entry = |limit: &process_facts::Limit| {
            let rlimits = self.process().map_or(&[][..], |process| &process.rlimits);
            let asked = rlimits.iter().rev().find(|asked| asked.resource == limit.resource);
            let asked = asked.map_or(Value::Null, |asked| pair(asked.soft, asked.hard));
            Entry::compared(limit.name, asked, pair(limit.soft, limit.hard))
        };
        found.iter().map(entry).collect()
    }

    fn scheduling(&self) -> Vec<Entry> {
        let process = self.process();
        let scheduling = process.map(|process| &process.scheduling);
        let asked = scheduling.and_then(|scheduling| scheduling.scheduler);
        let mut entries = match sched::sched_getattr(self.pid) {
            Ok(found) => vec![policy(asked.as_ref(), &found)],
            Err(error) => vec![Entry::unknown(
                "scheduler",
                asked.as_ref().map_or(Value::Null, attributes),
                error.to_string(),
            )],
        };
        entries.push(Entry::found("cpus", self.facts.cpus.as_str()));
        entries.push(Entry::found("memory nodes", self.facts.memory_nodes.as_str()));
        let io = scheduling
            .and_then(|scheduling| scheduling.io)
            .map(|io| io_priority(io.0));
        entries.push(match sched::ioprio_get(self.pid) {
            Ok(found) => Entry::compared("I/O priority", json!(io), io_priority(found)),
            Err(error) => Entry::unknown("I/O priority", json!(io), error.to_string()),
        });
        let score = process.and_then(|process| process.oom_score_adj);
        entries.push(match process_facts::line(self.pid, "oom_score_adj") {
            Ok(found) => Entry::compared("oom_score_adj", json!(score), json!(found.parse::<i32>().ok())),
            Err(error) => Entry::unknown("oom_score_adj", json!(score), error.to_string()),
        });
        let umask = |mask: u32| format!("{mask:04o}");
        let asked = process.and_then(|process| process.umask).map(umask);
        entries.push(Entry::compared(
            "umask",
            json!(asked),
            json!(self.facts.umask.map(umask)),
        ));
        entries
    }

    fn streams(&self) -> Vec<Entry> {
        let asked = json!(self.process().map(|process| process.terminal));
        let terminal = match process_facts::stat(self.pid) {
            Ok(stat) => Entry::compared("terminal", asked, stat.tty_nr != 0),
            Err(error) => Entry::unknown("terminal", asked, text(&error)),
        };
        let mut entries = vec![terminal];
        for (fd, name) in ["standard input", "standard output", "standard error"]
            .into_iter()
            .enumerate()
        {
            entries.push(match std::fs::read_link(proc(self.pid, &format!("fd/{fd}"))) {
                Ok(target) => Entry::found(name, target.to_string_lossy()),
                Err(error) => Entry::unknown(name, Value::Null, error.to_string()),
            });
        }
        let keyring = match self.process().is_none_or(|process| process.new_keyring) {
            true => json!("new"),
            false => json!("shared"),
        };
        let reason = "the kernel does not show the keyring of another process";
        entries.push(Entry::unknown("session keyring", keyring, reason));
        entries
    }
}

/// The sets after execve(2) of a program without capabilities of its own (capabilities(7)): root gets all that is left in the
/// bounding set, unless no_new_privs forbids a gain; other users keep only ambient ones.
fn after_execve(process: &Process) -> Capabilities {
    let asked = process.capabilities;
    let permitted = match (process.uid, process.no_new_privileges) {
        (0, true) => asked.permitted & (asked.bounding | asked.inheritable | asked.ambient),
        (0, false) => asked.bounding | asked.inheritable | asked.ambient,
        _ => asked.ambient,
    };
    Capabilities {
        permitted,
        effective: permitted,
        ..asked
    }
}

fn attributes(attr: &SchedAttr) -> Value {
    let policies = [
        "SCHED_OTHER",
        "SCHED_FIFO",
        "SCHED_RR",
        "SCHED_BATCH",
        "SCHED_ISO",
        "SCHED_IDLE",
        "SCHED_DEADLINE",
    ];
    let policy = policies.get(attr.policy as usize).copied();
    let mut shown = json!({ "policy": policy.map_or_else(|| attr.policy.to_string(), str::to_string) });
    for (name, value) in [
        ("priority", u64::from(attr.priority)),
        ("runtime", attr.runtime),
        ("deadline", attr.deadline),
        ("period", attr.period),
    ] {
        if value != 0 {
            shown[name] = value.into();
        }
    }
    // It means nothing to real-time policies.
    if matches!(attr.policy, 0 | 3) {
        shown["nice"] = attr.nice.into();
    }
    shown
}

fn policy(asked: Option<&SchedAttr>, found: &SchedAttr) -> Entry {
    const SCHED_DEADLINE: u32 = 6;
    let mut found = *found;
    if found.policy != SCHED_DEADLINE {
        // Since Linux 6.12 other policies show the length of a time slice.
        found = SchedAttr {
            runtime: 0,
            deadline: 0,
            period: 0,
            ..found
        };
    }
    let mut asked = asked.copied();
    if let Some(asked) = asked
        .as_mut()
        .filter(|asked| asked.policy == SCHED_DEADLINE && asked.period == 0)
    {
        // The kernel takes the deadline for the period.
        asked.period = asked.deadline;
    }
    let asked = asked.as_ref().map_or(Value::Null, attributes);
    Entry::compared("scheduler", asked, attributes(&found))
}

fn io_priority(value: u16) -> String {
    let class = match value >> 13 {
        0 => "none",
        1 => "IOPRIO_CLASS_RT",
        2 => "IOPRIO_CLASS_BE",
        _ => "IOPRIO_CLASS_IDLE",
    };
    format!("{class} {}", value & 7)
}

/// Every process: by its PID on the host, with the one inside, its user and its command line.
fn processes(subject: &Subject) -> Vec<Entry> {
    let pids = match &subject.state.cgroup {
        Some(cgroup) => members::processes(cgroup),
        None => Ok(subject.pid().into_iter().collect()),
    };
    let pids = match pids {
        Ok(pids) => pids,
        Err(error) => return vec![Entry::unknown("all", Value::Null, text(&error))],
    };
    // One that has ended since is left out.
    let entry = |pid: i32| {
        let facts = process_facts::status(pid).ok()?;
        let command = process_facts::command_line(pid).unwrap_or_default();
        let found = json!({
            "inside": facts.inner_pid(),
            "user": facts.uids.get(1),
            "state": facts.state.map(String::from),
            "command": match command.is_empty() {
                true => format!("[{}]", facts.name),
                false => command.join(" "),
            },
        });
        Some(Entry::found(pid.to_string(), found))
    };
    pids.into_iter().filter_map(entry).collect()
}
