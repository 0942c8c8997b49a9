//! Leaf keys that are the same in every run.

use std::sync::OnceLock;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};

use nolapse::codec::pem;
use nolapse::core::layout::Content;
use nolapse::core::leaf::mix;

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

/// A piece of each key's text that must turn up nowhere but in files for keys.
pub fn canaries() -> Vec<String> {
    all()
        .iter()
        .map(|pem| std::str::from_utf8(pem.bytes()).unwrap().lines().nth(1).unwrap()[20..60].to_owned())
        .collect()
}
