//! `nolapse ack`: somebody knows, and need not be told again until a date.

use crate::agent::change_acks;
use crate::cli::args::{self, Ack};
use crate::cli::{Exit, Stop, print};
use crate::core::ack::{self, Acks};
use crate::core::concern::Concern;
use crate::core::failure::plain;
use crate::core::name::ChannelId;
use crate::core::time::Timestamp;
use crate::wire::{self, Loaded, Places, Role, Wired};

/// Longest reason kept, in characters.
const REASON_MAX: usize = 200;

pub fn run(places: &Places, ack: &Ack) -> Result<Exit, Stop> {
    let loaded = crate::cli::load(places)?;
    crate::cli::owner::take_its_place(&loaded.settings)?;
    wire::runtime()?.block_on(async {
        let wired = Wired::new(&loaded, Role::OneShot).await?;
        let subject = subject(&loaded, &wired, &ack.name)?;
        let now = wired.agent.clock.now();
        let until = match ack.until.parse::<Timestamp>() {
            Ok(at) => at,
            Err(not_a_date) => {
                let Ok(span) = args::time(&ack.until) else {
                    print::error(&format!("--until: {not_a_date}, nor a time such as 12h or 3d"));
                    return Ok(Exit::Usage);
                };
                now + span
            }
        };
        if until.since(now) > Acks::SPAN_MAX {
            print::error(&format!("--until: at most {} from now; say it again then", Acks::SPAN_MAX));
            return Ok(Exit::Usage);
        }
        let said =
            ack::Ack { subject: subject.clone(), until, reason: plain(&ack.reason, REASON_MAX), at: now };
        if !change_acks(&*wired.agent.store, |acks| acks.put(said.clone(), now)).await? {
            print::error(&format!("{} things are acknowledged already, and no more fit", Acks::MOST));
            return Ok(Exit::Failed);
        }
        if until <= now {
            print::line(&format!("{subject} is not acknowledged any more"));
            return Ok(Exit::Fine);
        }
        print::line(&format!("{subject}: nobody is told again before {}", until.brief()));
        let census = wired.census().await?;
        let end =
            census.rows.iter().find(|row| row.lineage.as_str() == subject).and_then(|row| row.headroom(now));
        if end.is_some_and(|left| now + left <= until) {
            print::note("warning: it ends before, and nobody is told of that either");
        }
        Ok(Exit::Fine)
    })
}

/// A certificate by the name of its entry or one of its names; or what alerts call a thing.
fn subject(loaded: &Loaded, wired: &Wired, name: &str) -> Result<String, Stop> {
    let channel = name.strip_prefix("channel/").and_then(|name| ChannelId::parse(name).ok());
    let known = loaded.resolved.alerts.channels.iter().any(|spec| Some(&spec.id) == channel.as_ref());
    let plain_name = |c: char| c.is_ascii_graphic();
    let watch =
        name.strip_prefix("watch/").is_some_and(|rest| !rest.is_empty() && rest.chars().all(plain_name));
    if name == Concern::AGENT || known || (watch && name.len() <= NAME_MAX) {
        return Ok(name.to_owned());
    }
    let others = std::collections::BTreeSet::new();
    Ok(crate::cli::select::one(&wired.agent.scene().wanted, &others, name)?.to_string())
}

/// Longest name of a watch with its place, in bytes.
const NAME_MAX: usize = 500;
