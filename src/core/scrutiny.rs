//! What is wrong with certificates that are watched: facts in, [`Blemish`]es out.

use super::chain::{FlawKind, Member, View, flaws, way_up};
use super::diagnosis::Diagnosis;
use super::endpoint::Endpoint;
use super::gravity::Gravity;
use super::leaf::Leaf;
use super::name::{SubjectName, WatchId};
use super::silence::Silence;
use super::specimen::{Find, KeyFact, Obstacle, Specimen, Unread};
use super::time::{Span, Timestamp};
use super::watch::{Thresholds, WatchSpec};
use super::watched::{Blemish, Watched};

/// What is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Scrutiny<'a> {
    pub thresholds: Thresholds,
    /// Names that each certificate must be for.
    pub names: &'a [SubjectName],
    pub now: Timestamp,
}

/// What one handshake came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Glimpse {
    Seen(Box<Specimen>),
    Nothing {
        why: Silence,
        /// Safe to print.
        words: String,
    },
}

/// Codes of blemishes beside those of [`FlawKind`], [`Silence`] and [`Obstacle`].
pub const CODES: [&str; 12] = [
    "expired",
    "served-expired",
    "ends-soon",
    "not-yet-valid",
    "weak-key",
    "weak-signature",
    "key-mismatch",
    "key-unreadable",
    "served-not-on-disk",
    "served-untrusted",
    "watch-not-looked",
    "name-missing",
];

/// Looks without an answer in a row from which somebody should act.
const SILENT_FOR_LONG: u32 = 3;
/// Names shown of one certificate.
const NAMES_SHOWN: usize = 100;

impl<'a> Scrutiny<'a> {
    pub fn of(spec: &'a WatchSpec, now: Timestamp) -> Self {
        Self { thresholds: spec.thresholds, names: &spec.names, now }
    }

    /// Everything that is wrong with a certificate in a file, the gravest first.
    pub fn file(&self, specimen: &Specimen) -> Vec<Blemish> {
        let mut found = self.dates(specimen, None);
        key(specimen, &mut found);
        weakness(specimen, &mut found);
        let missing: Vec<_> = self.names.iter().filter(|name| !specimen.leaf.covers(name)).collect();
        if let Some(name) = missing.first() {
            let more = if missing.len() > 1 {
                format!(" nor for {} more", missing.len() - 1)
            } else {
                String::new()
            };
            found.push(blemish(
                "name-missing",
                Gravity::Ticket,
                format!("the certificate is not for {name}{more}"),
                "get one that is, or take the name out of the watch",
            ));
        }
        let view = View { now: self.now, asked: None, as_installed: false, unrooted: false };
        chain(specimen, &view, &mut found);
        sorted(found)
    }

    /// The same of a certificate that an endpoint serves.
    pub fn served(&self, endpoint: &Endpoint, specimen: &Specimen) -> Vec<Blemish> {
        let mut found = self.dates(specimen, Some(endpoint));
        weakness(specimen, &mut found);
        let asked = endpoint.asked();
        let unrooted = specimen.distrust.as_ref().is_some_and(|doubt| doubt.unrooted);
        let view = View { now: self.now, asked: asked.as_ref(), as_installed: false, unrooted };
        chain(specimen, &view, &mut found);
        // Dates, names and a missing link have blemishes of their own.
        if let Some(doubt) = &specimen.distrust
            && found.is_empty()
        {
            found.push(blemish(
                "served-untrusted",
                Gravity::Notice,
                format!("the roots of this system do not vouch for it: {}", doubt.words),
                "nothing, if its clients know its CA; else serve one that they know",
            ));
        }
        sorted(found)
    }

    fn dates(&self, specimen: &Specimen, served: Option<&Endpoint>) -> Vec<Blemish> {
        let leaf = &specimen.leaf;
        let mut found = Vec::new();
        let (left, life) = (leaf.left(self.now), leaf.lifetime());
        if !left.is_positive() {
            let code = if served.is_some() { "served-expired" } else { "expired" };
            let words = format!("it ended {}", leaf.not_after.brief());
            found.push(blemish(code, Gravity::Page, words, RENEW));
        } else if let Some(gravity) = self.near(left, life) {
            let words = format!("it ends {}, in {left}", leaf.not_after.brief());
            found.push(blemish("ends-soon", gravity, words, RENEW));
        }
        if leaf.not_before > self.now {
            let gravity = if served.is_some() { Gravity::Page } else { Gravity::Notice };
            let words = format!("it is valid from {} only", leaf.not_before.brief());
            found.push(blemish(
                "not-yet-valid",
                gravity,
                words,
                "wait, or put the one before it back; is the clock right?",
            ));
        }
        for member in above(&specimen.chain) {
            let (end, name) = (member.validity.end, short(&member.subject));
            let left = end.since(self.now);
            if !left.is_positive() {
                let words = format!("{name} in its chain ended {}", end.brief());
                found.push(blemish("chain-expired", Gravity::Page, words, FlawKind::ChainExpired.step()));
            } else if let Some(gravity) = self.near(left, member.validity.length()) {
                let words = format!("{name} in its chain ends {}, in {left}", end.brief());
                found.push(blemish("chain-ends-soon", gravity, words, FlawKind::ChainEndsSoon.step()));
            }
        }
        found
    }

    fn near(&self, left: Span, life: Span) -> Option<Gravity> {
        match () {
            () if left < self.thresholds.page_below(life) => Some(Gravity::Page),
            () if left < self.thresholds.ticket_below(life) => Some(Gravity::Ticket),
            () => None,
        }
    }
}

/// One place of a watch's files, judged.
pub fn judge_file(spec: &WatchSpec, find: &Find, now: Timestamp) -> Watched {
    match &find.found {
        Ok(specimen) => {
            let blemishes = Scrutiny::of(spec, now).file(specimen);
            shown(&spec.id, &find.place, now, Some(specimen), blemishes)
        }
        Err(unread) => shown(&spec.id, &find.place, now, None, vec![unreadable(unread)]),
    }
}

/// One endpoint of a watch, judged by what was seen at `seen_at`. `silent` counts looks in a row
/// without an answer; `before` is what it last served, as its end does not wait for an answer.
pub fn judge_endpoint(
    spec: &WatchSpec,
    endpoint: &Endpoint,
    glimpse: &Glimpse,
    silent: u32,
    before: Option<&Specimen>,
    files: &[Find],
    (seen_at, now): (Timestamp, Timestamp),
) -> Watched {
    let place = endpoint.to_string();
    let scrutiny = Scrutiny::of(spec, now);
    let (specimen, blemishes) = match glimpse {
        Glimpse::Seen(specimen) => {
            let mut blemishes = scrutiny.served(endpoint, specimen);
            blemishes.extend(beside_disk(endpoint, specimen, files));
            (Some(&**specimen), sorted(blemishes))
        }
        Glimpse::Nothing { why, words } => {
            let Diagnosis { code, step } = Diagnosis::of_silence(endpoint, *why);
            let gravity = if silent >= SILENT_FOR_LONG { Gravity::Ticket } else { Gravity::Notice };
            let mut blemishes = vec![blemish(code, gravity, words.clone(), &step)];
            blemishes
                .extend(before.map(|specimen| scrutiny.dates(specimen, Some(endpoint))).unwrap_or_default());
            (before, sorted(blemishes))
        }
    };
    shown(&spec.id, &place, seen_at, specimen, blemishes)
}

/// An endpoint that nobody has looked at yet.
pub fn not_looked(spec: &WatchSpec, endpoint: &Endpoint, now: Timestamp) -> Watched {
    let words = "no look at it has ended yet".to_owned();
    let advice = "ask nolapse watch, which looks now, or start the agent";
    let blemishes = vec![blemish("watch-not-looked", Gravity::Notice, words, advice)];
    shown(&spec.id, &endpoint.to_string(), now, None, blemishes)
}

fn key(specimen: &Specimen, found: &mut Vec<Blemish>) {
    match &specimen.key {
        KeyFact::Other { place } => found.push(blemish(
            "key-mismatch",
            Gravity::Ticket,
            format!("the key in {place} belongs to another certificate"),
            "put the key and the certificate that belong together there, before a server is restarted",
        )),
        KeyFact::Unread { place, why, named: true } => found.push(blemish(
            "key-unreadable",
            Gravity::Notice,
            format!("the key {place} can't be compared: {why}"),
            "let the agent's user read it, or leave `key` out of the watch",
        )),
        KeyFact::Unread { .. } | KeyFact::Unknown | KeyFact::Fits => {}
    }
}

fn weakness(specimen: &Specimen, found: &mut Vec<Blemish>) {
    for (at, member) in specimen.chain.iter().enumerate() {
        if let Some(weakness) = member.weakness {
            let whose =
                if at == 0 { "it".to_owned() } else { format!("{} in its chain", short(&member.subject)) };
            found.push(blemish(
                weakness.code(),
                Gravity::Ticket,
                format!("{whose} has {weakness}"),
                "replace it by one with a key and a signature of today",
            ));
        }
    }
}

/// What else is wrong with the chain; dates of its members are judged by the watch's own bounds.
fn chain(specimen: &Specimen, view: &View<'_>, found: &mut Vec<Blemish>) {
    let dated = found.iter().any(|known| known.code.starts_with("chain-"));
    for flaw in flaws(&specimen.leaf, &specimen.chain, view) {
        let gravity = match flaw.kind {
            FlawKind::ChainExpired | FlawKind::ChainEndsSoon if dated => continue,
            FlawKind::NameNotCovered | FlawKind::ChainExpired => Gravity::Page,
            FlawKind::ChainIncomplete => Gravity::Ticket,
            FlawKind::ChainEndsSoon | FlawKind::ChainDisordered | FlawKind::ChainExcess => Gravity::Notice,
        };
        found.push(blemish(flaw.kind.code(), gravity, flaw.words, flaw.kind.step()));
    }
}

/// Whether a port shows what lies on disk, where the watch leads to both.
fn beside_disk(endpoint: &Endpoint, served: &Specimen, files: &[Find]) -> Option<Blemish> {
    let asked = endpoint.asked();
    let mut on_disk: Vec<(&str, &Leaf)> = files
        .iter()
        .filter_map(|find| Some((find.place.as_str(), &find.found.as_ref().ok()?.leaf)))
        .filter(|(_, leaf)| match &asked {
            Some(name) => leaf.covers(name),
            None => leaf.names.iter().any(|name| served.leaf.names.contains(name)),
        })
        .collect();
    if on_disk.is_empty() || on_disk.iter().any(|(_, leaf)| leaf.fingerprint == served.leaf.fingerprint) {
        return None;
    }
    on_disk.sort_by_key(|(_, leaf)| leaf.not_after);
    let (place, leaf) = on_disk.last()?;
    let (gravity, words, advice) = if leaf.not_after > served.leaf.not_after {
        (
            Gravity::Ticket,
            format!(
                "{place} holds a certificate until {}, and the one served ends {}",
                leaf.not_after.brief(),
                served.leaf.not_after.brief()
            ),
            "reload what serves it, and see that it reads this file",
        )
    } else {
        (
            Gravity::Notice,
            format!("it serves another certificate than {place} holds"),
            "see which files the server reads, and watch those",
        )
    };
    Some(blemish("served-not-on-disk", gravity, words, advice))
}

fn unreadable(unread: &Unread) -> Blemish {
    let (gravity, advice) = match unread.why {
        Obstacle::Missing => (Gravity::Ticket, "mend the path in the watch, or put the file back"),
        Obstacle::Closed => (Gravity::Ticket, "let the agent's user read it"),
        Obstacle::NoCertificate => {
            (Gravity::Ticket, "put a certificate in PEM or DER there, or leave it out")
        }
        Obstacle::TooMany => (Gravity::Notice, "split the watch, or name what matters"),
        Obstacle::Silent => (Gravity::Ticket, "see why the file system does not answer (mount, network)"),
    };
    blemish(unread.why.code(), gravity, unread.words.clone(), advice)
}

fn shown(
    watch: &WatchId,
    place: &str,
    seen_at: Timestamp,
    specimen: Option<&Specimen>,
    blemishes: Vec<Blemish>,
) -> Watched {
    let leaf = specimen.map(|specimen| &specimen.leaf);
    Watched {
        watch: watch.clone(),
        place: place.to_owned(),
        seen_at,
        names: leaf
            .map(|leaf| leaf.names.iter().take(NAMES_SHOWN).map(ToString::to_string).collect())
            .unwrap_or_default(),
        fingerprint: leaf.map(|leaf| leaf.fingerprint),
        begins: leaf.map(|leaf| leaf.not_before),
        ends: specimen.map(first_end),
        blemishes,
    }
}

/// The earliest end among the leaf and what stands above it, roots left out.
pub fn first_end(specimen: &Specimen) -> Timestamp {
    above(&specimen.chain).map(|member| member.validity.end).fold(specimen.leaf.not_after, Timestamp::min)
}

/// What stands above the leaf and is no root: clients ask a root that they know for no dates.
fn above(chain: &[Member]) -> impl Iterator<Item = &Member> {
    let way = way_up(chain);
    way.into_iter()
        .skip(1)
        .filter_map(|at| Some((at, chain.get(at)?)))
        .filter(|(at, member)| member.signer != Some(*at))
        .map(|(_, member)| member)
}

const RENEW: &str =
    "renew it where it came from, or bring it under management: nolapse discover says who serves it";

/// Longest name shown, in characters.
const SUBJECT_MAX: usize = 60;

fn short(subject: &str) -> String {
    subject.chars().take(SUBJECT_MAX).collect()
}

fn blemish(code: &'static str, gravity: Gravity, words: String, advice: &str) -> Blemish {
    Blemish { code, gravity, words, advice: advice.to_owned() }
}

fn sorted(mut found: Vec<Blemish>) -> Vec<Blemish> {
    // Stable: of one gravity, dates first.
    found.sort_by_key(|blemish| std::cmp::Reverse(blemish.gravity));
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::chain::Weakness;
    use crate::core::leaf::Fingerprint;
    use crate::core::specimen::Doubt;
    use crate::core::time::Interval;
    use crate::core::watch::tests::spec;
    use crate::core::window::tests::leaf as made;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// A certificate for `a.example` of 90 days with this many days left.
    fn with_left(days: i64) -> Specimen {
        let leaf = made(NOW - Span::days(90 - days), Span::days(90), 1);
        let first = member("a.example", leaf.not_before, leaf.not_after, Some(1));
        let issuer = member("E1", NOW - Span::days(700), NOW + Span::days(700), None);
        Specimen { leaf, chain: vec![first, issuer], authority: false, key: KeyFact::Unknown, distrust: None }
    }

    fn member(subject: &str, start: Timestamp, end: Timestamp, signer: Option<usize>) -> Member {
        Member { subject: subject.into(), validity: Interval::new(start, end), signer, weakness: None }
    }

    fn codes(found: &[Blemish]) -> Vec<(&'static str, Gravity)> {
        found.iter().map(|blemish| (blemish.code, blemish.gravity)).collect()
    }

    #[test]
    fn what_is_wrong_with_a_file_reads_like_a_list_of_complaints() {
        use Gravity::{Notice, Page, Ticket};
        let other_key = KeyFact::Other { place: "/k".into() };
        let closed = |named| KeyFact::Unread { place: "/k".into(), why: "denied".into(), named };
        let chained = |days| {
            let mut specimen = with_left(60);
            specimen.chain[1].validity.end = NOW + Span::days(days);
            specimen
        };
        let weak = |at: usize, weakness| {
            let mut specimen = with_left(60);
            specimen.chain[at].weakness = Some(weakness);
            specimen
        };
        let disordered = {
            let mut specimen = with_left(60);
            specimen.chain[0].signer = Some(2);
            let (start, end) = (NOW - Span::DAY, NOW + Span::days(700));
            specimen.chain[1] = member("E2", start, end, None);
            specimen.chain.push(member("E1", start, end, Some(1)));
            specimen
        };
        let tomorrow = {
            let mut specimen = with_left(60);
            specimen.leaf.not_before = NOW + Span::DAY;
            specimen
        };
        let root = {
            let mut specimen = with_left(60);
            specimen.chain[1] = member("R", NOW - Span::days(9000), NOW - Span::DAY, Some(1));
            specimen
        };
        let table = [
            ("two months left", with_left(60), vec![]),
            ("less than a fifth of its life left", with_left(17), vec![("ends-soon", Ticket)]),
            ("six days left", with_left(6), vec![("ends-soon", Page)]),
            ("ended yesterday", with_left(-1), vec![("expired", Page)]),
            ("valid from tomorrow", tomorrow, vec![("not-yet-valid", Notice)]),
            ("its issuer ends in three weeks", chained(21), vec![("chain-ends-soon", Ticket)]),
            ("its issuer ends this week", chained(5), vec![("chain-ends-soon", Page)]),
            ("its issuer ends before it, in time", chained(50), vec![("chain-ends-soon", Notice)]),
            ("its issuer has ended", chained(-1), vec![("chain-expired", Page)]),
            ("a root that ended is nobody's concern", root, vec![]),
            (
                "the key of another certificate",
                Specimen { key: other_key, ..with_left(60) },
                vec![("key-mismatch", Ticket)],
            ),
            (
                "a key that was named and can't be read",
                Specimen { key: closed(true), ..with_left(60) },
                vec![("key-unreadable", Notice)],
            ),
            ("a key beside it that can't be read", Specimen { key: closed(false), ..with_left(60) }, vec![]),
            ("a key of 1,024 bits", weak(0, Weakness::ShortRsa(1024)), vec![("weak-key", Ticket)]),
            (
                "an issuer signed with SHA-1",
                weak(1, Weakness::Signature("SHA-1")),
                vec![("weak-signature", Ticket)],
            ),
            ("out of order", disordered, vec![("chain-disordered", Notice)]),
        ];
        let watch = spec("bought");
        for (situation, specimen, expected) in table {
            let find = Find { place: "/etc/ssl/a.pem".into(), found: Ok(specimen) };
            let watched = judge_file(&watch, &find, NOW);
            assert_eq!(codes(&watched.blemishes), expected, "{situation}");
            assert!(watched.ends.is_some() && watched.names == ["a.example"], "{situation}");
        }
        let asked = WatchSpec { names: vec![SubjectName::parse("b.example").unwrap()], ..spec("bought") };
        let find = Find { place: "/etc/ssl/a.pem".into(), found: Ok(with_left(60)) };
        assert_eq!(codes(&judge_file(&asked, &find, NOW).blemishes), [("name-missing", Ticket)]);
    }

    #[test]
    fn a_place_without_a_certificate_is_a_blemish_and_no_more() {
        for why in Obstacle::ALL {
            let watched = judge_file(&spec("bought"), &Find::unread("/x", why, "no"), NOW);
            assert_eq!((watched.ends, watched.blemishes.len()), (None, 1));
            assert_eq!(watched.blemishes[0].code, why.code());
            assert!(watched.gravity() < Some(Gravity::Page));
        }
    }

    #[test]
    fn the_first_end_of_a_chain_counts() {
        let mut specimen = with_left(60);
        specimen.chain[1].validity.end = NOW + Span::days(9);
        assert_eq!(first_end(&specimen), NOW + Span::days(9));
    }

    fn look(
        endpoint: &str,
        glimpse: &Glimpse,
        silent: u32,
        before: Option<&Specimen>,
        files: &[Find],
    ) -> Watched {
        let endpoint = Endpoint::parse(endpoint).unwrap();
        judge_endpoint(&spec("bought"), &endpoint, glimpse, silent, before, files, (NOW, NOW))
    }

    #[test]
    fn what_is_wrong_with_an_endpoint_reads_like_a_list_of_complaints() {
        use Gravity::{Notice, Page, Ticket};
        let seen = |specimen| Glimpse::Seen(Box::new(specimen));
        let untrusted = Specimen {
            distrust: Some(Doubt { unrooted: false, words: "unknown issuer".into() }),
            ..with_left(60)
        };
        let alone = {
            let mut specimen = with_left(60);
            specimen.chain.truncate(1);
            specimen.chain[0].signer = None;
            specimen.distrust = Some(Doubt { unrooted: true, words: "unknown issuer".into() });
            specimen
        };
        for (situation, endpoint, specimen, expected) in [
            ("all is well", "a.example@127.0.0.1:443", with_left(60), vec![]),
            ("it has ended", "a.example@127.0.0.1:443", with_left(-1), vec![("served-expired", Page)]),
            (
                "it is for another name",
                "b.example@127.0.0.1:443",
                with_left(60),
                vec![("name-not-covered", Page)],
            ),
            ("the leaf alone", "a.example@127.0.0.1:443", alone, vec![("chain-incomplete", Ticket)]),
            ("a private CA", "a.example@127.0.0.1:443", untrusted, vec![("served-untrusted", Notice)]),
        ] {
            let watched = look(endpoint, &seen(specimen), 0, None, &[]);
            assert_eq!(codes(&watched.blemishes), expected, "{situation}");
        }
    }

    #[test]
    fn an_endpoint_that_is_silent_keeps_the_end_that_was_seen() {
        use Gravity::{Notice, Page, Ticket};
        let nothing = Glimpse::Nothing { why: Silence::Closed, words: "refused".into() };
        let at = "a.example@127.0.0.1:443";
        assert_eq!(codes(&look(at, &nothing, 1, None, &[]).blemishes), [("endpoint-closed", Notice)]);
        assert_eq!(codes(&look(at, &nothing, 3, None, &[]).blemishes), [("endpoint-closed", Ticket)]);
        let watched = look(at, &nothing, 1, Some(&with_left(5)), &[]);
        assert_eq!(codes(&watched.blemishes), [("ends-soon", Page), ("endpoint-closed", Notice)]);
        assert_eq!(watched.ends, Some(NOW + Span::days(5)));
    }

    #[test]
    fn a_port_that_does_not_show_what_lies_on_disk_is_told_of() {
        let at = "a.example@127.0.0.1:443";
        let on_disk = |left: i64, salt: u8| {
            let mut specimen = with_left(left);
            specimen.leaf.fingerprint = Fingerprint([salt; 32]);
            vec![Find { place: "/etc/ssl/a.pem".into(), found: Ok(specimen) }]
        };
        for (situation, files, expected) in [
            ("the same", on_disk(60, 1), vec![]),
            ("renewed and not reloaded", on_disk(80, 2), vec![("served-not-on-disk", Gravity::Ticket)]),
            ("older on disk", on_disk(40, 2), vec![("served-not-on-disk", Gravity::Notice)]),
            ("nothing readable on disk", vec![Find::unread("/x", Obstacle::Closed, "no")], vec![]),
        ] {
            let watched = look(at, &Glimpse::Seen(Box::new(with_left(60))), 0, None, &files);
            assert_eq!(codes(&watched.blemishes), expected, "{situation}");
        }
    }

    #[test]
    fn every_own_code_is_listed() {
        let source = include_str!("scrutiny.rs").split("#[cfg(test)]").next().unwrap();
        for code in CODES {
            assert!(source.matches(&format!("\"{code}\"")).count() >= 1, "{code}");
        }
    }
}
