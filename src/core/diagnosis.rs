//! What an endpoint that does not show what it should is most likely suffering from, and the one
//! next step for a person. From what was seen alone: nothing is asked of the host.

use super::endpoint::Endpoint;
use super::leaf::Leaf;
use super::record::{EndpointNote, Sight};
use super::silence::Silence;
use super::time::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Stable and kebab-case.
    pub code: &'static str,
    /// A sentence without its end, such as "restart what serves …".
    pub step: String,
}

impl Diagnosis {
    fn new(code: &'static str, step: String) -> Self {
        Self { code, step }
    }

    /// `None` where nothing is wrong with what was seen, chain and all.
    pub fn of(endpoint: &Endpoint, note: &EndpointNote, now: Timestamp) -> Option<Self> {
        if note.fine() {
            let flaw = note.flaws.first()?;
            return Some(Self::new(flaw.kind.code(), format!("at {endpoint}: {}", flaw.kind.step())));
        }
        let mixed = note.tally.as_ref().filter(|tally| tally.is_mixed());
        if let Some(tally) = mixed {
            let port = endpoint.port;
            return Some(match (tally.at.as_slice(), note.sight) {
                ([], Sight::Unreachable) => Self::new(
                    "some-silent",
                    format!("restart what serves {endpoint}: a worker or backend of it does not answer"),
                ),
                ([], _) => Self::new(
                    "served-mixed",
                    format!(
                        "find the second process, worker or backend behind {endpoint} (ss -ltnp 'sport = :{port}'), and end or reload it"
                    ),
                ),
                (at, _) => {
                    let places: Vec<_> = at.iter().map(ToString::to_string).collect();
                    let words = format!(
                        "deploy to {} too: other addresses of {} are as they should be",
                        places.join(" and "),
                        endpoint.host
                    );
                    Self::new("address-behind", words)
                }
            });
        }
        match (&note.leaf, note.silence) {
            (Some(leaf), _) => Some(Self::of_served(endpoint, note.sight, leaf, now)),
            (None, silence) => Some(Self::of_silence(endpoint, silence.unwrap_or(Silence::Closed))),
        }
    }

    fn of_served(endpoint: &Endpoint, sight: Sight, leaf: &Leaf, now: Timestamp) -> Self {
        match sight {
            Sight::Old | Sight::New | Sight::Unreachable => Self::new(
                "served-old",
                format!(
                    "restart what serves {endpoint}: its reload left the earlier certificate in place, or it reads a copy"
                ),
            ),
            Sight::OtherValid => Self::new(
                "served-unmanaged",
                format!("point {endpoint} at this certificate's files: it has others, valid ones"),
            ),
            Sight::Wrong if leaf.self_signed => Self::new(
                "served-self-signed",
                format!("point {endpoint} at this certificate's files: it still has a self-made pair"),
            ),
            Sight::Wrong if endpoint.asked().is_some_and(|name| !leaf.covers(&name)) => Self::new(
                "served-other-name",
                format!(
                    "give {} a server of its own at {}:{} with this certificate's files: another one answers for it",
                    endpoint.server_name(),
                    endpoint.host,
                    endpoint.port
                ),
            ),
            Sight::Wrong if leaf.not_after <= now => Self::new(
                "served-expired",
                format!("point {endpoint} at this certificate's files: it has an expired one"),
            ),
            Sight::Wrong => Self::new(
                "served-wrong",
                format!("point {endpoint} at this certificate's files: it has one that is not valid"),
            ),
        }
    }

    /// Of an endpoint that showed no certificate at all.
    pub fn of_silence(endpoint: &Endpoint, silence: Silence) -> Self {
        let step = match silence {
            Silence::Unresolved => format!("mend the name {}: it leads nowhere from here", endpoint.host),
            Silence::Closed => format!("start what listens at {endpoint}"),
            Silence::NoRoute => format!("mend the way to {endpoint}: address, firewall, network"),
            Silence::TimedOut => {
                format!("restart what holds {endpoint}: it takes connections and answers none")
            }
            Silence::NotSpoken => {
                format!("switch TLS on at {endpoint}, or write the protocol that is spoken there before ://")
            }
            Silence::NotOffered => format!("switch STARTTLS on at {endpoint}"),
            Silence::NotReady => {
                format!(
                    "read the log of what serves {endpoint}: it can't begin TLS, often for want of its key"
                )
            }
            Silence::Refused => {
                format!(
                    "read the log of what serves {endpoint}: it refuses this handshake (name, key, version)"
                )
            }
            Silence::BrokenOff => {
                format!("read the log of what serves {endpoint}: it hangs up during the handshake")
            }
            Silence::NoCertificate => {
                format!("give what serves {endpoint} the key that fits its certificate")
            }
            Silence::NotLooked => format!("read why {endpoint} could not be looked at"),
        };
        Self::new(silence.code(), step)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::chain::{Flaw, FlawKind};
    use crate::core::leaf::Fingerprint;
    use crate::core::name::SubjectName;
    use crate::core::tally::Tally;
    use crate::core::time::Span;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn leaf(name: &str) -> Leaf {
        Leaf {
            names: vec![SubjectName::parse(name).unwrap()],
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

    fn note(sight: Sight) -> EndpointNote {
        EndpointNote {
            sight,
            at: NOW,
            next_at: NOW,
            generation: 2,
            failures: 1,
            reached: true,
            leaf: (sight != Sight::Unreachable).then(|| leaf("a.example")),
            words: None,
            silence: None,
            tally: None,
            accepted: false,
            flaws: Vec::new(),
        }
    }

    #[test]
    fn each_lie_has_a_name_of_its_own() {
        let tally = |at: &[&str]| {
            let at = at.iter().map(|ip| ip.parse().unwrap()).collect();
            Some(Tally { made: 8, off: 2, at })
        };
        let flaw = Flaw { kind: FlawKind::ChainIncomplete, words: "…".into() };
        let wrong = |leaf| EndpointNote { leaf: Some(leaf), ..note(Sight::Wrong) };
        let silent = |silence| EndpointNote { silence: Some(silence), ..note(Sight::Unreachable) };
        let table = [
            ("all is well", note(Sight::New), None),
            ("an edge's own", EndpointNote { accepted: true, ..note(Sight::OtherValid) }, None),
            (
                "well, but the leaf alone",
                EndpointNote { flaws: vec![flaw], ..note(Sight::New) },
                Some("chain-incomplete"),
            ),
            ("every worker old", note(Sight::Old), Some("served-old")),
            (
                "all of several old",
                EndpointNote { tally: Some(Tally { made: 8, off: 8, at: Vec::new() }), ..note(Sight::Old) },
                Some("served-old"),
            ),
            (
                "some workers old",
                EndpointNote { tally: tally(&[]), ..note(Sight::Old) },
                Some("served-mixed"),
            ),
            (
                "one address old",
                EndpointNote { tally: tally(&["10.0.0.2"]), ..note(Sight::Old) },
                Some("address-behind"),
            ),
            (
                "a worker that hangs",
                EndpointNote { tally: tally(&[]), ..note(Sight::Unreachable) },
                Some("some-silent"),
            ),
            ("other files", note(Sight::OtherValid), Some("served-unmanaged")),
            ("snakeoil", wrong(Leaf { self_signed: true, ..leaf("a.example") }), Some("served-self-signed")),
            ("the default server", wrong(leaf("b.example")), Some("served-other-name")),
            (
                "an expired one",
                wrong(Leaf { not_after: NOW - Span::DAY, ..leaf("a.example") }),
                Some("served-expired"),
            ),
            (
                "one from tomorrow",
                wrong(Leaf { not_before: NOW + Span::DAY, ..leaf("a.example") }),
                Some("served-wrong"),
            ),
            ("nobody listens", silent(Silence::Closed), Some("endpoint-closed")),
            ("frozen", silent(Silence::TimedOut), Some("endpoint-silent")),
            ("plain text", silent(Silence::NotSpoken), Some("endpoint-no-tls")),
            ("noted by an earlier release", note(Sight::Unreachable), Some("endpoint-closed")),
        ];
        let endpoint = Endpoint::parse("a.example@127.0.0.1:443").unwrap();
        for (situation, note, code) in table {
            let found = Diagnosis::of(&endpoint, &note, NOW);
            assert_eq!(found.as_ref().map(|found| found.code), code, "{situation}");
            assert!(found.is_none_or(|found| found.step.contains("127.0.0.1")), "{situation}");
        }
    }

    #[test]
    fn each_silence_has_a_step_of_its_own() {
        let endpoint = Endpoint::parse("smtp://a.example:25").unwrap();
        let steps: std::collections::BTreeSet<_> =
            Silence::ALL.iter().map(|silence| Diagnosis::of_silence(&endpoint, *silence).step).collect();
        assert_eq!(steps.len(), Silence::ALL.len());
    }

    #[test]
    fn without_a_name_to_ask_for_no_name_is_missed() {
        let endpoint = Endpoint::parse("127.0.0.1:443").unwrap();
        let ended = Leaf { not_after: NOW, ..leaf("a.example") };
        let note = EndpointNote { leaf: Some(ended), ..note(Sight::Wrong) };
        assert_eq!(Diagnosis::of(&endpoint, &note, NOW).map(|found| found.code), Some("served-expired"));
    }
}
