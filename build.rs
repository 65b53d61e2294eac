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
    }
}
