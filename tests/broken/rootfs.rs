// The root file system of the broken bundles: programs that cannot be executed, each for a different reason, and one that can.

/// Makes the files in a directory. `probe` is where the program is that works; without it, a file takes its place that
/// only looks like a program.
pub fn make(root: &std::path::Path, probe: Option<&std::path::Path>) {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    let bin = root.join("bin");
    fs::create_dir_all(&bin).expect("make the root file system");
    // (A file that is there may have other links, whose contents must stay.)
    let _ = fs::remove_file(bin.join("probe"));
    let put = |name: &str, text: &[u8], mode: u32| {
        let path = bin.join(name);
        fs::write(&path, text).expect("write a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
    };
    match probe {
        Some(probe) => drop(fs::copy(probe, bin.join("probe")).expect("copy the probe")),
        None => put("probe", &elf(OWN, None), 0o755),
    }
    put("plain", b"text\n", 0o644);
    put("empty", b"", 0o755);
    put("foreign", &elf(if OWN == 22 { 62 } else { 22 }, None), 0o755);
    put("dynamic", &elf(OWN, Some("/lib/no-such-loader.so.1")), 0o755);
    put("script", b"#!/no/such/interpreter\n", 0o755);
    put("windows", b"#!/bin/probe\r\n", 0o755);
    symlink("/no/such/file", bin.join("lost")).expect("make a link");
}

/// `e_machine` of elf(5).
const OWN: u16 = if cfg!(target_arch = "x86_64") {
    62
} else if cfg!(target_arch = "aarch64") {
    183
} else if cfg!(target_arch = "riscv64") {
    243
} else if cfg!(target_arch = "s390x") {
    22
} else if cfg!(target_arch = "powerpc64") {
    21
} else {
    258
};

/// The beginning of a program for a machine, see elf(5), with a dynamic loader or without one.
fn elf(machine: u16, loader: Option<&str>) -> Vec<u8> {
    let big = cfg!(target_endian = "big") || machine == 22;
    let two = |number: u16| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let eight = |number: u64| if big { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut bytes = vec![0; 64 + 56];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    bytes[5] = if big { 2 } else { 1 };
    bytes[16..18].copy_from_slice(&two(2));
    bytes[18..20].copy_from_slice(&two(machine));
    bytes[20..24].copy_from_slice(&if big { 1u32.to_be_bytes() } else { 1u32.to_le_bytes() });
    if let Some(loader) = loader {
        bytes[32..40].copy_from_slice(&eight(64));
        bytes[52..54].copy_from_slice(&two(64));
        bytes[54..56].copy_from_slice(&two(56));
        bytes[56..58].copy_from_slice(&two(1));
        bytes[64..68].copy_from_slice(&if big { 3u32.to_be_bytes() } else { 3u32.to_le_bytes() });
        bytes[72..80].copy_from_slice(&eight(120));
        bytes[96..104].copy_from_slice(&eight(loader.len() as u64 + 1));
        bytes.extend(loader.as_bytes());
        bytes.push(0);
    }
    bytes
}
