//! Chance: repeatable for behaviour a test wants to replay, cryptographic for tokens and nonces.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A seeded generator (SplitMix64), so that "reject 20 % of nonces" rejects the same ones in every run.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// True in `percent` of 100 throws; 0 never, 100 always.
    pub(crate) fn hits(&mut self, percent: u8) -> bool {
        percent >= 100 || (percent > 0 && self.next() % 100 < u64::from(percent))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// `N` unguessable bytes.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system supplies randomness");
    bytes
}

/// `N` unguessable bytes as base64url, fit for tokens, nonces and URLs.
pub(crate) fn random_text<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<N>())
}
