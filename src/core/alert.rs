//! What people were told, and what they are still to be told: concerns grouped by cause, each
//! channel's knowledge of them, and the difference between the two. Nothing is queued: what a
//! channel owes follows from what it has not been told, so a channel that fails for a week loses
//! nothing, and no list grows meanwhile.

mod ledger;
mod note;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ack::Acks;
use super::channel::{ChannelSpec, Message, Occasion};
use super::concern::Concern;
use super::failure::plain;
use super::gravity::Gravity;
use super::labels::Labels;
use super::name::ChannelId;
use super::time::{Span, Timestamp};

pub use ledger::{Due, Ledger};
pub use note::{Note, Sent, SentKind};

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

/// How patiently facts are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// They are looked at again soon: what comes and goes is not told.
    Watching,
    /// By a timer, and next time may be tomorrow: what is so at the end of a run is so.
    Once,
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
/// Longest title, in characters.
const TITLE_MAX: usize = 160;

impl Alert {
    /// Subjects that are named one by one.
    pub const SUBJECTS: usize = 5;
    /// Different values of one label that are passed on.
    const LABEL_VALUES: usize = 8;

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
