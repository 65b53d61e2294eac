//! What the packages contain. `make packages-test` installs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use orlop::called_as::CalledAs;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const DATE: &str = "1767225600";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `package.metadata.deb` of Cargo.toml.
fn deb() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(ROOT)
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let own = packages.iter().find(|package| package["name"] == "orlop").unwrap();
    own["metadata"]["deb"].clone()
}

/// The files that `packaging/stage` gathers, with a text in the place of the program.
fn stage(work: &Path) -> PathBuf {
    let docs = work.join("docs");
    for file in orlop_manual::files() {
        let path = docs.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &file.text).unwrap();
    }
    fs::write(work.join("program"), "the program").unwrap();
    let stage = work.join("stage");
    let output = Command::new(Path::new(ROOT).join("packaging/stage"))
        .args([work.join("program"), docs, stage.clone()])
        .env("SOURCE_DATE_EPOCH", DATE)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    stage
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Whether a path is meant by an asset's source, which may end with a name that begins with an asterisk.
fn is_meant(source: &str, path: &str) -> bool {
    match source.rsplit_once("/*") {
        Some((directory, suffix)) => path
            .strip_prefix(directory)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|name| !name.contains('/') && name.ends_with(suffix)),
        None => source == path,
    }
}

#[test]
fn every_gathered_file_is_in_the_debian_package() {
    let work = tempfile::tempdir().unwrap();
    let stage = stage(work.path());
    let mut found = Vec::new();
    files(&stage, &mut found);
    let staged: Vec<String> = found
        .iter()
        .map(|path| format!("target/stage/{}", path.strip_prefix(&stage).unwrap().display()))
        .collect();
    let deb = deb();
    let mut sources: Vec<&str> = deb["assets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|asset| asset[0].as_str().unwrap())
        .collect();
    sources.push(deb["changelog"].as_str().unwrap());
    for path in &staged {
        assert!(
            sources.iter().any(|source| is_meant(source, path)),
            "{path} is in no asset"
        );
    }
    for source in sources {
        let is_of_the_tree = Path::new(ROOT).join(source).exists() && !source.starts_with("target/");
        assert!(
            is_of_the_tree || staged.iter().any(|path| is_meant(source, path)),
            "{source} is nothing"
        );
    }
}

/// Engines depend on versions of runc and crun: the packages provide the version that the program reports.
#[test]
fn the_packages_provide_the_reported_versions() {
    let (deb, spec) = (deb(), read("packaging/orlop.spec"));
    for (called_as, epoch) in [(CalledAs::Runc, "2:"), (CalledAs::Crun, "")] {
        let name = called_as.name();
        let text = called_as.version(None);
        let number = text.split([' ', '+']).nth(2).unwrap();
        let variant = &deb["variants"][name];
        assert_eq!(variant["provides"], format!("{name} (= {number})"));
        assert_eq!(
            (&variant["conflicts"], &variant["replaces"]),
            (&name.into(), &name.into())
        );
        let line = format!("\nProvides: {name} = {epoch}{number}\n");
        assert!(spec.contains(&line), "{line:?}");
    }
}

/// The examples are what docs/engines.md says, with the path of the packages.
#[test]
fn the_examples_agree_with_the_document() {
    let document = read("docs/engines.md");
    for name in ["containerd-2/orlop.toml", "podman/orlop.conf", "crio/orlop.conf"] {
        let example = read(&format!("packaging/examples/{name}"));
        let lines = example.lines().filter(|line| !line.starts_with('#'));
        for line in lines {
            let line = line.replace("/usr/bin/orlop", "/usr/local/bin/orlop");
            assert!(document.contains(&format!("    {line}\n")), "{name}: {line}");
        }
        assert!(example.contains("\"/usr/bin/orlop\""), "{name}");
    }
    let docker: Value = serde_json::from_str(&read("packaging/examples/docker/daemon.json")).unwrap();
    assert_eq!(docker["runtimes"]["orlop"]["path"], "/usr/bin/orlop");
    let shown = document
        .lines()
        .find(|line| line.starts_with("    {\"runtimes\""))
        .unwrap()
        .replace("/usr/local/bin", "/usr/bin");
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), docker);
    // containerd 1 differs as the document says.
    let of_2 = read("packaging/examples/containerd-2/orlop.toml");
    let of_1 = of_2
        .replace("containerd 2", "containerd 1")
        .replace("version = 3", "version = 2")
        .replace("io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri");
    assert_eq!(read("packaging/examples/containerd-1/orlop.toml"), of_1);
}

/// Whoever builds it again gets the same file, and can compare the checksum.
#[test]
fn the_archive_of_the_same_files_is_the_same() {
    let archives: Vec<Vec<u8>> = (0..2)
        .map(|_| {
            let work = tempfile::tempdir().unwrap();
            let stage = stage(work.path());
            let file = work.path().join("orlop.tar.gz");
            let output = Command::new(Path::new(ROOT).join("packaging/tarball"))
                .args([&stage, Path::new("orlop-1"), &file])
                .env("SOURCE_DATE_EPOCH", DATE)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            fs::read(file).unwrap()
        })
        .collect();
    assert!(!archives[0].is_empty() && archives[0] == archives[1]);
}
