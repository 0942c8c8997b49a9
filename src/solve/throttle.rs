//! How many answers by UDP go to one corner of the network: an asker's address can be forged, and then the
//! answers hit who never asked.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;

use crate::core::time::Span;

/// Answers a second to one network. A CA that validates a hundred names from one place asks some thousand
/// questions within seconds: those above this are sent to TCP, not lost.
pub const RATE: u32 = 200;
/// Answers to one network at once, after a second of silence.
pub const BURST: u32 = 400;
/// Of the questions above the rate one in so many is told to come by TCP; the others hear nothing.
pub const SLIP: u32 = 2;
/// Buckets; networks that share one share its rate. Fixed, so no flood makes it grow.
const BUCKETS: usize = 4096;
/// Octets of an address that make one network: /24 and /56, as one asker may have them whole.
const PREFIX_V4: usize = 3;
const PREFIX_V6: usize = 7;

/// What becomes of one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Answer,
    /// Only that more is told by TCP.
    ByTcp,
    Silence,
}

pub struct Throttle {
    buckets: Vec<Bucket>,
    /// A stranger can't choose whom it shares a bucket with.
    hasher: RandomState,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// Thousandths of answers taken.
    taken: u64,
    at: Span,
    refused: u32,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { buckets: vec![Bucket::default(); BUCKETS], hasher: RandomState::new() }
    }
}

impl Throttle {
    /// `now` is on the clock's monotonic scale.
    pub fn turn(&mut self, from: IpAddr, now: Span) -> Turn {
        // The same host by both kinds of socket is the same network.
        let hash = match from.to_canonical() {
            IpAddr::V4(ip) => self.hasher.hash_one(&ip.octets()[..PREFIX_V4]),
            IpAddr::V6(ip) => self.hasher.hash_one(&ip.octets()[..PREFIX_V6]),
        };
        let place = usize::try_from(hash % BUCKETS as u64).unwrap_or_default();
        let bucket = &mut self.buckets[place];
        let passed = u64::try_from((now - bucket.at).millis()).unwrap_or_default();
        bucket.at = now;
        // A thousandth of an answer a millisecond for each answer a second.
        bucket.taken = bucket.taken.saturating_sub(passed.saturating_mul(RATE.into()));
        if bucket.taken + 1000 <= u64::from(BURST) * 1000 {
            bucket.taken += 1000;
            return Turn::Answer;
        }
        bucket.refused = bucket.refused.wrapping_add(1);
        if bucket.refused.is_multiple_of(SLIP) { Turn::ByTcp } else { Turn::Silence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(throttle: &mut Throttle, from: &str, at: Span, times: u32) -> [u32; 3] {
        let mut counts = [0; 3];
        for _ in 0..times {
            counts[match throttle.turn(from.parse().unwrap(), at) {
                Turn::Answer => 0,
                Turn::ByTcp => 1,
                Turn::Silence => 2,
            }] += 1;
        }
        counts
    }

    #[test]
    fn t11_a_flood_in_one_networks_name_is_answered_at_a_rate_and_others_are_not_held_up() {
        let mut throttle = Throttle::default();
        let start = Span::secs(10);
        assert_eq!(turns(&mut throttle, "192.0.2.1", start, 1000), [BURST, 300, 300]);
        assert_eq!(turns(&mut throttle, "::ffff:192.0.2.77", start, 10), [0, 5, 5], "the same /24");
        assert_eq!(turns(&mut throttle, "192.0.2.1", start + Span::secs(1), 1000)[0], RATE);
        // Any other may share the bucket by chance, but not all of them.
        let others = (0..8).map(|n| turns(&mut throttle, &format!("198.51.{n}.1"), start, 1)[0]).sum::<u32>();
        assert!(others >= 6, "{others}");
        assert_eq!(turns(&mut throttle, "2001:db8::1", start, 1), [1, 0, 0]);
    }

    #[test]
    fn a_clock_that_went_back_locks_nobody_out() {
        let mut throttle = Throttle::default();
        turns(&mut throttle, "192.0.2.1", Span::secs(100), 1000);
        turns(&mut throttle, "192.0.2.1", Span::secs(1), 1);
        assert_eq!(turns(&mut throttle, "192.0.2.1", Span::secs(2), 1), [1, 0, 0]);
    }
}
