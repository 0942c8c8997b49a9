//! The one next step for a person, where one would help.

use crate::agent::Survey;
use crate::cli::report::{looked_at, overdue};
use crate::core::census::Standing;
use crate::core::decide::{Issuance, Placement, Upkeep};
use crate::core::diagnosis::Diagnosis;
use crate::core::endpoint::Endpoint;
use crate::core::failure::{Class, Fault};
use crate::core::record::EndpointNote;

pub struct Advice {
    /// What it is for: stable and kebab-case.
    pub code: String,
    pub step: String,
}

impl Advice {
    fn new(code: &str, step: impl Into<String>) -> Self {
        Self { code: code.to_owned(), step: step.into() }
    }
}

fn is_foreign(placement: &Placement) -> bool {
    matches!(placement, Placement::Foreign(_))
}

/// For the gravest thing. `None`: nothing, or nothing that a person could do.
pub fn of(survey: &Survey) -> Option<Advice> {
    let id = &survey.id;
    let record = &survey.world.record.value;
    let installed = &survey.world.installed.value;
    let disk = &survey.world.disk;
    if disk.outputs.iter().map(|(_, placement)| placement).chain([&disk.live]).any(is_foreign) {
        let step = format!("keep it and let the other tool go on, or  nolapse deploy --take-back {id}");
        return Some(Advice::new("foreign-pair", step));
    }
    if matches!(survey.plan.upkeep, Upkeep::Install { .. }) {
        // The next pass does so too; by hand it says what is in the way.
        return Some(Advice::new("not-installed", format!("nolapse deploy {id}")));
    }
    let owed = |endpoint: &Endpoint| {
        let name = endpoint.to_string();
        survey.ladder.endpoints_owed.iter().any(|(owed, _)| *owed == name)
    };
    let ailing = |wanted: &dyn Fn(&Endpoint, &EndpointNote) -> bool| {
        looked_at(survey)
            .filter(|(endpoint, note)| wanted(endpoint, note))
            .find_map(|(endpoint, note)| Diagnosis::of(endpoint, note, survey.at))
    };
    if survey.ladder.hooks_owed.is_empty()
        && let Some(found) = ailing(&|endpoint, _| owed(endpoint))
    {
        return Some(Advice::new(found.code, format!("{}, then  nolapse deploy {id}", found.step)));
    }
    if let Some(held) = installed.held_back.as_ref().filter(|held| held.until > survey.at) {
        let step = format!("see what keeps {}, or  nolapse deploy {id}", held.by);
        return Some(Advice::new("held-back", step));
    }
    if let Some(hook) = survey.ladder.hooks_owed.first() {
        // A failure ends with its code, in brackets.
        let words = installed.hooks.get(hook).and_then(|note| note.words.as_deref()).unwrap_or_default();
        let code = words.rsplit_once('[').and_then(|(_, code)| code.strip_suffix(']'));
        let step = format!("mend what {hook} complains of, then  nolapse deploy {id}");
        return Some(Advice::new(code.unwrap_or("deploy-owed"), step));
    }
    if record.pin.is_some() && survey.ladder.paid() {
        return Some(Advice::new("pinned", format!("when the new certificate works, nolapse unpin {id}")));
    }
    if overdue(survey).is_some() {
        let step = "see that the daemon or the timer runs:  systemctl status nolapse";
        return Some(Advice::new("renewal-overdue", step));
    }
    if let Some(trouble) = &record.trouble {
        let code = &trouble.failure.code;
        match (trouble.failure.class, &survey.plan.issuance) {
            (Class::Refused, _) => {
                return Some(Advice::new(code, format!("mend it, then  nolapse renew {id}")));
            }
            (Class::Limited { until }, _) => {
                let step = format!("nothing: the CA asks to wait until {}", until.brief());
                return Some(Advice::new(code, step));
            }
            (_, Issuance::Suspend { until, .. }) if trouble.failure.fault == Fault::Host => {
                let step = format!("mend it; tried again {}, or  nolapse renew {id}", until.brief());
                return Some(Advice::new(code, step));
            }
            (_, Issuance::Suspend { until, .. }) => {
                let step = format!("nothing yet: tried again {}, or  nolapse renew {id}", until.brief());
                return Some(Advice::new(code, step));
            }
            _ => {}
        }
    }
    if record.current.is_none() && record.trouble.is_none() && survey.spec().is_some() {
        let code = if survey.row.standing == Standing::Placeholder { "placeholder" } else { "not-installed" };
        return Some(Advice::new(code, format!("nolapse renew {id}, or start the agent")));
    }
    if let Some(woe) = record.persist.iter().find_map(|note| note.woe(survey.at)) {
        return Some(Advice::new(woe.code, format!("set the text that  nolapse dns-persist {id}  prints")));
    }
    let found = ailing(&|_, note| note.fine())?;
    Some(Advice::new(found.code, found.step))
}
