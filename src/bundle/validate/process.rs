//! `process`: the identity of the container's process and its program.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;

use oci_spec::runtime::{LinuxMemoryPolicy, LinuxPersonality};

use super::options::{PlanContext, RuntimeOptions};
use super::{annotations, memory_policy, seccomp, user};
use crate::bundle::capabilities::{self, Ceiling};
use crate::bundle::checks::Checks;
use crate::bundle::document::{self, LinuxOfProcess};
use crate::bundle::scheduling;
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::host::{Facts, Selinux};
use crate::plan::{Capabilities, MemoryPolicy, Process, Rlimit};
use crate::sys::process::Resource;

/// What is decided about a process outside the spec's process object.
#[derive(Debug, Default)]
pub struct ProcessInputs {
    pub capabilities: Capabilities,
    /// `linux.memoryPolicy`
    pub memory_policy: Option<MemoryPolicy>,
    /// `linux.personality`
    pub personality: Option<u32>,
    /// Whether the process is in a user namespace other than the runtime's.
    pub user_namespace: bool,
    /// The annotation `run.oci.keep_original_groups`.
    pub keep_groups: bool,
    /// Whether it joins a container, instead of being the container's first.
    pub joins: bool,
}

/// A process that joins a container.
pub struct Joining<'a> {
    pub process: &'a document::Process,
    /// What the container's config says about all its processes.
    pub linux: &'a LinuxOfProcess,
    pub annotations: &'a Option<HashMap<String, String>>,
    /// Capabilities that are added to those of the process object, one bit each.
    pub added_capabilities: u64,
    /// Groups that are added to those of the process object.
    pub added_groups: &'a [u32],
    /// Whether it enters a user namespace other than the runtime's.
    pub user_namespace: bool,
}

/// About a program with an empty name. By these words engines recognize a program that does not exist.
pub const EMPTY_NAME: &str = "exec: \"\": executable file not found in $PATH: the program's name must not be empty";

/// The container's first process, if the config has one. The outer None means that something about it is wrong.
pub fn of_container(context: &PlanContext, checks: &mut Checks) -> Option<Option<Process>> {
    let memory_policy = memory_policy_of(context.linux.memory_policy(), checks);
    let personality = personality_of(context.linux.personality(), checks);
    if context.options.seccomp_log.is_some() && context.linux.seccomp().is_none() {
        checks.keep::<()>(Err(with_hint(
            "--seccomp-log: there is no linux.seccomp, so nothing is refused",
            "remove the flag, or give the config a profile",
        )));
    }
    let Some(process) = context.spec.process() else {
        return checks.is_readable(&["process"]).then_some(None);
    };
    let keep_groups = annotations::keep_groups(context.spec.annotations());
    if let Some(maps) = context.id_maps {
        user::mapped(process.user(), maps, checks);
        if !keep_groups {
            user::groups_can_be_set(process.user(), maps, context.facts, checks);
        }
    }
    let user_namespace = context.id_maps.is_some();
    let inputs = ProcessInputs {
        capabilities: capabilities_of(process, 0, context.facts, user_namespace, checks),
        memory_policy: memory_policy.flatten(),
        personality: personality.flatten(),
        user_namespace: context.namespaces.has(libc::CLONE_NEWUSER),
        keep_groups,
        joins: false,
    };
    let process = self::process(process, inputs, context.options, context.facts, checks);
    let filter = context.linux.seccomp().as_ref().map(|profile| {
        let unknown_fails = annotations::fail_unknown_syscall(context.spec.annotations());
        seccomp::filter(profile, unknown_fails, context.options.seccomp_log, checks)
    });
    with_filter(process, filter, checks).map(Some)
}

/// A process that joins a container.
pub fn of_joining(joining: &Joining, options: &RuntimeOptions, facts: &Facts, checks: &mut Checks) -> Option<Process> {
    let user_namespace = joining.user_namespace;
    let inputs = ProcessInputs {
        capabilities: capabilities_of(
            joining.process,
            joining.added_capabilities,
            facts,
            user_namespace,
            checks,
        ),
        memory_policy: memory_policy_of(&joining.linux.memory_policy, checks).flatten(),
        personality: personality_of(&joining.linux.personality, checks).flatten(),
        user_namespace,
        keep_groups: annotations::keep_groups(joining.annotations),
        joins: true,
    };
    let mut process = self::process(joining.process, inputs, options, facts, checks);
    if let Some(process) = &mut process {
        process.additional_gids.extend(joining.added_groups);
        user::groups(&process.additional_gids, "--additional-gids", checks);
    }
    let filter = joining.linux.seccomp.as_ref().map(|profile| {
        let unknown_fails = annotations::fail_unknown_syscall(joining.annotations);
        seccomp::filter(profile, unknown_fails, None, checks)
    });
    with_filter(process, filter, checks)
}

/// The process with its filter. `filter`: none if there is no profile; an inner None if the profile is wrong.
fn with_filter(
    process: Option<Process>,
    filter: Option<Option<seccomp::Filter>>,
    checks: &mut Checks,
) -> Option<Process> {
    let mut process = process?;
    if let Some(filter) = filter {
        filter?.give_to(&mut process, checks)?;
    }
    Some(process)
}

fn memory_policy_of(policy: &Option<LinuxMemoryPolicy>, checks: &mut Checks) -> Option<Option<MemoryPolicy>> {
    checks.section(&["linux", "memoryPolicy"], |_| {
        policy.as_ref().map(memory_policy::memory_policy).transpose()
    })
}

fn personality_of(personality: &Option<LinuxPersonality>, checks: &mut Checks) -> Option<Option<u32>> {
    checks.section(&["linux", "personality"], |_| {
        personality.as_ref().map(memory_policy::personality).transpose()
    })
}

/// The capabilities of the process, as far as they can be granted: a new user namespace starts with all of them; otherwise
/// nobody can grant what they do not have. `user_namespace`: it is in a user namespace other than the runtime's.
fn capabilities_of(
    process: &document::Process,
    added: u64,
    facts: &Facts,
    user_namespace: bool,
    checks: &mut Checks,
) -> Capabilities {
    let names = process.capabilities().as_ref();
    let mut wanted = names.map_or_else(Capabilities::default, |names| {
        capabilities::bits(names, facts.bounding, &mut checks.warnings)
    });
    capabilities::add(added, &mut wanted);
    let ceiling = match facts.capability_sets {
        Some(sets) if !user_namespace => Ceiling::of(sets, facts.bounding),
        _ => Ceiling::NEW_USER_NAMESPACE,
    };
    capabilities::grantable(wanted, ceiling, &mut checks.warnings)
}

/// The process object.
pub fn process(
    process: &document::Process,
    inputs: ProcessInputs,
    options: &RuntimeOptions,
    facts: &Facts,
    checks: &mut Checks,
) -> Option<Process> {
    let args = checks.section(&["process", "args"], |checks| args(process.args(), checks));
    let env = checks.section(&["process", "env"], |checks| {
        let entries = strings(process.env(), "process.env", checks);
        Ok(environment(entries, checks))
    });
    let user = user::user(process.user(), checks);
    let cwd = checks.section(&["process", "cwd"], |_| {
        if !process.cwd().is_absolute() {
            return Err(anyhow!("must be an absolute path, not {:?}", process.cwd())).context(At::new("process.cwd"));
        }
        Ok(process.cwd().clone())
    });
    let rlimits = checks.section(&["process", "rlimits"], |checks| Ok(rlimits(process, checks)));
    let oom_score_adj = checks.section(&["process", "oomScoreAdj"], |_| oom_score(process.oom_score_adj()));
    let terminal = process.terminal().unwrap_or(false);
    let console_size = checks.section(&["process", "consoleSize"], |_| console_size(process, terminal));
    let apparmor_profile = checks.section(&["process", "apparmorProfile"], |_| {
        label(process.apparmor_profile(), "process.apparmorProfile", || {
            require_apparmor(facts)
        })
    });
    let selinux_label = checks.section(&["process", "selinuxLabel"], |_| {
        label(process.selinux_label(), "process.selinuxLabel", || {
            require_selinux(facts)
        })
    });
    let scheduling = scheduling::scheduling(process, inputs.joins, checks);
    user?;
    Some(Process {
        terminal,
        console_size: console_size?,
        args: args?,
        env: env?,
        cwd: cwd?,
        uid: process.user().uid(),
        gid: process.user().gid(),
        additional_gids: process.user().additional_gids().clone().unwrap_or_default(),
        keep_groups: inputs.keep_groups,
        umask: process.user().umask(),
        rlimits: rlimits?,
        oom_score_adj: oom_score_adj?,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        capabilities: inputs.capabilities,
        scheduling: scheduling?,
        memory_policy: inputs.memory_policy,
        personality: inputs.personality,
        apparmor_profile: apparmor_profile?,
        selinux_label: selinux_label?,
        // A process that joins sets its own score before it enters the namespace.
        oom_score_from_outside: inputs.user_namespace && !inputs.joins,
        limits_from_outside: inputs.user_namespace && facts.is_root(),
        preserve_fds: options.preserve_fds,
        closed_fds: options.closed_fds.clone(),
        activation: options.activation.clone(),
        notify: options.notify,
        new_keyring: !options.no_new_keyring,
        // It comes from the container, not from the process object.
        seccomp: None,
    })
}

/// A list of texts for execve(2).
fn strings(list: &Option<Vec<String>>, path: &str, checks: &mut Checks) -> Vec<CString> {
    let mut texts = Vec::new();
    for (index, text) in list.iter().flatten().enumerate() {
        let text = CString::new(text.as_str()).map_err(|_| anyhow!("contains a NUL byte"));
        texts.extend(checks.keep(text.with_context(|| At::new(format!("{path}[{index}]")))));
    }
    texts
}

fn args(list: &Option<Vec<String>>, checks: &mut Checks) -> Result<Vec<CString>> {
    let program = list.as_ref().and_then(|list| list.first());
    match program {
        None => Err(with_hint(
            "missing or empty",
            "write the program and its arguments: [\"sh\", \"-c\", \"id\"]",
        ))
        .context(At::new("process.args")),
        Some(program) if program.is_empty() => Err(anyhow!(EMPTY_NAME)).context(At::new("process.args[0]")),
        Some(_) => Ok(strings(list, "process.args", checks)),
    }
}

fn rlimits(process: &document::Process, checks: &mut Checks) -> Vec<Rlimit> {
    let mut rlimits: Vec<Rlimit> = Vec::new();
    for (index, entry) in process.rlimits().iter().flatten().enumerate() {
        let name = entry.typ().to_string();
        let check = || {
            let resource = rlimit(&name).ok_or_else(|| anyhow!("unknown limit"))?;
            if rlimits.iter().any(|other| other.resource == resource) {
                return Err(anyhow!("duplicate type; every type may appear once"));
            }
            if entry.soft() > entry.hard() {
                return Err(anyhow!("soft {} is above hard {}", entry.soft(), entry.hard()));
            }
            Ok(resource)
        };
        let resource = check().with_context(|| At::object(format!("process.rlimits[{index}]"), &name));
        let Some(resource) = checks.keep(resource) else {
            continue;
        };
        rlimits.push(Rlimit {
            index,
            resource,
            soft: entry.soft(),
            hard: entry.hard(),
            name,
        });
    }
    rlimits
}

fn oom_score(score: Option<i32>) -> Result<Option<i32>> {
    match score {
        Some(score) if !(-1000..=1000).contains(&score) => {
            Err(anyhow!("{score} is outside -1000 to 1000")).context(At::new("process.oomScoreAdj"))
        }
        score => Ok(score),
    }
}

/// Rows and columns, if there is a terminal.
fn console_size(process: &document::Process, terminal: bool) -> Result<Option<(u16, u16)>> {
    let Some(size) = process.console_size().filter(|_| terminal) else {
        return Ok(None);
    };
    let cells = |n: u64| u16::try_from(n).map_err(|_| anyhow!("{n} is too large"));
    let size = cells(size.height()).and_then(|rows| Ok((rows, cells(size.width())?)));
    size.map(Some).context(At::new("process.consoleSize"))
}

/// The label of a security module. Engines send an empty one for none.
fn label(text: &Option<String>, path: &'static str, required: impl Fn() -> Result<()>) -> Result<Option<String>> {
    let Some(text) = text.as_ref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if text.contains('\0') {
        return Err(anyhow!("contains a NUL byte")).context(At::new(path));
    }
    required().with_context(|| At::object(path, text))?;
    Ok(Some(text.clone()))
}

fn require_apparmor(facts: &Facts) -> Result<()> {
    if facts.apparmor {
        return Ok(());
    }
    Err(with_hint(
        "AppArmor is not enabled in this kernel, so the profile would confine nothing",
        "leave process.apparmorProfile out, or boot a kernel that has it with apparmor in lsm= (see /sys/kernel/security/lsm)",
    ))
}

/// Without SELinux, or without a policy, the kernel accepts every label, and none has an effect.
pub fn require_selinux(facts: &Facts) -> Result<()> {
    match facts.selinux {
        Selinux::Enabled => Ok(()),
        Selinux::WithoutPolicy => Err(with_hint(
            "SELinux has no policy, so the label would confine nothing",
            "leave the label out, or load a policy (load_policy)",
        )),
        Selinux::Disabled => Err(with_hint(
            "SELinux is not enabled in this kernel, so the label would confine nothing",
            "leave the label out, or boot a kernel that has it with selinux in lsm= and mount selinuxfs on /sys/fs/selinux",
        )),
    }
}

/// `process.env` as execve(2) gets it: each entry has a name and a value, and each name appears once, with the last value
/// given. (A program that looks a name up finds the first entry; a program that reads the list ends with the last entry.
/// With a name given twice they would disagree.)
fn environment(entries: Vec<CString>, checks: &mut Checks) -> Vec<CString> {
    let mut names: Vec<(&[u8], usize)> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let at = || At::object(format!("process.env[{index}]"), entry.to_string_lossy());
        let form = "an entry has the form NAME=VALUE";
        match entry.as_bytes().split(|byte| *byte == b'=').next() {
            Some([]) => drop(checks.keep::<()>(Err(with_hint("the name is empty", form)).with_context(at))),
            Some(name) if name.len() < entry.as_bytes().len() => names.push((name, index)),
            _ => drop(checks.keep::<()>(Err(with_hint("it contains no =", form)).with_context(at))),
        }
    }
    names.sort_unstable();
    let neighbours = names.iter().zip(names.iter().skip(1));
    let overridden: BTreeSet<usize> = neighbours
        .filter(|(one, next)| one.0 == next.0)
        .map(|(one, _)| one.1)
        .collect();
    if overridden.is_empty() {
        return entries;
    }
    let entries = entries.into_iter().enumerate();
    entries
        .filter(|(index, _)| !overridden.contains(index))
        .map(|(_, entry)| entry)
        .collect()
}

fn rlimit(name: &str) -> Option<Resource> {
    Some(match name {
        "RLIMIT_AS" => libc::RLIMIT_AS,
        "RLIMIT_CORE" => libc::RLIMIT_CORE,
        "RLIMIT_CPU" => libc::RLIMIT_CPU,
        "RLIMIT_DATA" => libc::RLIMIT_DATA,
        "RLIMIT_FSIZE" => libc::RLIMIT_FSIZE,
        "RLIMIT_LOCKS" => libc::RLIMIT_LOCKS,
        "RLIMIT_MEMLOCK" => libc::RLIMIT_MEMLOCK,
        "RLIMIT_MSGQUEUE" => libc::RLIMIT_MSGQUEUE,
        "RLIMIT_NICE" => libc::RLIMIT_NICE,
        "RLIMIT_NOFILE" => libc::RLIMIT_NOFILE,
        "RLIMIT_NPROC" => libc::RLIMIT_NPROC,
        "RLIMIT_RSS" => libc::RLIMIT_RSS,
        "RLIMIT_RTPRIO" => libc::RLIMIT_RTPRIO,
        "RLIMIT_RTTIME" => libc::RLIMIT_RTTIME,
        "RLIMIT_SIGPENDING" => libc::RLIMIT_SIGPENDING,
        "RLIMIT_STACK" => libc::RLIMIT_STACK,
        _ => return None,
    })
}
