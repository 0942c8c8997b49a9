use std::path::Path;

use nolapse::config::{Facts, Source, resolve};
use nolapse::core::name::HookId;
use nolapse::core::spec::Call;

use crate::desk::{shipped, text};

fn files(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn every_file_has_its_line() {
    let readme = text("README.md");
    let mut found = Vec::new();
    files(&shipped(""), &mut found);
    for name in found.iter().filter(|name| *name != "README.md") {
        let named = readme.lines().any(|line| {
            line.starts_with("| `")
                && (line.contains(&format!("/{name}`")) || line.contains(&format!("`{name}`")))
        });
        assert!(named, "packaging/README.md has no line for {name}");
    }
}

#[test]
fn the_configuration_for_hosts_without_polkit_works() {
    let readme = text("README.md");
    let (_, rest) = readme.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let certificate = "[issuer.letsencrypt]\naccept-terms = true\n\
                       [certificate.\"shop.example.com\"]\nservice = \"nginx\"\n";
    let source = Source::new("nolapse.toml", format!("{example}\n{certificate}"));
    let resolved = resolve(&[source], &Facts::default());
    assert!(resolved.problems.is_empty(), "{:#?}", resolved.problems);
    let hook = &resolved.wanted.hooks[&HookId::parse("nginx").unwrap()];
    assert_eq!(hook.check, None, "a check without rights would fail for ever");
    let Call::Run(argv) = &hook.call else { panic!("{:?}", hook.call) };
    assert_eq!(argv.as_slice(), ["/usr/libexec/nolapse/ask-reload", "nginx"]);
}
