//! Compiles device rules to a program for the kernel: `linux.resources.devices` → eBPF of type BPF_PROG_TYPE_CGROUP_DEVICE.
//! Pure: nothing here touches the system (`sys::bpf` does), and tests run the programs in an interpreter.
//!
//! The rules are an ordered list. For every access bit (read, write, mknod) the *last* matching rule decides; if none matches,
//! access is denied. An open for reading and writing needs both bits allowed.
//!
//! The kernel also asks with no bit set, when access(2) checks whether a node exists (`F_OK`) or may be executed. Then the last
//! rule for the device that allows anything or denies everything decides. So a device that may be used in some way is visible, as
//! with other runtimes; and because [`default_rules`] allow mknod of all devices, the answer in a container is always yes.
//!
//! ```text
//!   r2 = type                      1 block, 2 character   (struct bpf_cgroup_dev_ctx, linux/bpf.h)
//!   r3 = access bits not yet decided       1 mknod, 2 read, 4 write
//!   r4 = major, r5 = minor, r6 = both as the kernel keeps them: major << 20 | minor
//!   ┌ the last rules, of one type ────────────────────────────────────
//!   │ another type? ──────────────────────────────► the rules before them
//!   │ ┌ rule about every access ────────────────
//!   │ │ number the same? ─────────────────────────► answer
//!   │ ├ rule about some bits ───────────────────
//!   │ │ number differs? ──────────────────────────► the rule before
//!   │ │ allow: r3 &= ~bits;  r3 == 0? ────────────► yes
//!   │ │ deny:  r3 & bits? ────────────────────────► no
//!   ├ … the first rules ──────────────────────────────────────────────
//!   └ no: return 0     yes: return 1
//! ```
//!
//! Where both branches of a comparison continue, a copy is compared by its difference (`r6 ^ 0x800000 != 0`). From
//! `if r6 != 0x800000` the kernel's verifier would learn the number on one branch, and walk the rest of the program once for every
//! such fact; it would reject some lists of 500 rules as too complex. A comparison that leads directly to an answer does not have
//! this effect.

use std::fmt;

use oci_spec::runtime as oci;

use crate::error::{At, Context, Result};
use crate::plan::{DeviceKind, DeviceRule};

/// Bits of access as the kernel numbers them (BPF_DEVCG_ACC_*).
pub const MKNOD: u8 = 1;
pub const READ: u8 = 2;
pub const WRITE: u8 = 4;
const EVERY: u8 = MKNOD | READ | WRITE;

/// An invalid rule, by the field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleError {
    Kind(String),
    Number(&'static str, i64),
    Access(String),
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuleError::Kind(kind) => write!(f, "type {kind:?} must be a, b or c"),
            RuleError::Number(field, number) => write!(f, "{field} {number} is neither a device number nor -1 for any"),
            RuleError::Access(access) => write!(f, "access {access:?} must consist of r, w and m"),
        }
    }
}

impl std::error::Error for RuleError {}

impl DeviceRule {
    /// A rule from the values of the config. An absent type is `a`, an absent number or -1 is any, an absent access is
    /// all of it (config-linux.md, "Allowed Device list": every field but `allow` is optional).
    pub fn from_spec(
        allow: bool,
        kind: Option<&str>,
        major: Option<i64>,
        minor: Option<i64>,
        access: Option<&str>,
    ) -> Result<DeviceRule, RuleError> {
        let kind = match kind {
            None | Some("" | "a") => DeviceKind::All,
            Some("b") => DeviceKind::Block,
            // u is an unbuffered character device, which is the same on Linux.
            Some("c" | "u") => DeviceKind::Character,
            Some(other) => return Err(RuleError::Kind(other.into())),
        };
        let number = |field: &'static str, number: Option<i64>| match number {
            None | Some(-1) => Ok(None),
            Some(number) => u32::try_from(number)
                .map(Some)
                .map_err(|_| RuleError::Number(field, number)),
        };
        let mut bits = 0;
        for letter in access.unwrap_or("rwm").chars() {
            bits |= match letter {
                'r' => READ,
                'w' => WRITE,
                'm' => MKNOD,
                _ => return Err(RuleError::Access(access.unwrap_or_default().into())),
            };
        }
        if bits == 0 {
            return Err(RuleError::Access(String::new()));
        }
        Ok(DeviceRule {
            allow,
            kind,
            major: number("major", major)?,
            minor: number("minor", minor)?,
            access: bits,
        })
    }

    /// Whether the rule is about every access to every device.
    fn is_total(&self) -> bool {
        self.kind == DeviceKind::All && self.major.is_none() && self.minor.is_none() && self.access == EVERY
    }
}

/// The rules of `linux.resources.devices` in their order, then the devices that every container may use.
pub fn rules(resources: Option<&oci::LinuxResources>) -> Result<Vec<DeviceRule>> {
    let listed = resources.and_then(|resources| resources.devices().as_deref());
    let listed = listed.unwrap_or_default().iter().enumerate();
    let mut rules = listed
        .map(|(index, entry)| rule(index, entry))
        .collect::<Result<Vec<_>>>()?;
    rules.extend(default_rules());
    Ok(rules)
}

/// One rule of `linux.resources.devices`.
pub fn rule(index: usize, entry: &oci::LinuxDeviceCgroup) -> Result<DeviceRule> {
    let kind = entry.typ().map(|kind| kind.as_str().to_string());
    DeviceRule::from_spec(
        entry.allow(),
        kind.as_deref(),
        entry.major(),
        entry.minor(),
        entry.access().as_deref(),
    )
    .with_context(|| At::new(format!("linux.resources.devices[{index}]")))
}

/// What every container may do, whatever its rules are: create any node (which does not allow opening it), and open the devices
/// that the runtime creates in every container.
pub fn default_rules() -> Vec<DeviceRule> {
    let allow = |kind, major, minor, access| DeviceRule {
        allow: true,
        kind,
        major,
        minor,
        access,
    };
    let device = |major, minor| allow(DeviceKind::Character, Some(major), minor, EVERY);
    vec![
        allow(DeviceKind::All, None, None, MKNOD),
        device(1, Some(3)), // null
        device(1, Some(5)), // zero
        device(1, Some(7)), // full
        device(1, Some(8)), // random
        device(1, Some(9)), // urandom
        device(5, Some(0)), // tty
        device(5, Some(1)), // console
        device(5, Some(2)), // ptmx
        device(136, None),  // pts/*
    ]
}

/// One instruction as the kernel reads it: opcode, registers, offset, immediate (struct bpf_insn), little end first.
pub type Instruction = u64;

const LDX_W: u8 = 0x61; // dst = *(u32 *)(src + off)
const MOV32_IMM: u8 = 0xb4;
const MOV32_REG: u8 = 0xbc;
const AND32_IMM: u8 = 0x54;
const LSH32_IMM: u8 = 0x64;
const RSH32_IMM: u8 = 0x74;
const XOR32_IMM: u8 = 0xa4;
const OR32_REG: u8 = 0x4c;
const JEQ32_IMM: u8 = 0x16;
const JNE32_IMM: u8 = 0x56;
const JSET32_IMM: u8 = 0x46;
const JA: u8 = 0x05;
const EXIT: u8 = 0x95;

/// Holds the answer at the end, and a difference before that.
const R0: u8 = 0;
const DIFFERENCE: u8 = R0;
/// Holds the request at the start.
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const PENDING: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const NUMBER: u8 = 6;

/// Bits of a minor number, and of both together (linux/kdev_t.h).
const MINOR_BITS: u32 = 20;
const NUMBER_BITS: u32 = 32;

fn instruction(opcode: u8, destination: u8, source: u8, offset: i16, immediate: u32) -> Instruction {
    u64::from(opcode)
        | u64::from(source << 4 | destination) << 8
        | u64::from(offset as u16) << 16
        | u64::from(immediate) << 32
}

/// The program for an ordered list of rules.
pub fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    // Rules before a rule for everything have no effect, nor has a denial before anything is allowed.
    let start = rules.iter().rposition(DeviceRule::is_total).unwrap_or(0);
    let rules: Vec<&DeviceRule> = rules.iter().skip(start).skip_while(|rule| !rule.allow).collect();

    let mut emitter = Emitter::default();
    emitter.emit(LDX_W, TYPE, CONTEXT, 0, 0);
    emitter.emit(MOV32_REG, PENDING, TYPE, 0, 0);
    emitter.emit(RSH32_IMM, PENDING, 0, 0, 16);
    emitter.emit(AND32_IMM, TYPE, 0, 0, 0xffff);
    emitter.emit(LDX_W, MAJOR, CONTEXT, 4, 0);
    emitter.emit(LDX_W, MINOR, CONTEXT, 8, 0);
    emitter.emit(MOV32_REG, NUMBER, MAJOR, 0, 0);
    emitter.emit(LSH32_IMM, NUMBER, 0, 0, MINOR_BITS);
    emitter.emit(OR32_REG, NUMBER, MINOR, 0, 0);
    let reversed: Vec<&DeviceRule> = rules.into_iter().rev().collect();
    for one_type in reversed.chunk_by(|one, next| one.kind == next.kind) {
        for group in one_type.chunks(LONGEST_GROUP) {
            if let Some(allow) = emitter.group(group) {
                return emitter.end(allow);
            }
            if emitter.is_far() {
                emitter.stopover();
            }
        }
    }
    emitter.end(false)
}

/// The number of rules under one test of the type. Each has at most five instructions, and a jump spans at most 32,767.
const LONGEST_GROUP: usize = 4000;

#[derive(Default)]
struct Emitter {
    program: Vec<Instruction>,
    /// Positions of jumps to the answers, whose offset is not known yet.
    to_allow: Vec<usize>,
    to_deny: Vec<usize>,
}

impl Emitter {
    fn emit(&mut self, opcode: u8, destination: u8, source: u8, offset: i16, immediate: u32) {
        self.program
            .push(instruction(opcode, destination, source, offset, immediate));
    }

    /// A jump to an answer.
    fn decide(&mut self, opcode: u8, register: u8, immediate: u32, allow: bool) {
        let jumps = if allow { &mut self.to_allow } else { &mut self.to_deny };
        jumps.push(self.program.len());
        self.emit(opcode, register, 0, 0, immediate);
    }

    /// Makes the jumps at these positions lead to `target`.
    fn land(&mut self, jumps: Vec<usize>, target: usize) {
        for place in jumps {
            if let Some(jump) = self.program.get_mut(place) {
                let offset = (target - place - 1) as u16;
                *jump = *jump & !0xffff_0000 | u64::from(offset) << 16;
            }
        }
    }

    /// Emits an answer, and makes the jumps lead to it.
    fn answer(&mut self, allow: bool) {
        let jumps = std::mem::take(if allow { &mut self.to_allow } else { &mut self.to_deny });
        let target = self.program.len();
        self.land(jumps, target);
        self.emit(MOV32_IMM, R0, 0, 0, u32::from(allow));
        self.emit(EXIT, 0, 0, 0, 0);
    }

    /// Emits the answers that jumps need so far, and a jump over them.
    fn stopover(&mut self) {
        let wanted = [(true, !self.to_allow.is_empty()), (false, !self.to_deny.is_empty())];
        let length = wanted.iter().filter(|(_, wanted)| *wanted).count() * 2;
        self.emit(JA, 0, 0, length as i16, 0);
        for (allow, _) in wanted.into_iter().filter(|(_, wanted)| *wanted) {
            self.answer(allow);
        }
    }

    /// The end, where all remaining requests get one answer. The other answer is only emitted if a jump leads to it: the kernel
    /// rejects unreachable instructions.
    fn end(mut self, allow: bool) -> Vec<Instruction> {
        self.answer(allow);
        if !self.to_allow.is_empty() || !self.to_deny.is_empty() {
            self.answer(!allow);
        }
        self.program
    }

    /// Whether the first pending jump might not span another group.
    fn is_far(&self) -> bool {
        let first = self.to_allow.first().into_iter().chain(self.to_deny.first()).min();
        first.is_some_and(|place| self.program.len() - place > 10_000)
    }

    /// Emits rules of one type, the last first. Returns the answer for all remaining requests, if it is decided.
    fn group(&mut self, rules: &[&DeviceRule]) -> Option<bool> {
        let kind = match rules.first()?.kind {
            DeviceKind::All => return rules.iter().find_map(|rule| self.rule(rule)),
            DeviceKind::Block => 1,
            DeviceKind::Character => 2,
        };
        let skip = self.program.len();
        self.emit(JNE32_IMM, TYPE, 0, 0, kind);
        if let Some(allow) = rules.iter().find_map(|rule| self.rule(rule)) {
            self.decide(JA, 0, 0, allow);
        }
        let end = self.program.len();
        self.land(vec![skip], end);
        None
    }

    /// Emits one rule. Returns the answer for all requests that reach it, if it is the same for all.
    fn rule(&mut self, rule: &DeviceRule) -> Option<bool> {
        let condition = match (rule.major, rule.minor) {
            (None, None) => None,
            (Some(major), None) => Some((MAJOR, major)),
            (None, Some(minor)) => Some((MINOR, minor)),
            // No device has numbers this large.
            (Some(major), Some(minor)) if major >> (NUMBER_BITS - MINOR_BITS) != 0 || minor >> MINOR_BITS != 0 => {
                return None;
            }
            (Some(major), Some(minor)) => Some((NUMBER, major << MINOR_BITS | minor)),
        };
        match condition {
            None if rule.access == EVERY => return Some(rule.allow),
            Some((register, number)) if rule.access == EVERY => {
                self.decide(JEQ32_IMM, register, number, rule.allow);
                return None;
            }
            None => {}
            Some((register, number)) => {
                self.emit(MOV32_REG, DIFFERENCE, register, 0, 0);
                self.emit(XOR32_IMM, DIFFERENCE, 0, 0, number);
                // Over the instructions for the access bits.
                self.emit(JNE32_IMM, DIFFERENCE, 0, if rule.allow { 2 } else { 1 }, 0);
            }
        }
        if rule.allow {
            self.emit(AND32_IMM, PENDING, 0, 0, u32::from(EVERY & !rule.access));
            self.decide(JEQ32_IMM, PENDING, 0, true);
        } else {
            self.decide(JSET32_IMM, PENDING, u32::from(rule.access), false);
        }
        None
    }
}
