//! What is wrong with a chain as a server sends it: told to the operator, never by itself a reason
//! to go back to another pair.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::leaf::Leaf;
use super::name::SubjectName;
use super::time::{Interval, Span, Timestamp};

/// One certificate that a server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its subject's common name, or the whole name; safe to print.
    pub subject: String,
    pub validity: Interval,
    /// The place among those sent of one that signed it, from 0; its own where it signed itself.
    pub signer: Option<usize>,
    /// What clients of today hold against its key or its signature.
    pub weakness: Option<Weakness>,
}

/// A key or a signature that clients refuse, or will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// An RSA key of so many bits; 2048 are the least since 2014 (CA/Browser Forum BR §6.1.5).
    ShortRsa(usize),
    /// Its signature is made with this hash, for which collisions are known.
    Signature(&'static str),
}

impl Weakness {
    /// Stable and kebab-case.
    pub const fn code(self) -> &'static str {
        match self {
            Self::ShortRsa(_) => "weak-key",
            Self::Signature(_) => "weak-signature",
        }
    }
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShortRsa(bits) => write!(f, "an RSA key of only {bits} bits"),
            Self::Signature(hash) => write!(f, "a signature made with {hash}"),
        }
    }
}

/// One thing that is wrong with a served chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Flaw {
    pub kind: FlawKind,
    /// Safe to print.
    pub words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlawKind {
    /// The leaf is not for the name that was asked for.
    NameNotCovered,
    /// A certificate above the leaf has ended.
    ChainExpired,
    /// A certificate above the leaf ends before the leaf, or in a few days.
    ChainEndsSoon,
    /// The way up ends before a root that clients know.
    ChainIncomplete,
    /// All are there, and not each right after the one it signed (RFC 8446 §4.4.2 forgives that, RFC 5246
    /// §7.4.2 and some clients do not).
    ChainDisordered,
    /// Certificates that have no part in the way up.
    ChainExcess,
}

impl FlawKind {
    pub const ALL: [Self; 6] = [
        Self::NameNotCovered,
        Self::ChainExpired,
        Self::ChainEndsSoon,
        Self::ChainIncomplete,
        Self::ChainDisordered,
        Self::ChainExcess,
    ];

    /// Stable and kebab-case.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NameNotCovered => "name-not-covered",
            Self::ChainExpired => "chain-expired",
            Self::ChainEndsSoon => "chain-ends-soon",
            Self::ChainIncomplete => "chain-incomplete",
            Self::ChainDisordered => "chain-disordered",
            Self::ChainExcess => "chain-excess",
        }
    }

    /// The one next step.
    pub const fn step(self) -> &'static str {
        match self {
            Self::NameNotCovered => "ask for a name of the certificate, or add this one to its names",
            Self::ChainExpired | Self::ChainEndsSoon => {
                "renew once the CA issues from a younger intermediate"
            }
            Self::ChainIncomplete => "serve fullchain.pem, not cert.pem",
            Self::ChainDisordered | Self::ChainExcess => "serve fullchain.pem as it is",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.words, self.kind.code())
    }
}

/// What a chain is judged by.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub now: Timestamp,
    /// The name that was asked for; `None` where none was.
    pub asked: Option<&'a SubjectName>,
    /// What stands above the leaf is, octet by octet, what was installed with it: how the CA
    /// builds its chains is then nothing to hold against the server.
    pub as_installed: bool,
    /// No root that this system trusts vouches for the chain.
    pub unrooted: bool,
}

/// Time left from which the end of a certificate above the leaf is worth a word; less for one that
/// lives shorter.
const SOON: Span = Span::days(14);
const SOON_SHARE: i64 = 10;

/// Longest name shown, in characters; certificates may hold longer ones.
const SUBJECT_MAX: usize = 60;

/// Everything wrong with a chain, the gravest first. `sent` holds the leaf at its first place.
pub fn flaws(leaf: &Leaf, sent: &[Member], view: &View<'_>) -> Vec<Flaw> {
    let mut found = Vec::new();
    let mut flaw = |kind, words| found.push(Flaw { kind, words });
    if let Some(name) = view.asked.filter(|name| !leaf.covers(name)) {
        flaw(FlawKind::NameNotCovered, format!("the certificate is not for {name}"));
    }
    let way = way_up(sent);
    // Clients do not ask a root they know for its dates.
    let dated = way.iter().skip(1).filter_map(|at| sent.get(*at).filter(|member| member.signer != Some(*at)));
    for member in dated {
        let end = member.validity.end;
        let (left, life) = (end.since(view.now), end.since(member.validity.start));
        let name = short(&member.subject);
        if left <= Span::ZERO {
            flaw(FlawKind::ChainExpired, format!("{name} in its chain ended {}", end.brief()));
        } else if left < SOON.min(life.over(SOON_SHARE)) {
            flaw(FlawKind::ChainEndsSoon, format!("{name} in its chain ends {}", end.brief()));
        } else if end < leaf.not_after && leaf.valid_at(view.now) {
            let words = format!("{name} in its chain ends {}, before the certificate", end.brief());
            flaw(FlawKind::ChainEndsSoon, words);
        }
    }
    if view.as_installed || leaf.self_signed {
        return found;
    }
    let top = way.last().and_then(|at| Some((*at, sent.get(*at)?)));
    if let Some((at, top)) = top
        && view.unrooted
        && top.signer != Some(at)
    {
        let words = format!("the chain ends at {}, and no root here vouches for that", short(&top.subject));
        flaw(FlawKind::ChainIncomplete, words);
    }
    if way.windows(2).any(|pair| pair[1] != pair[0] + 1) && way.len() == sent.len() {
        flaw(FlawKind::ChainDisordered, "the certificates of its chain are out of order".into());
    }
    if way.len() < sent.len() {
        let strange = sent.len() - way.len();
        let words = format!("{strange} of the {} certificates sent do not belong to its chain", sent.len());
        flaw(FlawKind::ChainExcess, words);
    }
    found
}

/// The places of the leaf, its signer, that one's signer, up to one that nobody here signed.
pub(super) fn way_up(sent: &[Member]) -> Vec<usize> {
    let mut way = Vec::with_capacity(sent.len());
    let mut next = (!sent.is_empty()).then_some(0);
    while let Some(at) = next.filter(|at| !way.contains(at)) {
        way.push(at);
        next = sent.get(at).and_then(|member| member.signer).filter(|signer| *signer < sent.len());
    }
    way
}

fn short(subject: &str) -> String {
    subject.chars().take(SUBJECT_MAX).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::leaf::Fingerprint;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn leaf() -> Leaf {
        Leaf {
            names: vec![SubjectName::parse("a.example").unwrap()],
            not_before: NOW - Span::days(30),
            not_after: NOW + Span::days(60),
            serial: "01".into(),
            fingerprint: Fingerprint([1; 32]),
            key: Fingerprint([2; 32]),
            key_kind: None,
            ari_id: None,
            issuer: "E1".into(),
            self_signed: false,
        }
    }

    fn member(subject: &str, days: i64, signer: Option<usize>) -> Member {
        let validity = Interval::new(NOW - Span::days(700), NOW + Span::days(days));
        Member { subject: subject.into(), validity, signer, weakness: None }
    }

    const ROOTED: View<'_> = View { now: NOW, asked: None, as_installed: false, unrooted: false };
    const UNROOTED: View<'_> = View { unrooted: true, ..ROOTED };
    const INSTALLED: View<'_> = View { as_installed: true, ..UNROOTED };

    #[test]
    fn what_is_wrong_with_a_chain_reads_like_a_list_of_complaints() {
        let first = |signer| member("a.example", 60, signer);
        let (e1, e2) = (member("E1", 400, None), member("E2", 400, None));
        let table: &[(&str, Vec<Member>, View<'_>, &[&str])] = &[
            ("leaf and intermediate, rooted", vec![first(Some(1)), e1.clone()], ROOTED, &[]),
            ("a private root that this host does not know, as installed", vec![first(None)], INSTALLED, &[]),
            ("the leaf alone", vec![first(None)], UNROOTED, &["chain-incomplete"]),
            ("the leaf alone, straight from a trusted root", vec![first(None)], ROOTED, &[]),
            (
                "an intermediate of somebody else",
                vec![first(None), e2.clone()],
                UNROOTED,
                &["chain-incomplete", "chain-excess"],
            ),
            ("a private root sent along", vec![first(Some(1)), member("R", 400, Some(1))], UNROOTED, &[]),
            (
                "out of order",
                vec![first(Some(2)), e2.clone(), member("E1", 400, Some(1))],
                ROOTED,
                &["chain-disordered"],
            ),
            ("one too many", vec![first(Some(1)), e1.clone(), e2.clone()], ROOTED, &["chain-excess"]),
            (
                "an intermediate that ended",
                vec![first(Some(1)), member("E1", -1, None)],
                INSTALLED,
                &["chain-expired"],
            ),
            (
                "an intermediate that ends this week",
                vec![first(Some(1)), member("E1", 5, None)],
                ROOTED,
                &["chain-ends-soon"],
            ),
            (
                "an intermediate that ends before the leaf",
                vec![first(Some(1)), member("E1", 40, None)],
                ROOTED,
                &["chain-ends-soon"],
            ),
            (
                "a root that ended is no client's concern",
                vec![first(Some(1)), member("R", -9, Some(1))],
                ROOTED,
                &[],
            ),
            ("nothing at all", Vec::new(), ROOTED, &[]),
        ];
        for (situation, sent, view, expected) in table {
            let codes: Vec<_> = flaws(&leaf(), sent, view).iter().map(|flaw| flaw.kind.code()).collect();
            assert_eq!(codes, *expected, "{situation}");
        }
    }

    #[test]
    fn the_name_that_was_asked_for_counts() {
        let other = SubjectName::parse("b.example").unwrap();
        let view = View { asked: Some(&other), ..ROOTED };
        let found = flaws(&leaf(), &[member("a.example", 60, None)], &view);
        assert_eq!(found[0].to_string(), "the certificate is not for b.example [name-not-covered]");
        let own = leaf();
        let view = View { asked: own.names.first(), ..ROOTED };
        assert_eq!(flaws(&own, &[member("a.example", 60, None)], &view), []);
    }

    proptest! {
        #[test]
        fn any_links_end(signers in proptest::collection::vec(proptest::option::of(0usize..9), 0..8)) {
            let sent: Vec<_> = signers.into_iter().map(|signer| member("x", 400, signer)).collect();
            let way = way_up(&sent);
            prop_assert!(way.len() <= sent.len());
            let _ = flaws(&leaf(), &sent, &UNROOTED);
        }
    }

    #[test]
    fn strangers_in_a_chain_are_counted() {
        let (leaf_member, e1) = (member("a.example", 60, Some(1)), member("E1", 400, None));
        let strange = |n: i64| member("X", 400 + n, None);
        let sent = [leaf_member, e1, strange(1), strange(2), strange(3)];
        let told: Vec<_> = flaws(&leaf(), &sent, &ROOTED).iter().map(|flaw| flaw.words.clone()).collect();
        assert_eq!(told, ["3 of the 5 certificates sent do not belong to its chain"]);
    }
}
