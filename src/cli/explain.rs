//! `nolapse explain`: every question and answer behind the next step.

use std::collections::BTreeSet;

use crate::cli::args::Explain;
use crate::cli::{Exit, Stop, print, select};
use crate::core::decide::{Chain, renewal_point};
use crate::core::record::Debt;
use crate::wire::Places;
use crate::wire::{Role, Wired};

pub fn run(places: &Places, explain: &Explain) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    crate::wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::Reader).await?;
        let known: BTreeSet<_> = wired.known().await?.into_iter().collect();
        let id = select::one(&wired.agent.scene().wanted, &known, &explain.name)?;
        let (survey, checks) = wired.agent.explain(&id).await?;
        let record = &survey.world.record.value;
        let origin = survey
            .spec()
            .map_or_else(|| "not in the configuration".to_owned(), |spec| spec.origin.to_string());
        let generation = record.current.as_ref().map_or_else(
            || "nothing issued".to_owned(),
            |current| {
                format!(
                    "gen {} ({}, {} → {})",
                    current.number,
                    crate::cli::report::Seen::of(current.leaf.brief()).short_serial(),
                    current.leaf.not_before.brief(),
                    current.leaf.not_after.brief()
                )
            },
        );
        print::line(&format!("explain {id}  now {} UTC · {origin} · {generation}", survey.at.brief()));
        for (chain, word) in [(Chain::Deploy, "deploy"), (Chain::Need, "need"), (Chain::Permit, "permit")] {
            let mut asked = false;
            for check in checks.iter().filter(|check| check.chain == chain) {
                let head = if asked { "" } else { word };
                print::line(&format!("{head:7} {} {}", check.question, check.answer));
                asked = true;
            }
            if !asked {
                print::line(&format!("{word:7} not asked"));
            }
        }
        if let Some(trouble) = &record.trouble {
            print::line(&format!("{:7} {}", "failed", trouble.failure));
        }
        for Debt { receipt, failures, .. } in &record.debts {
            let by = receipt.by.as_ref().map(|by| format!(" as {by}")).unwrap_or_default();
            let (name, solver, place) = (&receipt.name, &receipt.solver, &receipt.place);
            let words =
                format!("the answer for {name}, set by solver {solver}{by}, tried {failures} times: {place}");
            print::line(&format!("{:7} {words}", "owed"));
        }
        for note in &record.persist {
            let end = note
                .until
                .map_or_else(|| "without an end".to_owned(), |until| format!("until {}", until.brief()));
            let state =
                note.woe(survey.at).map_or_else(|| format!("{} stands, {end}", note.name), |woe| woe.words);
            print::line(&format!("persist {state}"));
        }
        for showing in &record.showings {
            print::line(&format!(
                "{:7} {} at {}, looked for {} UTC",
                "dns",
                showing.name,
                showing.place,
                showing.at.brief()
            ));
            for server in &showing.servers {
                print::line(&format!("{:7}   {}", "", server.words));
            }
            if showing.more > 0 {
                print::line(&format!("{:7}   and {} more servers", "", showing.more));
            }
        }
        let (verdict, reason) = survey.words();
        let renews = survey
            .spec()
            .and(renewal_point(record))
            .map(|point| format!("; renews {} (chosen once)", point.at.brief()))
            .unwrap_or_default();
        print::line(&format!("→ {verdict} ({reason}); wakes {}{renews}", survey.plan.wake_at.brief()));
        Ok(Exit::Fine)
    })
}
