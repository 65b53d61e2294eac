//! Reads the first bytes of a program: elf(5). The file comes from the image and may contain anything.

pub const MAGIC: &[u8] = b"\x7fELF";

/// `e_machine` of programs for this machine; 0 (EM_NONE) if the table below does not list it.
pub const OWN: u16 = own();

/// Machines by `e_machine`, with the names that images use (`GOARCH`).
const MACHINES: &[(u16, &str)] = &[
    (3, "386"),
    (8, "mips"),
    (20, "ppc"),
    (21, "ppc64"),
    (22, "s390x"),
    (40, "arm"),
    (62, "amd64 (x86_64)"),
    (183, "arm64 (aarch64)"),
    (243, "riscv"),
    (258, "loong64"),
];

const fn own() -> u16 {
    if cfg!(target_arch = "x86_64") {
        62
    } else if cfg!(target_arch = "aarch64") {
        183
    } else if cfg!(target_arch = "riscv64") {
        243
    } else if cfg!(target_arch = "s390x") {
        22
    } else if cfg!(target_arch = "powerpc64") {
        21
    } else if cfg!(target_arch = "loongarch64") {
        258
    } else {
        0
    }
}

/// A human-readable name of a machine.
pub fn name(machine: u16) -> String {
    let known = MACHINES.iter().find(|(number, _)| *number == machine);
    known.map_or_else(
        || format!("machine type {machine} of elf.h"),
        |(_, name)| (*name).into(),
    )
}

/// A number of `width` bytes, in the byte order of the file.
fn number(bytes: &[u8], at: usize, width: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    let add = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
    match bytes.get(5)? {
        // EI_DATA: ELFDATA2MSB.
        2 => Some(field.iter().fold(0, add)),
        _ => Some(field.iter().rev().fold(0, add)),
    }
}

/// `e_machine`.
pub fn machine(bytes: &[u8]) -> Option<u16> {
    bytes.strip_prefix(MAGIC)?;
    number(bytes, 18, 2)?.try_into().ok()
}

/// Whether this kernel may load a file with these first bytes as a program: an executable or shared object (`e_type`) for this
/// machine, or for its 32-bit predecessor, which many kernels can run.
pub fn can_be_loaded(bytes: &[u8]) -> bool {
    let predecessor = match OWN {
        62 => 3,
        183 => 40,
        own => own,
    };
    let is_program = matches!(number(bytes, 16, 2), Some(2 | 3));
    is_program && machine(bytes).is_some_and(|found| OWN == 0 || found == OWN || found == predecessor)
}

/// PT_INTERP of a 64-bit ELF file whose program headers are in its first bytes, where linkers put them.
pub fn interpreter(bytes: &[u8]) -> Option<String> {
    if bytes.strip_prefix(MAGIC)?.first() != Some(&2) {
        return None;
    }
    let number = |at, width| number(bytes, at, width);
    let (table, entry, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    (0..count).find_map(|index| {
        let header = table.checked_add(index.checked_mul(entry)?)?;
        // p_type 3 is PT_INTERP; p_offset and p_filesz locate the path.
        (number(header, 4)? == 3).then_some(())?;
        let (offset, size) = (number(header.checked_add(8)?, 8)?, number(header.checked_add(32)?, 8)?);
        let path = bytes.get(offset..offset.checked_add(size)?)?;
        Some(String::from_utf8_lossy(path.split(|byte| *byte == 0).next()?).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An ELF header and one program header, which names a loader; see elf(5).
    fn elf(table: u64, offset: u64, size: u64) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32..40].copy_from_slice(&table.to_le_bytes());
        bytes[54..56].copy_from_slice(&56u16.to_le_bytes());
        bytes[56..58].copy_from_slice(&1u16.to_le_bytes());
        bytes[64] = 3;
        bytes[72..80].copy_from_slice(&offset.to_le_bytes());
        bytes[96..104].copy_from_slice(&size.to_le_bytes());
        bytes.extend(b"/lib/ld.so\0");
        bytes
    }

    #[test]
    fn the_loader_of_a_program_is_found() {
        assert_eq!(interpreter(&elf(64, 120, 11)).as_deref(), Some("/lib/ld.so"));
        for (table, offset, size) in [
            (u64::MAX, 120, 11),
            (64, u64::MAX, 11),
            (64, 120, u64::MAX),
            (64, 120, 12),
        ] {
            assert_eq!(interpreter(&elf(table, offset, size)), None);
        }
    }

    #[test]
    fn the_machine_of_a_program_is_read_in_its_own_order() {
        let mut program = elf(64, 120, 11);
        program[18] = 183;
        assert_eq!(machine(&program), Some(183));
        assert_eq!(name(183), "arm64 (aarch64)");
        // s390x: ELFDATA2MSB.
        program[5] = 2;
        program[18..20].copy_from_slice(&22u16.to_be_bytes());
        assert_eq!(machine(&program), Some(22));
        assert_eq!(machine(&program[..19]), None);
        assert_eq!(machine(b"#!/bin/sh"), None);
        assert!(name(OWN).contains(std::env::consts::ARCH));
        assert_eq!(name(9999), "machine type 9999 of elf.h");
    }

    proptest! {
        /// The image's file may contain anything.
        #[test]
        fn no_program_of_the_image_makes_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            places in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 0..4),
        ) {
            let _ = (machine(&bytes), interpreter(&bytes));
            let mut program = elf(64, 120, 11);
            for (place, value) in places {
                let at = place.index(program.len() - 8);
                program[at..at + 8].copy_from_slice(&value.to_le_bytes());
            }
            let _ = (machine(&program), interpreter(&program));
        }
    }
}
