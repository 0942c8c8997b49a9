//! Outputs as bytes, and back: what a file holds says by itself which generation it is of. Nothing
//! is noted about an output that could become untrue.

use super::bundle::{self, Bundle};
use super::digest::sha256;
use super::key;
use super::pem::{self, KeyDer, KeyForm};
use super::pkcs12::{self, Password, Pkcs12Error};
use super::x509;
use crate::core::form::Form;
use crate::core::layout::{Content, Rendering};
use crate::core::leaf::Leaf;
use crate::core::record::Issued;
use crate::core::spec::{LineageSpec, Part};

/// Everything that an output may be made of. The texts are the bundle's, made once for all outputs.
pub struct Source<'a> {
    pub bundle: &'a Bundle,
    pub texts: &'a Rendering,
    /// What programs call the key where a form has a name for it.
    pub name: &'a str,
}

impl<'a> Source<'a> {
    pub fn new(bundle: &'a Bundle, texts: &'a Rendering, spec: &'a LineageSpec) -> Self {
        Self { bundle, texts, name: spec.id.as_str() }
    }
}

/// The bytes of one output; empty for a tree, which is more than one file.
///
/// `password` is asked of forms that have one and ignored by others.
pub fn encode(form: &Form, source: &Source<'_>, password: Option<&Password>) -> Result<Content, Pkcs12Error> {
    let text = |part: &Part| source.texts.get(part).cloned().unwrap_or_default();
    Ok(match form {
        Form::Text(part) => text(part),
        Form::KeyFirst => bundle::concat(&[&text(&Part::Privkey), &text(&Part::Fullchain)]),
        Form::CertDer => Content::new(source.bundle.chain().first().cloned().unwrap_or_default()),
        Form::KeyDer => pkcs8(source.bundle.key())?.der.clone(),
        Form::Pkcs12 { .. } => {
            let password = password.ok_or(Pkcs12Error::Password)?;
            pkcs12::encode(source.bundle.key(), source.bundle.chain(), source.name, password)?
        }
        Form::Tree => Content::default(),
    })
}

/// Whether these bytes are what [`encode`] makes of this generation.
pub fn shows(form: &Form, bytes: &[u8], issued: &Issued, password: Option<&Password>) -> bool {
    let is = |part: Part, bytes: &[u8]| issued.digests.get(&part) == Some(&sha256(bytes));
    match form {
        Form::Text(part) => is(*part, bytes),
        Form::KeyFirst => {
            const CHAIN: &[u8] = b"-----BEGIN CERTIFICATE-----\n";
            let at = bytes.windows(CHAIN.len()).position(|window| window == CHAIN);
            at.is_some_and(|at| is(Part::Privkey, &bytes[..at]) && is(Part::Fullchain, &bytes[at..]))
        }
        Form::CertDer => sha256(bytes) == issued.leaf.fingerprint,
        Form::KeyDer => is(Part::Privkey, pem::encode_key(&in_pkcs8(bytes)).bytes()),
        Form::Pkcs12 { .. } => password.and_then(|word| pkcs12::decode(bytes, word).ok()).is_some_and(|it| {
            let chain: String = it.chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
            is(Part::Fullchain, chain.as_bytes())
                && key::public_half(&it.key).is_ok_and(|half| half.fingerprint == issued.leaf.key)
        }),
        Form::Tree => false,
    }
}

/// The leaf of a file that was found at an output's place, whoever wrote it.
pub fn leaf_in(form: &Form, bytes: &[u8], password: Option<&Password>) -> Option<Leaf> {
    match form {
        Form::Text(_) | Form::KeyFirst => bundle::leaf_of(bytes).ok(),
        Form::CertDer => x509::leaf(bytes).ok(),
        Form::Pkcs12 { .. } => {
            x509::leaf(pkcs12::decode(bytes, password?).ok()?.chain.first().map_or(&[], Vec::as_slice)).ok()
        }
        Form::KeyDer | Form::Tree => None,
    }
}

fn pkcs8(key: &KeyDer) -> Result<&KeyDer, Pkcs12Error> {
    if key.form == KeyForm::Pkcs8 { Ok(key) } else { Err(Pkcs12Error::OldKey) }
}

fn in_pkcs8(bytes: &[u8]) -> KeyDer {
    KeyDer { form: KeyForm::Pkcs8, der: Content::new(bytes.to_vec()) }
}
