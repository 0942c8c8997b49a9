//! What a zone's servers say, for proofs by DNS.

use super::{Delegation, Obstacle, Says, Server, doubtful};
use crate::core::finding::Finding;

pub(super) fn findings(delegation: &Delegation) -> Vec<Finding> {
    let Delegation { at, leads_to, zone, servers } = delegation;
    let alias =
        if at == leads_to { String::new() } else { format!("{at} is an alias (CNAME) of {leads_to}; ") };
    let zone = match zone {
        Ok(zone) => zone,
        Err(Obstacle::Doubt(doubt)) => return vec![doubtful(&format!("what {at} is"), doubt)],
        Err(Obstacle::Failure(failure)) => {
            // A name that leads nowhere can't be proved by anybody's view.
            return vec![
                Finding::error(&failure.code, failure.words.clone()).seen(alias.trim_end_matches("; ")),
            ];
        }
    };
    if servers.is_empty() {
        return vec![
            Finding::error("no-name-servers", format!("the zone {zone} has no name server with an address"))
                .seen(alias.trim_end_matches("; "))
                .fix("give the zone NS records whose names have addresses"),
        ];
    }
    let said = |wanted: fn(&Says) -> bool| -> Vec<&Server> {
        servers.iter().filter(|server| wanted(&server.says)).collect()
    };
    let lame = said(|says| matches!(says, Says::NotItsZone | Says::Refuses(_)));
    let mute = said(|says| matches!(says, Says::Mute(_)));
    let none_is_fine = said(|says| *says == Says::Fine).is_empty();
    let mut found = Vec::new();
    if !lame.is_empty() {
        let words = format!(
            "{} of the {} servers of {zone} {} not serve it",
            lame.len(),
            servers.len(),
            if lame.len() == 1 { "does" } else { "do" }
        );
        // A server that knows nothing of its zone answers alike to everybody.
        let finding = if none_is_fine && mute.is_empty() {
            Finding::error("server-lame", words)
        } else {
            Finding::warning("server-lame", words)
        };
        found.push(finding.seen(format!("{alias}{}", listed(&lame))).fix(format!(
            "make the NS records of {zone} (here and at its parent) name only servers that have the zone"
        )));
    }
    if !mute.is_empty() {
        let words = format!("{} of the {} servers of {zone} can't be reached", mute.len(), servers.len());
        found.push(
            Finding::warning("server-silent", words)
                .seen(format!("{alias}{}", listed(&mute)))
                .fix("start it, open port 53 by UDP and TCP, or take it out of the NS records"),
        );
    }
    found
}

/// Servers named in one finding; the rest is counted.
const SHOWN: usize = 6;

fn listed(servers: &[&Server]) -> String {
    let one = |server: &&Server| match &server.says {
        Says::Fine => format!("{} serves it", server.place),
        Says::NotItsZone => format!("{} answers without authority", server.place),
        Says::Refuses(code) => format!("{} says {code}", server.place),
        Says::Mute(words) => format!("{} {words}", server.place),
    };
    let shown: Vec<_> = servers.iter().take(SHOWN).map(one).collect();
    match servers.len().saturating_sub(SHOWN) {
        0 => shown.join("; "),
        more => format!("{}; and {more} more", shown.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain_name::DomainName;
    use crate::core::failure::{Failure, Fault};
    use crate::core::finding::Weight;
    use crate::core::preflight::Doubt;

    fn delegation(servers: &[Says]) -> Delegation {
        let at = DomainName::parse("_acme-challenge.a.example").unwrap();
        let server = |(at, says): (usize, &Says)| Server { place: format!("ns{at}"), says: says.clone() };
        Delegation {
            leads_to: DomainName::parse("a.proofs.example").unwrap(),
            at,
            zone: Ok(DomainName::parse("proofs.example").unwrap()),
            servers: servers.iter().enumerate().map(server).collect(),
        }
    }

    #[test]
    fn a_server_that_lacks_the_zone_is_told_from_one_that_is_away() {
        let lame = Says::Refuses("REFUSED".into());
        let mute = Says::Mute("does not answer".into());
        for (what, servers, expected) in [
            ("all serve it", &[Says::Fine, Says::Fine][..], vec![]),
            ("one is lame", &[Says::Fine, lame.clone()], vec![("server-lame", Weight::Warning)]),
            (
                "one is without authority",
                &[Says::Fine, Says::NotItsZone],
                vec![("server-lame", Weight::Warning)],
            ),
            ("all are lame", &[lame.clone(), Says::NotItsZone], vec![("server-lame", Weight::Error)]),
            ("one is away", &[Says::Fine, mute.clone()], vec![("server-silent", Weight::Warning)]),
            (
                "all are away, from here",
                &[mute.clone(), mute.clone()],
                vec![("server-silent", Weight::Warning)],
            ),
            (
                "one of each",
                &[lame, mute],
                vec![("server-lame", Weight::Warning), ("server-silent", Weight::Warning)],
            ),
            ("there are none", &[], vec![("no-name-servers", Weight::Error)]),
        ] {
            let found = findings(&delegation(servers));
            let told: Vec<_> = found.iter().map(|f| (f.code.as_str(), f.weight)).collect();
            assert_eq!(told, expected, "{what}");
            assert!(found.iter().all(|f| f.evidence.contains("alias (CNAME) of a.proofs.example")), "{what}");
        }
    }

    #[test]
    fn a_zone_that_is_not_found_is_told_with_its_reason() {
        let circle = Failure::refused(Fault::Config, "dns-alias", "they lead in a circle");
        for (obstacle, code, weight) in [
            (Obstacle::Failure(circle), "dns-alias", Weight::Error),
            (Obstacle::Doubt(Doubt::Bogus("x".into())), "dnssec-broken", Weight::Error),
            (Obstacle::Doubt(Doubt::Failing("x".into())), "dns-failing", Weight::Warning),
            (Obstacle::Doubt(Doubt::Silent("x".into())), "dns-silent", Weight::Note),
        ] {
            let found = findings(&Delegation { zone: Err(obstacle), ..delegation(&[]) });
            assert_eq!((found[0].code.as_str(), found[0].weight, found.len()), (code, weight, 1));
        }
    }
}
