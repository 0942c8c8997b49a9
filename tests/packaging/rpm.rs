use std::path::Path;
use std::process::Command;

use crate::desk::{Desk, said, shipped, skipped, succeed, text, tool};

#[test]
fn the_version_is_the_program_s() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(text("rpm/nolapse.spec").lines().any(|line| line == format!("Version:        {version}")));
}

#[test]
fn the_spec_packs_a_finished_binary() {
    if tool("rpmbuild").is_none() {
        return skipped("the_spec_packs_a_finished_binary", "rpmbuild is not installed");
    }
    let desk = Desk::new("rpm");
    succeed(
        Command::new("rpmbuild")
            .arg("-bb")
            .arg(shipped("rpm/nolapse.spec"))
            .args(["--define", &format!("tree {}", env!("CARGO_MANIFEST_DIR"))])
            .args(["--define", &format!("binary {}", env!("CARGO_BIN_EXE_nolapse"))])
            // Packing a debug binary well is not worth a minute.
            .args(["--define", "_binary_payload w0.gzdio"])
            .args(["--define", &format!("_topdir {}", desk.path("").display())]),
    );
    let package = find(&desk.path("RPMS")).unwrap();
    let files = succeed(Command::new("rpm").args(["-qlp"]).arg(&package));
    for file in
        ["/usr/bin/nolapse", "/usr/lib/systemd/system/nolapse.service", "/usr/libexec/nolapse/ask-reload"]
    {
        assert!(files.lines().any(|line| line == file), "{file} is missing in\n{files}");
    }
    if tool("rpmlint").is_some() {
        let words = succeed(Command::new("rpmlint").arg(shipped("rpm/nolapse.spec")));
        said(words.trim_end());
    } else {
        skipped("the_spec_packs_a_finished_binary", "rpmlint is not installed; the package was built");
    }
}

fn find(dir: &Path) -> Option<std::path::PathBuf> {
    std::fs::read_dir(dir).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            find(&path)
        } else {
            path.extension().is_some_and(|end| end == "rpm").then_some(path)
        }
    })
}
