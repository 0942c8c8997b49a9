//! Values that stand in records as their text. They are read from the text where it lies: a pass
//! reads hundreds of thousands of them, and a copy of each only to look at it took a third of that.

use std::fmt;

use serde::de::{Error, Visitor};

/// Reads a value with `parse` from a text that is borrowed.
pub struct FromText<F> {
    /// What is said to be missing where something else than a text stands.
    pub expected: &'static str,
    pub parse: F,
}

impl<T, E: fmt::Display, F: FnOnce(&str) -> Result<T, E>> Visitor<'_> for FromText<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<D: Error>(self, text: &str) -> Result<T, D> {
        (self.parse)(text).map_err(D::custom)
    }
}

/// `Serialize` by `Display` and `Deserialize` by a function from `&str`.
macro_rules! stored_as_text {
    ($type:ty, $expected:literal, $parse:expr) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer
                    .deserialize_str($crate::core::text::FromText { expected: $expected, parse: $parse })
            }
        }
    };
}

pub(crate) use stored_as_text;
