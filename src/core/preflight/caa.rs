//! What CAA records mean for the issuers of a certificate (F38).

use super::{Caa, Doubt, Facts, IssuerView, doubtful};
use crate::core::caa::{CaaSet, Candidate, Denial, Permission};
use crate::core::finding::{Finding, Weight};
use crate::core::record::ChallengeKind;

pub(super) fn findings(facts: &Facts, issuers: &[IssuerView]) -> Vec<Finding> {
    match &facts.caa {
        Caa::NotAsked | Caa::Nothing => Vec::new(),
        Caa::Unknown { at, doubt } => {
            let finding = doubtful(&format!("who may issue (CAA at {at})"), doubt);
            // A CA may not issue while it gets no answer (RFC 8659 §3); ours may be another resolver.
            vec![match doubt {
                Doubt::Failing(_) => finding.fix(
                    "ask the zone's servers by `dig +norecurse … CAA`: a CA that gets no answer either refuses, \
                     although no record forbids it",
                ),
                _ => finding,
            }]
        }
        Caa::Found(set) => {
            let kinds: Vec<_> = facts.ways.iter().map(|way| way.kind).collect();
            let judged = issuers.iter().enumerate().filter_map(|(at, issuer)| {
                let most = if at == 0 { Weight::Error } else { Weight::Warning };
                of(facts, set, issuer, &kinds).map(|finding| finding.at_most(most))
            });
            judged.collect()
        }
    }
}

fn of(facts: &Facts, set: &CaaSet, issuer: &IssuerView, kinds: &[ChallengeKind]) -> Option<Finding> {
    let id = &issuer.id;
    let identities = issuer.identities.as_deref().unwrap_or_default();
    let wildcard = facts.name.is_wildcard();
    let permission =
        set.permission(&Candidate { identities, account: issuer.account.as_deref(), kinds, wildcard });
    let tag = if wildcard { "issuewild" } else { "issue" };
    let ours = identities.first().map_or("the CA's name", String::as_str);
    let finding = match permission {
        Permission::Free | Permission::Given => return None,
        Permission::NameUnknown if issuer.identities.is_none() => Finding::note(
            "caa-unjudged",
            format!("CAA records limit who may issue, and {id} could not be asked how they would name it"),
        )
        .fix("run this again when the CA answers"),
        Permission::NameUnknown => Finding::note(
            "caa-unjudged",
            format!("CAA records limit who may issue, and {id} does not say how they would name it"),
        )
        .fix("look into the CA's documentation for the name that CAA records must have"),
        Permission::AccountUnknown(wanted) => Finding::warning(
            "caa-account",
            format!("CAA lets {id} issue for one account only, and ours is not known yet"),
        )
        .fix(format!("when the account is registered, compare it with accounturi={wanted}")),
        Permission::Denied(denial) => denied(&denial, issuer, tag, ours, set, kinds).seen(set.to_string()),
    };
    Some(if finding.evidence.is_empty() { finding.seen(set.to_string()) } else { finding })
}

fn denied(
    denial: &Denial,
    issuer: &IssuerView,
    tag: &str,
    ours: &str,
    set: &CaaSet,
    kinds: &[ChallengeKind],
) -> Finding {
    let (id, at) = (&issuer.id, &set.at);
    match denial {
        Denial::Critical(property) => Finding::error(
            "caa-critical",
            format!("CAA has the critical property {}, which no CA knows: none may issue", plain(property)),
        )
        .fix(format!("take that record away from {at}, or its critical flag (128)")),
        Denial::Nobody => Finding::error("caa-denies", format!("CAA lets no CA issue, so {id} may not"))
            .fix(format!("add to {at}:  0 {tag} {ours:?}")),
        Denial::Others(names) => {
            let names: Vec<_> = names.iter().take(4).map(|name| plain(name)).collect();
            Finding::error("caa-denies", format!("CAA lets {} issue, and not {id}", names.join(", ")))
                .fix(format!("add to {at}:  0 {tag} {ours:?}"))
        }
        Denial::Account(wanted) => {
            Finding::error("caa-account", format!("CAA lets {id} issue for another account only: {wanted}"))
                .fix(match &issuer.account {
                    Some(ours) => format!("write accounturi={ours} into the record at {at}"),
                    None => format!("leave one accounturi in the record at {at}"),
                })
        }
        Denial::Methods(allowed) => {
            let words: Vec<_> = kinds.iter().map(|kind| kind.word()).collect();
            Finding::error(
                "caa-method",
                format!(
                    "CAA lets {id} issue by {allowed} only, and what is configured proves by {}",
                    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
                ),
            )
            .fix(format!("add the method to validationmethods at {at}, or use a solver of such a kind"))
        }
    }
}

fn plain(text: &str) -> String {
    crate::core::failure::plain(text, 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::caa::CaaRecord;
    use crate::core::domain_name::DomainName;
    use crate::core::name::{IssuerId, SolverId, SubjectName};
    use crate::core::preflight::{Delegation, Seen, Way};

    fn issuer(id: &str, identity: Option<&str>) -> IssuerView {
        IssuerView {
            id: IssuerId::parse(id).unwrap(),
            identities: identity.map(|name| vec![name.to_owned()]),
            account: Some("https://ca/1".into()),
        }
    }

    fn facts(name: &str, caa: Caa) -> Facts {
        let at = DomainName::parse("_acme-challenge.a.example").unwrap();
        let seen =
            Seen::Dns(Delegation { at: at.clone(), leads_to: at.clone(), zone: Ok(at), servers: Vec::new() });
        let way = Way { solver: SolverId::parse("dns").unwrap(), kind: ChallengeKind::Dns01, seen };
        Facts { name: SubjectName::parse(name).unwrap(), caa, ways: vec![way] }
    }

    fn set(rows: &[(&str, &str)]) -> Caa {
        let record = |(tag, value): &(&str, &str)| CaaRecord {
            critical: tag.starts_with('!'),
            tag: tag.trim_start_matches('!').to_owned(),
            value: (*value).to_owned(),
        };
        let at = DomainName::parse("a.example").unwrap();
        Caa::Found(CaaSet { at, records: rows.iter().map(record).collect() })
    }

    #[test]
    fn f38_each_denial_says_which_record_and_what_to_write() {
        let at = DomainName::parse("a.example").unwrap();
        let unknown = |doubt| Caa::Unknown { at: at.clone(), doubt };
        for (what, name, caa, code, weight, says) in [
            (
                "another CA",
                "a.example",
                set(&[("issue", "x.example")]),
                "caa-denies",
                Weight::Error,
                "0 issue \"ca.example\"",
            ),
            (
                "nobody, for a star",
                "*.a.example",
                set(&[("issuewild", ";")]),
                "caa-denies",
                Weight::Error,
                "0 issuewild",
            ),
            (
                "another account",
                "a.example",
                set(&[("issue", "ca.example; accounturi=https://ca/2")]),
                "caa-account",
                Weight::Error,
                "accounturi=https://ca/1",
            ),
            (
                "another method",
                "a.example",
                set(&[("issue", "ca.example; validationmethods=http-01")]),
                "caa-method",
                Weight::Error,
                "validationmethods",
            ),
            ("a critical stranger", "a.example", set(&[("!x", "")]), "caa-critical", Weight::Error, "128"),
            (
                "SERVFAIL is no denial",
                "a.example",
                unknown(Doubt::Failing("192.0.2.1 says SERVFAIL".into())),
                "dns-failing",
                Weight::Warning,
                "although no record forbids it",
            ),
            (
                "broken signatures are certain",
                "a.example",
                unknown(Doubt::Bogus("192.0.2.1 says SERVFAIL".into())),
                "dnssec-broken",
                Weight::Error,
                "sign the zone anew",
            ),
            (
                "no resolver is our own trouble",
                "a.example",
                unknown(Doubt::Silent("nobody answers".into())),
                "dns-silent",
                Weight::Note,
                "resolvers",
            ),
        ] {
            let found = findings(&facts(name, caa), &[issuer("ca", Some("ca.example"))]);
            let [only] = &found[..] else { panic!("{what}: {found:?}") };
            assert_eq!((only.code.as_str(), only.weight), (code, weight), "{what}: {only:?}");
            assert!(only.fix.contains(says) && !only.evidence.is_empty(), "{what}: {only:?}");
        }
    }

    #[test]
    fn f38_a_ca_that_comes_second_is_warned_of_and_an_allowed_one_is_not_spoken_of() {
        let caa = set(&[("issue", "ca.example")]);
        let both = [issuer("ca", Some("ca.example")), issuer("spare", Some("x.example"))];
        let found = findings(&facts("a.example", caa.clone()), &both);
        let [only] = &found[..] else { panic!("{found:?}") };
        assert_eq!((only.weight, only.words.contains("spare")), (Weight::Warning, true), "{only:?}");
        let silent = findings(&facts("a.example", caa), &[issuer("ca", None)]);
        assert_eq!((silent[0].code.as_str(), silent[0].weight), ("caa-unjudged", Weight::Note));
    }
}
