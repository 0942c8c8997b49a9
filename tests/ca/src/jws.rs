//! Signed requests: flattened JWS with ACME's protected header (RFC 8555 §6.2).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::jwk::Jwk;
use crate::problem::Problem;

/// A request body taken apart, its signature not yet verified.
#[derive(Debug)]
pub(crate) struct Jws {
    pub(crate) algorithm: String,
    pub(crate) nonce: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) signer: Signer,
    pub(crate) payload: Vec<u8>,
    signing_input: Vec<u8>,
    signature: Vec<u8>,
}

/// Who claims to have signed: a key, or the URL of an account (RFC 8555 §6.2: exactly one of the two).
#[derive(Debug, Clone)]
pub(crate) enum Signer {
    Jwk(Jwk),
    Kid(String),
}

/// Unknown members are refused: RFC 8555 §6.2 forbids an unprotected header and several signatures.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flattened {
    protected: String,
    payload: String,
    signature: String,
}

#[derive(Deserialize)]
struct Protected {
    alg: String,
    nonce: Option<String>,
    url: Option<String>,
    jwk: Option<Value>,
    kid: Option<String>,
    crit: Option<Value>,
}

impl Jws {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Problem> {
        let flattened: Flattened = serde_json::from_slice(body)
            .map_err(|error| Problem::malformed(format!("the body is not a flattened JWS: {error}")))?;
        let protected: Protected = serde_json::from_slice(&decode("protected", &flattened.protected)?)
            .map_err(|error| {
                Problem::malformed(format!("the protected header is not what ACME asks: {error}"))
            })?;
        if protected.crit.is_some() {
            return Err(Problem::malformed("no critical JWS extension is understood"));
        }
        let signer = match (protected.jwk, protected.kid) {
            (Some(jwk), None) => Signer::Jwk(Jwk::parse(&jwk)?),
            (None, Some(kid)) => Signer::Kid(kid),
            _ => return Err(Problem::malformed("the protected header must have exactly one of jwk and kid")),
        };
        Ok(Self {
            algorithm: protected.alg,
            nonce: protected.nonce,
            url: protected.url,
            signer,
            payload: decode("payload", &flattened.payload)?,
            signing_input: format!("{}.{}", flattened.protected, flattened.payload).into_bytes(),
            signature: decode("signature", &flattened.signature)?,
        })
    }

    pub(crate) fn verify(&self, key: &Jwk) -> Result<(), Problem> {
        key.verify(&self.algorithm, &self.signing_input, &self.signature)
    }

    /// Checks the MAC of an external account binding (RFC 8555 §7.3.4).
    pub(crate) fn verify_mac(&self, secret: &[u8]) -> bool {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        aws_lc_rs::hmac::verify(&key, &self.signing_input, &self.signature).is_ok()
    }
}

/// The payload as a request; RFC 8555 §7.3 lets unknown members pass.
pub(crate) fn request<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(payload)
        .map_err(|error| Problem::malformed(format!("the payload is not what this resource takes: {error}")))
}

/// base64url without padding and nothing else (RFC 8555 §6.1).
pub(crate) fn decode(what: &str, text: &str) -> Result<Vec<u8>, Problem> {
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| Problem::malformed(format!("{what} is not base64url without padding")))
}
