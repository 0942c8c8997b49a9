//! What happened, for logs, metrics and hooks: stable names, plain fields, no secrets.

use serde::Serialize;

use super::endpoint::Endpoint;
use super::failure::Failure;
use super::leaf::Leaf;
use super::name::{HookId, LineageId};
use super::record::{GenerationNumber, Sight};
use super::time::Timestamp;

/// One thing that happened to one lineage, or to the agent.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A decision that differs from the one before it.
    Decided {
        lineage: LineageId,
        verdict: &'static str,
        reason: String,
        wake_at: Timestamp,
    },
    AttemptStarted {
        lineage: LineageId,
        issuer: String,
        names: Vec<String>,
    },
    Ordered {
        lineage: LineageId,
        order: String,
    },
    AttemptFailed {
        lineage: LineageId,
        failure: Failure,
        count: u32,
        next_at: Timestamp,
    },
    Issued {
        lineage: LineageId,
        generation: GenerationNumber,
        leaf: Box<Leaf>,
    },
    Installed {
        lineage: LineageId,
        generation: GenerationNumber,
        path: String,
        why: &'static str,
    },
    HookDone {
        lineage: LineageId,
        hook: HookId,
        generation: GenerationNumber,
    },
    HookFailed {
        lineage: LineageId,
        hook: HookId,
        generation: GenerationNumber,
        words: String,
        next_at: Timestamp,
    },
    Observed {
        lineage: LineageId,
        endpoint: Endpoint,
        sight: Sight,
        /// Nothing is owed: the installed certificate in every handshake, or one that will do.
        fine: bool,
        words: Option<String>,
    },
    RolledBack {
        lineage: LineageId,
        from: GenerationNumber,
        to: GenerationNumber,
        words: String,
    },
    /// A hook around an attempt failed; the attempt goes on.
    AroundFailed {
        lineage: LineageId,
        hook: HookId,
        moment: Moment,
        words: String,
    },
    /// Another lineage of the same service is shown first, and is not seen to work.
    HeldBack {
        lineage: LineageId,
        generation: GenerationNumber,
        by: LineageId,
        until: Timestamp,
    },
    /// The operator went back to a generation.
    Pinned {
        lineage: LineageId,
        generation: GenerationNumber,
        reason: String,
    },
    /// A pin was taken back, or what it held can be shown no longer.
    Unpinned {
        lineage: LineageId,
        generation: GenerationNumber,
        words: String,
    },
    ForeignFound {
        lineage: LineageId,
        path: String,
        leaf: Box<Leaf>,
    },
    /// What a look before a first order found; the CA is asked all the same.
    Foreseen {
        lineage: LineageId,
        words: String,
    },
    /// An answer was not seen from here; the CA is told all the same.
    AnswerUnseen {
        lineage: LineageId,
        name: String,
        words: String,
    },
    CleanUpFailed {
        lineage: LineageId,
        place: String,
        words: String,
    },
    Quarantined {
        key: String,
        moved_to: String,
    },
    TickFailed {
        lineage: LineageId,
        words: String,
    },
    Retired {
        lineage: LineageId,
    },
}

impl Event {
    /// The lineage concerned, where there is one.
    pub fn lineage(&self) -> Option<&LineageId> {
        match self {
            Self::Decided { lineage, .. }
            | Self::AttemptStarted { lineage, .. }
            | Self::Ordered { lineage, .. }
            | Self::AttemptFailed { lineage, .. }
            | Self::Issued { lineage, .. }
            | Self::Installed { lineage, .. }
            | Self::HookDone { lineage, .. }
            | Self::HookFailed { lineage, .. }
            | Self::Observed { lineage, .. }
            | Self::RolledBack { lineage, .. }
            | Self::AroundFailed { lineage, .. }
            | Self::HeldBack { lineage, .. }
            | Self::Pinned { lineage, .. }
            | Self::Unpinned { lineage, .. }
            | Self::ForeignFound { lineage, .. }
            | Self::Foreseen { lineage, .. }
            | Self::AnswerUnseen { lineage, .. }
            | Self::CleanUpFailed { lineage, .. }
            | Self::TickFailed { lineage, .. }
            | Self::Retired { lineage } => Some(lineage),
            Self::Quarantined { .. } => None,
        }
    }
}

/// What a hook is told about: certificates with a new generation, renewed together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deployment {
    /// 1; raised when a field changes its meaning.
    pub version: u32,
    pub event: Moment,
    pub hook: HookId,
    pub at: Timestamp,
    pub lineages: Vec<Deployed>,
}

/// When a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// A new generation is shown.
    Deploy,
    /// Before the CA is asked; of no lineage.
    Pre,
    /// After it was asked, however that went; of no lineage.
    Post,
}

impl Moment {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Pre => "pre",
            Self::Post => "post",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deployed {
    pub lineage: LineageId,
    pub generation: GenerationNumber,
    /// The directory with `fullchain.pem` and the others.
    pub directory: String,
    pub names: Vec<String>,
    pub not_after: Timestamp,
    pub fingerprint: String,
    pub serial: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_happened_to_a_certificate_says_to_which() {
        let lineage = LineageId::parse("a.example").unwrap();
        assert_eq!(Event::Retired { lineage: lineage.clone() }.lineage(), Some(&lineage));
        let moved = Event::Quarantined { key: "lineages/x".into(), moved_to: "y".into() };
        assert_eq!(moved.lineage(), None);
    }
}
