//! `nolapse check`: the configuration with all its problems, what it comes to, and whether this
//! host gives what it needs.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::args::Check;
use crate::cli::host::Host;
use crate::cli::{Exit, Stop, owner, print, rival, skew};
use crate::config::{self, AgentSettings, Resolved, Severity};
use crate::core::failure::Failure;
use crate::core::finding::{Finding, Weight};
use crate::core::name::IssuerId;
use crate::core::spec::{IssuerSpec, Wanted};
use crate::core::time::{Span, Timestamp};
use crate::ports::Greeting;
use crate::sys::clock::Clock;
use crate::sys::privilege::{self, Identity};
use crate::wire::Places;
use crate::wire::{self, look};

/// Longest wait for a CA's directory.
const CA_PATIENCE: Span = Span::secs(20);

pub fn run(places: &Places, check: &Check) -> Result<Exit, Stop> {
    let file = wire::config_file(places);
    let sources = wire::read_sources(&file)?;
    let resolved = config::resolve(&sources, &wire::facts(places));
    for problem in &resolved.problems {
        print::note(&problem.to_string());
    }
    if resolved.left_out > 0 {
        print::note(&format!("and {} more problems, left out", resolved.left_out));
    }
    if resolved.fatal() {
        print::error("the configuration can't be used, so it comes to nothing and this host was not tested");
        return Ok(Exit::Configuration);
    }
    print::text(&config::effective(&resolved));
    let findings =
        if check.offline { Vec::new() } else { host(&file, &resolved.agent, &resolved.wanted)?.findings };
    for finding in &findings {
        print::finding(finding);
    }
    Ok(conclude(&resolved, &findings, check.offline))
}

fn conclude(resolved: &Resolved, findings: &[Finding], offline: bool) -> Exit {
    let problems = |severity| resolved.problems.iter().filter(|problem| problem.severity == severity).count();
    let found = |weight| findings.iter().filter(|finding| finding.weight == weight).count();
    let errors = problems(Severity::Error) + found(Weight::Error);
    let warnings = problems(Severity::Warning) + found(Weight::Warning);
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let scope = if offline { "the configuration alone" } else { "the configuration and this host" };
    print::note(&format!("checked {scope}: {}, {}", plural(errors, "error"), plural(warnings, "warning")));
    if resolved.has_errors() {
        Exit::Configuration
    } else if errors > 0 {
        Exit::Failed
    } else {
        Exit::Fine
    }
}

/// What the tests of this host and of its CAs came to.
#[derive(Debug, Default)]
pub struct Tested {
    pub findings: Vec<Finding>,
    /// By which CAA records know each CA that answered.
    pub identities: BTreeMap<IssuerId, Vec<String>>,
}

/// Root's questions first, then those that only the agent's own user can answer: as root this process
/// becomes that user for good.
pub fn host(file: &Path, settings: &AgentSettings, wanted: &Wanted) -> Result<Tested, Failure> {
    let owner = owner::of(settings)?;
    let tested = Host { settings, wanted, owner: &owner };
    let mut found = tested.as_root();
    found.extend(rival::findings(&wire::rivals(Path::new("/")), wanted));
    let me = Identity::current();
    if me.uid != owner.uid {
        if !me.is_root() {
            found.push(
                Finding::warning("not-the-agent", format!("tested as {me}, but the agent runs as {owner}"))
                    .fix(format!("run it as root or as {owner}: what follows may differ for {owner}")),
            );
        } else if let Err(error) = privilege::step_down(&owner) {
            found.push(
                Finding::warning("not-the-agent", format!("tested as root, but the agent runs as {owner}"))
                    .seen(error.to_string()),
            );
        }
    }
    if let Err(failure) = wire::read_sources(file) {
        found.push(
            Finding::error(
                "configuration-closed",
                format!("the agent's user, {owner}, can't read the configuration"),
            )
            .seen(failure.words)
            .fix("chmod 0644 the file: its secrets are elsewhere"),
        );
    }
    found.extend(tested.as_owner());
    let mut identities = BTreeMap::new();
    wire::runtime()?.block_on(async {
        let clock = Clock::wall();
        found.extend(skew::behind(clock.now(), &witnesses(file, settings)));
        for (id, failure) in look::unable(settings, wanted, &clock).await {
            found.push(Finding::of(&format!("solver {id}"), &failure));
        }
        for spec in wanted.issuers.values() {
            if wanted.lineages.values().any(|lineage| lineage.issuers.contains(&spec.id)) {
                let (findings, greeting) = issuer(spec, wanted, &clock).await;
                found.extend(findings);
                identities.extend(greeting.map(|greeting| (spec.id.clone(), greeting.caa_identities)));
            }
        }
    });
    Ok(Tested { findings: found, identities })
}

/// Files of which we know roughly when they were written: no clock was ever behind them.
fn witnesses(file: &Path, settings: &AgentSettings) -> Vec<(String, Timestamp)> {
    let program = std::env::current_exe().ok();
    let version = settings.state_dir.join("version");
    [program.as_deref(), Some(file), Some(&version), Some(&settings.live_dir)]
        .into_iter()
        .flatten()
        .filter_map(|path| Some((path.display().to_string(), skew::written(path)?)))
        .collect()
}

/// A free look at the CA: no account is made for it.
async fn issuer(spec: &IssuerSpec, wanted: &Wanted, clock: &Clock) -> (Vec<Finding>, Option<Greeting>) {
    let what = format!("issuer {}", spec.id);
    let mut found = Vec::new();
    if let Some(eab) = &spec.eab
        && let Err(failure) = wire::secret(&eab.hmac_key)
    {
        // Variables and credentials are the unit's; by hand they may well be absent.
        found.push(Finding { weight: Weight::Warning, ..Finding::of(&what, &failure) });
    }
    let greeting = match look::greeting(spec, clock, CA_PATIENCE).await {
        Ok(Some(greeting)) => greeting,
        Ok(None) => {
            let words = format!("{what}: no answer within {CA_PATIENCE}");
            found.push(Finding::warning("ca-down", words).seen(spec.directory.clone()));
            return (found, None);
        }
        Err(failure) => {
            found.push(Finding::of(&what, &failure));
            return (found, None);
        }
    };
    found.extend(greeting.date.and_then(|date| skew::against_ca(clock.now(), spec.id.as_str(), date)));
    if let (Some(terms), false) = (&greeting.terms, spec.accept_terms) {
        found.push(
            Finding::error(
                "terms-not-accepted",
                format!("{what} gives accounts only to who accepts its terms"),
            )
            .seen(crate::core::failure::plain(terms, 300))
            .fix(format!("read them, then write  accept-terms = true  into [issuer.{}]", spec.id)),
        );
    }
    if greeting.eab_required && spec.eab.is_none() {
        found.push(
            Finding::error(
                "eab-missing",
                format!("{what} gives accounts only with an external account binding"),
            )
            .fix(format!(
                "get a key id and an HMAC key from the CA and write  eab  into [issuer.{}]",
                spec.id
            )),
        );
    }
    let profiles = wanted
        .lineages
        .values()
        .filter(|lineage| lineage.issuers.contains(&spec.id))
        .filter_map(|lineage| Some((lineage, lineage.profile.as_ref().or(spec.profile.as_ref())?)));
    for (lineage, profile) in profiles {
        if !greeting.profiles.contains(&profile.name) {
            let words = format!("{what} has no profile {}, asked for by {}", profile.name, lineage.id);
            let finding = if profile.required {
                Finding::error("profile-missing", words)
            } else {
                Finding::warning("profile-missing", words)
            };
            let offered: Vec<_> =
                greeting.profiles.iter().map(|name| crate::core::failure::plain(name, 60)).collect();
            found.push(finding.seen(format!("it offers: {}", offered.join(", "))));
        }
    }
    (found, Some(greeting))
}
