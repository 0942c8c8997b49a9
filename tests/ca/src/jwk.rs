//! Public account keys as JSON Web Keys (RFC 7517), their thumbprints (RFC 7638) and their signatures (RFC 7518).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::problem::Problem;

/// The signature algorithms the CA accepts (RFC 8555 §6.2 demands ES256).
pub(crate) const ALGORITHMS: &[&str] = &["ES256", "ES384", "RS256"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Jwk {
    P256 { x: Vec<u8>, y: Vec<u8> },
    P384 { x: Vec<u8>, y: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl Jwk {
    pub(crate) fn parse(value: &Value) -> Result<Self, Problem> {
        if value.get("d").is_some() {
            return Err(Problem::malformed("the JWK contains a private key"));
        }
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let bytes = |name: &str| {
            text(name)
                .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
                .ok_or_else(|| bad_key(format!("JWK member {name:?} is missing or is not base64url")))
        };
        match (text("kty"), text("crv")) {
            (Some("EC"), Some("P-256")) => {
                Self::P256 { x: bytes("x")?, y: bytes("y")? }.with_coordinates_of(32)
            }
            (Some("EC"), Some("P-384")) => {
                Self::P384 { x: bytes("x")?, y: bytes("y")? }.with_coordinates_of(48)
            }
            (Some("RSA"), _) => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                // RFC 7518 §6.3.1.1: no leading zero octets, so the length tells the key size.
                if n.first() == Some(&0) || !(256..=1024).contains(&n.len()) {
                    return Err(bad_key("an RSA modulus has 2048 to 8192 bits and no leading zeros"));
                }
                Ok(Self::Rsa { n, e })
            }
            _ => Err(bad_key("the key type or curve is not supported")),
        }
    }

    /// The same key as it stands in a certificate or a CSR.
    pub(crate) fn from_spki(spki: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        match spki.parsed().ok()? {
            PublicKey::EC(point) => match point.data() {
                [4, xy @ ..] if xy.len() == 64 => {
                    Some(Self::P256 { x: xy[..32].to_vec(), y: xy[32..].to_vec() })
                }
                [4, xy @ ..] if xy.len() == 96 => {
                    Some(Self::P384 { x: xy[..48].to_vec(), y: xy[48..].to_vec() })
                }
                _ => None,
            },
            PublicKey::RSA(key) => Some(Self::Rsa {
                n: without_leading_zeros(key.modulus).to_vec(),
                e: without_leading_zeros(key.exponent).to_vec(),
            }),
            _ => None,
        }
    }

    /// Checks a JWS signature made with `algorithm`, which must suit the key.
    pub(crate) fn verify(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> Result<(), Problem> {
        if !ALGORITHMS.contains(&algorithm) {
            return Err(Problem::bad_signature_algorithm(algorithm, ALGORITHMS));
        }
        let verified = match (self, algorithm) {
            (Self::P256 { x, y }, "ES256") => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(x, y)).verify(message, signature)
            }
            (Self::P384 { x, y }, "ES384") => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point(x, y)).verify(message, signature)
            }
            (Self::Rsa { n, e }, "RS256") => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            _ => return Err(Problem::malformed(format!("{algorithm} does not suit the key"))),
        };
        verified.map_err(|_| Problem::malformed("the JWS signature does not verify"))
    }

    /// The required members in lexical order, as RFC 7638 §3 hashes them.
    pub(crate) fn to_json(&self) -> Value {
        let text = |bytes: &Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::P256 { x, y } => json!({ "crv": "P-256", "kty": "EC", "x": text(x), "y": text(y) }),
            Self::P384 { x, y } => json!({ "crv": "P-384", "kty": "EC", "x": text(x), "y": text(y) }),
            Self::Rsa { n, e } => json!({ "e": text(e), "kty": "RSA", "n": text(n) }),
        }
    }

    pub(crate) fn thumbprint(&self) -> String {
        // Written out rather than serialised: the hash must not depend on a map's ordering.
        let value = self.to_json();
        let member = |name: &str| format!("\"{name}\":{}", value[name]);
        let names: &[&str] = match self {
            Self::P256 { .. } | Self::P384 { .. } => &["crv", "kty", "x", "y"],
            Self::Rsa { .. } => &["e", "kty", "n"],
        };
        let canonical =
            format!("{{{}}}", names.iter().map(|name| member(name)).collect::<Vec<_>>().join(","));
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }

    fn with_coordinates_of(self, length: usize) -> Result<Self, Problem> {
        match &self {
            // RFC 7518 §6.2.1.2: the full size of a coordinate, leading zeros kept.
            Self::P256 { x, y } | Self::P384 { x, y } if x.len() != length || y.len() != length => {
                Err(bad_key(format!("EC coordinates on this curve have {length} octets")))
            }
            _ => Ok(self),
        }
    }
}

fn bad_key(detail: impl Into<String>) -> Problem {
    Problem::new("badPublicKey", 400, detail.into())
}

fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key and thumbprint of RFC 7638 §3.1.
    #[test]
    fn thumbprint_of_the_standards_example() {
        let key = json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_\
                  BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_\
                  FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4\
                  vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB",
            "alg": "RS256",
            "kid": "2011-04-29"
        });
        let key = Jwk::parse(&key).unwrap();
        assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
