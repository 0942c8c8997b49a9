//! Who changes a zone.

use super::record::ProofRecord;
use crate::codec::dns::DomainName;
use crate::core::failure::Failure;
use crate::core::name::Token;
use crate::ports::Reply;

/// Sets single texts and takes single texts away. Texts beside them, of another wildcard or of another
/// program, are never touched (certbot and others deleted by name and broke validations under way).
pub trait Provider: Send + Sync {
    /// Whether it can't do without knowing the zone.
    fn needs_zone(&self) -> bool;

    /// Doing it twice is harmless.
    fn add<'a>(&'a self, entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>>;

    /// No error when it is gone already.
    fn remove<'a>(&'a self, entry: &'a Entry<'a>) -> Reply<'a, Result<(), Failure>>;

    /// A free look: could it be tried now?
    fn able(&self) -> Reply<'_, Result<(), Failure>>;

    /// The zone of ours that `name` lies in, of who answers DNS by himself; `None` for who has others do
    /// that. An error where no text at `name` would ever be ours to tell.
    fn own_zone(&self, _name: &DomainName) -> Result<Option<DomainName>, Failure> {
        Ok(None)
    }

    /// Why a text that was added can't be told from here.
    fn hindrance(&self) -> Reply<'_, Option<Failure>> {
        Box::pin(std::future::ready(None))
    }
}

/// One text, and what it is for.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// The name to prove, without a star.
    pub domain: &'a str,
    pub token: &'a Token,
    pub record: &'a ProofRecord,
    /// Known only while it is set: it is not stored.
    pub key_authorization: Option<&'a str>,
}
