//! What a name's addresses do, for proofs by the web (F36, F37).

use std::fmt::Write;
use std::net::IpAddr;

use super::{Met, Page, Reach, Visit, Way, doubtful};
use crate::core::finding::Finding;

pub(super) fn findings(way: &Way, reach: &Reach) -> Vec<Finding> {
    match &reach.addresses {
        Err(doubt) => vec![doubtful("which addresses it has", doubt)],
        Ok(addresses) if addresses.is_empty() => vec![
            Finding::error("no-address", format!("it has no address, and {} needs one", way.kind.word()))
                .seen("neither A nor AAAA stands in DNS")
                .fix("add an A or AAAA record, or prove it by DNS (dns-01)"),
        ],
        Ok(_) => {
            let mut found = dead(reach);
            found.extend(pages(reach));
            found
        }
    }
}

/// Addresses where nobody answers, by family: CAs ask IPv6 first, and few try IPv4 afterwards.
fn dead(reach: &Reach) -> Vec<Finding> {
    let port = reach.port;
    // No news: our own listener is opened when there is something to answer.
    let excused = |visit: &&Visit| visit.here && visit.met == Met::Refused && reach.opened_on_demand;
    let counted: Vec<_> = reach.visits.iter().filter(|visit| !excused(visit)).collect();
    let of = |wanted: fn(&Met) -> bool| -> Vec<&Visit> {
        counted.iter().copied().filter(|visit| wanted(&visit.met)).collect()
    };
    let failed = of(|met| matches!(met, Met::Refused | Met::Silent | Met::Broken(_)));
    let untried = of(|met| *met == Met::NoRoute);
    let answering = reach.visits.len() - failed.len() - untried.len();
    let mut found = Vec::new();
    if !untried.is_empty() {
        found.push(
            Finding::note(
                "family-untried",
                format!("its {} can't be tried: this host has no way to such addresses", families(&untried)),
            )
            .seen(listed(&untried, port))
            .fix("look from another host, as a CA will"),
        );
    }
    if failed.is_empty() {
        return found;
    }
    let evidence = listed(&failed, port);
    if answering > 0 {
        let fix = if failed.iter().all(|visit| visit.address.is_ipv6()) {
            "make the server listen on [::] too and open the firewall for IPv6, or take the AAAA record away: \
             CAs that see one look there first"
        } else {
            "make the server listen there too, or take the record away"
        };
        let words = format!("its {} at port {port}, while its other addresses answer", fails(&failed));
        found.push(Finding::warning("address-dead", words).seen(evidence).fix(fix));
        return found;
    }
    // Nobody listens at an address of this host: that is certain. Others may lie behind a router that
    // does not lead back to us.
    let certain = untried.is_empty() && failed.iter().all(|visit| visit.here && visit.met == Met::Refused);
    let words = format!("nobody answers at port {port} of any of its addresses");
    found.push(if certain {
        Finding::error("unreachable", words)
            .seen(evidence)
            .fix(format!("start the server that answers on port {port}, or use a solver that listens there"))
    } else {
        Finding::warning("unreachable", format!("{words}, as seen from here")).seen(evidence).fix(format!(
            "look from outside: a router may not lead back to this host. Else open port {port} in the firewall, \
             or mend the addresses in DNS"
        ))
    });
    found
}

/// What web servers answered for a token that nobody knows.
fn pages(reach: &Reach) -> Vec<Finding> {
    let answered: Vec<(&Visit, &Page)> = reach
        .visits
        .iter()
        .filter_map(|visit| if let Met::Answered(page) = &visit.met { Some((visit, page)) } else { None })
        .collect();
    let mut found = Vec::new();
    for (visit, page) in &answered {
        if let Some((to, why)) = &page.astray {
            found.push(
                Finding::warning(
                    "redirect-astray",
                    format!("it is redirected where CAs don't follow: {why}"),
                )
                .seen(format!("{} → {to}", road(visit, page)))
                .fix("leave /.well-known/acme-challenge/ out of the redirect"),
            );
        } else if let Some(to) = &page.elsewhere {
            found.push(
                Finding::note(
                    "redirect-elsewhere",
                    "it is redirected to a name that is not in the certificate; what that answers was not asked",
                )
                .seen(format!("{} → {to}", road(visit, page)))
                .fix("see that the answer is served there, or leave /.well-known/acme-challenge/ out of the redirect"),
            );
        } else if matches!(page.status, 401 | 403) || (page.status >= 500 && !reach.passed_on) {
            found.push(
                Finding::warning(
                    "challenge-forbidden",
                    format!("the web server answers {} where a challenge would be", page.status),
                )
                .seen(road(visit, page))
                .fix("let everybody read /.well-known/acme-challenge/, without a login"),
            );
        }
    }
    if let Some((first, page)) = answered.first()
        && let Some((other, its)) = answered.iter().find(|(_, its)| {
            (its.status, &its.server, &its.redirects) != (page.status, &page.server, &page.redirects)
        })
    {
        found.push(
            Finding::warning(
                "addresses-differ",
                "its addresses don't answer alike: one of them may lead to another host",
            )
            .seen(format!("{}; {}", road(first, page), road(other, its)))
            .fix("make A and AAAA lead to the host that answers challenges, or take the wrong one away"),
        );
    }
    found
}

/// `AAAA 2001:db8::1: http://a.example/… → https://a.example/… → 404 by nginx`.
fn road(visit: &Visit, page: &Page) -> String {
    let mut told = place(visit.address);
    for step in &page.redirects {
        told.push_str(" → ");
        told.push_str(step);
    }
    if page.astray.is_none() && page.elsewhere.is_none() {
        // Writing into a text does not fail.
        let _ = write!(told, " answers {}", page.status);
        if let Some(server) = &page.server {
            let _ = write!(told, " by {server}");
        }
    }
    told
}

fn place(address: IpAddr) -> String {
    format!("{} {address}", if address.is_ipv6() { "AAAA" } else { "A" })
}

fn listed(visits: &[&Visit], port: u16) -> String {
    let one = |visit: &&Visit| {
        let how = match &visit.met {
            Met::Refused => "refuses connections".to_owned(),
            Met::Silent => "does not answer".to_owned(),
            Met::NoRoute => "has no route".to_owned(),
            Met::Broken(words) => words.clone(),
            Met::Open | Met::Answered(_) => "answers".to_owned(),
        };
        format!("{} port {port} {how}", place(visit.address))
    };
    visits.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn families(visits: &[&Visit]) -> &'static str {
    let six = visits.iter().any(|visit| visit.address.is_ipv6());
    let four = visits.iter().any(|visit| visit.address.is_ipv4());
    match (four, six) {
        (true, true) => "IPv4 and IPv6 addresses",
        (_, true) => "IPv6 address (AAAA)",
        _ => "IPv4 address (A)",
    }
}

fn fails(visits: &[&Visit]) -> String {
    let families = families(visits);
    format!("{families} {} not answer", if families.ends_with("addresses") { "do" } else { "does" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::finding::Weight;
    use crate::core::name::SolverId;
    use crate::core::preflight::{Doubt, Seen};
    use crate::core::record::ChallengeKind;

    const FOUR: &str = "192.0.2.1";
    const SIX: &str = "2001:db8::1";

    fn page(status: u16) -> Met {
        Met::Answered(Page { status, server: Some("nginx".into()), ..Page::default() })
    }

    fn visit(address: &str, here: bool, met: Met) -> Visit {
        Visit { address: address.parse().unwrap(), here, met }
    }

    fn found(visits: Vec<Visit>, opened_on_demand: bool, passed_on: bool) -> Vec<Finding> {
        let addresses = Ok(visits.iter().map(|visit| visit.address).collect());
        told(&Reach { port: 80, addresses, visits, opened_on_demand, passed_on })
    }

    fn told(reach: &Reach) -> Vec<Finding> {
        let way = Way {
            solver: SolverId::parse("web").unwrap(),
            kind: ChallengeKind::Http01,
            seen: Seen::Web(reach.clone()),
        };
        findings(&way, reach)
    }

    fn codes(found: &[Finding]) -> Vec<(&str, Weight)> {
        found.iter().map(|finding| (finding.code.as_str(), finding.weight)).collect()
    }

    #[test]
    fn f36_the_family_that_fails_is_named() {
        for (what, visits, expected, says) in [
            ("both answer", vec![visit(FOUR, false, page(404)), visit(SIX, false, page(404))], vec![], ""),
            (
                "IPv6 refuses",
                vec![visit(FOUR, false, page(404)), visit(SIX, false, Met::Refused)],
                vec![("address-dead", Weight::Warning)],
                "IPv6 address (AAAA) does not answer",
            ),
            (
                "IPv4 is silent",
                vec![visit(FOUR, false, Met::Silent), visit(SIX, false, page(404))],
                vec![("address-dead", Weight::Warning)],
                "IPv4 address (A) does not answer",
            ),
            (
                "this host has no IPv6",
                vec![visit(FOUR, false, page(404)), visit(SIX, false, Met::NoRoute)],
                vec![("family-untried", Weight::Note)],
                "can't be tried",
            ),
            (
                "IPv6 leads to another server",
                vec![visit(FOUR, false, page(404)), visit(SIX, false, page(200))],
                vec![("addresses-differ", Weight::Warning)],
                "don't answer alike",
            ),
            (
                "neither answers from here",
                vec![visit(FOUR, false, Met::Silent), visit(SIX, false, Met::Silent)],
                vec![("unreachable", Weight::Warning)],
                "as seen from here",
            ),
        ] {
            let found = found(visits, false, false);
            assert_eq!(codes(&found), expected, "{what}");
            assert!(says.is_empty() || found[0].words.contains(says), "{what}: {found:?}");
        }
    }

    #[test]
    fn f37_nobody_on_this_hosts_own_address_is_certain_unless_we_open_it() {
        let refused = || vec![visit(FOUR, true, Met::Refused)];
        assert_eq!(codes(&found(refused(), false, false)), [("unreachable", Weight::Error)]);
        assert_eq!(codes(&found(refused(), true, false)), []);
        assert_eq!(
            codes(&found(vec![visit(FOUR, true, Met::Silent)], true, false)),
            [("unreachable", Weight::Warning)],
            "a firewall on the way is not opened by us"
        );
    }

    #[test]
    fn answers_that_no_challenge_gets_past_are_told() {
        let astray =
            Page { astray: Some(("https://a.example:8443/".into(), "port".into())), ..Page::default() };
        let elsewhere = Page { elsewhere: Some("https://www.example/".into()), ..Page::default() };
        for (what, met, passed_on, expected) in [
            ("a login", page(401), false, vec![("challenge-forbidden", Weight::Warning)]),
            ("an error of its own", page(503), false, vec![("challenge-forbidden", Weight::Warning)]),
            ("our listener is closed for now", page(502), true, vec![]),
            ("another port", Met::Answered(astray), false, vec![("redirect-astray", Weight::Warning)]),
            ("another name", Met::Answered(elsewhere), false, vec![("redirect-elsewhere", Weight::Note)]),
            ("it takes connections", Met::Open, false, vec![]),
        ] {
            assert_eq!(codes(&found(vec![visit(FOUR, false, met)], false, passed_on)), expected, "{what}");
        }
    }

    #[test]
    fn names_without_an_address_are_told_from_names_that_cant_be_looked_up() {
        let reach = |addresses| Reach {
            port: 80,
            addresses,
            visits: Vec::new(),
            opened_on_demand: true,
            passed_on: false,
        };
        assert_eq!(codes(&told(&reach(Ok(Vec::new())))), [("no-address", Weight::Error)]);
        let bogus = Err(Doubt::Bogus("SERVFAIL".into()));
        assert_eq!(codes(&told(&reach(bogus))), [("dnssec-broken", Weight::Error)]);
        let silent = Err(Doubt::Silent("nobody".into()));
        assert_eq!(codes(&told(&reach(silent))), [("dns-silent", Weight::Note)]);
    }

    #[test]
    fn where_a_redirect_leads_stands_for_an_answer_that_was_not_asked_for() {
        let elsewhere = Page { elsewhere: Some("https://www.example/".into()), ..Page::default() };
        let found = found(vec![visit(FOUR, false, Met::Answered(elsewhere))], false, false);
        assert_eq!(found[0].evidence, "A 192.0.2.1 → https://www.example/");
        let found = self::found(vec![visit(FOUR, false, page(401))], false, false);
        assert_eq!(found[0].evidence, "A 192.0.2.1 answers 401 by nginx");
    }
}
