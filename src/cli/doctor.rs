//! `nolapse doctor`: what keeps, or would keep, certificates from being renewed. Reads and asks; it
//! places no order, makes no account and writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::agent::foresee;
use crate::cli::args::Doctor;
use crate::cli::check::{self, Tested};
use crate::cli::{Exit, Stop, print, reader, runner, select};
use crate::core::finding::{Finding, Weight};
use crate::core::name::{IssuerId, LineageId};
use crate::core::preflight::IssuerView;
use crate::core::spec::{LineageSpec, Wanted};
use crate::core::time::{Span, Timestamp};
use crate::sys::clock::Clock;
use crate::wire::{self, Loaded, Places, preflight};

/// Moves when a field of the JSON changes its meaning.
const VERSION: u32 = 1;
/// Certificates looked at side by side.
const SIDE_BY_SIDE: usize = 8;

/// Everything found, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Diagnosis {
    version: u32,
    at: Timestamp,
    /// The worst of all findings; `fine` where there is none worse than a note.
    severity: &'static str,
    /// Of this host and its CAs.
    host: Vec<Finding>,
    certificates: Vec<Patient>,
}

#[derive(Debug, Serialize)]
struct Patient {
    name: LineageId,
    names: usize,
    findings: Vec<Finding>,
}

pub fn run(places: &Places, doctor: &Doctor) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    let wanted = chosen(&loaded.resolved.wanted, &doctor.names)?;
    let mut host = reader::findings(&loaded.settings, &wanted);
    host.extend(runner::findings(&loaded.settings, Clock::wall().now()));
    let tested = check::host(&loaded.file, &loaded.settings, &wanted)?;
    let (certificates, notes) =
        wire::runtime()?.block_on(names(&loaded, Arc::new(wanted), &tested, doctor.within))?;
    host.extend(tested.findings);
    host.extend(notes);
    host.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    let all = host.iter().chain(certificates.iter().flat_map(|patient| &patient.findings));
    let worst = all.map(|finding| finding.weight).max().unwrap_or(Weight::Note);
    let severity = if worst == Weight::Note { "fine" } else { worst.word() };
    let diagnosis = Diagnosis { version: VERSION, at: Clock::wall().now(), severity, host, certificates };
    if doctor.json {
        print::json(&diagnosis)?;
    } else {
        show(&diagnosis);
    }
    Ok(if worst == Weight::Error { Exit::Failed } else { Exit::Fine })
}

/// The configuration of the named certificates alone, and all of it where none is named.
fn chosen(wanted: &Wanted, names: &[String]) -> Result<Wanted, Stop> {
    if names.is_empty() {
        return Ok(wanted.clone());
    }
    let mut specs = Vec::with_capacity(names.len());
    for name in names {
        let id = select::one(wanted, &std::collections::BTreeSet::new(), name)?;
        specs.extend(wanted.lineages.get(&id).cloned());
    }
    Ok(Wanted { lineages: specs.into(), broken: BTreeMap::new(), ..wanted.clone() })
}

/// Every name of every certificate, within the time; also what could not be found out for all of them.
async fn names(
    loaded: &Loaded,
    wanted: Arc<Wanted>,
    tested: &Tested,
    within: Span,
) -> Result<(Vec<Patient>, Vec<Finding>), Stop> {
    let clock = Clock::wall();
    let (accounts, notes) = accounts(loaded, &wanted, &clock).await;
    let eyes = preflight::eyes(&loaded.settings, &clock);
    let turns = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let until = clock.monotonic() + within;
    let mut looks = JoinSet::new();
    for spec in wanted.lineages.values() {
        let issuers: Vec<_> = spec
            .issuers
            .iter()
            .map(|id| IssuerView {
                id: id.clone(),
                identities: tested.identities.get(id).cloned(),
                account: accounts.get(id).cloned(),
            })
            .collect();
        let (spec, wanted, turns) = (spec.clone(), wanted.clone(), turns.clone());
        let (eyes, clock) = (eyes.clone(), clock.clone());
        looks.spawn(async move {
            // Never closed, so there is always a turn.
            let _turn = turns.acquire().await;
            let left = (until - clock.monotonic()).max(Span::ZERO);
            let foreseen = foresee(&*eyes, &wanted, &spec, &spec.names, &issuers, left).await;
            patient(&spec, foreseen.findings, foreseen.unseen)
        });
    }
    let mut patients = looks.join_all().await;
    let worst = |patient: &Patient| patient.findings.iter().map(|finding| finding.weight).max();
    patients.sort_by(|a, b| worst(b).cmp(&worst(a)).then_with(|| a.name.cmp(&b.name)));
    Ok((patients, notes))
}

fn patient(spec: &LineageSpec, mut findings: Vec<Finding>, unseen: usize) -> Patient {
    if unseen > 0 {
        findings.push(
            Finding::note("not-looked-at", format!("there was no time for {unseen} of its names"))
                .fix("ask for this certificate alone, or for more time by --within"),
        );
    }
    Patient { name: spec.id.clone(), names: spec.names.len(), findings }
}

/// Our accounts, as far as the state may be read.
async fn accounts(
    loaded: &Loaded,
    wanted: &Wanted,
    clock: &Clock,
) -> (BTreeMap<IssuerId, String>, Vec<Finding>) {
    let (mut known, mut notes) = (BTreeMap::new(), Vec::new());
    if !loaded.settings.state_dir.exists() {
        return (known, notes);
    }
    let used = |id: &IssuerId| wanted.lineages.values().any(|spec| spec.issuers.contains(id));
    for spec in wanted.issuers.values().filter(|spec| used(&spec.id)) {
        match preflight::known_account(&loaded.settings, spec, clock).await {
            Ok(account) => known.extend(account.map(|account| (spec.id.clone(), account))),
            Err(failure) => notes.push(
                Finding::note(
                    "account-unseen",
                    format!("which account is ours with {} could not be looked up", spec.id),
                )
                .seen(failure.to_string())
                .fix("run this as root, or as the user that nolapse runs as"),
            ),
        }
    }
    (known, notes)
}

fn show(diagnosis: &Diagnosis) {
    let group = |title: &str, findings: &[Finding]| {
        print::line(title);
        for finding in findings {
            for row in print::finding_rows(finding) {
                print::line(&format!("  {row}"));
            }
        }
    };
    if diagnosis.host.is_empty() {
        print::line("this host and its CAs: fine");
    } else {
        group("this host and its CAs", &diagnosis.host);
    }
    let mut fine = Vec::new();
    for patient in &diagnosis.certificates {
        if patient.findings.is_empty() {
            fine.push(patient.name.to_string());
        } else {
            group(&format!("certificate {}", patient.name), &patient.findings);
        }
    }
    match &fine[..] {
        [] => {}
        [one] => print::line(&format!("certificate {one}: fine")),
        _ if fine.len() <= FINE_SHOWN => print::line(&format!("certificates {}: fine", fine.join(", "))),
        _ => print::line(&format!("{} certificates: fine", fine.len())),
    }
}

/// Certificates without findings that are listed by name.
const FINE_SHOWN: usize = 6;
