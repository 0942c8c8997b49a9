//! One generation as one PEM value, key and chain together, so that a store holds it whole or not
//! at all. And the check of what a CA sent before it becomes a generation.
//!
//! A stored value starts with three lines of explanatory text (RFC 7468 §2), so `openssl` and
//! people can read it, and we can tell damage and a newer release apart:
//!
//! ```text
//! nolapse-generation: 1
//! key: pem
//! sha256: (of all that follows the next, empty line)
//! ```
//!
//! Schema 1 also knows `key: handle` (the key lies elsewhere, such as in a token) and `key: none`
//! (somebody else's CSR). No release writes them yet; they are told apart from damage.

use std::collections::BTreeMap;
use std::fmt;

use super::digest::sha256;
use super::key::{self, BadKey, PublicHalf};
use super::pem::{self, KeyDer, PemError};
use super::x509::{self, X509Error};
use crate::core::failure::{Failure, Fault};
use crate::core::layout::{Content, Rendering};
use crate::core::leaf::{Fingerprint, Leaf};
use crate::core::name::SubjectName;
use crate::core::spec::{KeyKind, Part};
use crate::core::time::{Interval, Timestamp};

/// The schema of stored generations that this release writes, and the newest it reads.
pub const SCHEMA: u32 = 1;

/// Most names listed in one failure.
const NAMES_SHOWN: usize = 5;

/// A key and its chain. They match, and each link of the chain verifies.
#[derive(Clone, PartialEq, Eq)]
pub struct Bundle {
    key: KeyDer,
    key_kind: Option<KeyKind>,
    /// DER, the leaf first; never empty.
    chain: Vec<Vec<u8>>,
    leaf: Leaf,
}

/// What a certificate must be to be taken from a CA.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Each must be covered; the certificate may have more.
    pub names: &'a [SubjectName],
    pub now: Timestamp,
}

/// Why a key and a chain are not a usable pair.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    #[error(
        "written by a newer nolapse (schema {found}, this one knows {known}); upgrade, nothing was changed"
    )]
    Newer { found: u32, known: u32 },
    #[error("the stored generation is damaged: {0}")]
    Damaged(&'static str),
    #[error("its key is kept as \"{0}\", which this release cannot use")]
    KeyElsewhere(String),
    #[error("the certificate does not belong to the private key")]
    Mismatched,
    #[error("{0}")]
    Pem(#[from] PemError),
    #[error("{0}")]
    Certificate(#[from] X509Error),
    #[error("{0}")]
    Key(#[from] BadKey),
}

impl Bundle {
    /// Takes a CA's answer, or says what is wrong with it (F26, F53). `chain_pem` is what was
    /// downloaded; `key` is the PEM text of the key that the request was signed with.
    ///
    /// Failures are the CA's and transient: nothing was installed and another order may well be
    /// answered rightly. Only an unusable `key` is ours.
    pub fn receive(chain_pem: &str, key: &Content, expected: &Expected<'_>) -> Result<Self, Failure> {
        let (key, half) = read_key(key.bytes())
            .map_err(|error| Failure::broken("key-unreadable", format!("our own stored key: {error}")))?;
        let unreadable = |error: &dyn fmt::Display| bad("chain-unreadable", error);
        let chain = pem::certificates(chain_pem.as_bytes()).map_err(|error| unreadable(&error))?;
        let first = chain.first().map_or(&[][..], Vec::as_slice);
        let leaf = x509::leaf(first).map_err(|error| unreadable(&error))?;
        if x509::is_ca(first).map_err(|error| unreadable(&error))? {
            return Err(bad(
                "leaf-is-ca",
                &"the first certificate is a CA certificate, not one for a server",
            ));
        }
        if leaf.key != half.fingerprint {
            return Err(bad(
                "wrong-key",
                &format!("certificate {} is for another key than ours", leaf.serial),
            ));
        }
        check_names(&leaf, expected.names)?;
        check_dates("the certificate", leaf.validity(), expected.now)?;
        x509::verify_links(&chain).map_err(|error| bad("chain-broken", &error))?;
        // Only the direct issuer is needed by every client; what comes after may be a cross-sign
        // that outlived its use, as DST Root CA X3's did in 2021.
        if let Some(issuer) = chain.get(1) {
            let validity = x509::validity(issuer).map_err(|error| unreadable(&error))?;
            check_dates("the CA's intermediate certificate", validity, expected.now)?;
        }
        Ok(Self { key, key_kind: half.kind, chain, leaf })
    }

    /// A pair that was made here, such as a placeholder: nothing but the match is checked.
    pub fn made(chain_pem: &str, key: &Content) -> Result<Self, BundleError> {
        let (key, half) = read_key(key.bytes())?;
        let chain = pem::certificates(chain_pem.as_bytes())?;
        let leaf = matching_leaf(&chain, half)?;
        Ok(Self { key, key_kind: half.kind, chain, leaf })
    }

    /// A pair that somebody else's tool left, whatever else the texts hold. Certificates that are
    /// not of the chain, or in another order than a chain has, are put right; nothing is asked of
    /// names and dates.
    pub fn found(chain: &[u8], key: &[u8]) -> Result<Self, BundleError> {
        let (key, half) = read_key(key)?;
        let mut rest = pem::lenient_certificates(chain)?;
        let of_key = |der: &Vec<u8>| x509::leaf(der).is_ok_and(|leaf| leaf.key == half.fingerprint);
        let at = rest.iter().position(of_key).ok_or(BundleError::Mismatched)?;
        let mut chain = vec![rest.swap_remove(at)];
        while let Some(last) = chain.last()
            && let Some(next) = rest.iter().position(|der| x509::vouches(der, last))
        {
            chain.push(rest.remove(next));
        }
        let leaf = matching_leaf(&chain, half)?;
        x509::verify_links(&chain)?;
        Ok(Self { key, key_kind: half.kind, chain, leaf })
    }

    /// The value to store.
    pub fn to_content(&self) -> Content {
        let body = concat(&[&pem::encode_key(&self.key), &self.fullchain()]);
        let head =
            Content::new(format!("{HEAD}{SCHEMA}\nkey: pem\nsha256: {}\n\n", sha256(body.bytes())).into());
        concat(&[&head, &body])
    }

    /// Reads a stored value. Any damage is noticed, and so is a key that is not the leaf's.
    pub fn from_content(content: &Content) -> Result<Self, BundleError> {
        let body = checked_body(content.bytes())?;
        let (key, half) = read_key(body)?;
        let chain = pem::lenient_certificates(body)?;
        let leaf = matching_leaf(&chain, half)?;
        x509::verify_links(&chain)?;
        Ok(Self { key, key_kind: half.kind, chain, leaf })
    }

    pub const fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    pub fn is_of(&self, leaf: &Leaf) -> bool {
        self.leaf.fingerprint == leaf.fingerprint
    }

    /// `None` for a kind that we don't make.
    pub const fn key_kind(&self) -> Option<KeyKind> {
        self.key_kind
    }

    pub(super) const fn key(&self) -> &KeyDer {
        &self.key
    }

    /// DER, the leaf first.
    pub(super) fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// The private key's PEM text.
    pub fn key_pem(&self) -> Content {
        pem::encode_key(&self.key)
    }

    /// All texts, each ending with a line feed. Without intermediates `chain.pem` is empty.
    pub fn render(&self) -> Rendering {
        let key = self.key_pem();
        let fullchain = self.fullchain();
        let combined = concat(&[&fullchain, &key]);
        BTreeMap::from([
            (Part::Cert, certificates(&self.chain[..1])),
            (Part::Chain, certificates(&self.chain[1..])),
            (Part::Fullchain, fullchain),
            (Part::Privkey, key),
            (Part::Combined, combined),
        ])
    }

    fn fullchain(&self) -> Content {
        certificates(&self.chain)
    }
}

/// Names the leaf and no secret.
impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "generation {} with {} certificates", self.leaf.fingerprint.short(), self.chain.len())
    }
}

/// What the files of a generation must hash to, so that drift is found without loading it.
pub fn digests(texts: &Rendering) -> BTreeMap<Part, Fingerprint> {
    texts.iter().map(|(part, content)| (*part, sha256(content.bytes()))).collect()
}

/// What `chain.pem` hashes to for these certificates above a leaf.
pub fn digest_above(above: &[Vec<u8>]) -> Fingerprint {
    sha256(certificates(above).bytes())
}

/// The leaf of a pair found on disk, where the two files belong together. The same bytes may be
/// given twice for a combined file.
pub fn pair_of(fullchain: &[u8], key: &[u8]) -> Result<Leaf, BundleError> {
    let (_, half) = read_key(key)?;
    matching_leaf(&pem::lenient_certificates(fullchain)?, half)
}

/// The leaf of a file that holds a certificate, whatever else it holds.
pub fn leaf_of(text: &[u8]) -> Result<Leaf, BundleError> {
    let chain = pem::lenient_certificates(text)?;
    let first = chain.first().ok_or(BundleError::Damaged("it holds no certificate"))?;
    Ok(x509::leaf(first)?)
}

const HEAD: &str = "nolapse-generation: ";

fn checked_body(bytes: &[u8]) -> Result<&[u8], BundleError> {
    const SPLIT: &[u8] = b"\n\n";
    /// Longest head, in bytes.
    const HEAD_MAX: usize = 200;

    let damaged = BundleError::Damaged;
    let near = &bytes[..bytes.len().min(HEAD_MAX)];
    let at = near.windows(2).position(|window| window == SPLIT).ok_or(damaged("its head is missing"))?;
    let (head, body) = (&bytes[..at], &bytes[at + SPLIT.len()..]);
    let head = std::str::from_utf8(head).map_err(|_| damaged("its head is not text"))?;
    let mut lines = head.lines();
    let schema = lines.next().and_then(|line| line.strip_prefix(HEAD)?.parse::<u32>().ok());
    match schema.ok_or(damaged("its schema is not a number"))? {
        SCHEMA => {}
        found if found > SCHEMA => return Err(BundleError::Newer { found, known: SCHEMA }),
        _ => return Err(damaged("its schema was never written")),
    }
    match lines.next().and_then(|line| line.strip_prefix("key: ")) {
        Some("pem") => {}
        Some(word @ ("handle" | "none")) => return Err(BundleError::KeyElsewhere(word.to_owned())),
        _ => return Err(damaged("it does not say where its key is")),
    }
    let told = lines.next().and_then(|line| line.strip_prefix("sha256: "));
    if lines.next().is_some() || told != Some(sha256(body).to_string().as_str()) {
        return Err(damaged("its checksum does not fit"));
    }
    Ok(body)
}

fn read_key(text: &[u8]) -> Result<(KeyDer, PublicHalf), BundleError> {
    let key = pem::private_key(text)?;
    let half = key::public_half(&key)?;
    Ok((key, half))
}

fn matching_leaf(chain: &[Vec<u8>], half: PublicHalf) -> Result<Leaf, BundleError> {
    let leaf = x509::leaf(chain.first().map_or(&[], Vec::as_slice))?;
    if leaf.key == half.fingerprint { Ok(leaf) } else { Err(BundleError::Mismatched) }
}

fn check_names(leaf: &Leaf, wanted: &[SubjectName]) -> Result<(), Failure> {
    let missing: Vec<_> = wanted.iter().filter(|name| !leaf.covers(name)).collect();
    let Some(first) = missing.first() else { return Ok(()) };
    let shown: Vec<_> = missing.iter().take(NAMES_SHOWN).map(ToString::to_string).collect();
    let more = missing.len().saturating_sub(NAMES_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let words = format!("certificate {} is not for {}{more}", leaf.serial, shown.join(", "));
    Err(bad("names-missing", &words).blaming(Some((*first).clone())))
}

fn check_dates(what: &str, validity: Interval, now: Timestamp) -> Result<(), Failure> {
    let Interval { start, end } = validity;
    if now < start {
        let words =
            format!("{what} is not valid before {start} and it is {now}; is this host's clock right?");
        return Err(bad("not-yet-valid", &words));
    }
    if end <= now {
        let words = format!("{what} ended at {end} and it is {now}; is this host's clock right?");
        return Err(bad("already-expired", &words));
    }
    Ok(())
}

fn bad(code: &str, why: &dyn fmt::Display) -> Failure {
    let words = format!(
        "the CA delivered something unusable: {why}. Nothing was installed; it is ordered anew later"
    );
    Failure::transient(Fault::Ca, code, words)
}

fn certificates(chain: &[Vec<u8>]) -> Content {
    Content::new(chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect::<String>().into_bytes())
}

/// One piece of memory of the right size: growing would leave copies of a key behind.
pub(super) fn concat(parts: &[&Content]) -> Content {
    let mut all = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        all.extend_from_slice(part.bytes());
    }
    Content::new(all)
}
