//! Private keys as JSON Web Keys (RFC 7517), as certbot keeps those of its accounts.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use super::pem::{KeyDer, KeyForm};
use crate::core::layout::Content;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    #[error("it is not the text of a private key")]
    Unreadable,
    #[error("it is neither RSA nor ECDSA on P-256")]
    Strange,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    #[serde(default)]
    d: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    p: String,
    #[serde(default)]
    q: String,
    #[serde(default)]
    dp: String,
    #[serde(default)]
    dq: String,
    #[serde(default)]
    qi: String,
}

impl Drop for Jwk {
    fn drop(&mut self) {
        for secret in [&mut self.d, &mut self.p, &mut self.q, &mut self.dp, &mut self.dq, &mut self.qi] {
            secret.zeroize();
        }
    }
}

/// An RSA key, or an ECDSA key on P-256, as PKCS#8.
pub fn private_key(text: &[u8]) -> Result<KeyDer, JwkError> {
    let jwk: Jwk = serde_json::from_slice(text).map_err(|_| JwkError::Unreadable)?;
    match (jwk.kty.as_str(), jwk.crv.as_str()) {
        ("EC", "P-256") => {}
        ("RSA", _) => return rsa(&jwk),
        _ => return Err(JwkError::Strange),
    }
    let number = |text: &str| {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| JwkError::Unreadable)?;
        Ok(Zeroizing::new(bytes))
    };
    let (x, y, d) = (number(&jwk.x)?, number(&jwk.y)?, number(&jwk.d)?);
    let point: Vec<u8> = [&[4][..], &x, &y].concat();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &d, &point)
        .map_err(|_| JwkError::Unreadable)?;
    pkcs8(&pair)
}

/// A key of a kind that accounts have, however it is written down, as PKCS#8.
pub fn account_key(key: &KeyDer) -> Result<KeyDer, JwkError> {
    if key.form == KeyForm::Pkcs1 {
        return wrapped(key.der.bytes());
    }
    if aws_lc_rs::rsa::KeyPair::from_pkcs8(key.der.bytes()).is_ok() {
        return Ok(key.clone());
    }
    let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, key.der.bytes())
        .map_err(|_| JwkError::Strange)?;
    pkcs8(&pair)
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 §A.1.1), without leading zeros.
pub fn rsa_public(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let bare = |bytes: Vec<u8>| bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    yasna::parse_der(der, |reader| {
        reader.read_sequence(|reader| {
            let (modulus, _) = reader.next().read_bigint_bytes()?;
            let (exponent, _) = reader.next().read_bigint_bytes()?;
            Ok((bare(modulus), bare(exponent)))
        })
    })
    .ok()
}

/// `RSAPrivateKey` (RFC 8017 §A.1.2) in PKCS#8.
fn rsa(jwk: &Jwk) -> Result<KeyDer, JwkError> {
    let mut numbers = Vec::new();
    for text in [&jwk.n, &jwk.e, &jwk.d, &jwk.p, &jwk.q, &jwk.dp, &jwk.dq, &jwk.qi] {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| JwkError::Unreadable)?;
        numbers.push(Zeroizing::new(bytes));
    }
    let der = Zeroizing::new(yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(0);
            for number in &numbers {
                writer.next().write_bigint_bytes(number, true);
            }
        });
    }));
    wrapped(&der)
}

/// An `RSAPrivateKey` in PKCS#8 (RFC 5958), if it is one.
fn wrapped(der: &[u8]) -> Result<KeyDer, JwkError> {
    /// `rsaEncryption`.
    const RSA: [u64; 7] = [1, 2, 840, 113_549, 1, 1, 1];
    let whole = yasna::construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_u8(0);
            writer.next().write_sequence(|writer| {
                writer.next().write_oid(&yasna::models::ObjectIdentifier::from_slice(&RSA));
                writer.next().write_null();
            });
            writer.next().write_bytes(der);
        });
    });
    let key = KeyDer { form: KeyForm::Pkcs8, der: Content::new(whole) };
    match aws_lc_rs::rsa::KeyPair::from_pkcs8(key.der.bytes()) {
        Ok(_) => Ok(key),
        Err(_) => Err(JwkError::Unreadable),
    }
}

/// A key on P-256 as certbot writes it.
pub fn text(key: &KeyDer) -> Result<Content, JwkError> {
    let pair = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, key.der.bytes())
        .map_err(|_| JwkError::Strange)?;
    let point = pair.public_key().as_ref();
    let coordinate = |range| BASE64_URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default());
    let secret = secret_of(&pair)?;
    let d = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(secret.bytes()));
    Ok(Content::new(
        format!(
            r#"{{"d": "{}", "crv": "P-256", "x": "{}", "y": "{}", "kty": "EC"}}"#,
            *d,
            coordinate(1..33),
            coordinate(33..65)
        )
        .into_bytes(),
    ))
}

fn secret_of(pair: &EcdsaKeyPair) -> Result<Content, JwkError> {
    use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
    let secret: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes().map_err(|_| JwkError::Strange)?;
    Ok(Content::new(secret.as_ref().to_vec()))
}

fn pkcs8(pair: &EcdsaKeyPair) -> Result<KeyDer, JwkError> {
    let document = pair.to_pkcs8v1().map_err(|_| JwkError::Unreadable)?;
    Ok(KeyDer { form: KeyForm::Pkcs8, der: Content::new(document.as_ref().to_vec()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::key;

    fn made() -> KeyDer {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        pkcs8(&pair).unwrap()
    }

    #[test]
    fn a_key_goes_to_certbots_form_and_back() {
        let key = made();
        let again = private_key(text(&key).unwrap().bytes()).unwrap();
        assert_eq!(key::public_half(&again), key::public_half(&key));
        assert_eq!(key::public_half(&account_key(&key).unwrap()), key::public_half(&key));
    }

    #[test]
    fn keys_that_no_account_here_can_have_are_told_apart() {
        for (text, error) in [
            (r#"{"kty":"RSA","n":"AQ","e":"AQAB","d":"AQ"}"#, JwkError::Unreadable),
            (r#"{"kty":"EC","crv":"P-384","x":"","y":"","d":""}"#, JwkError::Strange),
            (r#"{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ","d":"AQ"}"#, JwkError::Unreadable),
            ("no json", JwkError::Unreadable),
        ] {
            assert_eq!(private_key(text.as_bytes()), Err(error), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = private_key(&bytes);
        }
    }
}
