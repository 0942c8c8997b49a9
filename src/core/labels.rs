//! Words that people put on what they are responsible for, such as `owner` and `runbook`. They are
//! passed on with alerts and mean nothing to the agent.

use std::collections::BTreeMap;
use std::sync::Arc;

/// By key, in order. A copy is the same map again.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<BTreeMap<String, String>>);

impl Labels {
    /// Most labels of one thing.
    pub const MOST: usize = 16;
    /// Longest value, in characters.
    pub const VALUE_MAX: usize = 200;

    pub fn new(labels: BTreeMap<String, String>) -> Self {
        Self(Arc::new(labels))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value of one.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}
