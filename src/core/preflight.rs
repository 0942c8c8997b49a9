//! Whether a CA would find what it looks for, judged before it is asked: what name servers and the
//! name's own addresses say from here. A view from one place: an error here is what every CA meets,
//! whatever may look different elsewhere is a warning at most.

mod caa;
mod delegation;
mod reach;

use std::net::IpAddr;

use super::caa::CaaSet;
use super::domain_name::DomainName;
use super::failure::Failure;
use super::finding::{Finding, Weight};
use super::name::{IssuerId, SolverId, SubjectName};
use super::record::ChallengeKind;

/// What was seen of one name.
#[derive(Clone, Debug)]
pub struct Facts {
    pub name: SubjectName,
    pub caa: Caa,
    /// One for each solver that could prove it.
    pub ways: Vec<Way>,
}

/// Who may issue for a name.
#[derive(Clone, Debug)]
pub enum Caa {
    /// An address has none.
    NotAsked,
    /// Neither the name nor anything above it has such a record.
    Nothing,
    Found(CaaSet),
    /// It can't be told what stands at this name.
    Unknown {
        at: DomainName,
        doubt: Doubt,
    },
}

/// Why an answer of DNS is not known. All words are safe to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The answer is there, and its signatures are wrong: no validating resolver gives it.
    Bogus(String),
    /// Resolvers answer, and can't say.
    Failing(String),
    /// No resolver answers us; a CA has others.
    Silent(String),
}

impl Doubt {
    pub fn words(&self) -> &str {
        match self {
            Self::Bogus(words) | Self::Failing(words) | Self::Silent(words) => words,
        }
    }
}

/// One way of proving a name.
#[derive(Clone, Debug)]
pub struct Way {
    pub solver: SolverId,
    pub kind: ChallengeKind,
    pub seen: Seen,
}

#[derive(Clone, Debug)]
pub enum Seen {
    Web(Reach),
    Dns(Delegation),
}

/// A name's addresses and what answers there, as http-01 and tls-alpn-01 need it.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Where a CA would look.
    pub port: u16,
    /// `Err`: its addresses can't be told.
    pub addresses: Result<Vec<IpAddr>, Doubt>,
    /// One for each address that was tried.
    pub visits: Vec<Visit>,
    /// A listener of ours that is opened while it is needed: its absence now is no news.
    pub opened_on_demand: bool,
    /// A listener of ours stands behind a web server, which says so while it is closed.
    pub passed_on: bool,
}

#[derive(Clone, Debug)]
pub struct Visit {
    pub address: IpAddr,
    /// The address is this host's.
    pub here: bool,
    pub met: Met,
}

/// What one address did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Met {
    /// It takes connections; nothing was asked.
    Open,
    Answered(Page),
    Refused,
    Silent,
    /// This host has no way to such addresses.
    NoRoute,
    /// In safe words.
    Broken(String),
}

/// What a web server said of a token that nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub status: u16,
    pub server: Option<String>,
    /// Where redirects led, in order.
    pub redirects: Vec<String>,
    /// A last redirect that CAs don't follow, and why.
    pub astray: Option<(String, String)>,
    /// A last redirect to a name that is not in the certificate: not followed from here.
    pub elsewhere: Option<String>,
}

/// The zone that a proof by DNS lies in, and its servers.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// `_acme-challenge.NAME`.
    pub at: DomainName,
    /// Where its aliases end; itself where it has none.
    pub leads_to: DomainName,
    pub zone: Result<DomainName, Obstacle>,
    pub servers: Vec<Server>,
}

#[derive(Clone, Debug)]
pub enum Obstacle {
    Doubt(Doubt),
    /// A circle of aliases, or no zone at all.
    Failure(Failure),
}

/// One address of one server of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `ns1.example.com (192.0.2.53)`.
    pub place: String,
    pub says: Says,
}

/// What a server said when it was asked for its zone's SOA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    Fine,
    /// It answers, and not as one that has the zone.
    NotItsZone,
    /// A response code, such as `REFUSED`.
    Refuses(String),
    /// In words that go on from its name: `does not answer`.
    Mute(String),
}

/// A CA, as far as CAA records concern it.
#[derive(Clone, Debug)]
pub struct IssuerView {
    pub id: IssuerId,
    /// `None`: it could not be asked how records call it.
    pub identities: Option<Vec<String>>,
    /// URL of our account.
    pub account: Option<String>,
}

/// Names listed in one finding; the rest is counted.
const NAMES_SHOWN: usize = 3;
/// Findings of one certificate; the rest is counted.
pub const FINDINGS_MAX: usize = 40;

/// What is to be said of one name, for these issuers, the first of which is asked first.
pub fn judge(facts: &Facts, issuers: &[IssuerView]) -> Vec<Finding> {
    let mut found = caa::findings(facts, issuers);
    if facts.ways.is_empty() {
        found.push(
            Finding::error("no-solver", "no solver of this certificate can prove it")
                .fix("a star needs a solver with `provider`, an address one that answers by the web"),
        );
    }
    let ways: Vec<_> = facts.ways.iter().map(way).collect();
    // One way is enough: what is wrong with the others costs a try, not the certificate.
    let clean = ways.iter().any(|findings| findings.iter().all(|finding| finding.weight < Weight::Error));
    for findings in ways {
        let most = if clean { Weight::Warning } else { Weight::Error };
        found.extend(findings.into_iter().map(|finding| finding.at_most(most)));
    }
    let mut once = Vec::with_capacity(found.len());
    for finding in found {
        if !once.contains(&finding) {
            once.push(finding);
        }
    }
    once
}

fn way(way: &Way) -> Vec<Finding> {
    match &way.seen {
        Seen::Web(reach) => reach::findings(way, reach),
        Seen::Dns(delegation) => delegation::findings(delegation),
    }
}

/// The findings of several names, the worst first; what is the same of many is said once.
pub fn together(of_names: &[(SubjectName, Vec<Finding>)]) -> Vec<Finding> {
    let mut distinct: Vec<(&Finding, Vec<&SubjectName>)> = Vec::new();
    for (name, findings) in of_names {
        for finding in findings {
            match distinct.iter_mut().find(|(known, _)| *known == finding) {
                Some((_, names)) => names.push(name),
                None => distinct.push((finding, vec![name])),
            }
        }
    }
    distinct.sort_by_key(|(finding, _)| std::cmp::Reverse(finding.weight));
    let surplus = distinct.len().saturating_sub(FINDINGS_MAX);
    distinct.truncate(FINDINGS_MAX);
    let mut found: Vec<_> = distinct
        .into_iter()
        .map(|(finding, names)| {
            let shown: Vec<_> = names.iter().take(NAMES_SHOWN).map(ToString::to_string).collect();
            let more = match names.len().saturating_sub(NAMES_SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            Finding { words: format!("{}{more}: {}", shown.join(", "), finding.words), ..finding.clone() }
        })
        .collect();
    if surplus > 0 {
        found.push(Finding::note("more-findings", format!("{surplus} more findings are left out")));
    }
    found
}

/// Held-back tries in a row, after which one is made all the same: what is seen from here may have
/// stopped being what the CA sees.
const HELD_MOST: u32 = 3;

/// The finding for which another try is not worth a request now, after `count` failures in a row, the
/// last of them with `code`.
///
/// A view from here can be wrong (split DNS), so it alone holds nothing back: the CA must have refused for
/// the same matter, or a try was held back for it already.
pub fn hopeless<'a>(code: &str, count: u32, findings: &'a [Finding]) -> Option<&'a Finding> {
    if count.is_multiple_of(HELD_MOST + 1) {
        return None;
    }
    findings.iter().find(|finding| finding.weight == Weight::Error && confirms(code, &finding.code))
}

/// Code of a first order that was not made yet for what is certain from here. The finding's own code is in
/// its words: as code it would stand for something that a CA refused before.
pub const PUT_OFF: &str = "put-off";
/// Times in a row that a first order is put off, after which the CA is asked whatever is seen from here: 1
/// and 10 minutes by the waits after failures.
const PUT_OFF_MOST: u32 = 2;

/// The finding for which a first order is not worth a request now, after it was put off `before` times.
/// Nothing lapses by the wait, so our view alone is enough, where it is certain.
pub fn worth_a_wait(before: u32, findings: &[Finding]) -> Option<&Finding> {
    let refused = |code: &str| is_of_caa(code) || is_of_dns(code) || is_of_connection(code);
    findings
        .iter()
        .find(|finding| finding.weight == Weight::Error && refused(&finding.code))
        .filter(|_| before < PUT_OFF_MOST)
}

/// Whether what was found is the same matter as a refusal.
fn confirms(refusal: &str, finding: &str) -> bool {
    match refusal {
        "caa" | "challenge-caa" | "order-caa" => is_of_caa(finding),
        "challenge-dns" | "order-dns" => is_of_dns(finding),
        "challenge-connection" => is_of_connection(finding),
        held => held == finding,
    }
}

fn is_of_caa(finding: &str) -> bool {
    finding.starts_with("caa-") || finding == "dnssec-broken"
}

fn is_of_dns(finding: &str) -> bool {
    matches!(
        finding,
        "dnssec-broken" | "dns-alias" | "dns-no-zone" | "no-address" | "no-name-servers" | "server-lame"
    )
}

fn is_of_connection(finding: &str) -> bool {
    matches!(finding, "unreachable" | "no-address")
}

/// What an answer of DNS that is not known means for a proof.
fn doubtful(what: &str, doubt: &Doubt) -> Finding {
    match doubt {
        Doubt::Bogus(words) => Finding::error(
            "dnssec-broken",
            format!("{what} is there, but its DNSSEC signatures are wrong: every public CA refuses it"),
        )
        .seen(format!("{words}; the same question with checking disabled is answered"))
        .fix(
            "sign the zone anew, or have the registrar take the DS record away until it is signed; \
             `delv` and dnsviz.net show where the chain breaks",
        ),
        Doubt::Failing(words) => Finding::warning("dns-failing", format!("resolvers can't tell {what}"))
            .seen(words.clone())
            .fix("ask the zone's servers by `dig +norecurse`: a CA that gets no answer either refuses"),
        Doubt::Silent(words) => {
            Finding::note("dns-silent", format!("{what} could not be looked up from here"))
                .seen(words.clone())
                .fix("name resolvers that answer: `resolvers` in [agent], or in the solver's table")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SubjectName {
        SubjectName::parse(text).unwrap()
    }

    #[test]
    fn what_is_the_same_of_many_names_is_said_once_and_the_worst_first() {
        let light = Finding::warning("light", "is odd");
        let grave = Finding::error("grave", "is wrong").fix("mend it");
        let rows: Vec<_> = ["a.example", "b.example", "c.example", "d.example"]
            .iter()
            .map(|text| (name(text), vec![light.clone()]))
            .chain([(name("e.example"), vec![grave.clone()])])
            .collect();
        let found = together(&rows);
        let words: Vec<_> = found.iter().map(|finding| finding.words.as_str()).collect();
        assert_eq!(words, ["e.example: is wrong", "a.example, b.example, c.example and 1 more: is odd"]);
    }

    #[test]
    fn f38_only_what_the_ca_said_too_holds_a_try_back_and_not_for_ever() {
        let denied = [Finding::error("caa-denies", "x"), Finding::error("no-address", "x")];
        let doubted = [Finding::warning("caa-denies", "x")];
        for (what, code, count, findings, expected) in [
            ("the CA spoke of CAA", "challenge-caa", 1, &denied[..], Some("caa-denies")),
            ("of DNS", "challenge-dns", 1, &denied, Some("no-address")),
            ("of something else", "challenge-unauthorized", 1, &denied, None),
            ("it was held back before", "caa-denies", 2, &denied, Some("caa-denies")),
            ("it was mended", "challenge-caa", 1, &[], None),
            ("it is in doubt", "challenge-caa", 1, &doubted, None),
            ("every fourth goes to the CA", "caa-denies", 4, &denied, None),
            ("and holds again", "challenge-caa", 5, &denied, Some("caa-denies")),
        ] {
            let held = hopeless(code, count, findings).map(|finding| finding.code.as_str());
            assert_eq!(held, expected, "{what}");
        }
    }

    #[test]
    fn f38_a_first_order_is_put_off_for_what_is_certain_twice_at_most() {
        let error = |code: &str| vec![Finding::error(code, "x")];
        for (what, before, findings, expected) in [
            ("CAA denies", 0, error("caa-denies"), Some("caa-denies")),
            ("it was put off once", 1, error("caa-denies"), Some("caa-denies")),
            ("twice is enough", 2, error("caa-denies"), None),
            ("it has no address", 0, error("no-address"), Some("no-address")),
            ("nobody listens on this host", 0, error("unreachable"), Some("unreachable")),
            ("no server has the zone", 0, error("server-lame"), Some("server-lame")),
            ("a router may not lead back", 0, vec![Finding::warning("unreachable", "x")], None),
            ("no resolver answers", 0, vec![Finding::note("dns-silent", "x")], None),
            ("the configuration is refused elsewhere", 0, error("no-solver"), None),
            ("all is well", 0, Vec::new(), None),
        ] {
            let found = worth_a_wait(before, &findings).map(|finding| finding.code.as_str());
            assert_eq!(found, expected, "{what}");
        }
    }

    #[test]
    fn a_flood_of_findings_is_cut_and_counted() {
        let many: Vec<_> = (0..FINDINGS_MAX + 5).map(|at| Finding::error("x", format!("{at}"))).collect();
        let found = together(&[(name("a.example"), many)]);
        assert_eq!(found.len(), FINDINGS_MAX + 1);
        assert_eq!(found.last().unwrap().words, "5 more findings are left out");
    }

    #[test]
    fn f36_what_is_wrong_with_one_way_is_no_error_while_another_is_sound() {
        let web = |addresses| Way {
            solver: SolverId::parse("web").unwrap(),
            kind: ChallengeKind::Http01,
            seen: Seen::Web(Reach {
                port: 80,
                addresses: Ok(addresses),
                visits: Vec::new(),
                opened_on_demand: false,
                passed_on: false,
            }),
        };
        let sound = Way {
            solver: SolverId::parse("dns").unwrap(),
            kind: ChallengeKind::Dns01,
            seen: Seen::Dns(Delegation {
                at: DomainName::parse("_acme-challenge.a.example").unwrap(),
                leads_to: DomainName::parse("_acme-challenge.a.example").unwrap(),
                zone: Ok(DomainName::parse("a.example").unwrap()),
                servers: vec![Server { place: "ns1".into(), says: Says::Fine }],
            }),
        };
        let facts = |ways| Facts { name: name("a.example"), caa: Caa::Nothing, ways };
        let alone = judge(&facts(vec![web(Vec::new())]), &[]);
        assert_eq!(alone.iter().map(|f| f.weight).collect::<Vec<_>>(), [Weight::Error]);
        let with_another = judge(&facts(vec![web(Vec::new()), sound]), &[]);
        assert_eq!(with_another.iter().map(|f| f.weight).collect::<Vec<_>>(), [Weight::Warning]);
        let address = "192.0.2.1".parse().unwrap();
        let mut doubtful = web(vec![address]);
        if let Seen::Web(reach) = &mut doubtful.seen {
            reach.visits = vec![Visit { address, here: false, met: Met::Silent }];
        }
        let with_a_doubtful_one = judge(&facts(vec![web(Vec::new()), doubtful]), &[]);
        let weights: Vec<_> = with_a_doubtful_one.iter().map(|f| f.weight).collect();
        assert_eq!(weights, [Weight::Warning; 2], "{with_a_doubtful_one:?}");
    }
}
