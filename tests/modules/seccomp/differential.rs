//! Compares our filters with libseccomp's: both return the same action for every number, architecture and argument, except
//! for the cases in [`Difference`].
//!
//! `SECCOMP_POINTS` is the number of points to compare; `make differential` uses ten million.

use std::collections::BTreeMap;

use ::seccompiler::sock_filter;

use super::classic_bpf::{self, Data};
use super::many_rules::three_hundred;
use super::oracle::Oracle;
use super::{docker, podman};
use orlop::plan::seccomp::{Action, Condition, Decision, Operator, Reason, Table};
use orlop::security::seccomp::arch::{Arch, Call, Multiplexer, X32_BIT};
use orlop::security::seccomp::compile::compile;
use orlop::security::seccomp::decide;
use orlop::security::seccomp::profile::{Profile, Rule};

/// The cases in which our filter differs on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// A call newer than the profile gets ENOSYS instead of the default refusal, as in runc, which adds this to libseccomp.
    Newer,
    /// Through socketcall(2) or ipc(2), a rule with conditions always refuses and never allows. libseccomp drops the
    /// condition on the first argument, and compares the others with the arguments of the multiplexer, which are unrelated.
    Multiplexed,
    /// The kernel uses 32 bits of the first argument of socketcall(2), and 16 of that of ipc(2), with a version above.
    /// libseccomp compares all bits, so a rule can be evaded with bits that the kernel ignores.
    UpperBits,
    /// Two rules with conditions match and have different actions. We use the first. libseccomp's choice depends on how its
    /// trees are sorted, or it rejects the second rule (then it is in neither filter here).
    Overlap,
    /// Of several rules about one number only the one that we use matches, and libseccomp returns the default action: when it
    /// merges the trees of the rules, a condition that fails in one of them does not always lead to the next. With this rule
    /// alone, libseccomp returns the same action as we do, which is checked every time.
    Merged,
}

/// xorshift64*, with a fixed seed, so that every run compares the same points.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

/// Values near the boundaries of comparisons.
fn value(random: &mut Random) -> u64 {
    let near = [
        0,
        1,
        2,
        5,
        8,
        40,
        0xffff,
        0x10001,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fffe,
        0xffff_ffff,
        1 << 32,
    ];
    match random.below(4) {
        0 => random.next(),
        1 => random.next() & 0xffff_ffff,
        2 => (random.of(&near) << 32) | random.of(&near) & 0xffff_ffff,
        _ => random.of(&near),
    }
}

fn conditions(random: &mut Random) -> Vec<Condition> {
    let mut conditions: Vec<Condition> = Vec::new();
    for _ in 0..1 + random.below(3) {
        let argument = random.below(6) as u8;
        if conditions.iter().any(|other| other.argument == argument) {
            continue;
        }
        use Operator::{Eq, Ge, Gt, Le, Lt, MaskedEq, Ne};
        let value = value(random);
        conditions.push(match random.of(&[Ne, Lt, Le, Eq, Ge, Gt, MaskedEq]) {
            MaskedEq => {
                let mask = random.of(&[random.0, 1, 0xff, 0x7e02_0000, u64::MAX, 0xffff_0000_0000, 0]);
                Condition::masked(argument, mask, value)
            }
            operator => Condition {
                argument,
                operator,
                value,
                mask: u64::MAX,
            },
        });
    }
    // libseccomp needs them sorted by argument, or its chains do not match those of other rules.
    conditions.sort_by_key(|condition| condition.argument);
    conditions
}

const ACTIONS: [Action; 8] = [
    Action::ALLOW,
    Action::errno(1),
    Action::errno(38),
    Action::KILL_PROCESS,
    Action::TRAP,
    Action::LOG,
    Action::NOTIFY,
    Action(Action::TRACE.0 | 7),
];

/// Architectures that can be combined in one filter of libseccomp 2.5.4; some are common in profiles, others are not.
const FAMILIES: &[&[Arch]] = &[
    &[Arch::X86_64, Arch::X86, Arch::X32],
    &[Arch::X86_64],
    &[Arch::X86_64, Arch::X86],
    &[Arch::X86_64, Arch::X32],
    &[Arch::X86],
    &[Arch::Aarch64, Arch::Arm],
    &[Arch::Mips, Arch::Mips64, Arch::Mips64n32],
    &[Arch::Mipsel64, Arch::Mipsel, Arch::Mipsel64n32],
    &[Arch::Ppc64le],
    &[Arch::Ppc64, Arch::Ppc],
    &[Arch::S390x, Arch::S390],
    &[Arch::Parisc64, Arch::Parisc],
    &[Arch::Riscv64],
];

fn random_profile(random: &mut Random, calls: &[Call], many: bool) -> Profile {
    let default = random.of(&ACTIONS);
    let mut rules: Vec<Rule> = Vec::new();
    for _ in 0..random.below(if many { 60 } else { 12 }) {
        let count = 1 + random.below(if many { 40 } else { 4 });
        let calls: Vec<Call> = (0..count).map(|_| random.of(calls)).collect();
        let mut alternatives = vec![Vec::new()];
        if random.below(2) == 0 {
            alternatives = vec![conditions(random)];
        }
        let mut rule = Rule {
            index: rules.len(),
            action: random.of(&ACTIONS),
            calls,
            alternatives,
        };
        // Several rules about one call are not compared, except calls that share a multiplexer: for some arguments the result
        // of libseccomp's merged trees is that of neither rule. Such rules are tested with the decision tables instead.
        rule.calls.sort();
        rule.calls.dedup();
        rule.calls
            .retain(|call| rules.iter().all(|other| !other.calls.contains(call)));
        rules.push(rule);
    }
    profile(default, random.of(FAMILIES), rules)
}

pub fn profile(default: Action, architectures: &[Arch], rules: Vec<Rule>) -> Profile {
    Profile {
        default,
        architectures: architectures.to_vec(),
        flags: 0,
        rules,
        listener: None,
        unknown: Vec::new(),
    }
}

/// A profile that both compilers have accepted, and the two programs.
struct Pair {
    profile: Profile,
    native: Arch,
    tables: Vec<Table>,
    ours: Vec<sock_filter>,
    theirs: Vec<sock_filter>,
    compared: u64,
    /// The numbers of instructions that both programs have executed, ours and theirs.
    instructions: (u64, u64),
}

impl Pair {
    /// Rules that libseccomp rejects are removed from both.
    fn new(mut profile: Profile, oracle: &mut Oracle) -> Self {
        let native = profile.architectures[0];
        oracle.begin(profile.default.0, &profile.architectures);
        for rule in &mut profile.rules {
            let mut accepted = Vec::new();
            for call in &rule.calls {
                let all = rule.alternatives.iter().all(|conditions| {
                    // Rules with the default action are rejected by libseccomp, and ignored by us.
                    rule.action == profile.default || oracle.rule(rule.action.0, call.name(), conditions).is_ok()
                });
                if all {
                    accepted.push(*call);
                }
            }
            rule.calls = accepted;
        }
        let ours = compile(&profile, native).unwrap();
        classic_bpf::check(&ours);
        Pair {
            native,
            tables: decide::tables(&profile, native),
            ours,
            theirs: oracle.program(native.is_little_endian()),
            profile,
            compared: 0,
            instructions: (0, 0),
        }
    }

    /// If the first call in its order does not exist on an architecture, libseccomp 2.5.4 generates programs that do not load
    /// the number, and compare the architecture with numbers instead. Such programs are useless for a comparison.
    fn is_broken(&self) -> bool {
        self.profile.architectures.iter().any(|arch| {
            let data = Data {
                nr: 0,
                arch: arch.audit(),
                args: [0; 6],
            };
            classic_bpf::compares_unloaded(&self.theirs, &data)
        })
    }

    fn compare(
        &mut self,
        arch: Arch,
        nr: u32,
        args: [u64; 6],
        differences: &mut BTreeMap<Difference, u64>,
        oracle: &mut Oracle,
    ) {
        let little = self.native.is_little_endian();
        let data = Data {
            nr,
            arch: arch.audit(),
            args,
        };
        let (ours, steps) = classic_bpf::run(&self.ours, &data, little);
        let (theirs, their_steps) = classic_bpf::run(&self.theirs, &data, little);
        self.compared += 1;
        self.instructions.0 += steps as u64;
        self.instructions.1 += their_steps as u64;
        let (decided, reason) = decide::evaluate(&self.tables, self.profile.default, data.arch, data.nr, &data.args);
        assert_eq!(
            decided.0, ours,
            "the program differs from the decision: {data:x?} {reason:?} {:#?}",
            self.profile
        );
        if ours == theirs {
            return;
        }
        let mut difference = self.explain(arch, &data, theirs, reason);
        if difference.is_none()
            && theirs == self.profile.default.0
            && let Reason::Rule(index) = reason
            && self.result_of_rule(index, &data, oracle) == Some(ours)
        {
            difference = Some(Difference::Merged);
        }
        let difference = difference.unwrap_or_else(|| {
            panic!(
                "unexplained: {arch:?} {data:x?}: ours {ours:#x} ({reason:?}), libseccomp's {theirs:#x}\n{:?}\n{:x?}",
                self.profile, self.theirs
            )
        });
        *differences.entry(difference).or_default() += 1;
    }

    /// libseccomp's result with only one rule of the profile, if there are others about the same number.
    fn result_of_rule(&self, index: usize, data: &Data, oracle: &mut Oracle) -> Option<u32> {
        let table = decide::find(&self.tables, data.arch, data.nr);
        if !matches!(table, Some(Decision::First { clauses, .. }) if clauses.len() > 1) {
            return None;
        }
        let mut profile = self.profile.clone();
        profile.rules.retain(|rule| rule.index == index);
        let pair = Pair::new(profile, oracle);
        let usable = !pair.is_broken();
        usable.then(|| classic_bpf::run(&pair.theirs, data, self.native.is_little_endian()).0)
    }

    fn explain(&self, arch: Arch, data: &Data, theirs: u32, reason: Reason) -> Option<Difference> {
        if let Reason::Newer(newest) = reason {
            // Checked independently of the compiler, with libseccomp's table.
            let setup = data.nr == 0 && matches!(arch, Arch::S390 | Arch::S390x);
            return (theirs == self.profile.default.0 && (data.nr > newest || setup)).then_some(Difference::Newer);
        }
        for multiplexer in [Multiplexer::Socketcall, Multiplexer::Ipc] {
            if !arch.has_multiplexers() || multiplexer.number(arch) != Some(data.nr) {
                continue;
            }
            let selector = data.args[0] & multiplexer.mask();
            let is_about = |rule: &&Rule| {
                let is_selected = |call: &Call| call.multiplexer() == Some((multiplexer, selector as u32));
                rule.calls.iter().any(is_selected)
            };
            let rules: Vec<&Rule> = self.profile.rules.iter().filter(is_about).collect();
            if rules.iter().any(|rule| !rule.alternatives[0].is_empty()) {
                return Some(Difference::Multiplexed);
            }
            if data.args[0] & !multiplexer.mask() != 0 && !rules.is_empty() {
                return Some(Difference::UpperBits);
            }
        }
        let matching: Vec<Action> = self
            .profile
            .rules
            .iter()
            .filter(|rule| {
                let is_multiplexed = |call: &Call| {
                    call.multiplexer().is_some_and(|(multiplexer, selector)| {
                        multiplexer.number(arch) == Some(data.nr)
                            && data.args[0] & multiplexer.mask() == u64::from(selector)
                    })
                };
                let is_about = |call: &Call| arch.number(*call) == Some(data.nr) || is_multiplexed(call);
                rule.calls.iter().any(is_about)
            })
            .filter(|rule| {
                rule.alternatives.iter().any(|conditions| {
                    conditions
                        .iter()
                        .all(|condition| condition.holds(&data.args, arch.is_64_bit()))
                })
            })
            .map(|rule| rule.action)
            .collect();
        let differ = matching.iter().any(|action| *action != matching[0]);
        (differ && matching.iter().any(|action| action.0 == theirs)).then_some(Difference::Overlap)
    }

    /// Compares numbers of all kinds, with relevant arguments.
    fn sweep(&mut self, random: &mut Random, differences: &mut BTreeMap<Difference, u64>, oracle: &mut Oracle) {
        let mut architectures = self.profile.architectures.clone();
        // Also one that is not listed, with the same byte order, and x32 in any case.
        architectures.push(if self.native.is_little_endian() {
            Arch::Riscv64
        } else {
            Arch::Parisc
        });
        if self.native == Arch::X86_64 {
            architectures.push(Arch::X32);
        }
        architectures.dedup();
        for arch in architectures {
            let base = match arch {
                Arch::X32 => X32_BIT,
                Arch::Mips | Arch::Mipsel => 4000,
                Arch::Mips64 | Arch::Mipsel64 => 5000,
                Arch::Mips64n32 | Arch::Mipsel64n32 => 6000,
                _ => 0,
            };
            let mut numbers: Vec<u32> = (base..base + 600).collect();
            numbers.extend([
                0,
                1,
                102,
                117,
                999,
                3999,
                4999,
                7000,
                0xeffff,
                u32::MAX,
                u32::MAX - 1,
                X32_BIT - 1,
            ]);
            numbers.extend((0xf_0000..0xf_0008).chain([X32_BIT, X32_BIT + 0x1000, i32::MAX as u32, 1 << 31]));
            for number in numbers {
                for args in self.arguments(arch, number, random) {
                    self.compare(arch, number, args, differences, oracle);
                }
            }
        }
    }

    /// One vector for a number whose rules have no conditions; otherwise vectors near the boundaries of all conditions.
    fn arguments(&self, arch: Arch, number: u32, random: &mut Random) -> Vec<[u64; 6]> {
        let mut args: [u64; 6] = std::array::from_fn(|_| value(random));
        let multiplexer = [Multiplexer::Socketcall, Multiplexer::Ipc]
            .into_iter()
            .find(|multiplexer| arch.has_multiplexers() && multiplexer.number(arch) == Some(number));
        let mut vectors = Vec::new();
        if let Some(multiplexer) = multiplexer {
            for selector in 0..26 {
                for version in [0, 1 << 16, 1 << 32] {
                    if multiplexer == Multiplexer::Ipc || version == 0 {
                        args[0] = selector | version;
                        vectors.push(args);
                    }
                }
            }
        }
        let is_about = |rule: &&Rule| rule.calls.iter().any(|call| arch.number(*call) == Some(number));
        let conditions: Vec<Condition> = self
            .profile
            .rules
            .iter()
            .filter(is_about)
            .flat_map(|rule| rule.alternatives.iter().flatten())
            .copied()
            .collect();
        let near = |condition: &Condition, random: &mut Random| -> u64 {
            let value = condition.value;
            let list = [
                value,
                value.wrapping_add(1),
                value.wrapping_sub(1),
                value ^ 1 << 32,
                value & 0xffff_ffff,
                value | !condition.mask,
                value ^ (condition.mask & condition.mask.wrapping_neg()),
                value.wrapping_add(1 << 32),
                value.wrapping_sub(1 << 32),
            ];
            random.of(&list)
        };
        for _ in 0..conditions.len() * 12 {
            let mut vector = args;
            for condition in &conditions {
                // The other arguments match or do not match by chance.
                if random.below(3) > 0 {
                    vector[usize::from(condition.argument)] = near(condition, random);
                }
            }
            vectors.push(vector);
        }
        if vectors.is_empty() {
            vectors.push(args);
        }
        vectors
    }
}

const DEFAULT_POINTS: u64 = 200_000;

fn points() -> u64 {
    std::env::var("SECCOMP_POINTS").map_or(DEFAULT_POINTS, |text| text.parse().expect("SECCOMP_POINTS"))
}

/// Calls that both libraries know, with the same numbers. Our table is newer (see `numbers_match_libseccomp`).
fn shared_calls(oracle: &mut Oracle) -> Vec<Call> {
    oracle.begin(Action::ALLOW.0, &[Arch::X86_64]);
    Call::all()
        .filter(|call| {
            let unknown = oracle.rule(Action::KILL_PROCESS.0, call.name(), &[]) == Err("unknown".into());
            let mut architectures = FAMILIES.iter().copied().flatten();
            !unknown && architectures.all(|arch| oracle.resolve(*arch, call.name()) == Some(arch.number(*call)))
        })
        .collect()
}

#[test]
fn filters_return_the_same_actions_as_libseccomps() {
    let mut oracle = Oracle::start();
    let calls = shared_calls(&mut oracle);
    let mut random = Random(0x5eed_0f0e);
    let (mut total, mut differences) = (0, BTreeMap::new());
    let mut fixed = vec![docker(), podman(), super::deny_list(), super::argument_heavy()];
    let (mut profiles, mut broken) = (0, 0);
    let mut instructions = (0, 0);
    while total < points() || !fixed.is_empty() {
        let profile = match fixed.pop() {
            Some(mut profile) => {
                for rule in &mut profile.rules {
                    rule.calls.retain(|call| calls.contains(call));
                }
                profile
            }
            None => {
                let many = random.below(3) == 0;
                random_profile(&mut random, &calls, many)
            }
        };
        let mut pair = Pair::new(profile, &mut oracle);
        if pair.is_broken() {
            broken += 1;
            continue;
        }
        pair.sweep(&mut random, &mut differences, &mut oracle);
        total += pair.compared;
        instructions.0 += pair.instructions.0;
        instructions.1 += pair.instructions.1;
        profiles += 1;
    }
    eprintln!("{total} points of {profiles} profiles; intended differences: {differences:?}; unusable: {broken}");
    eprintln!(
        "instructions per call: ours {}, libseccomp's {}",
        instructions.0 / total,
        instructions.1 / total
    );
    assert!(instructions.0 < instructions.1);
    assert!(broken * 4 < profiles, "{broken} of {profiles}");
    // With enough points, the listed differences must occur.
    if total >= DEFAULT_POINTS {
        for difference in [Difference::Newer, Difference::Multiplexed, Difference::UpperBits] {
            assert!(differences.contains_key(&difference), "{difference:?} did not occur");
        }
    }
}

#[test]
fn many_rules_about_one_call_have_the_same_actions_as_libseccomps() {
    let mut oracle = Oracle::start();
    let mut differences = BTreeMap::new();
    let mut pair = Pair::new(three_hundred(), &mut oracle);
    assert!(!pair.is_broken());
    pair.sweep(&mut Random(0x5eed), &mut differences, &mut oracle);
    assert!(pair.compared > 3000, "{}", pair.compared);
    assert!(pair.instructions.0 * 4 < pair.instructions.1, "{:?}", pair.instructions);
}
