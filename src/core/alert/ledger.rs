//! All alerts, and what each channel is to be told of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::note::{Note, Sent, SentKind};
use super::{Alert, EASED_FOR, GONE_FOR, GROWN_EVERY, Patience, Told, channel_cause};
use crate::core::ack::Acks;
use crate::core::channel::{ChannelSpec, Message, Occasion};
use crate::core::concern::{Concern, Concerns};
use crate::core::failure::plain;
use crate::core::gravity::Gravity;
use crate::core::labels::Labels;
use crate::core::name::ChannelId;
use crate::core::time::{Span, Timestamp};

/// Everything that is remembered between two looks, and between two processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ledger {
    /// By cause, at most [`Ledger::CAUSES_MAX`] that stand.
    pub alerts: BTreeMap<String, Alert>,
    pub channels: BTreeMap<ChannelId, Note>,
}

/// Something to send now, and which causes it tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub message: Message,
    pub causes: Vec<String>,
}

/// Waits after failures of a channel; the last one repeats.
const WAITS: [Span; 4] = [Span::MINUTE, Span::minutes(5), Span::minutes(15), Span::HOUR];
/// A channel that failed so often in a row is told of on the others.
const FAILURES_TOLD: u32 = 2;
/// Causes of a digest that are named one by one.
const DIGEST_LINES: usize = 20;
/// Characters kept of what a channel said when it failed.
const WORDS_MAX: usize = 200;
/// The cause under which those are put that are too many to be kept apart.
const FURTHER: &str = "further";

impl Ledger {
    /// Causes kept apart; further ones are put together.
    pub const CAUSES_MAX: usize = 200;

    /// Takes what is so now. Channels that fail are concerns too.
    pub fn take(&mut self, concerns: &Concerns, acks: &Acks, now: Timestamp, patience: Patience) {
        let failing = self.failing_channels(patience);
        let groups = grouped(concerns.all.iter().chain(&failing));
        for (cause, group) in &groups {
            let alert = self.alerts.entry((*cause).to_owned()).or_insert_with(|| Alert::budding(group, now));
            alert.see(group, acks, now, patience);
        }
        self.alerts.retain(|cause, alert| groups.contains_key(cause.as_str()) || alert.miss(now, patience));
        self.shed();
    }

    /// What is over and still untold on a channel that fails for long is given up at last, the
    /// oldest first: the ledger must fit into its file.
    fn shed(&mut self) {
        let surplus = self.alerts.len().saturating_sub(2 * Self::CAUSES_MAX);
        let mut over: Vec<_> =
            self.alerts.iter().filter_map(|(cause, alert)| Some((alert.ended_at?, cause.clone()))).collect();
        over.sort_unstable();
        for (_, cause) in over.into_iter().take(surplus) {
            self.alerts.remove(&cause);
        }
    }

    /// What a channel is to be told now, the gravest first, within its bounds.
    pub fn due(&self, channel: &ChannelSpec, host: &str, now: Timestamp) -> Vec<Due> {
        let note = self.channels.get(&channel.id);
        if note.is_some_and(|note| note.next_at.is_some_and(|at| at > now)) {
            return Vec::new();
        }
        let fresh = Note::default();
        let note = note.unwrap_or(&fresh);
        let mut waiting: Vec<_> = self.waiting(channel, now).collect();
        waiting.sort_by(|(a, first, _), (b, second, _)| second.weight().cmp(&first.weight()).then(a.cmp(b)));
        let mut rooms = [note.room(SentKind::Page, now), note.room(SentKind::Other, now)];
        let (mut due, mut withheld) = (Vec::new(), Vec::new());
        for (cause, alert, occasion) in waiting {
            let room = &mut rooms[usize::from(alert.weight() != Gravity::Page)];
            if *room == 0 {
                withheld.push((cause, alert, occasion));
                continue;
            }
            *room -= 1;
            due.push(Due {
                message: alert.message(cause, occasion, host, now),
                causes: vec![cause.to_owned()],
            });
        }
        if !withheld.is_empty() && note.digest_from(now) <= now {
            due.push(digest(&withheld, host, now));
        }
        due
    }

    /// The channel took a message.
    pub fn told(&mut self, channel: &ChannelId, due: &Due, now: Timestamp) {
        for cause in &due.causes {
            let Some(alert) = self.alerts.get_mut(cause) else { continue };
            let told =
                Told { at: now, gravity: alert.gravity, count: alert.count, over: alert.ended_at.is_some() };
            alert.told.insert(channel.clone(), told);
        }
        let kind = match (due.message.occasion, due.message.gravity) {
            (Occasion::Digest, _) => SentKind::Digest,
            (_, Gravity::Page) => SentKind::Page,
            _ => SentKind::Other,
        };
        let note = self.channels.entry(channel.clone()).or_default();
        let mut sent: Vec<_> = note.recent(now).copied().collect();
        sent.push(Sent { at: now, kind });
        let surplus = sent.len().saturating_sub(Note::MESSAGES_A_DAY);
        *note = Note { sent: sent.split_off(surplus), ..Note::default() };
    }

    /// It did not.
    pub fn failed(&mut self, channel: &ChannelId, words: &str, now: Timestamp) {
        let note = self.channels.entry(channel.clone()).or_default();
        note.failures = note.failures.saturating_add(1);
        note.failing_since.get_or_insert(now);
        let wait = WAITS[usize::try_from(note.failures - 1).unwrap_or(usize::MAX).min(WAITS.len() - 1)];
        note.next_at = Some(now + wait);
        note.words = Some(plain(words, WORDS_MAX));
    }

    /// Forgets what is over and known, and channels that are not configured any more.
    pub fn tidy(&mut self, channels: &[ChannelSpec]) {
        let known = |id: &ChannelId| channels.iter().any(|channel| channel.id == *id);
        self.channels.retain(|id, _| known(id));
        for alert in self.alerts.values_mut() {
            alert.told.retain(|id, _| known(id));
        }
        let waits = |cause: &String, alert: &Alert| {
            alert.ended_at.is_none() || channels.iter().any(|channel| alert.owes(cause, channel).is_some())
        };
        let over: Vec<_> = self
            .alerts
            .iter()
            .filter(|(cause, alert)| !waits(cause, alert))
            .map(|(c, _)| c.clone())
            .collect();
        for cause in over {
            self.alerts.remove(&cause);
        }
    }

    /// When to look again although nothing happens.
    pub fn next(
        &self,
        concerns: &Concerns,
        acks: &Acks,
        channels: &[ChannelSpec],
        now: Timestamp,
    ) -> Option<Timestamp> {
        let mut soonest = Soonest { now, at: None };
        concerns.next_at.into_iter().chain(acks.next_end(now)).for_each(|at| soonest.add(at));
        for concern in &concerns.all {
            let first = self.alerts.get(&concern.cause).map_or(now, |alert| alert.first_at);
            soonest.add(first.min(concern.since) + concern.grace);
        }
        for (cause, alert) in &self.alerts {
            if alert.ended_at.is_none()
                && let Some(gone) = alert.gone_at
            {
                soonest.add(gone + GONE_FOR);
            }
            if let Some(eased) = alert.eased_at {
                soonest.add(eased + EASED_FOR);
            }
            for channel in channels {
                if let (None, Some(told)) = (alert.owes_at(cause, channel, now), alert.told.get(&channel.id))
                {
                    soonest.add(told.at + GROWN_EVERY.min(alert.again()));
                    soonest.add(told.at + alert.again());
                }
            }
        }
        for channel in channels {
            let works = self.channels.get(&channel.id).is_none_or(|note| note.failures == 0);
            let cause = channel_cause(&channel.id);
            if works && self.alerts.get(&cause).is_some_and(|alert| alert.gone_at.is_none()) {
                // It has just been heard to work again.
                soonest.add(now + Span::MINUTE);
            }
            if self.waiting(channel, now).next().is_none() {
                continue;
            }
            let Some(note) = self.channels.get(&channel.id) else { continue };
            // What was not sent although it is due waits for the channel, or for room.
            note.next_at.into_iter().for_each(|at| soonest.add(at));
            soonest.add(note.digest_from(now));
        }
        soonest.at
    }

    /// Everything that stands and was worth telling, the gravest first.
    pub fn standing(&self) -> Vec<(&str, &Alert)> {
        let mut standing: Vec<_> = self
            .alerts
            .iter()
            .filter(|(_, alert)| alert.raised_at.is_some() && alert.ended_at.is_none())
            .map(|(cause, alert)| (cause.as_str(), alert))
            .collect();
        standing.sort_by(|(a, first), (b, second)| second.gravity.cmp(&first.gravity).then(a.cmp(b)));
        standing
    }

    fn waiting(
        &self,
        channel: &ChannelSpec,
        now: Timestamp,
    ) -> impl Iterator<Item = (&str, &Alert, Occasion)> {
        self.alerts.iter().filter_map(move |(cause, alert)| {
            Some((cause.as_str(), alert, alert.owes_at(cause, channel, now)?))
        })
    }

    fn failing_channels(&self, patience: Patience) -> Vec<Concern> {
        let least = if patience == Patience::Once { 1 } else { FAILURES_TOLD };
        let failing = self.channels.iter().filter(|(_, note)| note.failures >= least);
        failing
            .map(|(id, note)| Concern {
                subject: format!("channel/{id}"),
                code: "channel-failing".into(),
                cause: channel_cause(id),
                gravity: Gravity::Ticket,
                grace: Span::ZERO,
                since: note.failing_since.unwrap_or(Timestamp::MAX),
                words: format!(
                    "alerts can't be sent on {id}: {}",
                    note.words.as_deref().unwrap_or("it gave no reason")
                ),
                advice: format!("nolapse alert test {id}"),
                labels: Labels::default(),
            })
            .collect()
    }
}

/// The earliest of several dates after now.
struct Soonest {
    now: Timestamp,
    at: Option<Timestamp>,
}

impl Soonest {
    fn add(&mut self, at: Timestamp) {
        if at > self.now && self.at.is_none_or(|known| at < known) {
            self.at = Some(at);
        }
    }
}

/// By cause; causes that are too many under one.
fn grouped<'c>(concerns: impl Iterator<Item = &'c Concern>) -> BTreeMap<&'c str, Vec<&'c Concern>> {
    let mut groups: BTreeMap<&str, Vec<&Concern>> = BTreeMap::new();
    for concern in concerns {
        groups.entry(&concern.cause).or_default().push(concern);
    }
    if groups.len() > Ledger::CAUSES_MAX {
        let gravest = |group: &Vec<&Concern>| group.iter().map(|concern| concern.gravity).max();
        let mut order: Vec<_> = groups.iter().map(|(cause, group)| (gravest(group), *cause)).collect();
        order.sort_by(|(a, first), (b, second)| b.cmp(a).then(first.cmp(second)));
        for (_, cause) in order.split_off(Ledger::CAUSES_MAX - 1) {
            let group = groups.remove(cause).unwrap_or_default();
            groups.entry(FURTHER).or_default().extend(group);
        }
    }
    groups
}

fn digest(withheld: &[(&str, &Alert, Occasion)], host: &str, now: Timestamp) -> Due {
    let lines: Vec<_> = withheld
        .iter()
        .take(DIGEST_LINES)
        .map(|(_, alert, occasion)| {
            let word = if alert.ended_at.is_some() { "recovered" } else { occasion.word() };
            format!("{word} {}: {}", alert.weight(), alert.headline())
        })
        .collect();
    let more = withheld.len().saturating_sub(lines.len());
    let more = if more > 0 { format!("\nand {more} more: nolapse alert list") } else { String::new() };
    let gravity = withheld.iter().map(|(_, alert, _)| alert.weight()).max().unwrap_or(Gravity::Notice);
    let count = u32::try_from(withheld.len()).unwrap_or(u32::MAX);
    let message = Message {
        version: 1,
        occasion: Occasion::Digest,
        gravity,
        key: format!("nolapse/{host}/digest"),
        host: host.to_owned(),
        code: "digest".into(),
        title: format!("{count} alerts on {host}, sent together as there were too many"),
        text: format!("{}{more}", lines.join("\n")),
        count,
        subjects: withheld.iter().take(Alert::SUBJECTS).map(|(cause, ..)| (*cause).to_owned()).collect(),
        advice: "nolapse status".into(),
        labels: BTreeMap::new(),
        since: now,
        at: now,
        ended_at: None,
        again_at: now + Span::DAY,
    };
    Due { message, causes: withheld.iter().map(|(cause, ..)| (*cause).to_owned()).collect() }
}
