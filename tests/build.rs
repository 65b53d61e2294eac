//! The build of the program: the commit in its version, and the tools that a build needs.

#[allow(dead_code)]
mod script {
    include!("../build.rs");
}

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[track_caller]
fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(arguments)
        .current_dir(directory)
        .env_remove("GIT_DIR")
        .output()
        .expect("git");
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

/// Creates a repository with one commit of all files in the directory.
fn repository(directory: &Path) -> String {
    git(directory, &["init", "-q"]);
    git(directory, &["add", "."]);
    git(directory, &["commit", "-q", "--allow-empty", "-m", "one"]);
    git(directory, &["rev-parse", "HEAD"])
}

/// Copies the files that determine the commit from the working tree.
fn copy_sources(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    for file in ["build.rs", "COMMIT", ".gitattributes"] {
        fs::copy(Path::new(ROOT).join(file), directory.join(file)).unwrap();
    }
}

#[test]
fn the_commit_comes_only_from_the_programs_repository() {
    let work = tempfile::tempdir().unwrap();
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    // Without a repository.
    let unversioned = work.path().join("unversioned");
    copy_sources(&unversioned);
    assert_eq!(script::commit(&unversioned, None), version);
    // Unpacked inside another project, in whose repository it is either committed or ignored.
    let other = work.path().join("other");
    let vendored = other.join("vendor/orlop");
    copy_sources(&vendored);
    let other_commit = repository(&other);
    assert_eq!(script::commit(&vendored, None), version);
    let ignored = work.path().join("ignored");
    fs::create_dir(&ignored).unwrap();
    repository(&ignored);
    copy_sources(&ignored);
    assert_eq!(script::commit(&ignored, None), version);
    // In its own repository.
    let own = work.path().join("own");
    copy_sources(&own);
    let commit = repository(&own);
    assert_ne!(commit, other_commit);
    assert_eq!(script::commit(&own, None), commit);
    // Changed, with and without a file that the repository does not have. The documents are not part of the program.
    let dirty = format!("{commit}-dirty");
    fs::write(own.join("README.md"), "changed").unwrap();
    assert_eq!(script::commit(&own, None), commit);
    fs::create_dir(own.join("src")).unwrap();
    fs::write(own.join("src/new.rs"), "").unwrap();
    assert_eq!(script::commit(&own, None), dirty);
    fs::remove_dir_all(own.join("src")).unwrap();
    fs::write(own.join("build.rs"), "// changed").unwrap();
    assert_eq!(script::commit(&own, None), dirty);
    fs::copy(Path::new(ROOT).join("build.rs"), own.join("build.rs")).unwrap();
    assert_eq!(script::commit(&own, None), commit);
    // A value from the environment takes precedence, unless it is empty.
    assert_eq!(script::commit(&own, Some("deadbeef-dirty".into())), "deadbeef-dirty");
    assert_eq!(script::commit(&own, Some(String::new())), commit);
    // An archive created by git.
    let archive = work.path().join("archive");
    fs::create_dir(&archive).unwrap();
    let tar = archive.join("a.tar");
    git(&own, &["archive", "-o", tar.to_str().unwrap(), "HEAD"]);
    assert!(
        Command::new("tar")
            .arg("-xf")
            .arg(&tar)
            .current_dir(&archive)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(script::commit(&archive, None), commit);
}

/// Building and installing works without root, network and apt, and without packages that only tests need.
#[test]
fn a_build_installs_nothing() {
    let work = tempfile::tempdir().unwrap();
    let fakes = work.path().join("bin");
    fs::create_dir(&fakes).unwrap();
    let called = work.path().join("called");
    let fake = |name: &str, body: &str| {
        let path = fakes.join(name);
        fs::write(
            &path,
            format!("#!/bin/sh\necho {name} \"$@\" >>{}\n{body}\n", called.display()),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    for forbidden in ["apt-get", "apt-cache", "sudo", "dpkg"] {
        fake(forbidden, "exit 1");
    }
    let target = work.path().join("target");
    // A cargo that only pretends to build.
    fake(
        "cargo",
        "case $1 in
--version) echo cargo 1.91.0;;
build) mkdir -p \"$B\"; echo built >\"$B/orlop\";;
run) for last; do :; done; mkdir -p \"$last/share/man/man1\"; echo page >\"$last/share/man/man1/orlop.1\";;
esac",
    );
    let triple = Command::new("rustc").arg("-vV").output().expect("rustc").stdout;
    let triple = String::from_utf8(triple).unwrap();
    let triple = triple.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let path = format!("{}:{}", fakes.display(), std::env::var("PATH").unwrap());
    let output = Command::new("make")
        .args(["-C", ROOT, "build", "install", "PREFIX=/usr"])
        .arg(format!("DESTDIR={}", work.path().join("image").display()))
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", &target)
        .env("B", target.join(triple).join("release"))
        .env_remove("CARGO")
        .output()
        .expect("make");
    assert!(output.status.success(), "{output:?}");
    let called = fs::read_to_string(called).unwrap();
    assert!(called.lines().all(|line| line.starts_with("cargo ")), "{called}");
    assert_eq!(
        fs::read_to_string(work.path().join("image/usr/bin/orlop")).unwrap(),
        "built\n"
    );
}

/// An old or missing toolchain is reported before the compiler fails.
#[test]
fn an_old_cargo_is_an_error() {
    let work = tempfile::tempdir().unwrap();
    let cargo = work.path().join("cargo");
    for (version, good) in [("1.90.1", false), ("1.91.0", true), ("2.0.0", true), ("0.99.0", false)] {
        fs::write(&cargo, format!("#!/bin/sh\necho cargo {version}\n")).unwrap();
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        let output = Command::new(Path::new(ROOT).join("fixtures/packages"))
            .arg("cargo")
            .env(
                "PATH",
                format!("{}:{}", work.path().display(), std::env::var("PATH").unwrap()),
            )
            .output()
            .expect("fixtures/packages");
        assert_eq!(output.status.success(), good, "{version}: {output:?}");
    }
}
