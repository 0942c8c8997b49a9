//! `nolapse generate`: what else a set-up needs.

use std::path::Path;

use clap::CommandFactory;

use crate::cli::args::{Arguments, Generate, What};
use crate::cli::{Exit, Stop, owner, print, unit};
use crate::config;
use crate::core::failure::{Failure, Fault};
use crate::wire::Places;

pub fn run(places: &Places, generate: &Generate) -> Result<Exit, Stop> {
    match &generate.what {
        What::Config => print::text(&config::sample()),
        What::Man { dir } => man(dir)?,
        What::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "nolapse", &mut script);
            print::text(&String::from_utf8_lossy(&script));
        }
        What::Systemd => {
            let loaded = crate::cli::load(places)?;
            let owner = owner::of(&loaded.settings)?;
            let needs = unit::Needs::of(&loaded.file, &loaded.settings, &loaded.resolved.wanted);
            print::text(&needs.files());
            if owner.is_root() {
                print::note("the units run as the user nolapse; the package makes that user");
            }
        }
    }
    Ok(Exit::Fine)
}

/// One page a verb, as roff.
fn man(dir: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::refused(Fault::Host, "not-written", format!("man pages in {}: {error}", dir.display()))
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command().disable_help_subcommand(true), dir).map_err(failed)
}
