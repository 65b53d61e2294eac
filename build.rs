//! Tells the binary which commit it was built from, for `--version`, and the linker where it starts.

use std::process::Command;

fn main() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        String::from_utf8(output.stdout)
            .ok()
            .map(|text| text.trim().to_string())
    };
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=ORLOP_COMMIT={commit}");
    if let Some(directory) = git(&["rev-parse", "--absolute-git-dir"]) {
        println!("cargo:rerun-if-changed={directory}/logs/HEAD");
    }
    println!("cargo:rerun-if-changed=build.rs");
    // src/sys/entry.rs
    if std::env::var("TARGET").is_ok_and(|target| target.starts_with("x86_64") && target.ends_with("-linux-gnu")) {
        println!("cargo:rustc-link-arg-bin=orlop=-Wl,-e,orlop_entry");
        if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") && links_with_lld() {
            // What a container's life touches lies together, so that fewer pages of the binary are mapped in. Names that are
            // not found, because the compiler is another, are passed over.
            println!("cargo:rerun-if-changed=src/sys/order.txt");
            println!(
                "cargo:rustc-link-arg-bin=orlop=-Wl,--no-warn-symbol-ordering,--symbol-ordering-file=src/sys/order.txt"
            );
        }
    }
}

/// Whether rustc links by the lld it brings along, which knows an option that GNU ld lacks.
fn links_with_lld() -> bool {
    let output = std::env::var("RUSTC").ok().and_then(|rustc| {
        Command::new(rustc)
            .args(["--print", "target-libdir"])
            .output()
            .ok()
            .filter(|output| output.status.success())
    });
    let Some(output) = output else { return false };
    let libraries = String::from_utf8_lossy(&output.stdout);
    std::path::Path::new(libraries.trim())
        .with_file_name("bin/gcc-ld/ld.lld")
        .is_file()
}
