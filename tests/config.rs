//! The configuration as an operator meets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "config/bad.rs"]
mod bad;
#[path = "config/good.rs"]
mod good;
#[path = "config/isolation.rs"]
mod isolation;
#[path = "config/pages.rs"]
mod pages;

use nolapse::config::{Facts, Resolved, Source, resolve};
use nolapse::core::spec::{Origin, Wanted};

fn read(text: &str) -> Resolved {
    resolve(&[Source::new("nolapse.toml", text)], &Facts::default())
}

fn read_files(files: &[(&str, &str)]) -> Resolved {
    let sources: Vec<_> = files.iter().map(|(name, text)| Source::new(*name, *text)).collect();
    resolve(&sources, &Facts::default())
}

fn shown(resolved: &Resolved) -> String {
    resolved.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

/// Where a thing stands is no part of what is wanted.
fn without_origins(wanted: &Wanted) -> Wanted {
    let mut wanted = wanted.clone();
    wanted.lineages.values_mut().for_each(|spec| spec.origin = Origin::default());
    wanted.issuers.values_mut().for_each(|spec| spec.origin = Origin::default());
    wanted.solvers.values_mut().for_each(|spec| spec.origin = Origin::default());
    wanted.hooks.values_mut().for_each(|spec| spec.origin = Origin::default());
    wanted.watches.values_mut().for_each(|spec| spec.origin = Origin::default());
    wanted
}
