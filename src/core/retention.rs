//! Which generations may go: never the current or the previous one, never one that is shown.

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
    use crate::core::record::Issued;
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
    fn current_previous_shown_and_unknown_newer_ones_stay() {
        let mut record = LineageRecord::new(LineageId::parse("a").unwrap());
        record.current = Some(issued(7));
        record.previous = Some(issued(6));
        record.last_number = 7;
        let kept = (1..=8).collect();
        assert_eq!(prunable(&record, Some(3), &kept), [1, 2, 4, 5]);
    }
}
