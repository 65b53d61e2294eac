//! The architectures of the spec: the kernel's identifiers for them in filters, and the numbers of their system calls.

use oci_spec::runtime as oci;

use super::table::{self, NAMES, NONE, OFFSETS};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arch {
    X86,
    X86_64,
    X32,
    Arm,
    Aarch64,
    Mips,
    Mips64,
    Mips64n32,
    Mipsel,
    Mipsel64,
    Mipsel64n32,
    Ppc,
    Ppc64,
    Ppc64le,
    S390,
    S390x,
    Parisc,
    Parisc64,
    Riscv64,
    Loongarch64,
    M68k,
    Sh,
    Sheb,
}

/// The properties of an architecture.
struct Facts {
    arch: Arch,
    /// Its name in the config.
    name: &'static str,
    /// `AUDIT_ARCH_*` of linux/audit.h, the value of `seccomp_data.arch`.
    audit: u32,
    /// Added to the numbers in the table.
    base: u32,
    numbers: &'static [u16],
}

/// Bits of `AUDIT_ARCH_*`.
const AUDIT_64BIT: u32 = 0x8000_0000;
const AUDIT_LITTLE: u32 = 0x4000_0000;
const AUDIT_N32: u32 = 0x2000_0000;

/// Set in the number of every x32 call; their `seccomp_data.arch` is that of x86-64.
pub const X32_BIT: u32 = 0x4000_0000;

/// The first of the private system calls of arm.
pub const ARM_PRIVATE: u32 = 0xf_0000;

macro_rules! architectures {
    ($($arch:ident $name:literal $audit:expr, $base:expr, $numbers:ident;)*) => {
        const ARCHITECTURES: &[Facts] = &[
            $(Facts { arch: Arch::$arch, name: $name, audit: $audit, base: $base, numbers: &table::$numbers },)*
        ];
    };
}

// In the order of the enum.
architectures! {
    X86 "SCMP_ARCH_X86" 3 | AUDIT_LITTLE, 0, X86;
    X86_64 "SCMP_ARCH_X86_64" 62 | AUDIT_64BIT | AUDIT_LITTLE, 0, X86_64;
    X32 "SCMP_ARCH_X32" 62 | AUDIT_64BIT | AUDIT_LITTLE, X32_BIT, X32;
    Arm "SCMP_ARCH_ARM" 40 | AUDIT_LITTLE, 0, ARM;
    Aarch64 "SCMP_ARCH_AARCH64" 183 | AUDIT_64BIT | AUDIT_LITTLE, 0, AARCH64;
    Mips "SCMP_ARCH_MIPS" 8, 4000, MIPS;
    Mips64 "SCMP_ARCH_MIPS64" 8 | AUDIT_64BIT, 5000, MIPS64;
    Mips64n32 "SCMP_ARCH_MIPS64N32" 8 | AUDIT_64BIT | AUDIT_N32, 6000, MIPS64N32;
    Mipsel "SCMP_ARCH_MIPSEL" 8 | AUDIT_LITTLE, 4000, MIPS;
    Mipsel64 "SCMP_ARCH_MIPSEL64" 8 | AUDIT_64BIT | AUDIT_LITTLE, 5000, MIPS64;
    Mipsel64n32 "SCMP_ARCH_MIPSEL64N32" 8 | AUDIT_64BIT | AUDIT_LITTLE | AUDIT_N32, 6000, MIPS64N32;
    Ppc "SCMP_ARCH_PPC" 20, 0, PPC;
    Ppc64 "SCMP_ARCH_PPC64" 21 | AUDIT_64BIT, 0, PPC64;
    Ppc64le "SCMP_ARCH_PPC64LE" 21 | AUDIT_64BIT | AUDIT_LITTLE, 0, PPC64;
    S390 "SCMP_ARCH_S390" 22, 0, S390;
    S390x "SCMP_ARCH_S390X" 22 | AUDIT_64BIT, 0, S390X;
    Parisc "SCMP_ARCH_PARISC" 15, 0, PARISC;
    Parisc64 "SCMP_ARCH_PARISC64" 15 | AUDIT_64BIT, 0, PARISC64;
    Riscv64 "SCMP_ARCH_RISCV64" 243 | AUDIT_64BIT | AUDIT_LITTLE, 0, RISCV64;
    Loongarch64 "SCMP_ARCH_LOONGARCH64" 258 | AUDIT_64BIT | AUDIT_LITTLE, 0, LOONGARCH64;
    M68k "SCMP_ARCH_M68K" 4, 0, M68K;
    Sh "SCMP_ARCH_SH" 42 | AUDIT_LITTLE, 0, SH;
    Sheb "SCMP_ARCH_SHEB" 42, 0, SH;
}

impl Arch {
    /// The architecture of this program, and so of the kernel.
    pub const NATIVE: Arch = if cfg!(target_arch = "x86_64") {
        Arch::X86_64
    } else if cfg!(target_arch = "x86") {
        Arch::X86
    } else if cfg!(target_arch = "aarch64") {
        Arch::Aarch64
    } else if cfg!(target_arch = "arm") {
        Arch::Arm
    } else if cfg!(target_arch = "riscv64") {
        Arch::Riscv64
    } else if cfg!(target_arch = "loongarch64") {
        Arch::Loongarch64
    } else if cfg!(target_arch = "s390x") {
        Arch::S390x
    } else if cfg!(all(target_arch = "powerpc64", target_endian = "little")) {
        Arch::Ppc64le
    } else if cfg!(target_arch = "powerpc64") {
        Arch::Ppc64
    } else if cfg!(target_arch = "powerpc") {
        Arch::Ppc
    } else if cfg!(all(target_arch = "mips64", target_endian = "little")) {
        Arch::Mipsel64
    } else if cfg!(target_arch = "mips64") {
        Arch::Mips64
    } else if cfg!(all(target_arch = "mips", target_endian = "little")) {
        Arch::Mipsel
    } else if cfg!(target_arch = "mips") {
        Arch::Mips
    } else {
        panic!("seccomp filters are not supported on this architecture")
    };

    pub fn all() -> impl Iterator<Item = Arch> {
        ARCHITECTURES.iter().map(|facts| facts.arch)
    }

    #[allow(clippy::indexing_slicing)]
    fn facts(self) -> &'static Facts {
        // One entry for each variant, in the order of the enum, which a test checks.
        &ARCHITECTURES[self as usize]
    }

    /// Its name in the config.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Finds it by its name in the config, or by that name without its prefix, in upper or lower case.
    pub fn by_name(name: &str) -> Option<Arch> {
        ARCHITECTURES
            .iter()
            .find(|facts| {
                let short = facts.name.strip_prefix("SCMP_ARCH_").unwrap_or_default();
                name == facts.name || name.eq_ignore_ascii_case(short)
            })
            .map(|facts| facts.arch)
    }

    /// `AUDIT_ARCH_*`. x86-64 and x32 have the same value.
    pub fn audit(self) -> u32 {
        self.facts().audit
    }

    pub fn is_little_endian(self) -> bool {
        self.audit() & AUDIT_LITTLE != 0
    }

    /// Whether an argument has 64 bits. The registers of x32 and n32 do, but their calls are those of a 32-bit system.
    pub fn is_64_bit(self) -> bool {
        let audit = self.audit();
        self != Arch::X32 && audit & AUDIT_64BIT != 0 && audit & AUDIT_N32 == 0
    }

    /// Whether calls can be made through socketcall(2) and ipc(2).
    pub fn has_multiplexers(self) -> bool {
        matches!(
            self,
            Arch::X86
                | Arch::Mips
                | Arch::Mipsel
                | Arch::Ppc
                | Arch::Ppc64
                | Arch::Ppc64le
                | Arch::S390
                | Arch::S390x
                | Arch::M68k
                | Arch::Sh
                | Arch::Sheb
        )
    }

    /// The number of a call, as the kernel passes it to a filter.
    pub fn number(self, call: Call) -> Option<u32> {
        let facts = self.facts();
        match facts.numbers.get(usize::from(call.0)) {
            None | Some(&NONE) => None,
            Some(&number) if number >= 0xf000 => Some(ARM_PRIVATE | u32::from(number) & 0xfff),
            Some(&number) => Some(facts.base + u32::from(number)),
        }
    }

    /// The call with a number.
    pub fn call(self, number: u32) -> Option<Call> {
        Call::all().find(|call| self.number(*call) == Some(number))
    }
}

impl From<oci::Arch> for Arch {
    fn from(arch: oci::Arch) -> Self {
        match arch {
            oci::Arch::ScmpArchNative => Arch::NATIVE,
            oci::Arch::ScmpArchX86 => Arch::X86,
            oci::Arch::ScmpArchX86_64 => Arch::X86_64,
            oci::Arch::ScmpArchX32 => Arch::X32,
            oci::Arch::ScmpArchArm => Arch::Arm,
            oci::Arch::ScmpArchAarch64 => Arch::Aarch64,
            oci::Arch::ScmpArchMips => Arch::Mips,
            oci::Arch::ScmpArchMips64 => Arch::Mips64,
            oci::Arch::ScmpArchMips64n32 => Arch::Mips64n32,
            oci::Arch::ScmpArchMipsel => Arch::Mipsel,
            oci::Arch::ScmpArchMipsel64 => Arch::Mipsel64,
            oci::Arch::ScmpArchMipsel64n32 => Arch::Mipsel64n32,
            oci::Arch::ScmpArchPpc => Arch::Ppc,
            oci::Arch::ScmpArchPpc64 => Arch::Ppc64,
            oci::Arch::ScmpArchPpc64le => Arch::Ppc64le,
            oci::Arch::ScmpArchS390 => Arch::S390,
            oci::Arch::ScmpArchS390x => Arch::S390x,
            oci::Arch::ScmpArchParisc => Arch::Parisc,
            oci::Arch::ScmpArchParisc64 => Arch::Parisc64,
            oci::Arch::ScmpArchRiscv64 => Arch::Riscv64,
            oci::Arch::ScmpArchLoongarch64 => Arch::Loongarch64,
            oci::Arch::ScmpArchM68k => Arch::M68k,
            oci::Arch::ScmpArchSh => Arch::Sh,
            oci::Arch::ScmpArchSheb => Arch::Sheb,
        }
    }
}

/// A system call of at least one architecture: its index in the table of names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call(u16);

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Call {
    pub fn all() -> impl Iterator<Item = Call> {
        (0..OFFSETS.len() as u16 - 1).map(Call)
    }

    pub fn name(self) -> &'static str {
        let at = |index: usize| OFFSETS.get(index).map(|offset| usize::from(*offset));
        let index = usize::from(self.0);
        match (at(index), at(index + 1)) {
            (Some(begin), Some(end)) => NAMES.get(begin..end).unwrap_or_default(),
            _ => "",
        }
    }

    /// Finds it by its name; none if no architecture has such a call.
    pub fn by_name(name: &str) -> Option<Call> {
        let (mut low, mut high) = (0, OFFSETS.len() as u16 - 1);
        while low < high {
            let middle = Call(low.midpoint(high));
            match middle.name().cmp(name) {
                std::cmp::Ordering::Less => low = middle.0 + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle.0,
            }
        }
        None
    }

    /// The multiplexer through which this call can be made, and the value that selects it (linux/net.h, linux/ipc.h).
    pub fn multiplexer(self) -> Option<(Multiplexer, u32)> {
        const SOCKET: [&str; 20] = [
            "socket",
            "bind",
            "connect",
            "listen",
            "accept",
            "getsockname",
            "getpeername",
            "socketpair",
            "send",
            "recv",
            "sendto",
            "recvfrom",
            "shutdown",
            "setsockopt",
            "getsockopt",
            "sendmsg",
            "recvmsg",
            "accept4",
            "recvmmsg",
            "sendmmsg",
        ];
        const IPC: [(&str, u32); 12] = [
            ("semop", 1),
            ("semget", 2),
            ("semctl", 3),
            ("semtimedop", 4),
            ("msgsnd", 11),
            ("msgrcv", 12),
            ("msgget", 13),
            ("msgctl", 14),
            ("shmat", 21),
            ("shmdt", 22),
            ("shmget", 23),
            ("shmctl", 24),
        ];
        let name = self.name();
        if let Some(index) = SOCKET.iter().position(|call| *call == name) {
            return Some((Multiplexer::Socketcall, index as u32 + 1));
        }
        IPC.iter()
            .find(|(call, _)| *call == name)
            .map(|(_, number)| (Multiplexer::Ipc, *number))
    }
}

/// A system call whose first argument selects one of several calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Multiplexer {
    Socketcall,
    Ipc,
}

impl Multiplexer {
    pub fn number(self, arch: Arch) -> Option<u32> {
        let name = match self {
            Multiplexer::Socketcall => "socketcall",
            Multiplexer::Ipc => "ipc",
        };
        arch.number(Call::by_name(name)?)
    }

    /// The bits of the first argument that select the call. ipc(2) has a version in the upper bits.
    pub fn mask(self) -> u64 {
        match self {
            Multiplexer::Socketcall => 0xffff_ffff,
            Multiplexer::Ipc => 0xffff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_in_the_order_of_the_enum() {
        for (index, facts) in ARCHITECTURES.iter().enumerate() {
            assert_eq!(facts.arch as usize, index);
            assert_eq!(Arch::by_name(facts.name), Some(facts.arch));
            let name: oci::Arch = serde_json::from_value(facts.name.into()).unwrap();
            assert_eq!(Arch::from(name), facts.arch);
        }
        assert_eq!(ARCHITECTURES.len(), 23);
    }

    #[test]
    fn every_call_is_found_by_name_and_number() {
        let calls: Vec<Call> = Call::all().collect();
        assert!(calls.len() > 500);
        assert!(calls.is_sorted_by(|a, b| a.name() < b.name()));
        for call in calls {
            assert_eq!(Call::by_name(call.name()), Some(call));
            if let Some(number) = Arch::X86_64.number(call) {
                assert_eq!(Arch::X86_64.call(number), Some(call));
            }
        }
        for name in ["", "a", "zzz", "writ", "writevv"] {
            assert_eq!(Call::by_name(name), None);
        }
    }

    #[test]
    fn numbers_match_the_headers_of_the_c_library() {
        #[cfg(target_arch = "x86_64")]
        for (name, number) in [
            ("read", libc::SYS_read),
            ("execve", libc::SYS_execve),
            ("clone3", libc::SYS_clone3),
            ("seccomp", libc::SYS_seccomp),
            ("mseal", libc::SYS_mseal),
        ] {
            let call = Call::by_name(name).unwrap();
            assert_eq!(i64::from(Arch::NATIVE.number(call).unwrap()), number, "{name}");
        }
        let number = |arch: Arch, name| arch.number(Call::by_name(name).unwrap());
        assert_eq!(number(Arch::X32, "execve"), Some(X32_BIT | 520));
        assert_eq!(number(Arch::Mipsel, "read"), Some(4003));
        assert_eq!(number(Arch::Arm, "set_tls"), Some(0xf0005));
        assert_eq!(number(Arch::Aarch64, "open"), None);
    }
}
