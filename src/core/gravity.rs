//! How much something that is wrong should disturb whoever is responsible.

use std::fmt;

use serde::{Deserialize, Serialize};

/// From what can be read in the morning to what gets somebody up at night.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gravity {
    /// Worth knowing; nothing has to be done yet.
    Notice,
    /// Somebody has to act, within days.
    Ticket,
    /// Somebody has to act now: clients see it, or will soon.
    Page,
}

impl Gravity {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Ticket => "ticket",
            Self::Page => "page",
        }
    }
}

impl fmt::Display for Gravity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
