//! Leaf keys that are the same in every run.

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

/// Pieces of text that must turn up nowhere but in files for keys: one of each key, and the thumbprint.
pub struct Canaries {
    texts: Vec<String>,
    /// Whether one of them begins with these two octets.
    begins: Vec<bool>,
}

impl Canaries {
    pub fn all() -> Arc<Self> {
        static CANARIES: OnceLock<Arc<Canaries>> = OnceLock::new();
        CANARIES.get_or_init(|| Arc::new(Self::of(pieces()))).clone()
    }

    fn of(texts: Vec<String>) -> Self {
        let mut begins = vec![false; 1 << 16];
        for text in &texts {
            begins[pair(text.as_bytes())] = true;
        }
        Self { texts, begins }
    }

    /// Whether any of them is in a text: one pass, for dozens of them and each event.
    pub fn sing_in(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        (1..bytes.len()).any(|at| {
            let rest = &bytes[at - 1..];
            self.begins[pair(rest)] && self.texts.iter().any(|text| rest.starts_with(text.as_bytes()))
        })
    }
}

fn pair(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
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
        for place in [text.clone(), format!("before {text}"), format!("{text} after"), format!("a{text}b")] {
            assert!(canaries.sing_in(&place), "{place}");
        }
        assert!(!canaries.sing_in(&text[1..]));
    }
    assert!(!canaries.sing_in(""));
}
