//! Where challenge answers stand, for the CA to look at.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nolapse::core::name::Token;

/// Token → key authorization; clones share it.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<Token, String>>>);

impl Board {
    pub fn put(&self, token: &Token, answer: &str) {
        self.0.lock().unwrap().insert(token.clone(), answer.to_owned());
    }

    pub fn take_down(&self, token: &Token) {
        self.0.lock().unwrap().remove(token);
    }

    pub fn shows(&self, token: &Token, answer: &str) -> bool {
        self.0.lock().unwrap().get(token).is_some_and(|found| found == answer)
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}
