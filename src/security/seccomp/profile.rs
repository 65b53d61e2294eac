//! Validating and resolving `linux.seccomp` (config-linux.md, "Seccomp"). Run by the runtime, before any side effect.

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator,
};

use super::arch::{Arch, Call};
use crate::error::{At, Context, Result, anyhow, with_hint};
use crate::plan::seccomp::{Action, Condition, Listener, Logging, Operator};
use crate::sys::seccomp::knows_flags;

/// Flags of seccomp(2), as in linux/seccomp.h.
pub const TSYNC: u32 = 1;
pub const LOG: u32 = 1 << 1;
pub const SPEC_ALLOW: u32 = 1 << 2;
pub const NEW_LISTENER: u32 = 1 << 3;
pub const WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// The values that are recognized in the config, for `features`.
pub const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
pub const OPERATORS: &[&str] = &[
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];
pub const FLAGS: &[&str] = &[
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// One entry of `syscalls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its index in `syscalls`.
    pub index: usize,
    pub action: Action,
    pub calls: Vec<Call>,
    /// The rule matches if all conditions of one alternative hold. There is one alternative with all of `args`, unless
    /// several of them are about the same argument: then each is a separate alternative, as in all other runtimes.
    pub alternatives: Vec<Vec<Condition>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub default: Action,
    /// Without duplicates. The native one comes first, and is always included.
    pub architectures: Vec<Arch>,
    /// For seccomp(2).
    pub flags: u32,
    pub rules: Vec<Rule>,
    /// Present if and only if a rule notifies.
    pub listener: Option<Listener>,
    /// Names that no architecture has, which are ignored: (path in the config, name).
    pub unknown: Vec<(String, String)>,
}

impl Profile {
    /// Makes the kernel log all system calls that the profile does not allow.
    pub fn enable_logging(&mut self, logging: Logging) {
        self.flags |= LOG;
        if logging == Logging::Allow {
            let rules = self.rules.iter_mut().map(|rule| &mut rule.action);
            for action in rules.chain([&mut self.default]).filter(|action| action.is_refusal()) {
                *action = Action::LOG;
            }
        }
    }
}

/// Validates a profile. `place` is its path in the document.
pub fn read(seccomp: &LinuxSeccomp, native: Arch, place: &str) -> Result<Profile> {
    let at = |field: &str| match place {
        "" => field.to_string(),
        place => format!("{place}.{field}"),
    };
    let default = action(seccomp.default_action(), seccomp.default_errno_ret())
        .with_context(|| At::new(at("defaultErrnoRet")))?;
    let mut architectures = vec![native];
    for arch in seccomp.architectures().iter().flatten() {
        let arch = match arch {
            oci_spec::runtime::Arch::ScmpArchNative => native,
            other => Arch::from(*other),
        };
        if !architectures.contains(&arch) {
            architectures.push(arch);
        }
    }
    let mut unknown = Vec::new();
    let mut rules = Vec::new();
    for (index, syscall) in seccomp.syscalls().iter().flatten().enumerate() {
        let place = |field: &str| at(&format!("syscalls[{index}].{field}"));
        if syscall.names().is_empty() {
            return Err(anyhow!("must contain at least one name")).with_context(|| At::new(place("names")));
        }
        let mut calls = Vec::with_capacity(syscall.names().len());
        for (number, name) in syscall.names().iter().enumerate() {
            match Call::by_name(name) {
                Some(call) => calls.push(call),
                // The profile may be newer than this runtime, or contain calls of other systems.
                None => unknown.push((place(&format!("names[{number}]")), name.clone())),
            }
        }
        rules.push(Rule {
            index,
            action: action(syscall.action(), syscall.errno_ret()).with_context(|| At::new(place("errnoRet")))?,
            calls,
            alternatives: alternatives(syscall.args().as_deref().unwrap_or_default(), |number| {
                place(&format!("args[{number}].index"))
            })?,
        });
    }
    let notifies = default == Action::NOTIFY || rules.iter().any(|rule| rule.action == Action::NOTIFY);
    let mut flags = match seccomp.flags() {
        // As in runc and crun: the mitigation that the kernel would otherwise enable costs more than it protects.
        None => SPEC_ALLOW,
        Some(list) => list.iter().fold(0, |flags, flag| flags | flag_bit(*flag)),
    };
    // The process that installs the filter has no other threads, except the one that sends the listener, which must not be
    // filtered.
    flags &= !TSYNC;
    if notifies {
        flags |= NEW_LISTENER;
    } else if flags & WAIT_KILLABLE_RECV != 0 {
        return Err(with_hint(
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV requires a rule that notifies",
            "remove the flag, or use SCMP_ACT_NOTIFY",
        ))
        .with_context(|| At::new(at("flags")));
    }
    Ok(Profile {
        default,
        architectures,
        flags,
        rules,
        listener: listener(seccomp, notifies, at)?,
        unknown,
    })
}

fn listener(seccomp: &LinuxSeccomp, notifies: bool, at: impl Fn(&str) -> String) -> Result<Option<Listener>> {
    // Engines write an empty string if there is none.
    let path = seccomp
        .listener_path()
        .as_ref()
        .filter(|path| !path.as_os_str().is_empty());
    let metadata = seccomp.listener_metadata().as_ref().filter(|text| !text.is_empty());
    let Some(path) = path else {
        if metadata.is_some() {
            return Err(with_hint(
                "must not be set without listenerPath",
                "set listenerPath to the socket of the seccomp agent",
            ))
            .with_context(|| At::new(at("listenerMetadata")));
        }
        if notifies {
            return Err(with_hint(
                "SCMP_ACT_NOTIFY requires a seccomp agent",
                "set this to the socket of the agent",
            ))
            .with_context(|| At::new(at("listenerPath")));
        }
        return Ok(None);
    };
    if !notifies {
        // "If the SCMP_ACT_NOTIFY action is not used this value is ignored."
        return Ok(None);
    }
    if !path.is_absolute() {
        // `start` may run in another working directory than `create`.
        return Err(anyhow!("must be an absolute path, not {path:?}")).with_context(|| At::new(at("listenerPath")));
    }
    Ok(Some(Listener {
        path: path.clone(),
        metadata: metadata.cloned(),
    }))
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<Action> {
    let kind = match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => Action::KILL_THREAD,
        LinuxSeccompAction::ScmpActKillProcess => Action::KILL_PROCESS,
        LinuxSeccompAction::ScmpActTrap => Action::TRAP,
        LinuxSeccompAction::ScmpActErrno => Action::ERRNO,
        LinuxSeccompAction::ScmpActNotify => Action::NOTIFY,
        LinuxSeccompAction::ScmpActTrace => Action::TRACE,
        LinuxSeccompAction::ScmpActLog => Action::LOG,
        LinuxSeccompAction::ScmpActAllow => Action::ALLOW,
    };
    // The kernel would reduce a larger errno to the maximum.
    let (max, errno) = match (kind, errno) {
        (Action::ERRNO, errno) => (4095, errno.unwrap_or(libc::EPERM as u32)),
        (Action::TRACE, errno) => (0xffff, errno.unwrap_or(libc::EPERM as u32)),
        (_, None) => (0, 0),
        (_, Some(errno)) => {
            return Err(with_hint(
                format!("{} does not return an errno, so {errno} has no effect", kind.name()),
                "remove it; only SCMP_ACT_ERRNO and SCMP_ACT_TRACE support it",
            ));
        }
    };
    if errno > max {
        return Err(anyhow!(
            "{errno} is greater than {max}, the maximum for {}",
            kind.name()
        ));
    }
    Ok(Action(kind.0 | errno))
}

/// Whether this kernel supports a flag, by its name in the config.
pub fn is_supported(name: &str) -> bool {
    let bits = match name {
        "SECCOMP_FILTER_FLAG_TSYNC" => TSYNC,
        "SECCOMP_FILTER_FLAG_LOG" => LOG,
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => SPEC_ALLOW,
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => WAIT_KILLABLE_RECV | NEW_LISTENER,
        _ => return false,
    };
    knows_flags(bits)
}

fn flag_bit(flag: LinuxSeccompFilterFlag) -> u32 {
    match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => TSYNC,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => LOG,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => SPEC_ALLOW,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => WAIT_KILLABLE_RECV,
    }
}

fn alternatives(args: &[LinuxSeccompArg], place: impl Fn(usize) -> String) -> Result<Vec<Vec<Condition>>> {
    let mut conditions = Vec::with_capacity(args.len());
    for (number, arg) in args.iter().enumerate() {
        let argument = u8::try_from(arg.index()).ok().filter(|index| *index < 6);
        let argument = argument
            .ok_or_else(|| anyhow!("{} is greater than 5; a system call has six arguments", arg.index()))
            .with_context(|| At::new(place(number)))?;
        let unmasked = |operator| Condition {
            argument,
            operator,
            value: arg.value(),
            mask: u64::MAX,
        };
        conditions.push(match arg.op() {
            LinuxSeccompOperator::ScmpCmpNe => unmasked(Operator::Ne),
            LinuxSeccompOperator::ScmpCmpLt => unmasked(Operator::Lt),
            LinuxSeccompOperator::ScmpCmpLe => unmasked(Operator::Le),
            LinuxSeccompOperator::ScmpCmpEq => unmasked(Operator::Eq),
            LinuxSeccompOperator::ScmpCmpGe => unmasked(Operator::Ge),
            LinuxSeccompOperator::ScmpCmpGt => unmasked(Operator::Gt),
            LinuxSeccompOperator::ScmpCmpMaskedEq => {
                Condition::masked(argument, arg.value(), arg.value_two().unwrap_or(0))
            }
        });
    }
    let mut seen = 0u8;
    let has_duplicate = conditions.iter().any(|condition| {
        let bit = 1 << condition.argument;
        let before = seen & bit != 0;
        seen |= bit;
        before
    });
    Ok(match has_duplicate {
        true => conditions.into_iter().map(|condition| vec![condition]).collect(),
        false => vec![conditions],
    })
}
