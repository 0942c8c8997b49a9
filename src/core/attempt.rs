//! One try to get a certificate, as a state machine. [`step`] is the only place that knows the
//! order of ACME's moves. It never sleeps, asks or stores: it says what to do next, and the
//! shell stores the attempt before it does that.

use serde::{Deserialize, Serialize};

use super::failure::{Class, Failure, Fault, plain};
use super::leaf::Fingerprint;
use super::name::{IssuerId, SolverId, SubjectName};
use super::order::{
    AuthorizationStatus, AuthorizationView, ChallengeStatus, ChallengeTask, ChallengeView, Offer,
    OrderRequest, OrderStatus, OrderView, Problem,
};
use super::record::{ChallengeKind, Miss, Receipt};
use super::spec::{KeyKind, Profile};
use super::time::{Span, Timestamp};

/// A try in progress. All of it survives a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Attempt {
    pub started: Timestamp,
    /// Past it the order is abandoned.
    pub deadline: Timestamp,
    pub issuer: IssuerId,
    pub names: Vec<SubjectName>,
    #[serde(default)]
    pub profile: Option<Profile>,
    pub key_kind: KeyKind,
    /// Where the key lies in the store.
    pub key: Fingerprint,
    #[serde(default)]
    pub replaces: Option<String>,
    pub phase: Phase,
    #[serde(default)]
    pub order: Option<String>,
    #[serde(default)]
    pub receipts: Vec<Receipt>,
    /// Not worth a disk write of its own; a resumed attempt gets a fresh one.
    #[serde(skip)]
    pub sitting: Sitting,
}

/// What one process knows of the attempt that it works on and a restart may forget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sitting {
    /// Looks at the order since something changed.
    polls: u32,
    /// When polling began.
    waiting_since: Option<Timestamp>,
    /// The CSR was sent and taken; an order that still says `ready` is just slow to tell.
    finalized: bool,
    /// Finalizations that the CA found too early.
    too_early: u32,
    /// Why the CA declared the order invalid, while its authorizations are asked which name it was.
    invalid: Option<Failure>,
    /// Which name a solver failed for last, while another solver is looked for.
    unsolved: Option<(SubjectName, Failure)>,
    /// What was seen from here of answers that were not seen as they should be.
    unseen: Vec<(SubjectName, String)>,
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The key is stored; nothing went outward.
    Prepared,
    /// The CA has the order and we have its URL.
    Ordered,
    /// Receipts are stored; answers may stand.
    Presented,
    /// The CA was told.
    Validating,
    /// The CSR was sent.
    Finalizing,
    /// The CA says the certificate is there.
    Issued,
}

/// What the shell saw.
#[derive(Clone, Debug)]
pub enum Observation {
    /// The attempt is picked up, new or after a restart.
    Started,
    Order(OrderView),
    Authorizations {
        views: Vec<AuthorizationView>,
        offers: Vec<Offer>,
        /// Solvers that failed lately, this attempt's included.
        misses: Vec<Miss>,
    },
    /// What solvers will need to undo the tasks.
    Reserved {
        tasks: Vec<ChallengeTask>,
        receipts: Vec<Receipt>,
    },
    Presented(Vec<ChallengeTask>),
    /// A solver failed for one name, and another one could do.
    Unsolved {
        name: SubjectName,
        solver: SolverId,
        failure: Failure,
    },
    /// Answers were looked for from here; advice only, a network may hide them from us alone. What was
    /// not seen, and how, is kept for the words about a CA that did not see it either.
    Confirmed {
        tasks: Vec<ChallengeTask>,
        unseen: Vec<(SubjectName, String)>,
    },
    Told,
    Waited,
    Failed(Failure),
}

/// What the core asks for. One at a time.
#[derive(Clone, Debug)]
pub enum Action {
    Order(OrderRequest),
    View,
    Authorizations,
    /// Ask the solvers for receipts.
    Reserve(Vec<ChallengeTask>),
    Present(Vec<ChallengeTask>),
    Confirm(Vec<ChallengeTask>),
    Tell(Vec<ChallengeTask>),
    Wait(Timestamp),
    Finalize,
    Download,
    /// Stop for now and keep the attempt: the order is alive.
    Park(Failure),
    /// The attempt is over; receipts become debts.
    GiveUp(Failure),
}

impl Attempt {
    /// Longest an attempt lives, under the eight hours that the shortest-lived orders of a
    /// public CA live.
    pub const LIFE: Span = Span::hours(6);
    /// Shortest, where lifetimes are minutes.
    pub const LIFE_LEAST: Span = Span::minutes(2);
    /// Longest time spent polling before the attempt is parked and looked at by backoff.
    pub const SITTING: Span = Span::minutes(10);
    /// First wait before a look; doubles up to [`Attempt::POLL_MOST`].
    pub const POLL_FIRST: Span = Span::from_millis(5);
    pub const POLL_MOST: Span = Span::secs(5);
    /// Every so many looks at a pending order its authorizations are read too: some CAs leave
    /// the order pending after a failed challenge.
    const LOOK_CLOSER: u32 = 12;
    /// Finalizations in one sitting that the CA may find too early before the attempt is parked.
    const TOO_EARLY_MOST: u32 = 3;

    fn request(&self) -> OrderRequest {
        OrderRequest {
            names: self.names.clone(),
            profile: self.profile.clone(),
            replaces: self.replaces.clone(),
        }
    }

    fn advance(&mut self, phase: Phase) {
        // Only a step forward makes the next look come soon: a CA that goes in circles is asked
        // more and more slowly.
        if phase > self.phase {
            self.phase = phase;
            self.sitting.polls = 0;
        }
    }

    fn wait(mut self, wish: Option<Span>, now: Timestamp) -> (Self, Action) {
        let since = *self.sitting.waiting_since.get_or_insert(now);
        if now.since(since) > Self::SITTING {
            self.sitting = Sitting::default();
            let failure = Failure::transient(
                Fault::Ca,
                "ca-slow",
                format!(
                    "the CA is still working on the order after {}; it is kept and asked about later",
                    now.since(since)
                ),
            );
            return (self, Action::Park(failure));
        }
        let doubled = Self::POLL_FIRST.times(1 << self.sitting.polls.min(20)).min(Self::POLL_MOST);
        let left = self.deadline.since(now);
        let span = match wish {
            // One wait never takes more than a tenth of what is left (acme.sh #6221: a CA said
            // 86400), nor is a second too long to ask of us.
            Some(wish) => wish.between(Span::secs(1), left.over(10).max(Span::secs(1))),
            None => doubled,
        };
        self.sitting.polls = self.sitting.polls.saturating_add(1);
        (self, Action::Wait(now + span))
    }
}

/// The next move. The returned attempt is stored, where it changed, before the action is done.
pub fn step(mut attempt: Attempt, seen: Observation, now: Timestamp) -> (Attempt, Action) {
    // A certificate that is there is taken, however late.
    let there = matches!(&seen, Observation::Order(view) if view.status == OrderStatus::Valid);
    if now >= attempt.deadline && !there && !matches!(seen, Observation::Failed(_)) {
        let failure = Failure::transient(
            Fault::Ca,
            "attempt-expired",
            "the order was not finished in time and is abandoned; a new one follows",
        );
        return (attempt, Action::GiveUp(failure));
    }
    match seen {
        Observation::Started => {
            attempt.sitting = Sitting::default();
            match attempt.order {
                None => {
                    let request = attempt.request();
                    (attempt, Action::Order(request))
                }
                Some(_) => (attempt, Action::View),
            }
        }
        Observation::Order(view) => on_order(attempt, view, now),
        Observation::Authorizations { views, offers, misses } => {
            on_authorizations(attempt, &views, &Choice { offers: &offers, misses: &misses }, now)
        }
        Observation::Unsolved { name, failure, .. } => {
            attempt.sitting.unsolved = Some((name, failure));
            (attempt, Action::Authorizations)
        }
        Observation::Reserved { tasks, receipts } => {
            for receipt in receipts {
                if !attempt.receipts.contains(&receipt) {
                    attempt.receipts.push(receipt);
                }
            }
            attempt.advance(Phase::Presented);
            (attempt, Action::Present(tasks))
        }
        Observation::Presented(tasks) => (attempt, Action::Confirm(tasks)),
        Observation::Confirmed { tasks, unseen } => {
            attempt.sitting.unseen = unseen;
            attempt.advance(Phase::Validating);
            (attempt, Action::Tell(tasks))
        }
        Observation::Told => attempt.wait(None, now),
        Observation::Waited => (attempt, Action::View),
        Observation::Failed(failure) => {
            let failure = blaming_by_words(failure, &attempt.names);
            on_failure(attempt, failure, now)
        }
    }
}

fn on_order(mut attempt: Attempt, view: OrderView, now: Timestamp) -> (Attempt, Action) {
    if attempt.order.is_none() {
        attempt.order = Some(view.url);
        attempt.advance(Phase::Ordered);
    }
    match view.status {
        OrderStatus::Pending
            if attempt.phase < Phase::Validating || attempt.sitting.waiting_since.is_none() =>
        {
            (attempt, Action::Authorizations)
        }
        OrderStatus::Pending
            if attempt.sitting.polls > 0 && attempt.sitting.polls.is_multiple_of(Attempt::LOOK_CLOSER) =>
        {
            (attempt, Action::Authorizations)
        }
        OrderStatus::Pending => attempt.wait(view.retry_after, now),
        OrderStatus::Ready if attempt.sitting.finalized => attempt.wait(view.retry_after, now),
        OrderStatus::Ready => {
            attempt.advance(Phase::Finalizing);
            attempt.sitting.finalized = true;
            (attempt, Action::Finalize)
        }
        OrderStatus::Processing => {
            attempt.advance(Phase::Finalizing);
            attempt.wait(view.retry_after, now)
        }
        OrderStatus::Valid => {
            attempt.advance(Phase::Issued);
            (attempt, Action::Download)
        }
        OrderStatus::Invalid => {
            let failure = refusal(view.error.as_ref(), attempt.phase);
            // The order alone says enough when it failed at issuance.
            if view.error.is_some() && attempt.phase >= Phase::Finalizing {
                return (attempt, Action::GiveUp(failure));
            }
            // Else the authorizations know which name failed, and why.
            attempt.sitting.invalid = Some(failure);
            (attempt, Action::Authorizations)
        }
    }
}

fn on_authorizations(
    attempt: Attempt,
    views: &[AuthorizationView],
    choice: &Choice<'_>,
    now: Timestamp,
) -> (Attempt, Action) {
    let told = attempt.phase >= Phase::Validating && attempt.sitting.waiting_since.is_some();
    if let Some(failure) = views.iter().find_map(|view| unasked(&attempt.names, &view.name)) {
        return (attempt, Action::GiveUp(failure));
    }
    if let Some(failure) = blame(views, told).or_else(|| attempt.sitting.invalid.clone()) {
        let failure = with_sights(failure, &attempt.sitting.unseen);
        return (attempt, Action::GiveUp(failure));
    }
    let mut tasks = Vec::new();
    for view in views.iter().filter(|view| view.status == AuthorizationStatus::Pending) {
        // Told already, by us or before a restart: only waiting is left for this name.
        let answered = view.challenges.iter().any(|c| c.status != ChallengeStatus::Pending);
        if answered && told {
            continue;
        }
        let Some((task, missed)) = choice.of(view) else {
            // Every fitting challenge failed already, or none fits.
            let failure = blame(std::slice::from_ref(view), true).unwrap_or_else(|| unprovable(view));
            return (attempt, Action::GiveUp(failure));
        };
        // Every solver for this name has had its turn in this attempt.
        if let (Some(missed), Some((name, failure))) = (missed, &attempt.sitting.unsolved)
            && missed >= attempt.started
            && *name == view.name
        {
            let failure = failure.clone();
            return on_failure(attempt, failure, now);
        }
        tasks.push(task);
    }
    if tasks.is_empty() {
        // All proven (or told): the order turns ready by itself.
        return attempt.wait(None, now);
    }
    (attempt, Action::Reserve(tasks))
}

/// Nothing is proven but what was ordered: a name, or a domain above it (RFC 9444 §4).
fn unasked(ordered: &[SubjectName], wanted: &SubjectName) -> Option<Failure> {
    let above = |name: &SubjectName| match (name.base(), wanted.base()) {
        (Some(name), Some(wanted)) => {
            name.strip_suffix(wanted).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        }
        _ => name == wanted,
    };
    let words = format!("the CA wants proof for {wanted}, which was not ordered; the order is abandoned");
    (!ordered.iter().any(above)).then(|| Failure::transient(Fault::Ca, "ca-answer", words))
}

/// What tasks are chosen from.
struct Choice<'a> {
    offers: &'a [Offer],
    misses: &'a [Miss],
}

impl Choice<'_> {
    /// The challenge for one name: solvers in the configured order, save that those which failed for it
    /// lately come last, the longest ago first; kinds in the solver's order. Also says when the solver
    /// failed for it.
    fn of(&self, view: &AuthorizationView) -> Option<(ChallengeTask, Option<Timestamp>)> {
        let missed = |offer: &Offer| {
            let of_both = |miss: &&Miss| miss.solver == offer.solver && miss.name == view.name;
            self.misses.iter().find(of_both).map(|miss| miss.at)
        };
        let mut able: Vec<_> = self
            .offers
            .iter()
            .filter(|offer| offer.is_for(&view.name))
            .filter_map(|offer| Some((challenge(view, offer)?, missed(offer))))
            .collect();
        able.sort_by_key(|(_, missed)| *missed);
        able.into_iter().next()
    }
}

fn challenge(view: &AuthorizationView, offer: &Offer) -> Option<ChallengeTask> {
    offer.kinds.iter().find_map(|kind| {
        // RFC 8555 §8.4, RFC 8737 §3, RFC 8738 §7: a star is proven by DNS alone, an address never by DNS.
        let fits = match kind {
            ChallengeKind::Http01 | ChallengeKind::TlsAlpn01 => !view.name.is_wildcard(),
            _ => !matches!(view.name, SubjectName::Ip(_)),
        };
        let usable = |c: &&ChallengeView| {
            fits && c.kind == Some(*kind) && c.token.is_some() && c.status != ChallengeStatus::Invalid
        };
        let challenge = view.challenges.iter().find(usable)?;
        Some(ChallengeTask {
            solver: offer.solver.clone(),
            kind: *kind,
            name: view.name.clone(),
            token: challenge.token.clone()?,
            key_authorization: challenge.key_authorization.clone(),
            url: challenge.url.clone(),
        })
    })
}

/// CAs that refuse one name of several often say which in words alone.
fn blaming_by_words(failure: Failure, names: &[SubjectName]) -> Failure {
    if failure.code != "rejected-name" || failure.name.is_some() {
        return failure;
    }
    let said: Vec<_> = names.iter().filter(|name| says(&failure.words, &name.to_string())).cloned().collect();
    if said.len() == names.len() { failure } else { failure.blaming_all(said) }
}

/// Whether `text` has `name` as a word of its own, not as the end or the beginning of another name.
fn says(text: &str, name: &str) -> bool {
    let of_names = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        // A full stop ends sentences too.
        let after = text[at + name.len()..].trim_start_matches('.').chars().next();
        !before.is_some_and(of_names) && !after.is_some_and(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
    })
}

/// Adds to a CA's words what was seen from here before it looked.
fn with_sights(mut failure: Failure, unseen: &[(SubjectName, String)]) -> Failure {
    let seen = unseen.iter().find(|(name, _)| Some(name) == failure.name.as_ref());
    if let Some((_, words)) = seen {
        failure.words = plain(&format!("{}; from here: {words}", failure.words), Failure::WORDS_MAX);
    }
    failure
}

fn unprovable(view: &AuthorizationView) -> Failure {
    let mut offered: Vec<_> =
        view.challenges.iter().filter_map(|c| c.kind).map(ChallengeKind::word).collect();
    if offered.is_empty() {
        offered.push("nothing that this release knows");
    }
    let words = format!(
        "no configured solver can prove {}: the CA offers {}; add a solver for one of these",
        view.name,
        offered.join(", ")
    );
    Failure::refused(Fault::Config, "no-challenge", words).blaming(Some(view.name.clone()))
}

/// Why the CA declared an order invalid, where no name is to blame.
fn refusal(problem: Option<&Problem>, phase: Phase) -> Failure {
    match problem {
        Some(problem) if phase >= Phase::Finalizing => Failure::refused(
            Fault::Ca,
            &format!("order-{}", kebab(&problem.kind)),
            format!("the CA refused to issue: {}", problem.detail),
        ),
        Some(problem) => Failure::transient(
            Fault::Ca,
            &format!("order-{}", kebab(&problem.kind)),
            format!("the CA ended the order: {}", problem.detail),
        ),
        None => Failure::transient(
            Fault::Ca,
            "order-invalid",
            "the CA ended the order without saying why; a new one follows",
        ),
    }
}

/// The first name that can't become valid any more, with the CA's own words.
///
/// Some CAs leave the authorization pending when a challenge fails, a few even the challenge
/// (step-ca keeps it open with an error): once the CA was `told`, these failed too.
fn blame(views: &[AuthorizationView], told: bool) -> Option<Failure> {
    let failed = |c: &ChallengeView| c.status == ChallengeStatus::Invalid || c.error.is_some();
    let mut all_dead = views.iter().filter(|view| match view.status {
        AuthorizationStatus::Invalid | AuthorizationStatus::Dead => true,
        AuthorizationStatus::Pending => told && view.challenges.iter().any(failed),
        AuthorizationStatus::Valid => false,
    });
    let dead = all_dead.next()?;
    let problem = dead.challenges.iter().find_map(|c| c.error.as_ref());
    let mut failure = match problem {
        Some(problem) => Failure::new(
            match problem.kind.as_str() {
                "caa" | "rejectedIdentifier" | "unsupportedIdentifier" => Class::Refused,
                _ => Class::Transient,
            },
            match problem.kind.as_str() {
                "serverInternal" => Fault::Ca,
                "caa" | "rejectedIdentifier" | "unsupportedIdentifier" => Fault::Config,
                _ => Fault::Network,
            },
            &format!("challenge-{}", kebab(&problem.kind)),
            format!("the CA could not validate {}: {}", dead.name, problem.detail),
        ),
        None if dead.status != AuthorizationStatus::Dead => Failure::transient(
            Fault::Network,
            "challenge-failed",
            format!("the CA could not validate {} and did not say why", dead.name),
        ),
        None => Failure::transient(
            Fault::Ca,
            "authorization-dead",
            format!("the authorization of {} ended before the order did", dead.name),
        ),
    };
    failure.reached_validation = dead.status != AuthorizationStatus::Dead;
    let same =
        |view: &&AuthorizationView| (view.status == AuthorizationStatus::Dead) != failure.reached_validation;
    let others: Vec<_> = all_dead.filter(same).map(|view| &view.name).collect();
    if !others.is_empty() {
        let listed: Vec<_> = others.iter().map(ToString::to_string).collect();
        failure.words = plain(&format!("{}; nor {}", failure.words, listed.join(", ")), Failure::WORDS_MAX);
    }
    Some(failure.blaming_all(std::iter::once(&dead.name).chain(others).cloned()))
}

fn on_failure(mut attempt: Attempt, failure: Failure, now: Timestamp) -> (Attempt, Action) {
    match failure.code.as_str() {
        _ if now >= attempt.deadline => (attempt, Action::GiveUp(failure)),
        // RFC 9773 §5: a refused `replaces` is no reason not to renew; asked once without.
        "replaces-refused" if attempt.replaces.is_some() && attempt.order.is_none() => {
            attempt.replaces = None;
            let request = attempt.request();
            (attempt, Action::Order(request))
        }
        "profile-refused"
            if attempt.order.is_none() && attempt.profile.as_ref().is_some_and(|p| !p.required) =>
        {
            attempt.profile = None;
            let request = attempt.request();
            (attempt, Action::Order(request))
        }
        // The order is not what we thought (RFC 8555 §7.4: read it again).
        "order-not-ready" if attempt.sitting.too_early < Attempt::TOO_EARLY_MOST => {
            attempt.sitting.too_early += 1;
            attempt.sitting.finalized = false;
            attempt.wait(None, now)
        }
        "order-gone" => (attempt, Action::GiveUp(failure)),
        _ => match failure.class {
            // A passing trouble does not end a living order.
            Class::Transient | Class::Limited { .. } if attempt.order.is_some() => {
                (attempt, Action::Park(failure))
            }
            _ => (attempt, Action::GiveUp(failure)),
        },
    }
}

/// `incorrectResponse` as `incorrect-response`.
fn kebab(camel: &str) -> String {
    let mut out = String::with_capacity(camel.len() + 4);
    for c in camel.chars().filter(char::is_ascii_alphanumeric).take(40) {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests;
