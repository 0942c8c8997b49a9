//! Builds the copy, leaving out the faults that the compiler would find by itself.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::tree::Tree;

/// Each round leaves out what one stage of the compiler refused.
const ROUNDS_MOST: usize = 12;

/// A switch is read where constants are worked out too, which takes an unstable function of the standard
/// library; dependencies are built as ever.
const WRAPPER: &str = "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec \"$@\"\n";

/// Writes and builds until the compiler is content. Answers the program of the unit tests, and puts what can't
/// be compiled into `refused`.
pub fn compile(tree: &mut Tree, target: &Path, refused: &mut BTreeSet<u32>) -> Result<PathBuf, String> {
    let wrapper = target.join("mutants/rustc");
    fs::write(&wrapper, WRAPPER).map_err(|e| format!("{}: {e}", wrapper.display()))?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    let cargo = |arguments: &[&str]| {
        Command::new("cargo")
            .args(arguments)
            .args(["--locked", "--offline", "--message-format=json"])
            .current_dir(tree_root(target))
            .env("CARGO_TARGET_DIR", target)
            .env("RUSTC_WORKSPACE_WRAPPER", &wrapper)
            .output()
            .map_err(|e| format!("cargo: {e}"))
    };
    // What an earlier run left out is most often all there is.
    if !refused.is_empty() {
        tree.write(refused)?;
        let built = cargo(&["test", "--lib", "--no-run"])?;
        if let Some(program) = program(&built.stdout).filter(|_| built.status.success()) {
            return Ok(program);
        }
    }
    for round in 1..=ROUNDS_MOST {
        tree.write(refused)?;
        let checked = cargo(&["check", "--lib"])?;
        if checked.status.success() {
            let built = cargo(&["test", "--lib", "--no-run"])?;
            return program(&built.stdout).ok_or_else(|| rendered(&built.stdout, &built.stderr));
        }
        let before = refused.len();
        for message in messages(&checked.stdout) {
            refused.extend(blamed(tree, &message));
        }
        println!("round {round}: {} faults don't compile", refused.len());
        if refused.len() == before {
            return Err(rendered(&checked.stdout, &checked.stderr));
        }
    }
    Err(format!("still not compiled after {ROUNDS_MOST} rounds"))
}

pub fn tree_root(target: &Path) -> PathBuf {
    target.join("mutants/tree")
}

fn lines(output: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(output).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn messages(output: &[u8]) -> Vec<Value> {
    lines(output)
        .into_iter()
        .filter(|line| line["reason"] == "compiler-message" && line["message"]["level"] == "error")
        .map(|mut line| line["message"].take())
        .collect()
}

fn blamed(tree: &Tree, message: &Value) -> Vec<u32> {
    let spans = message["spans"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of = |primary: bool| {
        spans.iter().filter(move |span| span["is_primary"].as_bool() == Some(primary)).flat_map(|span| {
            let octet = |key: &str| span[key].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            tree.blamed(
                span["file_name"].as_str().unwrap_or_default(),
                &(octet("byte_start")..octet("byte_end")),
            )
        })
    };
    let found: Vec<u32> = of(true).collect();
    if found.is_empty() { of(false).collect() } else { found }
}

fn program(output: &[u8]) -> Option<PathBuf> {
    lines(output)
        .iter()
        .filter(|line| line["profile"]["test"] == true)
        .filter_map(|line| line["executable"].as_str().map(PathBuf::from))
        .next_back()
}

fn rendered(output: &[u8], errors: &[u8]) -> String {
    let said: Vec<String> =
        messages(output).iter().filter_map(|m| m["rendered"].as_str().map(str::to_owned)).take(5).collect();
    format!("{}\n{}", said.join("\n"), String::from_utf8_lossy(errors))
}
