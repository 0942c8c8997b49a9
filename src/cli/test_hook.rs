//! `nolapse test-hook`: the real hooks, against the certificate that is installed.

use std::collections::BTreeSet;

use crate::agent::Trial;
use crate::cli::args::TestHook;
use crate::cli::{Exit, Stop, print, select};
use crate::wire::{Places, Role, Wired};

pub fn run(places: &Places, test: &TestHook) -> Result<Exit, Stop> {
    let only = select::hook(test.hook.as_deref())?;
    let loaded = crate::cli::load(places)?;
    crate::cli::owner::take_its_place(&loaded.settings)?;
    crate::wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::OneShot).await?;
        let id = select::one(&wired.agent.scene().wanted, &BTreeSet::new(), &test.name)?;
        let (mut called, mut passed) = (false, true);
        let told = |trial: Trial| {
            called |= matches!(trial, Trial::Called { .. });
            passed &= trial.passed();
            tell(&trial);
        };
        wired.agent.try_hooks(&id, only.as_ref(), told).await?;
        if !called && passed {
            print::note(&format!("{id} has no hook; a server would not hear of a new certificate"));
        }
        Ok(if passed { Exit::Fine } else { Exit::Failed })
    })
}

fn tell(trial: &Trial) {
    match trial {
        Trial::Checked { result: None, .. } => {}
        Trial::Checked { hook, result: Some(Ok(())), took } => {
            print::line(&format!("{hook}  check passed in {took}"));
        }
        Trial::Checked { hook, result: Some(Err(failure)), .. } => {
            print::line(&format!("{hook}  check FAILED, so it is not called: {failure}"));
        }
        Trial::Called { hook, result: Ok(()), took } => {
            print::line(&format!("{hook}  called in {took}"));
        }
        Trial::Called { hook, result: Err(failure), .. } => {
            print::line(&format!("{hook}  call FAILED: {failure}"));
        }
        Trial::Looked { endpoint, sight, words, .. } => {
            let words = words.as_ref().map_or(String::new(), |words| format!(" ({words})"));
            print::line(&format!("{endpoint}  {}{words}", sight.word()));
        }
    }
}
