//! The table of system call numbers, compared with libseccomp and the kernel headers of this machine.

use std::collections::BTreeSet;
use std::fs;

use super::oracle::Oracle;
use orlop::security::seccomp::arch::{Arch, Call, X32_BIT};

#[test]
fn numbers_match_libseccomp() {
    let mut oracle = Oracle::start();
    let mut compared = 0;
    let mut unknown = BTreeSet::new();
    for arch in Arch::all() {
        for call in Call::all() {
            match oracle.resolve(arch, call.name()) {
                None => drop(unknown.insert(arch.name())),
                // libseccomp may be older, and know fewer calls.
                Some(None) => {}
                Some(Some(number)) => {
                    assert_eq!(arch.number(call), Some(number), "{} on {}", call.name(), arch.name());
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 6000, "{compared}");
    // Not supported by the library of Debian 12.
    let newer = [
        "SCMP_ARCH_LOONGARCH64",
        "SCMP_ARCH_M68K",
        "SCMP_ARCH_SH",
        "SCMP_ARCH_SHEB",
    ];
    assert!(unknown.iter().all(|arch| newer.contains(arch)), "{unknown:?}");
}

/// The headers of the C library include those of the kernel.
#[cfg(target_arch = "x86_64")]
#[test]
fn numbers_match_the_kernel_headers() {
    let mut compared = 0;
    for (file, arch, base) in [
        ("unistd_64.h", Arch::X86_64, 0),
        ("unistd_x32.h", Arch::X32, X32_BIT),
        ("unistd_32.h", Arch::X86, 0),
    ] {
        let path = format!("/usr/include/x86_64-linux-gnu/asm/{file}");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut missing = Vec::new();
        for line in text.lines() {
            // `#define __NR_read 0`, or `#define __NR_read (__X32_SYSCALL_BIT + 0)`.
            let Some((name, value)) = line.strip_prefix("#define __NR_").and_then(|rest| rest.split_once(' ')) else {
                continue;
            };
            let digits = value.trim_start_matches("(__X32_SYSCALL_BIT + ").trim_end_matches(')');
            let number = digits.parse::<u32>().expect(line) + base;
            match Call::by_name(name) {
                Some(call) => assert_eq!(arch.number(call), Some(number), "{name} on {}", arch.name()),
                // The headers may be newer than the table.
                None => missing.push((name.to_string(), number)),
            }
            compared += 1;
        }
        let newest = Call::all()
            .filter_map(|call| arch.number(call))
            .filter(|number| number - base < 512)
            .max();
        assert!(missing.iter().all(|(_, number)| Some(*number) > newest), "{missing:?}");
    }
    assert!(compared > 1000, "{compared}");
}

/// The calls of Linux 6.14 to 7.0 have the same number on all architectures.
#[test]
fn the_newest_calls_are_known_on_all_architectures() {
    let common = [
        ("removexattrat", 466),
        ("open_tree_attr", 467),
        ("file_getattr", 468),
        ("file_setattr", 469),
        ("listns", 470),
        ("rseq_slice_yield", 471),
    ];
    for arch in Arch::all() {
        let first = arch.number(Call::by_name("mseal").unwrap()).unwrap() - 462;
        for (name, number) in common {
            assert_eq!(
                arch.number(Call::by_name(name).unwrap()),
                Some(first + number),
                "{name} on {}",
                arch.name()
            );
        }
    }
    // Only x86-64 has this call, with an older free number.
    assert_eq!(Arch::X86_64.number(Call::by_name("uprobe").unwrap()), Some(336));
    // The kernel headers name unused numbers, which are not calls.
    assert!(Call::by_name("reserved82").is_none() && Call::by_name("unused109").is_none());
}
