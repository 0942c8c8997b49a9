//! Signed requests that `instant-acme` can't make: with a key that we saved first, and with an
//! external account binding over it (RFC 7515 flattened JSON, RFC 8555 §6.2 and §7.3.4).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::codec::jwk;

/// An account's key: ECDSA on P-256, which we make; or RSA, which other programs made.
pub(super) struct AccountKey {
    pair: Pair,
    pkcs8: Zeroizing<Vec<u8>>,
}

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Rsa { pair: Box<RsaKeyPair>, modulus: Vec<u8>, exponent: Vec<u8> },
}

/// Cryptography failed, or the bytes are no key. Says nothing more: the bytes are secret.
#[derive(Debug)]
pub(super) struct BadKey;

/// Who signs: an account by its URL, or a key that the CA does not know yet.
#[derive(Clone, Copy)]
pub(super) enum Signer<'a> {
    Account(&'a str),
    Key,
}

impl AccountKey {
    pub(super) fn generate() -> Result<Self, BadKey> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| BadKey)?;
        Self::from_pkcs8(document.as_ref())
    }

    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, BadKey> {
        let pair = if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der) {
            Pair::Ecdsa(pair)
        } else {
            let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| BadKey)?;
            let (modulus, exponent) = jwk::rsa_public(pair.public_key().as_ref()).ok_or(BadKey)?;
            Pair::Rsa { pair: Box::new(pair), modulus, exponent }
        };
        Ok(Self { pair, pkcs8: Zeroizing::new(der.to_vec()) })
    }

    pub(super) const fn is_rsa(&self) -> bool {
        matches!(self.pair, Pair::Rsa { .. })
    }

    pub(super) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public half (RFC 7517). Coordinates keep all 32 octets: RFC 7518 §6.2.1.2 wants
    /// leading zeros, and an ACME client once lost them.
    fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                // An uncompressed point: 0x04, x, y.
                let point = pair.public_key().as_ref();
                let coordinate = |range| BASE64_URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default());
                json!({ "crv": "P-256", "kty": "EC", "x": coordinate(1..33), "y": coordinate(33..65) })
            }
            Pair::Rsa { modulus, exponent, .. } => json!({
                "e": BASE64_URL_SAFE_NO_PAD.encode(exponent),
                "kty": "RSA",
                "n": BASE64_URL_SAFE_NO_PAD.encode(modulus),
            }),
        }
    }

    /// RFC 7638: SHA-256 over the members in the order of their names.
    pub(super) fn thumbprint(&self) -> String {
        let jwk = self.jwk();
        let text = match &self.pair {
            Pair::Ecdsa(_) => format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]),
            Pair::Rsa { .. } => format!(r#"{{"e":{},"kty":"RSA","n":{}}}"#, jwk["e"], jwk["n"]),
        };
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
    }

    /// RFC 7518 §3.1.
    const fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ecdsa(_) => "ES256",
            Pair::Rsa { .. } => "RS256",
        }
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>, BadKey> {
        match &self.pair {
            Pair::Ecdsa(pair) => {
                let signature = pair.sign(&SystemRandom::new(), text).map_err(|_| BadKey)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Rsa { pair, .. } => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature)
                    .map_err(|_| BadKey)?;
                Ok(signature)
            }
        }
    }

    /// A request that was signed by another key for the account's URL, signed by this one.
    pub(super) fn sign_again(&self, body: &[u8]) -> Result<Vec<u8>, BadKey> {
        let signed: Value = serde_json::from_slice(body).map_err(|_| BadKey)?;
        let part = |name: &str| signed[name].as_str().ok_or(BadKey);
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(part("protected")?).map_err(|_| BadKey)?;
        let mut protected: Value = serde_json::from_slice(&bytes).map_err(|_| BadKey)?;
        // Whoever is named by a key instead is not this account.
        if protected["kid"].as_str().is_none() {
            return Err(BadKey);
        }
        protected["alg"] = self.algorithm().into();
        let protected = BASE64_URL_SAFE_NO_PAD.encode(protected.to_string());
        let payload = part("payload")?;
        let signature = self.sign(format!("{protected}.{payload}").as_bytes())?;
        let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
        let again = json!({ "protected": protected, "payload": payload, "signature": signature });
        Ok(again.to_string().into_bytes())
    }

    /// A whole request body. `payload` is `None` for POST-as-GET.
    pub(super) fn request(
        &self,
        signer: Signer<'_>,
        nonce: &str,
        url: &str,
        payload: Option<&Value>,
    ) -> Result<Vec<u8>, BadKey> {
        let protected = match signer {
            Signer::Account(kid) => {
                json!({ "alg": self.algorithm(), "kid": kid, "nonce": nonce, "url": url })
            }
            Signer::Key => json!({ "alg": self.algorithm(), "jwk": self.jwk(), "nonce": nonce, "url": url }),
        };
        let signed = flattened(&protected, payload, |text| self.sign(text))?;
        Ok(signed.to_string().into_bytes())
    }

    /// The member `externalAccountBinding`: the CA's MAC over our public key.
    pub(super) fn binding(&self, kid: &str, mac_key: &MacKey, new_account: &str) -> Result<Value, BadKey> {
        let protected = json!({ "alg": "HS256", "kid": kid, "url": new_account });
        flattened(&protected, Some(&self.jwk()), |text| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &mac_key.0);
            Ok(hmac::sign(&key, text).as_ref().to_vec())
        })
    }
}

/// The MAC key of an external account binding.
pub(super) struct MacKey(Zeroizing<Vec<u8>>);

impl MacKey {
    /// Reads it as CAs hand it out: base64url, with padding or without, or plain base64, with
    /// white space around it.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let unified: Zeroizing<Vec<u8>> = Zeroizing::new(
            text.trim_ascii()
                .iter()
                .map(|b| match b {
                    b'+' => b'-',
                    b'/' => b'_',
                    b => *b,
                })
                .collect(),
        );
        let bare = unified.strip_suffix(b"==").or(unified.strip_suffix(b"=")).unwrap_or(&unified);
        let key = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(bare).ok()?);
        (!key.is_empty()).then_some(Self(key))
    }
}

fn flattened(
    protected: &Value,
    payload: Option<&Value>,
    sign: impl Fn(&[u8]) -> Result<Vec<u8>, BadKey>,
) -> Result<Value, BadKey> {
    let protected = BASE64_URL_SAFE_NO_PAD.encode(protected.to_string());
    let payload = payload.map(|value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string())).unwrap_or_default();
    let signature = sign(format!("{protected}.{payload}").as_bytes())?;
    Ok(json!({
        "protected": protected,
        "payload": payload,
        "signature": BASE64_URL_SAFE_NO_PAD.encode(signature),
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    fn parts(signed: &Value) -> (Value, Vec<u8>, Vec<u8>, String) {
        let text = |member: &str| signed[member].as_str().unwrap().to_owned();
        let decode = |member: &str| BASE64_URL_SAFE_NO_PAD.decode(text(member)).unwrap();
        (
            serde_json::from_slice(&decode("protected")).unwrap(),
            decode("payload"),
            decode("signature"),
            format!("{}.{}", text("protected"), text("payload")),
        )
    }

    #[test]
    fn a_request_verifies_with_the_public_key_in_it() {
        let key = AccountKey::generate().unwrap();
        let body = key.request(Signer::Key, "n1", "https://ca/new", Some(&json!({"a": 1}))).unwrap();
        let (protected, payload, signature, signed) = parts(&serde_json::from_slice(&body).unwrap());
        assert_eq!(protected["nonce"], "n1");
        assert_eq!(protected["url"], "https://ca/new");
        assert!(protected.get("kid").is_none());
        assert_eq!(payload, br#"{"a":1}"#);
        let mut point = vec![4];
        for member in ["x", "y"] {
            let text = protected["jwk"][member].as_str().unwrap();
            point.extend(BASE64_URL_SAFE_NO_PAD.decode(text).unwrap());
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(signed.as_bytes(), &signature)
            .unwrap();
    }

    #[test]
    fn post_as_get_has_an_empty_payload_and_names_the_account() {
        let key = AccountKey::generate().unwrap();
        let body = key.request(Signer::Account("https://ca/acct/1"), "n", "https://ca/o", None).unwrap();
        let signed: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(signed["payload"], "");
        let (protected, ..) = parts(&signed);
        assert_eq!(protected["kid"], "https://ca/acct/1");
        assert!(protected.get("jwk").is_none());
    }

    #[test]
    fn coordinates_keep_their_leading_zeros() {
        // One key in 128 has a coordinate that starts with a zero octet.
        let key = std::iter::repeat_with(|| AccountKey::generate().unwrap())
            .take(20_000)
            .find(|key| matches!(&key.pair, Pair::Ecdsa(pair) if pair.public_key().as_ref()[1] == 0))
            .unwrap();
        let x = key.jwk()["x"].as_str().unwrap().to_owned();
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(x).unwrap().len(), 32);
    }

    #[test]
    fn the_key_reads_back_from_what_is_saved() {
        let key = AccountKey::generate().unwrap();
        let again = AccountKey::from_pkcs8(key.pkcs8()).unwrap();
        assert_eq!(key.thumbprint(), again.thumbprint());
        assert!(AccountKey::from_pkcs8(b"no key").is_err());
    }

    #[test]
    fn an_rsa_key_signs_again_what_a_stand_in_signed() {
        use aws_lc_rs::encoding::AsDer;
        use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
        let made = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = made.as_der().unwrap();
        let key = AccountKey::from_pkcs8(der.as_ref()).unwrap();
        assert!(key.is_rsa());
        let stand_in = AccountKey::generate().unwrap();
        let body = stand_in.request(Signer::Account("https://ca/1"), "n", "https://ca/o", None).unwrap();
        let again = key.sign_again(&body).unwrap();
        let (protected, payload, signature, signed) = parts(&serde_json::from_slice(&again).unwrap());
        assert_eq!(
            (protected["alg"].as_str(), protected["kid"].as_str()),
            (Some("RS256"), Some("https://ca/1"))
        );
        assert!(payload.is_empty());
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, made.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .unwrap();
        let strange = stand_in.request(Signer::Key, "n", "https://ca/o", None).unwrap();
        assert!(key.sign_again(&strange).is_err(), "only what names an account");
    }

    #[test]
    fn a_binding_is_a_mac_over_our_public_key() {
        let key = AccountKey::generate().unwrap();
        let mac = MacKey::parse(b"zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W").unwrap();
        let (protected, payload, tag, signed) = parts(&key.binding("kid-1", &mac, "https://ca/new").unwrap());
        assert_eq!(protected, json!({"alg": "HS256", "kid": "kid-1", "url": "https://ca/new"}));
        assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), key.jwk());
        let verifier = hmac::Key::new(hmac::HMAC_SHA256, &mac.0);
        hmac::verify(&verifier, signed.as_bytes(), &tag).unwrap();
    }

    #[test]
    fn mac_keys_are_read_in_every_spelling_that_cas_use() {
        let bytes: Vec<u8> = vec![0xfb, 0xff, 0xfe, 0x01];
        for spelling in ["-__-AQ", "-__-AQ==", "+//+AQ==", "+//+AQ", "  -__-AQ==\n"] {
            assert_eq!(*MacKey::parse(spelling.as_bytes()).unwrap().0, bytes, "{spelling}");
        }
        for nonsense in ["", "  \n", "not a key!", "\"quoted\"", "A"] {
            assert!(MacKey::parse(nonsense.as_bytes()).is_none(), "{nonsense}");
        }
    }
}
