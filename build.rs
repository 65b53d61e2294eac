// Tells the binary which commit it was built from, for `--version`, and the linker where it starts.

use std::path::Path;
use std::process::Command;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    println!(
        "cargo:rustc-env=ORLOP_COMMIT={}",
        commit(root, std::env::var("ORLOP_COMMIT").ok())
    );
    println!("cargo:rerun-if-env-changed=ORLOP_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=COMMIT");
    if let Some(directory) = own_repository(root) {
        println!("cargo:rerun-if-changed={directory}/logs/HEAD");
    }
    // src/entry.rs
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

/// The commit of the source tree below `root`: what the builder says ($ORLOP_COMMIT), else what `git archive` has written
/// into the file COMMIT, else that of the tree's own repository, else the version, for that is all an archive made by other
/// means can tell.
pub fn commit(root: &Path, said: Option<String>) -> String {
    let of_archive = || {
        let text = std::fs::read_to_string(root.join("COMMIT")).ok()?;
        // In a working tree it still has the placeholder.
        Some(text.trim().to_string()).filter(|text| !text.is_empty() && !text.starts_with('$'))
    };
    let of_repository = || {
        own_repository(root)?;
        git(root, &["rev-parse", "HEAD"])
    };
    said.filter(|said| !said.is_empty())
        .or_else(of_archive)
        .or_else(of_repository)
        .unwrap_or_else(|| concat!("v", env!("CARGO_PKG_VERSION")).into())
}

/// The git directory of the repository whose working tree is `root`. One that merely surrounds it is another project's.
fn own_repository(root: &Path) -> Option<String> {
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    let is_own = std::fs::canonicalize(top).ok()? == std::fs::canonicalize(root).ok()?;
    let is_tracked = git(root, &["ls-files", "--error-unmatch", "build.rs"]).is_some();
    (is_own && is_tracked).then(|| git(root, &["rev-parse", "--absolute-git-dir"]))?
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(root)
        // Where git calls the build, as in a hook, they name the repository that it is about.
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
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
