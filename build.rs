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
    println!("cargo:rerun-if-changed=COMMIT");
    if let Some(directory) = own_repository(root) {
        println!("cargo:rerun-if-changed={directory}/logs/HEAD");
    }
    for path in SOURCES {
        println!("cargo:rerun-if-changed={path}");
    }
    // src/entry/c_library.rs
    println!("cargo:rustc-check-cfg=cfg(quick_c_library_start)");
    if links_known_c_library() {
        println!("cargo:rustc-cfg=quick_c_library_start");
    }
    // src/entry.rs
    if std::env::var("TARGET").is_ok_and(|target| target.starts_with("x86_64") && target.ends_with("-linux-gnu")) {
        println!("cargo:rustc-link-arg-bin=orlop=-Wl,-e,orlop_entry");
        if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") && links_with_lld() {
            if profile_directory().is_some_and(|directory| directory.ends_with("dist")) {
                // Functions that run during a container's life are placed together, so that fewer pages of the binary are mapped
                // in. The linker ignores names that do not exist; with another compiler, other dependencies or another profile
                // that is most of them. A test reads in the linker's map how much of the list still holds.
                println!("cargo:rerun-if-changed=src/sys/order.txt");
                println!(
                    "cargo:rustc-link-arg-bin=orlop=-Wl,--no-warn-symbol-ordering,--symbol-ordering-file=src/sys/order.txt"
                );
            }
            // Tables for unwinding the stack: a tenth of the file. A panic aborts, so nothing reads them.
            println!("cargo:rerun-if-changed=src/sys/discard.ld");
            println!("cargo:rustc-link-arg-bin=orlop=-Wl,-T,src/sys/discard.ld");
            if let Some(map) = profile_directory().map(|directory| directory.join("orlop.map")) {
                println!(
                    "cargo:rustc-link-arg-bin=orlop=-Wl,--no-demangle,-Map={}",
                    map.display()
                );
            }
        }
    }
}

/// What the program is made from.
const SOURCES: [&str; 5] = ["src", "build.rs", "Cargo.toml", "Cargo.lock", ".cargo/config.toml"];

/// The commit of the source tree in `root`: from the builder ($ORLOP_COMMIT), or from the file COMMIT as written by
/// `git archive`, or from the tree's own repository, with "-dirty" if the sources differ from it. Otherwise the version, because nothing
/// else is known.
pub fn commit(root: &Path, said: Option<String>) -> String {
    let of_archive = || {
        let text = std::fs::read_to_string(root.join("COMMIT")).ok()?;
        // In a working tree it still contains the placeholder.
        Some(text.trim().to_string()).filter(|text| !text.is_empty() && !text.starts_with('$'))
    };
    let of_repository = || {
        own_repository(root)?;
        let commit = git(root, &["rev-parse", "HEAD"])?;
        let status = [&["status", "--porcelain", "--"], SOURCES.as_slice()].concat();
        let is_clean = git(root, &status).is_some_and(|changes| changes.is_empty());
        Some(if is_clean { commit } else { commit + "-dirty" })
    };
    said.filter(|said| !said.is_empty())
        .or_else(of_archive)
        .or_else(of_repository)
        .unwrap_or_else(|| concat!("v", env!("CARGO_PKG_VERSION")).into())
}

/// The git directory of the repository whose working tree is `root`. A repository that merely contains `root` belongs to
/// another project.
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
        // If git runs the build, as in a hook, these variables refer to git's current repository.
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}

/// The directory of the binary, whose name is that of the profile. ($PROFILE is `release` for every profile that inherits from it.)
/// OUT_DIR is `PROFILE/build/PACKAGE/out`.
fn profile_directory() -> Option<std::path::PathBuf> {
    let out = std::env::var_os("OUT_DIR")?;
    Some(Path::new(&out).ancestors().nth(3)?.to_path_buf())
}

/// Whether the program is linked statically with a glibc whose start src/entry/c_library.rs can replace: the versions it has been
/// tested with.
fn links_known_c_library() -> bool {
    const TESTED: [&str; 1] = ["2.36"];
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let is_static = variable("CARGO_CFG_TARGET_FEATURE")
        .split(',')
        .any(|name| name == "crt-static");
    let is_native = variable("TARGET") == "x86_64-unknown-linux-gnu" && variable("HOST") == variable("TARGET");
    if !is_static || !is_native {
        return false;
    }
    let output = Command::new("cc").arg("-print-file-name=libc.a").output();
    let Some(path) = output.ok().filter(|output| output.status.success()) else {
        return false;
    };
    let path = String::from_utf8_lossy(&path.stdout);
    // With another version of it the answer is another.
    println!("cargo:rerun-if-changed={}", path.trim());
    let library = std::fs::read(path.trim()).unwrap_or_default();
    // As the library prints it: "GNU C Library (Debian GLIBC ...) stable release version 2.36."
    TESTED.iter().any(|version| {
        let banner = format!(" release version {version}.\n");
        library.windows(banner.len()).any(|bytes| bytes == banner.as_bytes())
    })
}

/// Whether rustc links with its bundled lld, which has an option that GNU ld lacks.
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
