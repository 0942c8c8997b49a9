//! Plots that once broke a law, in their smallest form. None is ever removed.

use nolapse::core::time::Span;

use crate::life::live;
use crate::plot::What::{For, Freeze};
use crate::plot::{Fault, Plot};
use crate::script::Trouble::StoreStale;

/// What each showed, and the plot.
fn kept() -> Vec<(&'static str, Plot)> {
    vec![
        (
            "a judgement that took two days made the loop report a wake in the past",
            Plot {
                seed: 33,
                lifetime: Span::days(90),
                others: vec![],
                nodes: 1,
                agents: 1,
                shared: false,
                lives: 3,
                faults: vec![Fault {
                    at: Span::minutes(341_781),
                    what: Freeze { node: 0, span: Span::minutes(3219) },
                }],
            },
        ),
        (
            "a store that answered with old values had renewal information asked for 64 times in 8 s",
            Plot {
                seed: 9039,
                lifetime: Span::hours(160),
                others: vec![],
                nodes: 1,
                agents: 1,
                shared: true,
                lives: 1,
                faults: vec![Fault { at: Span::minutes(13_985), what: For(Span::minutes(10), StoreStale) }],
            },
        ),
    ]
}

#[test]
fn what_was_found_once_stays_found() {
    for (row, plot) in kept() {
        let lived = live(&plot, None, false);
        assert!(lived.broken.is_none(), "{row}: {:?}\n{}\n{plot}", lived.broken, lived.tail);
    }
}
