//! Our account with one CA. Its key is in the store before the CA hears of it, so that neither a
//! crash nor a lost answer loses an account or a binding that can be used once only.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::{Zeroize, Zeroizing};

use super::directory::Directory;
use super::http::{Answer, Transport};
use super::jws::{AccountKey, BadKey, MacKey, Signer};
use super::problem::{Call, eab_required};
use crate::core::failure::{Failure, Fault};
use crate::core::layout::Content;
use crate::core::spec::{Eab, IssuerSpec, SecretSource};
use crate::ports::{Expect, Key, Revision, Secrets, Store, StoreError};

/// An account that the CA knows, as far as we know.
pub(super) struct Registered {
    pub(super) url: String,
    pub(super) key: AccountKey,
}

/// Everything that registering needs.
pub(super) struct Registrar<'a> {
    pub(super) spec: &'a IssuerSpec,
    pub(super) store: &'a dyn Store,
    pub(super) secrets: &'a Secrets,
    pub(super) transport: &'a Transport,
    pub(super) directory: &'a Directory,
}

/// Keeps an account that another program registered with this issuer: its key in PKCS#8, which
/// must be ECDSA on P-256 or RSA, and its URL. False where we have an account there already; that one
/// stays.
///
/// Codes: `account-store`, `account-damaged`, `account-key`.
pub async fn keep(store: &dyn Store, spec: &IssuerSpec, key: &[u8], url: &str) -> Result<bool, Failure> {
    if let Err(BadKey) = AccountKey::from_pkcs8(key) {
        let words = "the key of the account that was found is neither ECDSA on P-256 nor RSA";
        return Err(Failure::refused(Fault::Config, "account-key", words));
    }
    let ledger = Ledger { spec, store };
    for _ in 0..SWAPS_MOST {
        let (mut book, revision) = ledger.load().await?;
        if book.position(&spec.directory).is_some() {
            return Ok(false);
        }
        book.accounts.push(Entry {
            directory: spec.directory.clone(),
            key: BASE64_URL_SAFE_NO_PAD.encode(key),
            url: Some(url.to_owned()),
            // Taken as told: the contact that the other program gave stays until ours is changed.
            contact: spec.contact.clone(),
            eab_kid: None,
            terms: None,
        });
        if ledger.swap(&book, revision).await? {
            return Ok(true);
        }
    }
    Err(ledger.contended())
}

/// The key in PKCS#8 and the URL of our account with this issuer, where there is one.
///
/// Codes: `account-store`, `account-damaged`.
pub async fn kept(store: &dyn Store, spec: &IssuerSpec) -> Result<Option<(Content, String)>, Failure> {
    let ledger = Ledger { spec, store };
    let (book, _) = ledger.load().await?;
    let Some(entry) = book.position(&spec.directory).and_then(|place| book.accounts.get(place)) else {
        return Ok(None);
    };
    let Some(url) = entry.url.clone() else { return Ok(None) };
    let key =
        BASE64_URL_SAFE_NO_PAD.decode(&entry.key).map_err(|_| ledger.damaged("its key can't be read"))?;
    Ok(Some((Content::new(key), url)))
}

/// The accounts with one issuer, as they are stored.
#[derive(Clone, Copy)]
struct Ledger<'a> {
    spec: &'a IssuerSpec,
    store: &'a dyn Store,
}

/// The stored value of `accounts/<issuer>`: one entry for each directory that the issuer had, so
/// that a changed `directory` never overwrites a key.
#[derive(Default, Serialize, Deserialize)]
struct Book {
    schema: u32,
    accounts: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    directory: String,
    /// PKCS#8, base64url.
    key: String,
    /// Absent until the CA confirmed the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default)]
    contact: Vec<String>,
    /// The key id of the binding it was registered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eab_kid: Option<String>,
    /// The terms that were agreed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<String>,
}

/// A key in the store: put there just now, or before.
enum Saved {
    New(AccountKey),
    Before(AccountKey, Entry),
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The schema of [`Book`] that this program writes, and the newest that it reads.
const SCHEMA: u32 = 1;
/// Tries of one request against `badNonce`. At a rejection of one half, one request in a
/// hundred million uses them up.
pub(super) const NONCE_TRIES: usize = 27;
/// Writes of the entry that lose a race against another process before we give up.
const SWAPS_MOST: usize = 5;

impl Registrar<'_> {
    /// Restores the account, or registers one. With `lost` the CA said that it does not know the
    /// account we have: it is registered again, with the same key, as far as that can be done
    /// without a person.
    pub(super) async fn open(&self, lost: bool) -> Result<Registered, Failure> {
        let (key, entry) = match self.saved_key().await? {
            Saved::New(key) => return self.register(key).await,
            Saved::Before(key, entry) => (key, entry),
        };
        match entry.url.clone() {
            Some(url) if !lost => {
                let contact = entry.contact != self.spec.contact;
                let registered = Registered { url, key };
                if contact { self.tell_contact(registered).await } else { Ok(registered) }
            }
            Some(old) => self.register_again(key, &old).await,
            // Saved but never confirmed: the answer may have been lost on its way.
            None => match self.find(&key).await? {
                Some(url) => self.confirmed(key, url).await,
                None => self.register(key).await,
            },
        }
    }

    /// The key for this directory; made and saved if there is none.
    async fn saved_key(&self) -> Result<Saved, Failure> {
        for _ in 0..SWAPS_MOST {
            let (mut book, revision) = self.ledger().load().await?;
            if let Some(place) = book.position(&self.spec.directory) {
                let entry = book.accounts.swap_remove(place);
                let der = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(&entry.key).unwrap_or_default());
                let key = AccountKey::from_pkcs8(&der)
                    .map_err(|BadKey| self.ledger().damaged("its key can't be read"))?;
                return Ok(Saved::Before(key, entry));
            }
            // Before a key is made: nothing is kept of an account that can't be.
            self.check_terms()?;
            self.check_binding()?;
            let key = AccountKey::generate().map_err(crypto)?;
            book.accounts.push(Entry {
                directory: self.spec.directory.clone(),
                key: BASE64_URL_SAFE_NO_PAD.encode(key.pkcs8()),
                url: None,
                contact: Vec::new(),
                eab_kid: None,
                terms: None,
            });
            // In a race the other one's key is the account's: it is read in the next round.
            if self.ledger().swap(&book, revision).await? {
                return Ok(Saved::New(key));
            }
        }
        Err(self.ledger().contended())
    }

    async fn register(&self, key: AccountKey) -> Result<Registered, Failure> {
        self.check_terms()?;
        let mut payload = json!({ "contact": self.spec.contact });
        if self.spec.accept_terms {
            payload["termsOfServiceAgreed"] = Value::Bool(true);
        }
        match &self.spec.eab {
            Some(eab) => {
                let mac_key = self.mac_key(eab)?;
                payload["externalAccountBinding"] =
                    key.binding(&eab.kid, &mac_key, &self.directory.new_account).map_err(crypto)?;
            }
            None => self.check_binding()?,
        }
        let answer = self.new_account(&key, &payload).await?;
        if !answer.is_success() {
            return Err(answer.failure(Call::NewAccount, self.transport.now()));
        }
        let url = self.account_url(&answer)?;
        tracing::info!(issuer = %self.spec.id, account = %url, "account registered");
        self.confirmed(key, url).await
    }

    /// F49: a CA that forgot us (a test CA that was restarted, a restored backup). The same key
    /// makes this harmless where the CA was wrong about it: it answers with the account it has.
    async fn register_again(&self, key: AccountKey, old: &str) -> Result<Registered, Failure> {
        if self.directory.eab_required || self.spec.eab.is_some() {
            let words = format!(
                "the CA does not know account {old} any more, and a new one needs a fresh external account binding: \
                 get one from the CA, set the issuer's `eab`, and move the issuer's entry out of the state \
                 directory's accounts"
            );
            return Err(Failure::refused(Fault::Config, "account-missing", words));
        }
        let registered = self.register(key).await?;
        tracing::warn!(
            issuer = %self.spec.id, old, new = %registered.url,
            "the CA did not know our account; it was registered again with the same key; \
             CAA records with accounturi must name the new one"
        );
        Ok(registered)
    }

    /// The account that the CA has for this key, where it has one (RFC 8555 §7.3.1).
    async fn find(&self, key: &AccountKey) -> Result<Option<String>, Failure> {
        let answer = self.new_account(key, &json!({ "onlyReturnExisting": true })).await?;
        if answer.is_success() {
            return self.account_url(&answer).map(Some);
        }
        let problem = answer.problem();
        // A sloppy server takes the request for a registration that lacks things.
        let unknown = problem.is("accountDoesNotExist")
            || problem.is("externalAccountRequired")
            || problem.is("userActionRequired")
            || problem.is("malformed")
            || answer.status == 404;
        if unknown { Ok(None) } else { Err(answer.failure(Call::NewAccount, self.transport.now())) }
    }

    async fn new_account(&self, key: &AccountKey, payload: &Value) -> Result<Answer, Failure> {
        signed(self.transport, self.directory, key, Signer::Key, &self.directory.new_account, Some(payload))
            .await
    }

    fn account_url(&self, answer: &Answer) -> Result<String, Failure> {
        let url = answer.location.as_deref().ok_or_else(|| {
            Failure::transient(Fault::Ca, "ca-answer", "the CA's new-account answer names no account URL")
        })?;
        self.transport.permitted(url)?;
        Ok(url.to_owned())
    }

    /// Tells the CA of changed contacts. No renewal waits for that: what fails is tried again
    /// when the account is opened next.
    async fn tell_contact(&self, account: Registered) -> Result<Registered, Failure> {
        let payload = json!({ "contact": self.spec.contact });
        let signer = Signer::Account(&account.url);
        let told =
            signed(self.transport, self.directory, &account.key, signer, &account.url, Some(&payload)).await;
        let failure = match told {
            Ok(answer) if answer.is_success() => {
                let url = account.url.clone();
                return self.confirmed(account.key, url).await;
            }
            Ok(answer) if answer.problem().is("accountDoesNotExist") => {
                let Registered { url, key } = account;
                return self.register_again(key, &url).await;
            }
            Ok(answer) => answer.failure(Call::Account, self.transport.now()),
            Err(failure) => failure,
        };
        tracing::warn!(issuer = %self.spec.id, %failure, "the CA was not told the new contact");
        Ok(account)
    }

    /// Saves what the CA confirmed.
    async fn confirmed(&self, key: AccountKey, url: String) -> Result<Registered, Failure> {
        for _ in 0..SWAPS_MOST {
            let (mut book, revision) = self.ledger().load().await?;
            let Some(place) = book.position(&self.spec.directory) else {
                return Err(self.ledger().damaged("its entry disappeared while the account was registered"));
            };
            let entry = &mut book.accounts[place];
            entry.url = Some(url.clone());
            entry.contact.clone_from(&self.spec.contact);
            entry.eab_kid = self.spec.eab.as_ref().map(|eab| eab.kid.clone());
            entry.terms = self.directory.terms.clone().filter(|_| self.spec.accept_terms);
            if self.ledger().swap(&book, revision).await? {
                return Ok(Registered { url, key });
            }
        }
        Err(self.ledger().contended())
    }

    fn check_terms(&self) -> Result<(), Failure> {
        match &self.directory.terms {
            Some(terms) if !self.spec.accept_terms => {
                let words = format!(
                    "the CA wants agreement to its terms of service, {terms}; read them and set `accept-terms = true` \
                     under [issuer.{}]",
                    self.spec.id
                );
                Err(Failure::refused(Fault::Config, "terms-not-accepted", words))
            }
            _ => Ok(()),
        }
    }

    fn check_binding(&self) -> Result<(), Failure> {
        match &self.spec.eab {
            Some(eab) => self.mac_key(eab).map(drop),
            None if self.directory.eab_required => Err(eab_required("its directory says so")),
            None => Ok(()),
        }
    }

    fn mac_key(&self, eab: &Eab) -> Result<MacKey, Failure> {
        let secret = (self.secrets)(&eab.hmac_key)?;
        MacKey::parse(secret.bytes()).ok_or_else(|| {
            let place = match &eab.hmac_key {
                SecretSource::File(path) => format!("file {path}"),
                SecretSource::Env(name) => format!("environment variable {name}"),
                SecretSource::Credential(name) => format!("credential {name}"),
            };
            let words = format!("the MAC key of the issuer's `eab` ({place}) is no base64 text");
            Failure::refused(Fault::Config, "eab-key", words)
        })
    }

    fn ledger(&self) -> Ledger<'_> {
        Ledger { spec: self.spec, store: self.store }
    }
}

impl Ledger<'_> {
    async fn load(&self) -> Result<(Book, Option<Revision>), Failure> {
        let entry =
            self.store.load(&Key::Account(self.spec.id.clone())).await.map_err(|e| self.store_failed(&e))?;
        let Some(entry) = entry else {
            return Ok((Book { schema: SCHEMA, accounts: Vec::new() }, None));
        };
        let book: Book = serde_json::from_slice(entry.content.bytes())
            .map_err(|error| self.damaged(&format!("line {}: not what was written", error.line())))?;
        if book.schema > SCHEMA {
            return Err(self.damaged("it was written by a newer nolapse; upgrade this one"));
        }
        Ok((book, Some(entry.revision)))
    }

    /// False when somebody else was faster.
    async fn swap(&self, book: &Book, revision: Option<Revision>) -> Result<bool, Failure> {
        let bytes = serde_json::to_vec(book).map_err(|error| self.damaged(&error.to_string()))?;
        let expect = revision.map_or(Expect::Absent, Expect::At);
        match self.store.swap(&Key::Account(self.spec.id.clone()), expect, Content::new(bytes)).await {
            Ok(_) => Ok(true),
            Err(StoreError::Conflict(_)) => Ok(false),
            Err(error) => Err(self.store_failed(&error)),
        }
    }

    fn store_failed(&self, error: &StoreError) -> Failure {
        match error {
            StoreError::Conflict(_) => self.contended(),
            StoreError::Io { .. } => Failure::transient(
                Fault::Host,
                "account-store",
                format!("the account of issuer {} can't be read or written: {error}", self.spec.id),
            ),
            StoreError::Corrupt { .. } => self.damaged(&error.to_string()),
            StoreError::Newer { .. } => Failure::refused(Fault::Config, "account-store", error.to_string()),
        }
    }

    fn damaged(&self, why: &str) -> Failure {
        Failure::broken(
            "account-damaged",
            format!(
                "the saved account of issuer {} can't be used: {why}; restore it from a backup",
                self.spec.id
            ),
        )
    }

    fn contended(&self) -> Failure {
        Failure::transient(
            Fault::Host,
            "account-store",
            format!("another process keeps changing the account of issuer {}", self.spec.id),
        )
    }
}

impl Book {
    fn position(&self, directory: &str) -> Option<usize> {
        self.accounts.iter().position(|entry| entry.directory == directory)
    }
}

/// Sends one signed request, again while the CA refuses the nonce. Any other refusal is an answer.
pub(super) async fn signed(
    transport: &Transport,
    directory: &Directory,
    key: &AccountKey,
    signer: Signer<'_>,
    url: &str,
    payload: Option<&Value>,
) -> Result<Answer, Failure> {
    let _turn = transport.turn().await;
    let mut fresh = None;
    for _ in 1..NONCE_TRIES {
        let nonce = match fresh.take() {
            Some(nonce) => nonce,
            None => transport.nonce(&directory.new_nonce).await?,
        };
        let body = key.request(signer, &nonce, url, payload).map_err(crypto)?;
        let answer = transport.send(Method::POST, url, Some(body)).await?;
        if answer.status != 400 || !answer.problem().is("badNonce") {
            return Ok(answer);
        }
        fresh = answer.nonce;
    }
    Err(Failure::transient(
        Fault::Ca,
        "bad-nonce",
        format!("the CA refused {NONCE_TRIES} nonces one after another; asked again later"),
    ))
}

fn crypto(BadKey: BadKey) -> Failure {
    Failure::broken("crypto", "signing with the account key failed")
}
