//! One hostile answer: where, what, and what is asked of the CA meanwhile.

use test_ca::{CaBuilder, Effect, Endpoint, Fault};

/// One row of the table.
pub struct Case {
    /// Reads like a sentence about the CA; unique.
    pub name: String,
    pub faults: Vec<Fault>,
    pub asked: Asked,
    /// Some answer takes for ever: time is helped along.
    pub stalls: bool,
    pub setting: fn(CaBuilder) -> CaBuilder,
    /// Percentage of good nonces refused while the faults last.
    pub nonce_rejection: u8,
}

/// What the client wants while the CA misbehaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A certificate.
    Certificate,
    /// A second certificate for the same names.
    Another,
    /// Renewal information of one issued before.
    RenewalInfo,
}

/// Every endpoint that a renewal meets, in that order.
pub const WAY: [Endpoint; 10] = [
    Endpoint::Directory,
    Endpoint::NewNonce,
    Endpoint::NewAccount,
    Endpoint::NewOrder,
    Endpoint::Authorization,
    Endpoint::Challenge,
    Endpoint::Order,
    Endpoint::Finalize,
    Endpoint::Certificate,
    Endpoint::RenewalInfo,
];

/// Those that answer with a JSON object.
pub const OBJECTS: [Endpoint; 8] = [
    Endpoint::Directory,
    Endpoint::NewAccount,
    Endpoint::NewOrder,
    Endpoint::Authorization,
    Endpoint::Challenge,
    Endpoint::Order,
    Endpoint::Finalize,
    Endpoint::RenewalInfo,
];

/// Those that take signed requests.
pub const SIGNED: [Endpoint; 7] = [
    Endpoint::NewAccount,
    Endpoint::NewOrder,
    Endpoint::Authorization,
    Endpoint::Challenge,
    Endpoint::Order,
    Endpoint::Finalize,
    Endpoint::Certificate,
];

impl Case {
    /// `effect` at `endpoint`, for as long as the client asks.
    pub fn at(endpoint: Endpoint, what: &str, effect: Effect) -> Self {
        Self {
            name: format!("{endpoint}: {what}"),
            faults: vec![Fault::new(effect).at(endpoint)],
            asked: if endpoint == Endpoint::RenewalInfo { Asked::RenewalInfo } else { Asked::Certificate },
            stalls: false,
            setting: |builder| builder,
            nonce_rejection: 0,
        }
    }

    pub fn stalling(self) -> Self {
        Self { stalls: true, ..self }
    }

    pub fn set(self, setting: fn(CaBuilder) -> CaBuilder) -> Self {
        Self { setting, ..self }
    }

    /// Nothing scripted: `setting` or `nonce_rejection` says what is hostile.
    pub fn policy(name: &str, asked: Asked) -> Self {
        Self {
            name: format!("policy: {name}"),
            faults: Vec::new(),
            asked,
            stalls: false,
            setting: |builder| builder,
            nonce_rejection: 0,
        }
    }

    /// The same for so many requests only.
    pub fn times(mut self, times: u32) -> Self {
        self.faults = self.faults.into_iter().map(|fault| fault.times(times)).collect();
        Self { name: format!("{}, {times} times", self.name), ..self }
    }
}

/// Texts in names of cases: short, and without what they warn of.
pub fn shown(text: &str) -> String {
    let plain: String = text.chars().take(40).flat_map(char::escape_default).collect();
    if text.chars().count() > 40 { format!("{plain}… ({} octets)", text.len()) } else { plain }
}
