//! `nolapse renew`: one pass now.

use serde::Serialize;

use crate::agent::{Outcome, Readiness, Summary};
use crate::cli::args::Renew;
use crate::cli::{Exit, Stop, print, publish, select};
use crate::core::decide::Request;
use crate::core::name::LineageId;
use crate::core::time::Span;
use crate::wire::Places;
use crate::wire::{Role, Wired};

pub fn run(places: &Places, renew: &Renew) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    crate::cli::owner::take_its_place(&loaded.settings)?;
    crate::wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::OneShot).await?;
        let ids = select::configured(&wired.agent.scene(), &renew.names)?;
        if renew.dry_run {
            return crate::cli::rehearse::run(&wired, &loaded, ids, renew.json).await;
        }
        if renew.force {
            print::note(&format!(
                "--force: this spends {} of the CA's limits on new orders and on certificates with the same names",
                if ids.len() == 1 { "one".to_owned() } else { ids.len().to_string() }
            ));
        }
        let request = Request {
            by_hand: !renew.names.is_empty() || renew.force,
            force: renew.force,
            ..Request::default()
        };
        let summary = pass(&wired, ids, &request, renew.wait, renew.json).await?;
        crate::cli::alert::tell(&wired).await;
        let broken = !wired.agent.scene().wanted.broken.is_empty() && renew.names.is_empty();
        Ok(exit(&summary, renew.exit_code, broken))
    })
}

/// One pass over `ids`, told line by line or, with `json`, whole at its end.
pub async fn pass(
    wired: &Wired,
    ids: Vec<LineageId>,
    request: &Request,
    wait: Span,
    json: bool,
) -> Result<Summary, Stop> {
    let belief = wired.agent.believe();
    let mut sheet = publish::sheet(wired);
    let mut noted = |outcome: &mut Outcome| {
        if let Some(view) = outcome.view.take().filter(|_| sheet.is_wanted()) {
            sheet.push_view(outcome.id.clone(), &view);
        }
    };
    let (mut ids, mut held) = (ids, Vec::new());
    if *request == Request::default() {
        let mut lines = print::Lines::default();
        wired.agent.skim(&mut ids, |mut outcome| {
            noted(&mut outcome);
            if json {
                held.push(outcome);
            } else {
                lines.add(&said(&outcome));
            }
        });
    }
    let mut summary = wired
        .agent
        .pass_over(ids, request, wait, |mut outcome| {
            noted(&mut outcome);
            told(outcome, json)
        })
        .await;
    summary.add_held(held);
    // What is believed of ten thousand is let go before the names of as many are listed.
    drop(belief);
    publish::write(wired, sheet).await;
    if json {
        print::json(&Told::of(&summary))?;
    }
    Ok(summary)
}

/// The outcome told, or kept to be told as JSON.
pub fn told(mut outcome: Outcome, json: bool) -> Option<Outcome> {
    if json {
        outcome.view = None;
        return Some(outcome);
    }
    print::line(&said(&outcome));
    None
}

/// The code for a summary; a broken entry is a failure of that lineage.
pub fn exit(summary: &Summary, exit_code: bool, broken: bool) -> Exit {
    match summary.readiness() {
        Readiness::Failed => Exit::Failed,
        _ if broken => Exit::Failed,
        Readiness::Busy => Exit::Busy,
        Readiness::Owing => Exit::Owing,
        Readiness::Well if exit_code && summary.renewed => Exit::Renewed,
        Readiness::Well => Exit::Fine,
    }
}

/// One line for people.
fn said(outcome: &Outcome) -> String {
    let state = if let Some(holder) = &outcome.busy {
        format!("busy: {holder}")
    } else if let Some(failure) = outcome.failure.as_ref().filter(|_| outcome.stands) {
        // Whoever has just mended what it names should not believe that it failed again.
        let at_once = format!("nolapse renew {}", outcome.id);
        format!("FAILED before: {failure}  (next try {}, or at once:  {at_once})", outcome.wake_at.brief())
    } else if let Some(failure) = &outcome.failure {
        format!("FAILED: {failure}  (next try {})", outcome.wake_at.brief())
    } else {
        let until = outcome
            .leaf
            .as_ref()
            .map(|leaf| format!(" until {}", leaf.not_after.brief()))
            .unwrap_or_default();
        let done = if outcome.renewed { "renewed" } else { "kept" };
        let waits = outcome.ladder.as_ref().and_then(|ladder| ladder.deploys_at);
        match waits {
            Some(at) => format!("{done}{until}, shown from {} (deploy window)", at.brief()),
            None => format!("{done}{until}, {}", rungs(outcome)),
        }
    };
    format!("{}  {state}", outcome.id)
}

fn rungs(outcome: &Outcome) -> String {
    use crate::core::ladder::Observed;
    let Some(ladder) = &outcome.ladder else { return "not judged".into() };
    if let Some(refused) = ladder.refused {
        return format!("REFUSED by its service: the one before gen {refused} is shown again");
    }
    if let Some(pinned) = ladder.pinned {
        return format!("not shown: pinned to gen {pinned}");
    }
    if !ladder.installed {
        return format!("NOT installed, and  nolapse status {}  says why", outcome.id);
    }
    if !ladder.hooks_owed.is_empty() {
        let hooks: Vec<_> = ladder.hooks_owed.iter().map(ToString::to_string).collect();
        return format!("installed, NOT reloaded ({})", hooks.join(", "));
    }
    match ladder.observed {
        Observed::Yes => "installed, reloaded, observed".into(),
        Observed::Unverified => "installed, reloaded, unverified (nothing to look at)".into(),
        Observed::No => {
            let seen: Vec<_> = ladder
                .endpoints_owed
                .iter()
                .map(|(endpoint, sight)| format!("{endpoint} {}", sight.word()))
                .collect();
            format!("installed, reloaded, NOT observed ({})", seen.join(", "))
        }
    }
}

/// The run as JSON; described in docs/guide/status.md.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Told {
    version: u32,
    readiness: Readiness,
    renewed: bool,
    lineages: Vec<ToldLineage>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ToldLineage {
    name: String,
    readiness: Readiness,
    renewed: bool,
    verdict: &'static str,
    reason: &'static str,
    wake_at: crate::core::time::Timestamp,
    not_after: Option<crate::core::time::Timestamp>,
    serial: Option<String>,
    ladder: Option<crate::core::ladder::Ladder>,
    failure: Option<crate::core::failure::Failure>,
    busy: Option<String>,
}

impl Told {
    pub fn of(summary: &Summary) -> Self {
        Self {
            version: 1,
            readiness: summary.readiness(),
            renewed: summary.renewed,
            lineages: summary
                .outcomes
                .iter()
                .map(|outcome| ToldLineage {
                    name: outcome.id.to_string(),
                    readiness: outcome.readiness(),
                    renewed: outcome.renewed,
                    verdict: outcome.verdict,
                    reason: outcome.reason,
                    wake_at: outcome.wake_at,
                    not_after: outcome.leaf.as_ref().map(|leaf| leaf.not_after),
                    serial: outcome.leaf.as_ref().map(|leaf| leaf.serial.clone()),
                    ladder: outcome.ladder.clone(),
                    failure: outcome.failure.clone(),
                    busy: outcome.busy.clone(),
                })
                .collect(),
        }
    }
}
