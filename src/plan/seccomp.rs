//! The seccomp filter of a process, and the decisions from which it was compiled.

use std::path::PathBuf;
use std::rc::Rc;

use crate::sys::seccomp::sock_filter;

/// A compiled filter.
#[derive(Debug, Clone)]
pub struct Seccomp {
    pub program: Vec<sock_filter>,
    /// Flags of seccomp(2).
    pub flags: u32,
    /// Present if and only if the filter notifies.
    pub listener: Option<Listener>,
    /// With `run --seccomp-log`: the kind of logging, and the profile's decisions, with which logged calls are explained.
    pub logged: Option<(Logging, Rc<Vec<Table>>)>,
}

/// The agent that gets the descriptor for notifications.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Listener {
    pub path: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
}

/// The argument of `run --seccomp-log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Logging {
    /// What is refused stays refused, and is logged
    Deny,
    /// What would be refused is let pass, and logged
    Allow,
}

/// The reason for an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The rule with this index in `syscalls`.
    Rule(usize),
    Default,
    /// The number is higher than that of the newest call in the profile.
    Newer(u32),
    /// The profile does not list the architecture.
    UnlistedArch,
}

/// An action that is taken if all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    pub conditions: Vec<Condition>,
    pub action: Action,
    /// The index of the rule in `syscalls`.
    pub rule: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Always(Action, Reason),
    /// The first clause whose conditions hold, or the default action.
    First {
        clauses: Vec<Clause>,
        /// Whether an argument has 64 bits.
        wide: bool,
    },
}

/// The numbers from `first` up to the next interval.
#[derive(Debug)]
pub struct Interval {
    pub first: u32,
    pub decision: Decision,
}

/// All numbers of one architecture, as the kernel identifies it: x86-64 and x32 share one table.
#[derive(Debug)]
pub struct Table {
    /// `AUDIT_ARCH_*`.
    pub audit: u32,
    /// In ascending order without gaps, starting at 0.
    pub intervals: Vec<Interval>,
}

/// The return value of a filter: `SECCOMP_RET_*` of linux/seccomp.h, with the errno, if any, in the lower half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action(pub u32);

impl Action {
    pub const KILL_PROCESS: Action = Action(0x8000_0000);
    pub const KILL_THREAD: Action = Action(0);
    pub const TRAP: Action = Action(0x0003_0000);
    pub const ERRNO: Action = Action(0x0005_0000);
    pub const NOTIFY: Action = Action(0x7fc0_0000);
    pub const TRACE: Action = Action(0x7ff0_0000);
    pub const LOG: Action = Action(0x7ffc_0000);
    pub const ALLOW: Action = Action(0x7fff_0000);

    pub const fn errno(number: u32) -> Action {
        Action(Action::ERRNO.0 | number)
    }

    /// The action without its errno.
    pub fn kind(self) -> Action {
        Action(self.0 & 0xffff_0000)
    }

    /// Whether the call may be executed without a decision by another process.
    pub fn is_permissive(self) -> bool {
        [Action::ALLOW, Action::LOG, Action::TRACE].contains(&self.kind())
    }

    /// Whether the call is never executed.
    pub fn is_refusal(self) -> bool {
        !self.is_permissive() && self != Action::NOTIFY
    }

    /// The action's name in the config. KILL is another name of KILL_THREAD.
    pub fn name(self) -> &'static str {
        match self.kind() {
            Action::KILL_PROCESS => "SCMP_ACT_KILL_PROCESS",
            Action::KILL_THREAD => "SCMP_ACT_KILL_THREAD",
            Action::TRAP => "SCMP_ACT_TRAP",
            Action::ERRNO => "SCMP_ACT_ERRNO",
            Action::NOTIFY => "SCMP_ACT_NOTIFY",
            Action::TRACE => "SCMP_ACT_TRACE",
            Action::LOG => "SCMP_ACT_LOG",
            Action::ALLOW => "SCMP_ACT_ALLOW",
            _ => "unknown",
        }
    }

    /// Its name in /proc/sys/kernel/seccomp/actions_logged. ALLOW is never logged.
    pub fn logged_as(self) -> Option<&'static str> {
        Some(match self.kind() {
            Action::KILL_PROCESS => "kill_process",
            Action::KILL_THREAD => "kill_thread",
            Action::TRAP => "trap",
            Action::ERRNO => "errno",
            Action::NOTIFY => "user_notif",
            Action::TRACE => "trace",
            Action::LOG => "log",
            _ => return None,
        })
    }

    /// The number in the lower half, for actions that have one.
    pub fn data(self) -> Option<u32> {
        matches!(self.kind(), Action::ERRNO | Action::TRACE).then_some(self.0 & 0xffff)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Ne,
    Lt,
    Le,
    Eq,
    Ge,
    Gt,
    /// The argument, masked, equals the value.
    MaskedEq,
}

/// One comparison of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    pub argument: u8,
    pub operator: Operator,
    pub value: u64,
    /// All bits set, except for [`Operator::MaskedEq`].
    pub mask: u64,
}

impl Condition {
    pub fn masked(argument: u8, mask: u64, value: u64) -> Self {
        Condition {
            argument,
            operator: Operator::MaskedEq,
            // Bits outside of the mask are ignored.
            value: value & mask,
            mask,
        }
    }

    /// Whether the arguments satisfy the condition. On a 32-bit system (not `wide`) arguments and values have no upper
    /// halves.
    pub fn holds(&self, arguments: &[u64; 6], wide: bool) -> bool {
        let keep = if wide { u64::MAX } else { 0xffff_ffff };
        let argument = arguments.get(usize::from(self.argument)).copied().unwrap_or(0) & keep;
        let value = self.value & keep;
        match self.operator {
            Operator::Ne => argument != value,
            Operator::Lt => argument < value,
            Operator::Le => argument <= value,
            Operator::Eq => argument == value,
            Operator::Ge => argument >= value,
            Operator::Gt => argument > value,
            Operator::MaskedEq => argument & self.mask == value,
        }
    }
}
