//! Every certificate of a host, once: where it lies, who serves it, who renews it.

use std::collections::BTreeMap;

use super::endpoint::Endpoint;
use super::gravity::Gravity;
use super::leaf::Fingerprint;
use super::scrutiny::{Scrutiny, first_end};
use super::specimen::{Specimen, Unread};
use super::time::Timestamp;
use super::usage::{Renewer, Usage};
use super::watch::Thresholds;
use super::watched::Blemish;

/// What a look around a host came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sightings {
    pub files: Vec<Lying>,
    pub usages: Vec<Usage>,
    pub served: Vec<Serving>,
    /// Files that a server names and nobody could read.
    pub unread: Vec<(Usage, Unread)>,
}

/// A certificate in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lying {
    pub path: String,
    pub specimen: Specimen,
    pub renewer: Option<Renewer>,
}

/// A certificate at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    pub endpoint: Endpoint,
    pub process: Option<String>,
    pub specimen: Specimen,
}

/// One certificate and all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovered {
    pub specimen: Specimen,
    /// Sorted.
    pub files: Vec<String>,
    pub usages: Vec<Usage>,
    /// Where it is served, and by which process.
    pub ports: Vec<(Endpoint, Option<String>)>,
    pub renewer: Option<Renewer>,
    /// The gravest first.
    pub blemishes: Vec<Blemish>,
    pub ends: Timestamp,
}

/// Codes of blemishes that only discovery finds.
pub const CODES: [&str; 3] = ["nobody-renews", "nobody-uses", "served-nowhere"];

impl Discovered {
    /// Whether any server shows it or means to.
    pub fn is_used(&self) -> bool {
        !self.usages.is_empty() || !self.ports.is_empty()
    }
}

impl Sightings {
    /// The most endangered first: used and renewed by nobody, then by what is left; what nobody uses
    /// comes last.
    pub fn gathered(self, now: Timestamp) -> Vec<Discovered> {
        let mut found: BTreeMap<Fingerprint, Discovered> = BTreeMap::new();
        let mut by_path: BTreeMap<String, Fingerprint> = BTreeMap::new();
        for Lying { path, specimen, renewer } in self.files {
            by_path.insert(path.clone(), specimen.leaf.fingerprint);
            let known = found.entry(specimen.leaf.fingerprint).or_insert_with(|| bare(specimen.clone()));
            // The fullest chain tells most; a key beside any of its files was compared.
            if specimen.chain.len() > known.specimen.chain.len() {
                known.specimen = specimen;
            }
            known.files.push(path);
            known.renewer = known.renewer.take().or(renewer);
        }
        for usage in self.usages {
            let known = by_path.get(&usage.certificate).and_then(|print| found.get_mut(print));
            if let Some(known) = known {
                known.usages.push(usage);
            }
        }
        let looked_at_ports = !self.served.is_empty();
        for Serving { endpoint, process, specimen } in self.served {
            let known = found.entry(specimen.leaf.fingerprint).or_insert_with(|| bare(specimen));
            known.ports.push((endpoint, process));
        }
        let mut all: Vec<_> = found.into_values().collect();
        for each in &mut all {
            each.files.sort();
            each.files.dedup();
            each.ends = first_end(&each.specimen);
            each.blemishes = blemishes(each, looked_at_ports, now);
        }
        all.sort_by_key(|each| {
            (!each.is_used(), each.renewer.is_some(), each.ends, each.specimen.leaf.fingerprint)
        });
        all
    }
}

fn bare(specimen: Specimen) -> Discovered {
    Discovered {
        ends: specimen.leaf.not_after,
        specimen,
        files: Vec::new(),
        usages: Vec::new(),
        ports: Vec::new(),
        renewer: None,
        blemishes: Vec::new(),
    }
}

fn blemishes(found: &Discovered, looked_at_ports: bool, now: Timestamp) -> Vec<Blemish> {
    let scrutiny = Scrutiny { thresholds: Thresholds::default(), names: &[], now };
    let mut blemishes = scrutiny.file(&found.specimen);
    // Every name that a server answers for must be in it.
    for usage in &found.usages {
        let names = usage.names.iter().filter_map(|name| super::name::SubjectName::parse(name).ok());
        if let Some(name) =
            names.filter(|name| name.base().is_some()).find(|name| !found.specimen.leaf.covers(name))
        {
            blemishes.push(Blemish {
                code: "name-not-covered",
                gravity: Gravity::Ticket,
                words: format!(
                    "{} ({}) answers for {name} with it, and it is not for that name",
                    usage.server, usage.origin
                ),
                advice: "get one that is, or take the name out of the server's configuration".into(),
            });
            break;
        }
    }
    let mut add = |code, gravity, words: &str, advice: &str| {
        blemishes.push(Blemish { code, gravity, words: words.into(), advice: advice.into() });
    };
    if found.is_used() && found.renewer.is_none() {
        let advice = "watch it, or let nolapse renew it: nolapse discover --write drafts either";
        add("nobody-renews", Gravity::Ticket, "no tool that is known here renews it", advice);
    }
    if !found.is_used() {
        add(
            "nobody-uses",
            Gravity::Notice,
            "no server that is known here uses it",
            "remove it, if that is so",
        );
    } else if looked_at_ports && found.ports.is_empty() {
        let advice = "start or reload the server; it may also listen where this look did not reach";
        add("served-nowhere", Gravity::Notice, "a server names it, and no port was seen to show it", advice);
    }
    blemishes.sort_by_key(|blemish| std::cmp::Reverse(blemish.gravity));
    blemishes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::specimen::KeyFact;
    use crate::core::time::Span;
    use crate::core::usage::Server;
    use crate::core::window::tests::leaf;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn specimen(salt: u8, left: i64) -> Specimen {
        let leaf = leaf(NOW - Span::days(90 - left), Span::days(90), salt);
        Specimen { leaf, chain: Vec::new(), authority: false, key: KeyFact::Unknown, distrust: None }
    }

    fn lying(path: &str, specimen: &Specimen, tool: Option<&'static str>) -> Lying {
        let renewer = tool.map(|tool| Renewer { tool, evidence: "its file".into() });
        Lying { path: path.into(), specimen: specimen.clone(), renewer }
    }

    fn usage(path: &str, names: &[&str]) -> Usage {
        Usage {
            server: Server::Nginx,
            origin: "nginx.conf:1".into(),
            certificate: path.into(),
            key: None,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            ports: vec![443],
        }
    }

    #[test]
    fn the_one_that_nobody_renews_and_ends_first_comes_first() {
        let [bought, young, certbots, idle] =
            [specimen(1, 40), specimen(2, 80), specimen(3, 5), specimen(4, 1)];
        let served = Serving {
            endpoint: Endpoint::parse("127.0.0.1:443").unwrap(),
            process: Some("nginx (1)".into()),
            specimen: young.clone(),
        };
        let found = Sightings {
            files: vec![
                lying("/idle.pem", &idle, None),
                lying("/etc/ssl/copy.pem", &certbots, None),
                lying("/live/c/fullchain.pem", &certbots, Some("certbot")),
                lying("/bought.pem", &bought, None),
            ],
            usages: vec![
                usage("/bought.pem", &["a.example", "z.example"]),
                usage("/etc/ssl/copy.pem", &["a.example"]),
            ],
            served: vec![served],
            unread: Vec::new(),
        }
        .gathered(NOW);
        let told: Vec<_> = found
            .iter()
            .map(|each| {
                let codes: Vec<_> = each.blemishes.iter().map(|blemish| blemish.code).collect();
                (each.specimen.leaf.serial.as_str(), each.renewer.as_ref().map(|by| by.tool), codes.join(" "))
            })
            .collect();
        assert_eq!(
            told,
            [
                ("01", None, "name-not-covered nobody-renews served-nowhere".to_owned()),
                ("02", None, "nobody-renews".to_owned()),
                ("03", Some("certbot"), "ends-soon served-nowhere".to_owned()),
                ("04", None, "ends-soon nobody-uses".to_owned()),
            ]
        );
        assert_eq!(found[2].files, ["/etc/ssl/copy.pem", "/live/c/fullchain.pem"], "one certificate, once");
    }
}
