//! What people were told, and what they are still to be told: concerns grouped by cause, each
//! channel's knowledge of them, and the difference between the two. Nothing is queued: what a
//! channel owes follows from what it has not been told, so a channel that fails for a week loses
//! nothing, and no list grows meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ack::Acks;
use super::channel::{ChannelSpec, Message, Occasion};
use super::concern::{Concern, Concerns};
use super::failure::plain;
use super::gravity::Gravity;
use super::labels::Labels;
use super::name::ChannelId;
use super::time::{Span, Timestamp};

/// Everything that is remembered between two looks, and between two processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ledger {
    /// By cause, at most [`Ledger::CAUSES_MAX`] that stand.
    pub alerts: BTreeMap<String, Alert>,
    pub channels: BTreeMap<ChannelId, Note>,
}

/// One cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Alert {
    pub code: String,
    pub gravity: Gravity,
    /// The gravest it has been since it was raised.
    pub worst: Gravity,
    pub count: u32,
    /// The first few, at most [`Alert::SUBJECTS`].
    pub subjects: Vec<String>,
    pub words: String,
    pub advice: String,
    pub labels: BTreeMap<String, BTreeSet<String>>,
    pub first_at: Timestamp,
    /// Since when it is worth telling: it outlasted its grace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raised_at: Option<Timestamp>,
    /// Since when it weighs less than people know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eased_at: Option<Timestamp>,
    /// Since when it is not seen any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_at: Option<Timestamp>,
    /// Since when it counts as over; kept until every channel knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// All its subjects were acknowledged.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silenced: bool,
    pub told: BTreeMap<ChannelId, Told>,
}

/// What a channel knows of an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Told {
    pub at: Timestamp,
    pub gravity: Gravity,
    pub count: u32,
    /// That it is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
}

/// How a channel does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Note {
    /// In a row.
    pub failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// Messages of the last day, oldest first, at most [`Note::MESSAGES_A_DAY`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Sent>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Sent {
    pub at: Timestamp,
    pub kind: SentKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SentKind {
    Page,
    Other,
    Digest,
}

/// How patiently facts are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// They are looked at again soon: what comes and goes is not told.
    Watching,
    /// By a timer, and next time may be tomorrow: what is so at the end of a run is so.
    Once,
}

/// Something to send now, and which causes it tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub message: Message,
    pub causes: Vec<String>,
}

impl Alert {
    /// Subjects that are named one by one.
    pub const SUBJECTS: usize = 5;
    /// Different values of one label that are passed on.
    const LABEL_VALUES: usize = 8;
}

impl Note {
    /// Messages about something that is or was a page, one by one, in any 24 hours.
    pub const PAGES_A_DAY: usize = 30;
    /// Other messages, one by one.
    pub const OTHERS_A_DAY: usize = 30;
    /// Messages that tell of several alerts at once, as there were too many.
    pub const DIGESTS_A_DAY: usize = 24;
    /// All of them.
    pub const MESSAGES_A_DAY: usize = Self::PAGES_A_DAY + Self::OTHERS_A_DAY + Self::DIGESTS_A_DAY;

    fn room(&self, kind: SentKind, now: Timestamp) -> usize {
        let most = match kind {
            SentKind::Page => Self::PAGES_A_DAY,
            SentKind::Other => Self::OTHERS_A_DAY,
            SentKind::Digest => Self::DIGESTS_A_DAY,
        };
        most.saturating_sub(self.recent(now).filter(|sent| sent.kind == kind).count())
    }

    fn recent(&self, now: Timestamp) -> impl Iterator<Item = &Sent> {
        // What a clock that was put back since calls tomorrow counts too.
        self.sent.iter().filter(move |sent| now.since(sent.at) < Span::DAY)
    }

    /// When a digest may go out.
    fn digest_from(&self, now: Timestamp) -> Timestamp {
        let last = self.sent.iter().rev().find(|sent| sent.kind == SentKind::Digest);
        let first = self.recent(now).filter(|sent| sent.kind == SentKind::Digest).map(|sent| sent.at).min();
        let spaced = last.map_or(now, |last| (last.at + DIGEST_EVERY).min(now + DIGEST_EVERY));
        match first {
            Some(first) if self.room(SentKind::Digest, now) == 0 => spaced.max(first + Span::DAY),
            _ => spaced,
        }
    }
}

/// A cause must be away for so long before it is over.
const GONE_FOR: Span = Span::minutes(5);
/// What weighs less must do so for this long before weighing more again is news.
const EASED_FOR: Span = Span::HOUR;
/// More subjects of one cause are told at most this often, and when they have doubled.
const GROWN_EVERY: Span = Span::HOUR;
/// What stands is told again: a page daily, a ticket weekly, a notice never.
const PAGE_AGAIN: Span = Span::DAY;
const TICKET_AGAIN: Span = Span::days(7);
/// Least time between two digests.
const DIGEST_EVERY: Span = Span::HOUR;
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

fn channel_cause(id: &ChannelId) -> String {
    format!("channel/{id}")
}

/// What a channel is sent to see whether it works.
pub fn test_message(channel: &ChannelId, host: &str, now: Timestamp) -> Message {
    Message {
        version: 1,
        occasion: Occasion::Test,
        gravity: Gravity::Notice,
        key: format!("nolapse/{host}/test"),
        host: host.to_owned(),
        code: "test".into(),
        title: format!("[TEST] nolapse on {host} reaches {channel}"),
        text: "This is a test, and nothing is wrong.".into(),
        count: 0,
        subjects: Vec::new(),
        advice: String::new(),
        labels: BTreeMap::new(),
        since: now,
        at: now,
        // Over as soon as it is there, so that nobody has to close it.
        ended_at: Some(now),
        again_at: now,
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

impl Alert {
    fn budding(group: &[&Concern], now: Timestamp) -> Self {
        let gravity = group.iter().map(|concern| concern.gravity).min().unwrap_or(Gravity::Notice);
        Self {
            code: String::new(),
            gravity,
            worst: gravity,
            count: 0,
            subjects: Vec::new(),
            words: String::new(),
            advice: String::new(),
            labels: BTreeMap::new(),
            first_at: now,
            raised_at: None,
            eased_at: None,
            gone_at: None,
            ended_at: None,
            silenced: false,
            told: BTreeMap::new(),
        }
    }

    /// Its cause is there now.
    fn see(&mut self, group: &[&Concern], acks: &Acks, now: Timestamp, patience: Patience) {
        if self.ended_at.take().is_some() {
            // Back before everybody heard that it was over: those who did are told anew.
            self.told.retain(|_, told| !told.over);
            self.first_at = now;
        }
        self.gone_at = None;
        let heard: Vec<_> =
            group.iter().copied().filter(|concern| acks.of(&concern.subject, now).is_none()).collect();
        self.silenced = heard.is_empty();
        let mut shown = if self.silenced { group.to_vec() } else { heard };
        let ripe = |concern: &Concern| {
            patience == Patience::Once || now.since(self.first_at.min(concern.since)) >= concern.grace
        };
        let any_ripe = shown.iter().any(|concern| ripe(concern));
        if any_ripe {
            shown.retain(|concern| ripe(concern));
        }
        shown.sort_by(|a, b| b.gravity.cmp(&a.gravity).then_with(|| a.subject.cmp(&b.subject)));
        let Some(gravest) = shown.first() else { return };
        let mut subjects: Vec<&str> = shown.iter().map(|concern| concern.subject.as_str()).collect();
        let mut known = BTreeSet::new();
        subjects.retain(|subject| known.insert(*subject));
        self.count = u32::try_from(subjects.len()).unwrap_or(u32::MAX);
        self.subjects = subjects.iter().take(Self::SUBJECTS).map(|subject| (*subject).to_owned()).collect();
        self.code.clone_from(&gravest.code);
        self.words.clone_from(&gravest.words);
        self.advice.clone_from(&gravest.advice);
        self.gravity = gravest.gravity;
        self.labels = united(&shown);
        if any_ripe && !self.silenced {
            self.raised_at.get_or_insert(now);
        }
        if self.raised_at.is_some() {
            self.worst = self.worst.max(self.gravity);
        } else {
            self.worst = self.gravity;
        }
        self.ease(now);
    }

    /// Weighing less for a moment changes nothing that people know.
    fn ease(&mut self, now: Timestamp) {
        if self.told.values().all(|told| told.gravity <= self.gravity) {
            self.eased_at = None;
            return;
        }
        if now.since(*self.eased_at.get_or_insert(now)) >= EASED_FOR {
            let gravity = self.gravity;
            self.told.values_mut().for_each(|told| told.gravity = told.gravity.min(gravity));
            self.eased_at = None;
        }
    }

    /// Its cause is not there. False: forget it.
    fn miss(&mut self, now: Timestamp, patience: Patience) -> bool {
        if self.raised_at.is_none() {
            return false;
        }
        if self.ended_at.is_some() {
            return true;
        }
        let gone = *self.gone_at.get_or_insert(now);
        if patience == Patience::Once || now.since(gone) >= GONE_FOR {
            self.ended_at = Some(now);
            self.eased_at = None;
        }
        true
    }

    /// What it weighs for bounds and order: what is over as much as it did.
    fn weight(&self) -> Gravity {
        if self.ended_at.is_some() { self.worst } else { self.gravity }
    }

    fn again(&self) -> Span {
        match self.gravity {
            Gravity::Page => PAGE_AGAIN,
            Gravity::Ticket => TICKET_AGAIN,
            Gravity::Notice => Span::MAX,
        }
    }

    fn concerns(&self, cause: &str, channel: &ChannelSpec) -> bool {
        // Nobody is told by a channel that this very channel fails.
        let own = cause == channel_cause(&channel.id);
        let bears =
            |key: &str, value: &str| self.labels.get(key).is_some_and(|values| values.contains(value));
        !own && channel.labels.iter().all(|(key, value)| bears(key, value))
    }

    /// Whether the channel has not heard the news, reminders aside.
    fn owes(&self, cause: &str, channel: &ChannelSpec) -> Option<Occasion> {
        self.raised_at?;
        let told = self.told.get(&channel.id);
        if self.ended_at.is_some() {
            return match told {
                // It was raised, and is told of although it is over: the channel may have failed.
                None if self.worst >= channel.least && self.concerns(cause, channel) => {
                    Some(Occasion::Recovered)
                }
                Some(told) if !told.over => Some(Occasion::Recovered),
                _ => None,
            };
        }
        if self.silenced || self.gravity < channel.least || !self.concerns(cause, channel) {
            return None;
        }
        match told {
            None => Some(Occasion::Raised),
            Some(told) if self.gravity > told.gravity => Some(Occasion::Escalated),
            Some(_) => None,
        }
    }

    fn owes_at(&self, cause: &str, channel: &ChannelSpec, now: Timestamp) -> Option<Occasion> {
        if let Some(news) = self.owes(cause, channel) {
            return Some(news);
        }
        let told = self.told.get(&channel.id)?;
        let stands = self.ended_at.is_none() && self.gone_at.is_none() && !self.silenced;
        if !stands || self.gravity < channel.least || !self.concerns(cause, channel) {
            return None;
        }
        let passed = now.since(told.at);
        if self.count >= told.count.saturating_mul(2) && self.count > told.count && passed >= GROWN_EVERY {
            return Some(Occasion::Grown);
        }
        (passed >= self.again()).then_some(Occasion::Reminder)
    }

    /// `shop.example.com: 9 d left.` or `300 subjects, first a.example: …`
    fn headline(&self) -> String {
        let first = self.subjects.first().map_or("", String::as_str);
        if self.count <= 1 {
            return format!("{first}: {}", self.words);
        }
        format!("{first} and {} more: {}", self.count - 1, self.words)
    }

    fn message(&self, cause: &str, occasion: Occasion, host: &str, now: Timestamp) -> Message {
        let headline = self.headline();
        let over = self.ended_at.is_some();
        let untold = if over && self.told.is_empty() { "\nIt could not be told before." } else { "" };
        let word = if over { "RECOVERED".to_owned() } else { self.gravity.word().to_uppercase() };
        let named = self.subjects.join(", ");
        let more = usize::try_from(self.count).unwrap_or(usize::MAX).saturating_sub(self.subjects.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let do_this =
            if over || self.advice.is_empty() { String::new() } else { format!("\nDo: {}", self.advice) };
        Message {
            version: 1,
            occasion,
            gravity: self.weight(),
            key: format!("nolapse/{host}/{cause}"),
            host: host.to_owned(),
            code: self.code.clone(),
            title: plain(&format!("[{word}] {headline}"), TITLE_MAX),
            text: format!("{}\nConcerns: {named}{more}{do_this}{untold}", self.words),
            count: self.count,
            subjects: self.subjects.clone(),
            advice: self.advice.clone(),
            labels: self
                .labels
                .iter()
                .map(|(key, values)| {
                    (key.clone(), values.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
                })
                .collect(),
            since: self.raised_at.unwrap_or(self.first_at),
            at: now,
            ended_at: self.ended_at,
            again_at: now + self.again().min(TICKET_AGAIN),
        }
    }
}

/// Longest title, in characters.
const TITLE_MAX: usize = 160;

/// Labels of all, each with its different values.
fn united(concerns: &[&Concern]) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, value) in concerns.iter().flat_map(|concern| concern.labels.iter()) {
        if all.len() < Labels::MOST || all.contains_key(key) {
            let values = all.entry(key.to_owned()).or_default();
            if values.len() < Alert::LABEL_VALUES {
                values.insert(value.to_owned());
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
