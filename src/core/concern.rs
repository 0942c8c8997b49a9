//! What somebody should be told, derived from facts at one moment: the same facts are the same
//! concerns, whoever counts them and however often.

use super::census::{Census, Row, Standing};
use super::failure::{Backoff, plain};
use super::gravity::Gravity;
use super::labels::Labels;
use super::name::{LineageId, WatchId};
use super::plight::{Failing, Misserved, Plight, short_from};
use super::record::Sight;
use super::time::{Interval, Span, Timestamp};

/// One thing that is wrong with one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concern {
    /// A certificate, `watch/NAME PLACE`, `channel/NAME` or `agent`.
    pub subject: String,
    /// Stable and kebab-case.
    pub code: String,
    /// What has one cause is one alert: `renewal/letsencrypt/ca-down`.
    pub cause: String,
    pub gravity: Gravity,
    /// How long it must last before anybody is told.
    pub grace: Span,
    /// Since when it is known to last.
    pub since: Timestamp,
    /// Safe to print.
    pub words: String,
    pub advice: String,
    pub labels: Labels,
}

/// All concerns at one moment, and when there could be others although nothing happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concerns {
    pub all: Vec<Concern>,
    pub next_at: Option<Timestamp>,
}

impl Concern {
    /// Longest words, in characters.
    pub const WORDS_MAX: usize = 400;
    /// What an operator is told to look at where it is the agent itself.
    pub const AGENT: &str = "agent";

    /// One of the agent itself; its cause is its code.
    pub fn own(code: &str, gravity: Gravity, words: &str, advice: &str, since: Timestamp) -> Self {
        Self {
            subject: Self::AGENT.to_owned(),
            code: code.to_owned(),
            cause: format!("agent/{code}"),
            gravity,
            grace: Span::ZERO,
            since,
            words: plain(words, Self::WORDS_MAX),
            advice: advice.to_owned(),
            labels: Labels::default(),
        }
    }
}

/// A renewal that fails and may heal is somebody's work after this time, at most; see [`owed_for`].
const FAILING_GRACE: Span = Span::DAY;
/// And one that can't heal by itself after this.
const STUCK_GRACE: Span = Span::HOUR;
/// Hooks and endpoints may be owed for so long after a deployment.
const OWED_GRACE: Span = Span::minutes(30);
/// An endpoint may serve something wrong for so long: servers are restarted.
const WRONG_GRACE: Span = Span::minutes(10);
/// A new certificate, or one with a new name, may take so long to come.
const FIRST_GRACE: Span = Span::HOUR;
/// What is watched may be away, or be rotated by somebody else, for so long.
const WATCH_GRACE: Span = Span::minutes(5);
/// What only time brings about does not go away by itself.
const LASTING: [&str; 4] = ["expired", "ends-soon", "weak-key", "weak-signature"];
/// With fewer tries left somebody is woken.
const TRIES_LEAST: u32 = 3;

impl Concerns {
    /// Of what was counted. `labels` are those of a certificate, `watch_labels` those of a watch.
    pub fn of<'l>(
        census: &Census,
        labels: impl Fn(&LineageId) -> Option<&'l Labels>,
        watch_labels: impl Fn(&WatchId) -> Option<&'l Labels>,
        now: Timestamp,
    ) -> Self {
        let mut found = Self::default();
        for row in &census.rows {
            let at = found.all.len();
            found.judge(row, now);
            if found.all.len() > at
                && let Some(labels) = labels(&row.lineage)
            {
                found.all[at..].iter_mut().for_each(|concern| concern.labels = labels.clone());
            }
        }
        for watched in &census.watched {
            for blemish in &watched.blemishes {
                found.all.push(Concern {
                    subject: format!("watch/{} {}", watched.watch, watched.place),
                    code: blemish.code.to_owned(),
                    cause: format!("watch/{}/{}", watched.watch, blemish.code),
                    gravity: blemish.gravity,
                    grace: if LASTING.contains(&blemish.code) { Span::ZERO } else { WATCH_GRACE },
                    since: census.at,
                    words: plain(&blemish.words, Concern::WORDS_MAX),
                    advice: blemish.advice.clone(),
                    labels: watch_labels(&watched.watch).cloned().unwrap_or_default(),
                });
            }
        }
        found
    }

    fn at_latest(&mut self, at: Timestamp, now: Timestamp) {
        if at > now && self.next_at.is_none_or(|next| at < next) {
            self.next_at = Some(at);
        }
    }

    fn judge(&mut self, row: &Row, now: Timestamp) {
        if row.standing == Standing::Retired {
            return;
        }
        for end in row.not_after.iter().chain(&row.served_until) {
            self.at_latest(*end, now);
        }
        let begun = self.all.len();
        self.renewal(row, now);
        if let Some(plight) = &row.plight {
            self.deployment(row, plight, now);
            if plight.paused_until.is_some() {
                // Somebody said so; only what clients will see is more than a note.
                let calm = |concern: &&mut Concern| !EXPIRY.contains(&concern.code.as_str());
                self.all[begun..]
                    .iter_mut()
                    .filter(calm)
                    .for_each(|concern| concern.gravity = Gravity::Notice);
            }
        }
        // Of what an endpoint serves, where the endpoint itself was not judged.
        let told = self.all[begun..].iter().any(|concern| concern.gravity == Gravity::Page);
        if let Some(end) = row.served_until.filter(|end| *end <= now && !told) {
            self.push(row, "served-expired", "served-expired".into(), Gravity::Page, |concern| {
                concern.words = format!("an endpoint serves a certificate that expired {}", end.brief());
                concern.advice = format!("nolapse explain {}", row.lineage);
                concern.since = end;
            });
        }
    }

    fn push(
        &mut self,
        row: &Row,
        code: &str,
        cause: String,
        gravity: Gravity,
        fill: impl FnOnce(&mut Concern),
    ) {
        let mut concern = Concern {
            subject: row.lineage.to_string(),
            code: code.to_owned(),
            cause,
            gravity,
            grace: Span::ZERO,
            since: Timestamp::MAX,
            words: String::new(),
            advice: String::new(),
            labels: Labels::default(),
        };
        fill(&mut concern);
        concern.words = plain(&concern.words, Concern::WORDS_MAX);
        self.all.push(concern);
    }

    /// One concern about the certificate itself: that it ended, will soon, or is not renewed.
    fn renewal(&mut self, row: &Row, now: Timestamp) {
        let plight = row.plight.as_deref();
        let failing = plight.and_then(|plight| plight.failing.as_ref());
        let life = plight.and_then(|plight| plight.life);
        let lifetime = life.map_or(Span::ZERO, Interval::length);
        let short_from = plight.and_then(Plight::short_from);
        if let Some(from) = short_from {
            self.at_latest(from, now);
        }
        let usable = row.usable(now) && row.standing != Standing::Placeholder;
        let expired = row.not_after.filter(|end| *end <= now && row.standing != Standing::Placeholder);
        let short = short_from.is_some_and(|from| from <= now);
        let last_tries = failing
            .zip(life)
            .map(|(failing, life)| failing.tries_before(life.end, lifetime, TRIES_LEAST))
            .filter(|tries| *tries < TRIES_LEAST);
        let cause = |code: &str| {
            failing.map_or_else(
                || format!("{code}/{}", row.issuer.as_ref().map_or("no-issuer", |issuer| issuer.as_str())),
                |failing| format!("renewal/{}/{}", failing.issuer, failing.code),
            )
        };
        let why = failing.map(|failing| format!(" Renewal fails: {}", said(failing))).unwrap_or_default();
        let paused = plight.and_then(|plight| plight.paused_until);
        let why = paused.map_or(why.clone(), |until| format!("{why} It is paused until {}.", until.brief()));
        let explain = format!("nolapse explain {}", row.lineage);
        let left = |at: Timestamp| at.since(now);
        if let Some(end) = expired {
            self.push(row, "expired", cause("expired"), Gravity::Page, |concern| {
                concern.words = format!("the installed certificate expired {}.{why}", end.brief());
                concern.advice = explain;
                concern.since = end;
            });
        } else if let (true, Some(life)) = (short, life) {
            self.push(row, "little-life-left", cause("renewal-late"), Gravity::Page, |concern| {
                concern.words =
                    format!("{} left of a life of {lifetime}, and it was not renewed.{why}", left(life.end));
                concern.advice = explain;
                concern.since = short_from.unwrap_or(now);
            });
        } else if let (Some(tries), Some(life), Some(failing)) = (last_tries, life, failing) {
            self.push(row, "few-tries-left", cause("renewal"), Gravity::Page, |concern| {
                let tries = if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") };
                concern.words = format!("{tries} left before it ends in {}.{why}", left(life.end));
                concern.advice = explain;
                concern.since = failing.since;
            });
        } else if let Some(failing) = failing {
            let grace = owed_for(if failing.stuck { STUCK_GRACE } else { FAILING_GRACE }, lifetime);
            let grave_at = failing.since + if usable { grace } else { grace.min(FIRST_GRACE) };
            self.at_latest(grave_at, now);
            let gravity = if grave_at <= now { Gravity::Ticket } else { Gravity::Notice };
            self.push(row, "renewal-failing", cause("renewal"), gravity, |concern| {
                let state = match (usable, life) {
                    (true, Some(life)) => format!("{} left.", left(life.end)),
                    _ => "There is no usable certificate.".to_owned(),
                };
                concern.words = format!("{state}{why}");
                concern.advice = explain;
                concern.since = failing.since;
            });
        } else if !usable {
            self.push(row, "not-installed", cause("not-installed"), Gravity::Ticket, |concern| {
                let placeholder = row.standing == Standing::Placeholder;
                let what =
                    if placeholder { "a self-signed placeholder is" } else { "no usable certificate is" };
                concern.words = format!("{what} installed.{why}");
                concern.advice = explain;
                concern.grace = FIRST_GRACE;
            });
        }
    }

    /// What servers and hooks owe, and names that clients ask for in vain.
    fn deployment(&mut self, row: &Row, plight: &Plight, now: Timestamp) {
        let lifetime = plight.life.map_or(Span::ZERO, Interval::length);
        let grace = owed_for(OWED_GRACE, lifetime);
        if !plight.missing.is_empty() && row.usable(now) {
            let missing: Vec<_> = plight.missing.iter().map(ToString::to_string).collect();
            self.push(row, "names-missing", "names-missing".into(), Gravity::Ticket, |concern| {
                concern.words = format!("the certificate lacks {}", missing.join(", "));
                concern.advice = format!("nolapse explain {}", row.lineage);
                concern.grace = owed_for(FIRST_GRACE, lifetime);
            });
        }
        // Where nothing usable is shown at all, that was said.
        if plight.install_owed && row.usable(now) {
            self.push(row, "install-owed", "install-owed".into(), Gravity::Ticket, |concern| {
                concern.words =
                    "a certificate was issued, and the files of servers are not written yet".into();
                concern.advice = format!("nolapse deploy {}", row.lineage);
                concern.grace = grace;
            });
        }
        for hook in &plight.hooks {
            self.push(row, "deploy-owed", format!("deploy/{hook}"), Gravity::Ticket, |concern| {
                concern.words = format!("{hook} was not told about the installed certificate");
                concern.advice = format!("nolapse deploy {}", row.lineage);
                concern.grace = grace;
                concern.since = plight.owed_since.unwrap_or(Timestamp::MAX);
            });
        }
        for place in &plight.places {
            self.misserved(row, place, grace, now);
        }
        if let Some(words) = &plight.rolled_back {
            self.push(row, "rolled-back", "rolled-back".into(), Gravity::Ticket, |concern| {
                concern.words = format!("the new certificate was taken back: {words}");
                concern.advice = format!("nolapse explain {}", row.lineage);
            });
        }
    }

    fn misserved(&mut self, row: &Row, place: &Misserved, grace: Span, now: Timestamp) {
        let short = place.life.map(short_from);
        let ended = place.life.is_some_and(|life| life.end <= now);
        if let Some(at) = short {
            self.at_latest(at, now);
        }
        let (code, gravity) = if ended {
            ("served-expired", Gravity::Page)
        } else if short.is_some_and(|at| at <= now) {
            ("served-ends-soon", Gravity::Page)
        } else if place.sight == Sight::Wrong {
            ("served-wrong", Gravity::Page)
        } else if place.sight == Sight::Unreachable {
            ("endpoint-unreachable", Gravity::Ticket)
        } else {
            ("served-other", Gravity::Ticket)
        };
        self.push(row, code, format!("served/{}", place.place), gravity, |concern| {
            let end = place.life.map(|life| format!(", until {}", life.end.brief())).unwrap_or_default();
            concern.words = format!("{} shows: {}{end}", place.place, place.words);
            concern.advice.clone_from(&place.step);
            concern.grace = if gravity == Gravity::Page { WRONG_GRACE.min(grace) } else { grace };
        });
    }
}

/// Codes that weigh what they weigh even while a certificate is paused.
const EXPIRY: [&str; 4] = ["expired", "little-life-left", "served-expired", "served-ends-soon"];

/// How long something may be owed by a certificate with this lifetime: not more than a fortieth of
/// it, which is a day for forty days and four hours for a week.
fn owed_for(usual: Span, lifetime: Span) -> Span {
    if lifetime.is_positive() { usual.min(lifetime.over(40)).max(Backoff::FLOOR) } else { usual }
}

fn said(failing: &Failing) -> String {
    format!(
        "{} [{}], fault: {}, {} {} since {}.",
        failing.words.trim_end_matches('.'),
        failing.code,
        failing.fault,
        failing.count,
        if failing.count == 1 { "try" } else { "tries" },
        failing.since.brief()
    )
}

#[cfg(test)]
mod tests;
