//! Leaf keys that are the same in every run.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};

use nolapse::codec::pem;
use nolapse::core::layout::Content;
use nolapse::core::leaf::mix;

use crate::ca::THUMBPRINT;

/// Keys of one node, handed out in turn and then again from the first: more than its certificates
/// can be trying with at once. Making them is most of the work of making a world, so all worlds have
/// the same.
const KEYS: u64 = 24;
/// Nodes that have keys of their own.
const NODES: u64 = 3;

/// PEM texts for [`nolapse::sys::keys::Keys::pool`].
pub fn pool(node: usize) -> &'static [Content] {
    let place = usize::try_from(KEYS).unwrap() * node;
    &all()[place..][..usize::try_from(KEYS).unwrap()]
}

fn all() -> &'static [Content] {
    static ALL: OnceLock<Vec<Content>> = OnceLock::new();
    ALL.get_or_init(|| (0..KEYS * NODES).map(key).collect())
}

fn key(n: u64) -> Content {
    let mut scalar = [0; 32];
    for (place, word) in scalar.chunks_exact_mut(8).zip(0u64..) {
        place.copy_from_slice(&mix(&[n, word]).to_be_bytes());
    }
    // Below the group's order, which begins with ffffffff.
    scalar[0] &= 0x7f;
    let key = PrivateKey::from_private_key(&ECDH_P256, &scalar).unwrap();
    let der: EcPrivateKeyRfc5915Der<'_> = key.as_der().unwrap();
    Content::new(pem::encode("EC PRIVATE KEY", der.as_ref()).into_bytes())
}

/// Octets of a text that are looked up at once.
const WINDOW: usize = 8;

/// Pieces of text that must turn up nowhere but in files for keys: one of each key, and the thumbprint.
pub struct Canaries {
    texts: Vec<String>,
    /// A text that holds one of them has one of its windows at one of each so many places.
    stride: usize,
    /// These windows.
    windows: BTreeSet<u64>,
    /// Whether there may be one, by what is left of it: most have not to be looked for.
    marked: Vec<bool>,
}

impl Canaries {
    pub fn all() -> Arc<Self> {
        static CANARIES: OnceLock<Arc<Canaries>> = OnceLock::new();
        CANARIES.get_or_init(|| Arc::new(Self::of(pieces()))).clone()
    }

    fn of(texts: Vec<String>) -> Self {
        let shortest = texts.iter().map(String::len).min().unwrap();
        let stride = shortest - WINDOW + 1;
        let all = texts.iter().flat_map(|text| text.as_bytes()[..shortest].windows(WINDOW));
        let windows: BTreeSet<u64> = all.map(word).collect();
        let mut marked = vec![false; 1 << 16];
        for window in &windows {
            marked[left_of(*window)] = true;
        }
        Self { texts, stride, windows, marked }
    }

    /// Whether any of them is in a text: few looks, for dozens of them and each event.
    pub fn sing_in(&self, text: &[u8]) -> bool {
        let is_known = |at: usize| {
            let window = text.get(at..at + WINDOW).map(word);
            window.is_some_and(|window| self.marked[left_of(window)] && self.windows.contains(&window))
        };
        let whole = |piece: &String| text.windows(piece.len()).any(|here| here == piece.as_bytes());
        (0..text.len()).step_by(self.stride).any(is_known) && self.texts.iter().any(whole)
    }
}

fn word(window: &[u8]) -> u64 {
    u64::from_le_bytes(window.try_into().unwrap())
}

fn left_of(window: u64) -> usize {
    usize::try_from(window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48).unwrap()
}

fn pieces() -> Vec<String> {
    let piece = |pem: &Content| {
        let text = std::str::from_utf8(pem.bytes()).unwrap();
        text.lines().nth(1).unwrap()[20..60].to_owned()
    };
    all().iter().map(piece).chain([THUMBPRINT.to_owned()]).collect()
}

#[test]
fn a_canary_is_found_wherever_it_is() {
    let canaries = Canaries::all();
    for text in &canaries.texts {
        for before in 0..100 {
            let place = format!("{}{text}, and after", "{".repeat(before));
            assert!(canaries.sing_in(place.as_bytes()), "{place}");
            assert!(canaries.sing_in(&place.as_bytes()[..before + text.len()]), "{place}");
        }
        assert!(!canaries.sing_in(&text.as_bytes()[1..]));
    }
    assert!(!canaries.sing_in(b""));
}
