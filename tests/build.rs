//! How the program is built: which commit it names, and what a build asks of the machine.

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

/// A repository with one commit of what is in the directory.
fn repository(directory: &Path) -> String {
    git(directory, &["init", "-q"]);
    git(directory, &["add", "."]);
    git(directory, &["commit", "-q", "--allow-empty", "-m", "one"]);
    git(directory, &["rev-parse", "HEAD"])
}

/// The files by which a commit is found, as in the working tree.
fn sources(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    for file in ["build.rs", "COMMIT", ".gitattributes"] {
        fs::copy(Path::new(ROOT).join(file), directory.join(file)).unwrap();
    }
}

#[test]
fn the_commit_is_that_of_the_own_repository_alone() {
    let work = tempfile::tempdir().unwrap();
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    // No repository at all.
    let alone = work.path().join("alone");
    sources(&alone);
    assert_eq!(script::commit(&alone, None), version);
    // Unpacked inside another project, which may even keep it, and may have it ignored at its top.
    let other = work.path().join("other");
    let vendored = other.join("vendor/orlop");
    sources(&vendored);
    let others = repository(&other);
    assert_eq!(script::commit(&vendored, None), version);
    let ignored = work.path().join("ignored");
    fs::create_dir(&ignored).unwrap();
    repository(&ignored);
    sources(&ignored);
    assert_eq!(script::commit(&ignored, None), version);
    // Its own.
    let own = work.path().join("own");
    sources(&own);
    let commit = repository(&own);
    assert_ne!(commit, others);
    assert_eq!(script::commit(&own, None), commit);
    // The builder knows best; an empty word says nothing.
    assert_eq!(script::commit(&own, Some("deadbeef-dirty".into())), "deadbeef-dirty");
    assert_eq!(script::commit(&own, Some(String::new())), commit);
    // An archive that git has made.
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

/// Building and installing works without root, network and apt, and without what only tests need.
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
    // A cargo that "builds" at once.
    fake(
        "cargo",
        "case $1 in --version) echo cargo 1.91.0;; build) mkdir -p \"$B\"; echo built >\"$B/orlop\";; esac",
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

/// An old or missing toolchain is told before the compiler stumbles over it.
#[test]
fn an_old_cargo_is_told() {
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
