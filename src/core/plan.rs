//! What a decision says: the two verdicts, their reasons, and the questions that led to them.

use std::fmt;

use super::endpoint::Endpoint;
use super::name::{HookId, SubjectName};
use super::record::GenerationNumber;
use super::time::Timestamp;

/// The two verdicts and when to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub upkeep: Upkeep,
    pub issuance: Issuance,
    /// Later than now.
    pub wake_at: Timestamp,
}

/// What this node does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upkeep {
    Hold,
    CleanUp,
    /// What the operator went back to can be shown no longer.
    Unpin {
        generation: GenerationNumber,
    },
    Install {
        generation: GenerationNumber,
        why: Reason,
    },
    /// The hook's success is already seen, or its debt was waived.
    Settle {
        hook: HookId,
        generation: GenerationNumber,
    },
    Notify {
        hook: HookId,
        generation: GenerationNumber,
    },
    Observe {
        generation: GenerationNumber,
        endpoints: Vec<Endpoint>,
    },
}

/// What is asked of the CA next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuance {
    Hold(Reason),
    /// Ask for renewal information.
    Refresh,
    Issue {
        names: Vec<SubjectName>,
        why: Reason,
    },
    Renew {
        names: Vec<SubjectName>,
        why: Reason,
    },
    Resume,
    /// Needed, but not now.
    Suspend {
        need: Reason,
        why: Reason,
        until: Timestamp,
    },
    /// Needed, not now; a free look could end the wait.
    Probe {
        need: Reason,
    },
}

/// Stable codes that operators can search for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    NotDue,
    Retired,
    NeverIssued,
    NamesChanged,
    KeyKindChanged,
    IssuerChanged,
    ProfileChanged,
    GenerationLost,
    Revoked,
    Forced,
    LastResort,
    AriWindow,
    LifetimeWindow,
    OldNamesKept,
    DeadNamesLeftOut,
    AttemptOpen,
    NeverInstalled,
    NewGeneration,
    Drift,
    TakenBack,
    RolledBack,
    PinOver,
    Paused,
    CaLimit,
    ValidationCap,
    BackingOff,
    TooSoon,
    UpkeepOnly,
}

impl Reason {
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotDue => "not-due",
            Self::Retired => "retired",
            Self::NeverIssued => "never-issued",
            Self::NamesChanged => "names-changed",
            Self::KeyKindChanged => "key-kind-changed",
            Self::IssuerChanged => "issuer-changed",
            Self::ProfileChanged => "profile-changed",
            Self::GenerationLost => "generation-lost",
            Self::Revoked => "revoked",
            Self::Forced => "forced",
            Self::LastResort => "last-resort",
            Self::AriWindow => "ari-window",
            Self::LifetimeWindow => "lifetime-window",
            Self::OldNamesKept => "old-names-kept",
            Self::DeadNamesLeftOut => "dead-names-left-out",
            Self::AttemptOpen => "attempt-open",
            Self::NeverInstalled => "never-installed",
            Self::NewGeneration => "new-generation",
            Self::Drift => "drift",
            Self::TakenBack => "taken-back",
            Self::RolledBack => "rolled-back",
            Self::PinOver => "pin-over",
            Self::Paused => "paused",
            Self::CaLimit => "ca-limit",
            Self::ValidationCap => "validation-cap",
            Self::BackingOff => "backing-off",
            Self::TooSoon => "too-soon",
            Self::UpkeepOnly => "upkeep-only",
        }
    }

    /// The spec asks for another certificate than the one there is.
    pub(super) const fn is_changed_spec(self) -> bool {
        matches!(self, Self::NamesChanged | Self::KeyKindChanged | Self::IssuerChanged | Self::ProfileChanged)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Issuance {
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Hold(_) => "hold",
            Self::Refresh => "refresh",
            Self::Issue { .. } => "issue",
            Self::Renew { .. } => "renew",
            Self::Resume => "resume",
            Self::Suspend { .. } => "suspend",
            Self::Probe { .. } => "probe",
        }
    }
}

impl Upkeep {
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::CleanUp => "clean-up",
            Self::Unpin { .. } => "unpin",
            Self::Install { .. } => "install",
            Self::Settle { .. } => "settle",
            Self::Notify { .. } => "notify",
            Self::Observe { .. } => "observe",
        }
    }
}

/// One question that was asked, for `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub chain: Chain,
    pub question: &'static str,
    pub answer: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    Deploy,
    Need,
    Permit,
}
