//! What the program prints of itself, compared with what docs/ holds.

use std::path::Path;

use crate::desk::Desk;

#[test]
fn man_pages_in_docs_are_those_of_this_program() {
    let desk = Desk::new();
    desk.run(&["generate", "man", &desk.show("man")]).ends(0);
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man");
    let names = |dir: &Path| -> Vec<_> {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    if std::env::var_os("BLESS").is_some() {
        let _ = std::fs::remove_dir_all(&docs);
        std::fs::create_dir_all(&docs).unwrap();
        for name in names(&desk.path("man")) {
            std::fs::copy(desk.path("man").join(&name), docs.join(&name)).unwrap();
        }
    }
    assert_eq!(names(&docs), names(&desk.path("man")), "BLESS=1 writes docs/man anew");
    for name in names(&docs) {
        let [kept, made] = [docs.join(&name), desk.path("man").join(&name)]
            .map(|path| std::fs::read_to_string(path).unwrap());
        assert!(kept == made, "docs/man/{} is out of date; BLESS=1 renews it", name.display());
    }
    for verb in [
        "init", "add", "run", "once", "renew", "deploy", "status", "watch", "discover", "explain", "check",
        "pause", "forget", "generate",
    ] {
        assert!(docs.join(format!("nolapse-{verb}.1")).exists(), "{verb}");
    }
}

#[test]
fn man_pages_are_sound_roff() {
    if std::process::Command::new("man").arg("--version").output().is_err() {
        println!("SKIPPED: roff of the man pages: man is not installed (Debian: apt install man-db)");
        return;
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man");
    for entry in std::fs::read_dir(docs).unwrap() {
        let path = entry.unwrap().path();
        let output = std::process::Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.stderr.is_empty(), "{}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_sample_is_a_configuration() {
    let desk = Desk::new();
    let sample = desk.run(&["generate", "config"]).ends(0);
    desk.write("etc/nolapse.toml", &sample.out);
    desk.run(&["check", "--offline"]).ends(0);
}

#[test]
fn completions_know_the_verbs() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        desk.run(&["generate", "completions", shell]).ends(0).says("placeholder");
    }
}

#[test]
fn units_for_a_configuration_pass_systemds_own_test() {
    let desk = Desk::with(
        "[solver.standalone]\nlisten = \"[::]:80\"\n\
         [certificate.\"a.example\"]\nservice = \"nginx\"\nsolver = \"standalone\"\ngroup = \"ssl-cert\"\n",
    );
    let text =
        desk.run(&["generate", "systemd"]).ends(0).says("CAP_NET_BIND_SERVICE").says("nginx.service").out;
    let section = |name: &str| {
        let (_, rest) = text.split_once(name).unwrap_or_else(|| panic!("no {name} in\n{text}"));
        rest.split("\n# ----").next().unwrap().split("\n// ----").next().unwrap().to_owned()
    };
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd/nolapse.service");
    let unit = std::fs::read_to_string(shipped).unwrap();
    // The program need not be installed to have its unit checked.
    let unit = unit.replace("/usr/bin/nolapse", env!("CARGO_BIN_EXE_nolapse"));
    desk.write("units/nolapse.service", &unit);
    desk.write("units/nolapse.service.d/50-configuration.conf", &section("50-configuration.conf"));
    let output = std::process::Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(desk.path("units/nolapse.service"))
        .output();
    match output {
        Ok(output) => assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => println!("SKIPPED: units for a configuration: systemd-analyze is not installed"),
    }
}
