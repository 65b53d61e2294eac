//! libseccomp as an oracle: the helper program in tests/libseccomp, built when it is first needed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use ::seccompiler::sock_filter;

use orlop::plan::seccomp::{Action, Condition, Operator};
use orlop::security::seccomp::arch::Arch;

pub struct Oracle {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libseccomp/oracle.c");
        let path = format!("{}/seccomp-oracle.{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
        let status = Command::new("cc")
            .args(["-O1", "-o", &path, source, "-lseccomp"])
            .status()
            .expect("a C compiler");
        assert!(
            status.success(),
            "libseccomp-dev is needed: fixtures/packages installs it"
        );
        path
    })
}

/// An architecture as libseccomp calls it.
pub fn name(arch: Arch) -> String {
    arch.name().strip_prefix("SCMP_ARCH_").unwrap().to_lowercase()
}

impl Oracle {
    pub fn start() -> Self {
        let mut child = Command::new(program())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Oracle {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    fn ask(&mut self, line: &str) -> String {
        self.say(line);
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "the oracle ended at {line}");
        answer.trim_end().to_string()
    }

    /// `None`: it does not know the architecture. `Some(None)`: there is no such call, or only a bundled one.
    pub fn resolve(&mut self, arch: Arch, call: &str) -> Option<Option<u32>> {
        match self.ask(&format!("resolve {} {call}", name(arch))).as_str() {
            "arch" => None,
            number => Some(number.parse().ok()),
        }
    }

    /// Begins a profile.
    pub fn begin(&mut self, default: u32, architectures: &[Arch]) {
        self.say(&format!("default {default:#x}"));
        for arch in architectures {
            let answer = self.ask(&format!("arch {}", name(*arch)));
            assert_eq!(answer, "0", "{arch:?}");
        }
    }

    /// Adds a rule; whether libseccomp takes it.
    pub fn rule(&mut self, action: u32, call: &str, conditions: &[Condition]) -> Result<(), String> {
        let mut line = format!("rule {action:#x} {call}");
        for condition in conditions {
            let operator = match condition.operator {
                Operator::Ne => 1,
                Operator::Lt => 2,
                Operator::Le => 3,
                Operator::Eq => 4,
                Operator::Ge => 5,
                Operator::Gt => 6,
                Operator::MaskedEq => 7,
            };
            let (value, two) = match condition.operator {
                Operator::MaskedEq => (condition.mask, condition.value),
                _ => (condition.value, 0),
            };
            line += &format!(" {} {operator} {value:#x} {two:#x}", condition.argument);
        }
        match self.ask(&line).as_str() {
            "ok" => Ok(()),
            error => Err(error.to_string()),
        }
    }

    pub fn program(&mut self, little: bool) -> Vec<sock_filter> {
        let text = self.ask("export");
        let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len() / 16)
            .map(|index| {
                let bytes: [u8; 8] = std::array::from_fn(|at| byte(16 * index + 2 * at));
                let [c0, c1, jt, jf, k0, k1, k2, k3] = bytes;
                let code = [c0, c1];
                let k = [k0, k1, k2, k3];
                sock_filter {
                    code: if little {
                        u16::from_le_bytes(code)
                    } else {
                        u16::from_be_bytes(code)
                    },
                    jt,
                    jf,
                    k: if little {
                        u32::from_le_bytes(k)
                    } else {
                        u32::from_be_bytes(k)
                    },
                }
            })
            // On a little-endian machine libseccomp 2.5.4 does not swap the bytes of some return values for big-endian ones.
            .map(|insn| match insn.code {
                0x06 if !is_action(insn.k) && is_action(insn.k.swap_bytes()) => sock_filter {
                    k: insn.k.swap_bytes(),
                    ..insn
                },
                _ => insn,
            })
            .collect()
    }
}

fn is_action(number: u32) -> bool {
    // Only two actions have a value in the lower half.
    Action(number).name() != "unknown" && (number & 0xffff == 0 || Action(number).data().is_some())
}

impl Drop for Oracle {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
