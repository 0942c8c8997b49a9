//! Which generations may go: none that the record keeps, and never one that is shown.

use std::collections::BTreeSet;

use super::record::{GenerationNumber, LineageRecord};

/// Of `kept`, the numbers that nothing needs any more.
pub fn prunable(
    record: &LineageRecord,
    shown: Option<GenerationNumber>,
    kept: &BTreeSet<GenerationNumber>,
) -> Vec<GenerationNumber> {
    let needed = |number: GenerationNumber| record.issued(number).is_some() || shown == Some(number);
    // A number above the record's may belong to a record newer than the one we read.
    kept.iter().copied().filter(|number| !needed(*number) && *number <= record.last_number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::name::{IssuerId, LineageId};
    use crate::core::record::{Issued, Pin};
    use crate::core::spec::KeyKind;
    use crate::core::time::{Span, Timestamp};
    use crate::core::window::tests::leaf;

    fn issued(number: GenerationNumber) -> Issued {
        Issued {
            number,
            leaf: leaf(Timestamp::EPOCH, Span::days(90), 1),
            issuer: IssuerId::parse("ca").ok(),
            profile: None,
            key_kind: KeyKind::EcdsaP256,
            names: Vec::new(),
            at: Timestamp::EPOCH,
            order: String::new(),
            revoked: false,
            digests: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn what_the_record_keeps_what_is_shown_and_unknown_newer_ones_stay() {
        let mut record = LineageRecord::new(LineageId::parse("a").unwrap());
        record.current = Some(issued(7));
        record.previous = Some(issued(6));
        record.earlier = vec![issued(4)];
        record.last_number = 7;
        let kept = (1..=8).collect();
        assert_eq!(prunable(&record, Some(3), &kept), [1, 2, 5]);
    }

    #[test]
    fn a_generation_is_pushed_out_by_the_fourth_after_it_unless_it_is_pinned() {
        let mut record = LineageRecord::new(LineageId::parse("a").unwrap());
        let numbers = |record: &LineageRecord| record.kept().map(|one| one.number).collect::<Vec<_>>();
        for number in 1..=6 {
            record.succeed(issued(number));
        }
        assert_eq!((numbers(&record), record.past.len()), (vec![6, 5, 4, 3], 2));
        record.pin = Some(Pin { generation: 4, reason: String::new(), at: Timestamp::EPOCH });
        for number in 7..=20 {
            record.succeed(issued(number));
        }
        assert_eq!((numbers(&record), record.past.len()), (vec![20, 19, 18, 4], 16));
        record.pin = None;
        record.succeed(issued(21));
        assert_eq!((numbers(&record), record.past.len()), (vec![21, 20, 19, 18], 17));
    }
}
