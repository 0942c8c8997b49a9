//! One lineage's row in the census.

use crate::agent::gather::World;
use crate::core::census::{Row, Standing};
use crate::core::decide::{Placement, renewal_point};
use crate::core::ladder::{Ladder, Observed};
use crate::core::plight::Plight;
use crate::core::spec::LineageSpec;
use crate::core::time::Timestamp;

/// What is true of one lineage on this node, for metrics and health.
pub fn row(spec: Option<&LineageSpec>, world: &World, ladder: &Ladder, now: Timestamp) -> Row {
    let (record, installed) = (&world.record.value, &world.installed.value);
    let shown = match &world.disk.live {
        Placement::Shows(number) => record.issued(*number).map(|issued| issued.leaf.not_after),
        Placement::Foreign(leaf) => Some(leaf.not_after),
        Placement::Placeholder(until) => Some(*until),
        Placement::Missing | Placement::Drifted(_) => None,
    };
    let served_until = installed
        .endpoints
        .iter()
        .filter(|(endpoint, _)| spec.is_some_and(|spec| spec.endpoints.contains(endpoint)))
        .filter_map(|(_, note)| note.leaf.as_ref().map(|leaf| leaf.not_after))
        .min();
    let standing = match (&world.disk.live, shown) {
        _ if spec.is_none() => Standing::Retired,
        (Placement::Placeholder(_), _) => Standing::Placeholder,
        (_, None) => Standing::Absent,
        _ if !ladder.hooks_owed.is_empty() || !ladder.endpoints_owed.is_empty() => Standing::Installed,
        _ => match ladder.observed {
            Observed::Yes => Standing::Observed,
            Observed::Unverified => Standing::Unverified,
            Observed::No => Standing::Installed,
        },
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let current = record.current.as_ref().and_then(|current| current.issuer.as_ref());
    // A row is kept for as long as the agent runs: its names are those of the configuration, not
    // the same once more.
    let issuer = match (spec, current) {
        (Some(spec), Some(issuer)) => spec.issuers.iter().find(|known| *known == issuer).or(current),
        (Some(spec), None) => spec.issuer(),
        (None, current) => current,
    };
    let generation = match &world.disk.live {
        Placement::Shows(number) => record.issued(*number),
        _ => None,
    };
    let due_at = renewal_point(record).map(|point| point.at);
    let plight = spec
        .and_then(|spec| Plight::of(spec, record, installed, generation, ladder, due_at, now).map(Box::new));
    Row {
        lineage: spec.map_or(&record.id, |spec| &spec.id).clone(),
        issuer: issuer.cloned(),
        not_after: shown,
        served_until,
        owed: count(ladder.hooks_owed.len()),
        mismatched: count(ladder.endpoints_owed.len()),
        standing,
        trouble: record.trouble.as_ref().map(|trouble| trouble.failure.code.clone()),
        plight,
    }
}
