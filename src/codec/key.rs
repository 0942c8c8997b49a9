//! What a private key tells about itself: its kind, and the fingerprint of its public half, which
//! is what a certificate is compared by.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
};

use super::digest::sha256;
use super::pem::{KeyDer, KeyForm};
use crate::core::leaf::Fingerprint;
use crate::core::spec::KeyKind;

/// The public half of a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicHalf {
    /// SHA-256 of the `SubjectPublicKeyInfo`; equals [`Leaf::key`](crate::core::leaf::Leaf::key).
    pub fingerprint: Fingerprint,
    /// `None` for a kind that we don't make.
    pub kind: Option<KeyKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the private key is damaged, or of a kind that is neither RSA, ECDSA P-256, P-384, P-521 nor Ed25519"
)]
pub struct BadKey;

/// Reads a key and checks that its parts belong together.
pub fn public_half(key: &KeyDer) -> Result<PublicHalf, BadKey> {
    let der = key.der.bytes();
    if key.form != KeyForm::Pkcs1 {
        for (algorithm, kind) in CURVES {
            if let Ok(pair) = EcdsaKeyPair::from_private_key_der(algorithm, der) {
                return half(pair.public_key(), kind);
            }
        }
    }
    let rsa = match key.form {
        KeyForm::Pkcs8 => rsa::KeyPair::from_pkcs8(der),
        KeyForm::Pkcs1 => rsa::KeyPair::from_der(der),
        KeyForm::Sec1 => return Err(BadKey),
    };
    if let Ok(pair) = rsa {
        return half(pair.public_key(), rsa_kind(pair.public_modulus_len() * 8));
    }
    match Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        Ok(pair) => half(pair.public_key(), None),
        Err(_) => Err(BadKey),
    }
}

/// The RSA kind with a modulus of so many bits.
pub const fn rsa_kind(bits: usize) -> Option<KeyKind> {
    match bits {
        2048 => Some(KeyKind::Rsa2048),
        3072 => Some(KeyKind::Rsa3072),
        4096 => Some(KeyKind::Rsa4096),
        _ => None,
    }
}

const CURVES: [(&EcdsaSigningAlgorithm, Option<KeyKind>); 3] = [
    (&ECDSA_P256_SHA256_ASN1_SIGNING, Some(KeyKind::EcdsaP256)),
    (&ECDSA_P384_SHA384_ASN1_SIGNING, Some(KeyKind::EcdsaP384)),
    (&ECDSA_P521_SHA512_ASN1_SIGNING, None),
];

fn half(public: &impl AsDer<PublicKeyX509Der<'static>>, kind: Option<KeyKind>) -> Result<PublicHalf, BadKey> {
    let spki = public.as_der().map_err(|_| BadKey)?;
    Ok(PublicHalf { fingerprint: sha256(spki.as_ref()), kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::layout::Content;

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            for form in [KeyForm::Pkcs8, KeyForm::Sec1, KeyForm::Pkcs1] {
                let key = KeyDer { form, der: Content::new(bytes.clone()) };
                proptest::prop_assert_eq!(public_half(&key), Err(BadKey));
            }
        }
    }
}
