//! Leaves and chains that are not what was ordered.

use test_ca::{ChainLie, Effect, Endpoint, LeafLie, RetryAfter};

use crate::case::Case;

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for lie in [
        LeafLie::OtherKey,
        LeafLie::MissingName,
        LeafLie::ExtraName,
        LeafLie::Expired,
        LeafLie::NotYetValid,
        LeafLie::Year1970,
        LeafLie::Year9999,
        LeafLie::Reversed,
        LeafLie::Authority,
        LeafLie::StagingRoot,
    ] {
        cases.push(Case::at(Endpoint::Finalize, &format!("a leaf with {lie:?}"), Effect::Leaf(lie)));
    }
    for lie in [
        ChainLie::Empty,
        ChainLie::LeafOnly,
        ChainLie::NoLeaf,
        ChainLie::Backwards,
        ChainLie::Doubled,
        ChainLie::Members(9),
        ChainLie::Members(1000),
        ChainLie::OtherIssuer,
        ChainLie::WithRoot,
        ChainLie::WithKey,
        ChainLie::WithText,
        ChainLie::WithEscapes,
        ChainLie::CrLf,
        ChainLie::Truncated,
        ChainLie::Der,
        ChainLie::BadBase64,
        ChainLie::ShortDer,
        ChainLie::OtherLabel,
        ChainLie::LongLines,
        ChainLie::Padded(100_000),
        ChainLie::Padded(1 << 20),
        ChainLie::WithNul,
        ChainLie::WithMark,
    ] {
        cases.push(Case::at(Endpoint::Certificate, &format!("a chain with {lie:?}"), Effect::Chain(lie)));
    }
    for kind in [
        "text/html",
        "application/json",
        "application/pkix-cert",
        "",
        "\u{7f}",
        "APPLICATION/PEM-CERTIFICATE-CHAIN; x=y",
    ] {
        let typed = Effect::Header { name: "content-type", values: vec![kind.to_owned()] };
        cases.push(Case::at(Endpoint::Certificate, &format!("a chain of type {kind:?}"), typed));
    }
    let typed = |values| Effect::Header { name: "content-type", values };
    cases.push(Case::at(Endpoint::Certificate, "a chain of no type", typed(Vec::new())));
    let alternates = Effect::Header {
        name: "link",
        values: (0..200).map(|n| format!("<file:///x{n}>;rel=\"alternate\"")).collect(),
    };
    cases.push(Case::at(Endpoint::Certificate, "two hundred alternates elsewhere", alternates));
    for (what, polls) in [("for one poll", Some(1)), ("for thirty polls", Some(30)), ("for ever", None)] {
        cases.push(Case::at(Endpoint::Finalize, &format!("processing {what}"), Effect::Processing(polls)));
    }
    cases.push(
        Case::at(
            Endpoint::Finalize,
            "processing for ever and to be asked in a decade",
            Effect::Processing(None),
        )
        .set(|builder| builder.poll_retry_after(RetryAfter::Seconds(315_360_000))),
    );
    cases.push(
        Case::at(Endpoint::Finalize, "processing for ever and to be asked at once", Effect::Processing(None))
            .set(|builder| builder.poll_retry_after(RetryAfter::Seconds(0))),
    );
    cases.push(Case::at(Endpoint::Finalize, "the order fails", Effect::FailOrder));
    cases.push(
        Case::at(Endpoint::Finalize, "the order fails in silence", Effect::FailOrder)
            .set(test_ca::CaBuilder::silent_orders),
    );
    cases
}
