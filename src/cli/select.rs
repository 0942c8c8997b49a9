//! Which lineages a command line means.

use std::collections::BTreeSet;

use crate::agent::Scene;
use crate::cli::{Exit, Stop, print};
use crate::core::failure::{Failure, Fault};
use crate::core::name::{HookId, LineageId};
use crate::core::spec::Wanted;

/// The named lineages, or all that are configured. A name that nobody knows is a usage error,
/// said with what there is.
pub fn configured(scene: &Scene, names: &[String]) -> Result<Vec<LineageId>, Stop> {
    if names.is_empty() {
        return Ok(scene.wanted.lineages.keys().cloned().collect());
    }
    names.iter().map(|name| one(&scene.wanted, &BTreeSet::new(), name)).collect()
}

/// One lineage by the name of its entry, or by one of the names in its certificate.
pub fn one(wanted: &Wanted, others: &BTreeSet<LineageId>, name: &str) -> Result<LineageId, Stop> {
    if let Ok(id) = LineageId::from_table_name(name)
        && (wanted.lineages.contains_key(&id) || wanted.broken.contains_key(&id) || others.contains(&id))
    {
        if let Some(why) = wanted.broken.get(&id) {
            print::error(&format!("{id}: its entry in the configuration can't be used: {why}"));
            return Err(Stop::Said(Exit::Configuration));
        }
        return Ok(id);
    }
    let wanted_name = name.to_ascii_lowercase();
    let holders: Vec<_> = wanted
        .lineages
        .values()
        .filter(|spec| spec.names.iter().any(|subject| subject.to_string() == wanted_name))
        .map(|spec| spec.id.clone())
        .collect();
    if let [only] = &holders[..] {
        return Ok(only.clone());
    }
    let known: Vec<_> = wanted.lineages.keys().take(NAMES_SHOWN).map(ToString::to_string).collect();
    let more = wanted.lineages.len().saturating_sub(known.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    print::error(&format!(
        "no certificate {:?} is configured; there is {}{more}",
        name,
        if known.is_empty() { "none".to_owned() } else { known.join(", ") }
    ));
    Err(Stop::Said(Exit::Usage))
}

/// A hook that none of these lineages has is a usage error, said with those they have.
pub fn of_any(wanted: &Wanted, ids: &[LineageId], hook: &HookId) -> Result<(), Stop> {
    let hooks = ids.iter().filter_map(|id| wanted.lineages.get(id)).flat_map(|spec| spec.hooks.iter());
    let known: BTreeSet<_> = hooks.collect();
    if known.contains(hook) {
        return Ok(());
    }
    let there: Vec<_> = known.iter().take(NAMES_SHOWN).map(ToString::to_string).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    print::error(&format!("none of these certificates has a service or hook \"{hook}\"; there is {there}"));
    Err(Stop::Said(Exit::Usage))
}

/// A hook by its name, where one was typed. Whether there is such a hook is asked elsewhere.
pub fn hook(name: Option<&str>) -> Result<Option<HookId>, Stop> {
    let parsed = name.map(|name| {
        HookId::parse(name).map_err(|bad| {
            let words = format!("{name:?} is not the name of a hook: {bad}");
            Stop::Failure(Failure::refused(Fault::Config, "no-such-hook", words))
        })
    });
    parsed.transpose()
}

/// Most names listed in one message.
const NAMES_SHOWN: usize = 8;
