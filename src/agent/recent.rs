//! Entries that were decoded last. The looks of one tick, and of one tick and the next, mostly find
//! the same bytes, and reading JSON is most of what a look costs.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::core::layout::Content;
use crate::ports::Key;

/// A few values with the bytes that they were read from.
pub struct Recent<T>(Mutex<VecDeque<Known<T>>>);

struct Known<T> {
    key: Key,
    bytes: Content,
    value: Box<T>,
}

/// Values kept: one for each lineage that is worked on at one time.
const MOST: usize = 8;

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Recent<T> {
    /// The value of these bytes, by `decode` where it is not known. Only `kept` values are known the
    /// next time: of ten thousand that are looked at once, none comes again.
    pub fn decoded<E>(
        &self,
        key: &Key,
        bytes: &Content,
        kept: bool,
        decode: impl FnOnce(&Content) -> Result<T, E>,
    ) -> Result<Box<T>, E> {
        let known = |known: &&Known<T>| known.key == *key && known.bytes == *bytes;
        if let Some(known) = self.list().iter().find(known) {
            return Ok(known.value.clone());
        }
        let value = Box::new(decode(bytes)?);
        if kept {
            let mut list = self.list();
            list.retain(|known| known.key != *key);
            list.truncate(MOST - 1);
            list.push_front(Known { key: key.clone(), bytes: bytes.clone(), value: value.clone() });
        }
        Ok(value)
    }

    fn list(&self) -> std::sync::MutexGuard<'_, VecDeque<Known<T>>> {
        // Each change leaves a list whose values are those of their bytes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::name::LineageId;

    #[test]
    fn other_bytes_are_decoded_and_the_oldest_make_room() {
        let recent = Recent::<u8>::default();
        let key = |number: usize| Key::Lineage(LineageId::parse(&format!("m{number}")).unwrap());
        let decodes = |number: usize, byte: u8, kept: bool| {
            let mut decoded = false;
            let value = recent.decoded(&key(number), &Content::new(vec![byte]), kept, |content| {
                decoded = true;
                Ok::<_, ()>(content.bytes()[0])
            });
            assert_eq!(value, Ok(Box::new(byte)));
            decoded
        };
        assert!(decodes(0, 1, false) && decodes(0, 1, true), "what is not kept is not known");
        assert!(!decodes(0, 1, false), "the same bytes");
        assert!(decodes(0, 2, true) && decodes(0, 1, true), "the same entry with other bytes");
        for number in 1..MOST {
            assert!(decodes(number, 1, true));
        }
        assert!(!decodes(0, 1, true), "one of the last {MOST}");
        assert!(decodes(MOST, 1, true) && decodes(0, 1, false), "no longer one of them");
        assert!(recent.decoded(&key(9), &Content::default(), true, |_| Err::<u8, _>(())).is_err());
        assert_eq!(recent.list().len(), MOST);
    }
}
