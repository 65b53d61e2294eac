//! Device rules as a program for the kernel: `linux.resources.devices` → eBPF of type BPF_PROG_TYPE_CGROUP_DEVICE.
//! Pure: nothing here touches the system (see `sys::bpf` for that), and tests run the programs in an interpreter.
//!
//! The rules form one ordered list, of which for every access bit (read, write, mknod) the *last* matching rule
//! decides; without any, the answer is no. An open for reading and writing needs both bits allowed.
//!
//! The kernel also asks with no bit at all, when access(2) wants to know whether a node exists (`F_OK`) or may be
//! executed. There is nothing to decide bit by bit then: of the rules about the device that allow anything or deny
//! everything, the last one counts. So a device that may be used in some way can be seen, as with other runtimes; and
//! since [`default_rules`] allow mknod of all devices, a container gets a yes for every one.
//!
//! ```text
//!   r2 = type                      1 block, 2 character   (struct bpf_cgroup_dev_ctx, linux/bpf.h)
//!   r3 = access bits not yet decided       1 mknod, 2 read, 4 write
//!   r4 = major, r5 = minor
//!   ┌ rule n (the last) ──────────────────────────────────────────────
//!   │ type, major, minor differ? ──────────────────────────► rule n-1
//!   │ allow: r3 &= ~bits;  r3 == 0?  return 1
//!   │ deny:  r3 & bits?              return 0
//!   ├ rule n-1 … rule 1 ──────────────────────────────────────────────
//!   └ return 0
//! ```
//!
//! The numbers are not compared where they stand but by the difference of a copy (`(major ^ 8) | (minor ^ 0) != 0`):
//! from `if r4 != 8` the kernel's verifier would learn that r4 is 8 on one way out, and walk the rest of the program
//! once for every such fact. It would take twice as long for the list that every container has, and refuse some lists
//! of 500 rules as too complex.

use std::fmt;

/// The devices that a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    All,
    Block,
    Character,
}

/// Bits of access as the kernel numbers them (BPF_DEVCG_ACC_*).
pub const MKNOD: u8 = 1;
pub const READ: u8 = 2;
pub const WRITE: u8 = 4;
const EVERY: u8 = MKNOD | READ | WRITE;

/// One rule. `None` for a number means any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub allow: bool,
    pub kind: Kind,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: u8,
}

/// A rule that cannot be meant; names the field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleError {
    Kind(String),
    Number(&'static str, i64),
    Access(String),
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuleError::Kind(kind) => write!(f, "type {kind:?} is none of a, b, c"),
            RuleError::Number(field, number) => write!(f, "{field} {number} is no device number, nor -1 for any"),
            RuleError::Access(access) => write!(f, "access {access:?} must be made of r, w and m"),
        }
    }
}

impl std::error::Error for RuleError {}

impl Rule {
    /// A rule from the values of the config. An absent type is `a`, an absent number or -1 is any, an absent access is
    /// all of it (config-linux.md, "Allowed Device list": every field but `allow` is optional).
    pub fn from_spec(
        allow: bool,
        kind: Option<&str>,
        major: Option<i64>,
        minor: Option<i64>,
        access: Option<&str>,
    ) -> Result<Rule, RuleError> {
        let kind = match kind {
            None | Some("" | "a") => Kind::All,
            Some("b") => Kind::Block,
            // u is an unbuffered character device, which Linux does not tell apart.
            Some("c" | "u") => Kind::Character,
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
        Ok(Rule {
            allow,
            kind,
            major: number("major", major)?,
            minor: number("minor", minor)?,
            access: bits,
        })
    }

    /// Whether the rule is about every access to every device.
    fn is_total(&self) -> bool {
        self.kind == Kind::All && self.major.is_none() && self.minor.is_none() && self.access == EVERY
    }
}

/// What every container may use, whatever its rules say: any node may be made (making is not opening), and the devices
/// that the runtime puts in each container may be opened.
pub fn default_rules() -> Vec<Rule> {
    let allow = |kind, major, minor, access| Rule {
        allow: true,
        kind,
        major,
        minor,
        access,
    };
    let device = |major, minor| allow(Kind::Character, Some(major), minor, EVERY);
    vec![
        allow(Kind::Character, None, None, MKNOD),
        allow(Kind::Block, None, None, MKNOD),
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
const RSH32_IMM: u8 = 0x74;
const XOR32_IMM: u8 = 0xa4;
const OR32_REG: u8 = 0x4c;
const JNE32_IMM: u8 = 0x56;
const JSET32_IMM: u8 = 0x46;
const JA: u8 = 0x05;
const EXIT: u8 = 0x95;

/// The answer, at the end.
const R0: u8 = 0;
/// The request, at the begin.
const CONTEXT: u8 = 1;
/// The same registers in between.
const SCRATCH: u8 = R0;
const DIFFERENCE: u8 = CONTEXT;
const TYPE: u8 = 2;
const PENDING: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

fn instruction(opcode: u8, destination: u8, source: u8, offset: i16, immediate: u32) -> Instruction {
    u64::from(opcode)
        | u64::from(source << 4 | destination) << 8
        | u64::from(offset as u16) << 16
        | u64::from(immediate) << 32
}

/// The program for an ordered list of rules.
pub fn compile(rules: &[Rule]) -> Vec<Instruction> {
    // What stands before a rule about everything is dead; what is denied before anything is allowed is denied anyway.
    let begin = rules.iter().rposition(Rule::is_total).unwrap_or(0);
    let rules: Vec<&Rule> = rules.iter().skip(begin).skip_while(|rule| !rule.allow).collect();

    let mut program = vec![
        instruction(LDX_W, TYPE, CONTEXT, 0, 0),
        instruction(MOV32_REG, PENDING, TYPE, 0, 0),
        instruction(RSH32_IMM, PENDING, 0, 0, 16),
        instruction(AND32_IMM, TYPE, 0, 0, 0xffff),
        instruction(LDX_W, MAJOR, CONTEXT, 4, 0),
        instruction(LDX_W, MINOR, CONTEXT, 8, 0),
    ];
    for rule in rules.iter().rev() {
        emit(&mut program, rule);
        if rule.is_total() {
            return program;
        }
    }
    program.extend(answer(false));
    program
}

fn answer(allow: bool) -> [Instruction; 2] {
    [
        instruction(MOV32_IMM, R0, 0, 0, u32::from(allow)),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

fn emit(program: &mut Vec<Instruction>, rule: &Rule) {
    let mut verdict = Vec::with_capacity(4);
    match (rule.allow, rule.access == EVERY) {
        // Every bit that is still open is decided here.
        (_, true) => {}
        (true, false) => {
            verdict.push(instruction(AND32_IMM, PENDING, 0, 0, u32::from(EVERY & !rule.access)));
            verdict.push(instruction(JNE32_IMM, PENDING, 0, 2, 0));
        }
        (false, false) => {
            verdict.push(instruction(JSET32_IMM, PENDING, 0, 1, u32::from(rule.access)));
            verdict.push(instruction(JA, 0, 0, 2, 0));
        }
    }
    verdict.extend(answer(rule.allow));

    let kind = match rule.kind {
        Kind::All => None,
        Kind::Block => Some(1),
        Kind::Character => Some(2),
    };
    let conditions: Vec<(u8, u32)> = [(TYPE, kind), (MAJOR, rule.major), (MINOR, rule.minor)]
        .into_iter()
        .filter_map(|(register, value)| Some((register, value?)))
        .collect();
    // One jump for all conditions, on the bits in which they are not met.
    for (index, (register, value)) in conditions.iter().enumerate() {
        let differs = if index == 0 { DIFFERENCE } else { SCRATCH };
        program.push(instruction(MOV32_REG, differs, *register, 0, 0));
        program.push(instruction(XOR32_IMM, differs, 0, 0, *value));
        if index > 0 {
            program.push(instruction(OR32_REG, DIFFERENCE, SCRATCH, 0, 0));
        }
    }
    if !conditions.is_empty() {
        // Over the verdict: 2 to 4 instructions.
        program.push(instruction(JNE32_IMM, DIFFERENCE, 0, verdict.len() as i16, 0));
    }
    program.extend(verdict);
}
