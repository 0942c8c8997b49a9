//! Misbehaviour on demand.

use crate::effect::Effect;
use crate::endpoint::Endpoint;

/// One scripted misbehaviour: what happens, where, after how many good requests and how often.
///
/// Faults are tried in the order they were set; the first that fits a request is applied to it.
#[derive(Debug, Clone)]
pub struct Fault {
    effect: Effect,
    endpoint: Option<Endpoint>,
    after: u32,
    remaining: Option<u32>,
}

impl Fault {
    /// A fault at every endpoint, until cleared.
    pub fn new(effect: Effect) -> Self {
        Self { effect, endpoint: None, after: 0, remaining: None }
    }

    /// Only at this endpoint.
    pub fn at(self, endpoint: Endpoint) -> Self {
        Self { endpoint: Some(endpoint), ..self }
    }

    /// Only for this many requests.
    pub fn times(self, times: u32) -> Self {
        Self { remaining: Some(times), ..self }
    }

    /// Only after this many fitting requests have been served well.
    pub fn after(self, requests: u32) -> Self {
        Self { after: requests, ..self }
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The effect on a request at `endpoint`, if any; counts the request.
    pub(crate) fn strike(&mut self, endpoint: Endpoint) -> Option<Effect> {
        let mut effect = None;
        for fault in &mut self.0 {
            if fault.endpoint.is_some_and(|at| at != endpoint) || !fault.effect.concerns(endpoint) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
            } else if effect.is_none() && fault.remaining != Some(0) {
                fault.remaining = fault.remaining.map(|left| left - 1);
                effect = Some(fault.effect.clone());
            }
        }
        self.0.retain(|fault| fault.remaining != Some(0));
        effect
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lie::LeafLie;

    #[test]
    fn a_fault_waits_strikes_and_ends() {
        let mut faults = Faults::default();
        faults.add(Fault::new(Effect::Close).at(Endpoint::NewOrder).after(1).times(2));
        let mut struck = |endpoint| faults.strike(endpoint).is_some();
        assert!(!struck(Endpoint::Directory));
        assert!(!struck(Endpoint::NewOrder), "the first fitting request is let through");
        assert!(struck(Endpoint::NewOrder));
        assert!(struck(Endpoint::NewOrder));
        assert!(!struck(Endpoint::NewOrder), "it strikes twice only");
    }

    #[test]
    fn lies_about_the_leaf_wait_for_finalize() {
        let mut faults = Faults::default();
        faults.add(Fault::new(Effect::Leaf(LeafLie::Expired)).times(1));
        assert!(faults.strike(Endpoint::NewOrder).is_none());
        assert!(faults.strike(Endpoint::Finalize).is_some());
    }
}
