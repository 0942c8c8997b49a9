//! Signatures with a shared key (RFC 8945), and the file such a key comes in.

use aws_lc_rs::hmac::{self, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::wire::{Malformed, Reader, put_name, put_u16, put_u32, put_u48};
use crate::core::domain_name::DomainName;
use crate::core::name::BadName;

/// A key that a name server knows by its name.
#[derive(Clone)]
pub struct TsigKey {
    pub name: DomainName,
    algorithm: Algorithm,
    key: hmac::Key,
}

/// The name alone.
impl std::fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.algorithm.word())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    const fn word(self) -> &'static str {
        match self {
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }
}

/// How far the clocks of both sides may be apart, in seconds (RFC 8945 §10 recommends 300).
const FUDGE: u16 = 300;
const KIND_TSIG: u16 = 250;
const CLASS_ANY: u16 = 255;

/// What the other side's signature says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// Signed with our key.
    Sound,
    /// Not signed, as a server answers that does not know the key.
    None,
    /// Signed with another key, or changed on the way.
    Broken,
    /// The server names this error; its answer carries no signature then.
    Refused(SealError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    BadSignature,
    BadKey,
    BadTime,
    Other(u16),
}

impl SealError {
    const fn of(code: u16) -> Self {
        match code {
            16 => Self::BadSignature,
            17 => Self::BadKey,
            18 => Self::BadTime,
            other => Self::Other(other),
        }
    }
}

/// What a signature of an answer is computed over besides the answer.
#[derive(Clone, Debug)]
pub struct Mac(Vec<u8>);

impl TsigKey {
    /// Longest key file, in octets.
    pub const FILE_MAX: usize = 16 << 10;

    /// Reads what `tsig-keygen` and `keymgr -t` write and `nsupdate -k` and `-y` take:
    /// `key "NAME" { algorithm hmac-sha256; secret "…"; };`, or a line `hmac-sha256:NAME:SECRET`.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        const HELP: BadName = BadName(
            "it is no TSIG key: expected key \"NAME\" { algorithm hmac-sha256; secret \"…\"; }; as tsig-keygen writes it",
        );
        let line = text.lines().find_map(|line| {
            let mut parts = line.trim_start_matches(['#', ' ']).trim_end().splitn(3, ':');
            let (algorithm, name, secret) = (parts.next()?, parts.next()?, parts.next()?);
            algorithm.starts_with("hmac-").then_some((algorithm, name, secret))
        });
        if let Some((algorithm, name, secret)) = line {
            return Self::new(name, algorithm, secret);
        }
        let words = words(text);
        let at = |wanted: &str| words.iter().position(|word| word == wanted).and_then(|at| words.get(at + 1));
        let (Some(name), Some(algorithm), Some(secret)) = (at("key"), at("algorithm"), at("secret")) else {
            return Err(HELP);
        };
        Self::new(name, algorithm, secret)
    }

    pub fn new(name: &str, algorithm: &str, secret: &str) -> Result<Self, BadName> {
        let name = DomainName::parse(name)?;
        let wanted = algorithm.trim_end_matches('.').to_ascii_lowercase();
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|known| known.word() == wanted)
            .ok_or(BadName("its algorithm is none of hmac-sha256, hmac-sha384 and hmac-sha512"))?;
        let secret =
            Zeroizing::new(STANDARD.decode(secret.trim()).map_err(|_| BadName("its secret is not base64"))?);
        if secret.is_empty() || name.is_root() {
            return Err(BadName("it has no name or no secret"));
        }
        let kind = match algorithm {
            Algorithm::Sha256 => HMAC_SHA256,
            Algorithm::Sha384 => HMAC_SHA384,
            Algorithm::Sha512 => HMAC_SHA512,
        };
        Ok(Self { name, algorithm, key: hmac::Key::new(kind, &secret) })
    }

    /// Signs a request at `now`, in seconds since 1970, by a record at its end.
    pub fn sign(&self, message: &mut Vec<u8>, now: u64) -> Mac {
        let id = message.get(..2).map_or(0, |id| u16::from_be_bytes([id[0], id[1]]));
        let mut signed = hmac::Context::with_key(&self.key);
        signed.update(message);
        signed.update(&self.variables(now, FUDGE, 0, &[]));
        let mac = signed.sign().as_ref().to_vec();
        let mut data = Vec::with_capacity(64 + mac.len());
        put_name(&mut data, &self.algorithm_name());
        put_u48(&mut data, now);
        put_u16(&mut data, FUDGE);
        put_u16(&mut data, length(&mac));
        data.extend_from_slice(&mac);
        put_u16(&mut data, id);
        data.extend_from_slice(&[0; 4]);
        put_name(message, &self.name);
        put_u16(message, KIND_TSIG);
        put_u16(message, CLASS_ANY);
        put_u32(message, 0);
        put_u16(message, length(&data));
        message.extend_from_slice(&data);
        count_further(message, 1);
        Mac(mac)
    }

    /// Judges the answer to a request that was signed with `request`.
    pub fn verify(&self, answer: &[u8], request: &Mac) -> Result<Seal, Malformed> {
        let mut reader = Reader::new(answer);
        reader.bytes(4)?;
        let counts = [reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?];
        for _ in 0..counts[0] {
            reader.name()?;
            reader.bytes(4)?;
        }
        // The signature is the last record (RFC 8945 §5.1).
        let records = counts[1..].iter().map(|count| usize::from(*count)).sum::<usize>();
        for _ in 1..records {
            reader.name()?;
            reader.bytes(8)?;
            let length = reader.u16()?;
            reader.bytes(usize::from(length))?;
        }
        if records == 0 || counts[3] == 0 {
            return Ok(Seal::None);
        }
        let end = reader.position();
        let (name, kind) = (reader.name()?, reader.u16()?);
        reader.bytes(8)?;
        if kind != KIND_TSIG {
            return Ok(Seal::None);
        }
        let algorithm = reader.name()?;
        let (time, fudge) = (reader.u48()?, reader.u16()?);
        let mac_length = usize::from(reader.u16()?);
        let mac = reader.bytes(mac_length)?;
        let original = reader.bytes(2)?;
        let error = reader.u16()?;
        let other_length = usize::from(reader.u16()?);
        let other = reader.bytes(other_length)?;
        if error != 0 {
            return Ok(Seal::Refused(SealError::of(error)));
        }
        if name != self.name || algorithm != self.algorithm_name() {
            return Ok(Seal::Broken);
        }
        let mut plain = answer[..end].to_vec();
        plain[..2].copy_from_slice(original);
        count_further(&mut plain, -1);
        let mut signed = Vec::with_capacity(plain.len() + request.0.len() + 128);
        put_u16(&mut signed, length(&request.0));
        signed.extend_from_slice(&request.0);
        signed.extend_from_slice(&plain);
        signed.extend_from_slice(&self.variables(time, fudge, error, other));
        let sound = hmac::verify(&self.key, &signed, mac).is_ok();
        Ok(if sound { Seal::Sound } else { Seal::Broken })
    }

    /// RFC 8945 §4.3.3.
    fn variables(&self, now: u64, fudge: u16, error: u16, other: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        put_name(&mut out, &self.name);
        put_u16(&mut out, CLASS_ANY);
        put_u32(&mut out, 0);
        put_name(&mut out, &self.algorithm_name());
        put_u48(&mut out, now);
        put_u16(&mut out, fudge);
        put_u16(&mut out, error);
        put_u16(&mut out, length(other));
        out.extend_from_slice(other);
        out
    }

    fn algorithm_name(&self) -> DomainName {
        // These few words are names.
        DomainName::parse(self.algorithm.word()).unwrap_or_else(|_| self.name.clone())
    }
}

fn length(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX)
}

/// Changes the count of further records in a header.
fn count_further(message: &mut [u8], by: i16) {
    if let Some(count) = message.get_mut(10..12) {
        let changed = u16::from_be_bytes([count[0], count[1]]).wrapping_add_signed(by);
        count.copy_from_slice(&changed.to_be_bytes());
    }
}

/// Words and quoted texts of a file in the manner of named.conf; remarks are left out.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '#' || rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if rest.starts_with("/*") {
            rest = rest.split_once("*/").map_or("", |(_, rest)| rest);
        } else if first == '"' {
            let (word, after) = rest[1..].split_once('"').unwrap_or((&rest[1..], ""));
            words.push(word.to_owned());
            rest = after;
        } else if first.is_whitespace() || matches!(first, '{' | '}' | ';') {
            rest = &rest[first.len_utf8()..];
        } else {
            let ends = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"');
            let end = rest.find(ends).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0IQ==";

    #[test]
    fn key_files_of_bind_and_knot_are_taken() {
        let one = format!("key \"acme.example\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{SECRET}\";\n}};\n");
        let terse = format!("// by hand\nkey acme.example. {{secret {SECRET};algorithm HMAC-SHA512;}};");
        let knot = format!(
            "# hmac-sha256:acme.example:{SECRET}\nkey:\n  - id: acme.example\n    algorithm: hmac-sha256\n"
        );
        for (text, algorithm) in
            [(one.as_str(), "hmac-sha256"), (&terse, "hmac-sha512"), (&knot, "hmac-sha256")]
        {
            let key = TsigKey::parse(text).unwrap();
            assert_eq!(format!("{key:?}"), format!("acme.example ({algorithm})"));
        }
    }

    #[test]
    fn what_is_no_key_is_told_without_its_secret() {
        for text in [
            "",
            "key \"a\" { algorithm hmac-md5; secret \"eA==\"; };",
            "key \"a\" { secret \"eA==\"; };",
            "key \"a\" { algorithm hmac-sha256; secret \"%%hush%%\"; };",
            "hmac-sha1:a:eA==",
            "key \"",
            "/* \"",
        ] {
            let error = TsigKey::parse(text).unwrap_err();
            assert!(!error.0.contains("hush"), "{text}");
        }
    }

    #[test]
    fn an_answer_is_believed_only_with_its_signature() {
        let key = TsigKey::new("k.example", "hmac-sha256", SECRET).unwrap();
        let other = TsigKey::new("k.example", "hmac-sha256", "b3RoZXI=").unwrap();
        let mut request = vec![0, 1, 0x28, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mac = key.sign(&mut request, 1_700_000_000);
        assert_eq!(request[10..12], [0, 1]);
        // An answer is signed over the request's signature too; written here as the server would.
        let plain = [0, 1, 0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let answer = |signer: &TsigKey| {
            let mut over = vec![0, 32];
            over.extend_from_slice(&mac.0);
            over.extend_from_slice(&plain);
            over.extend_from_slice(&signer.variables(5, FUDGE, 0, &[]));
            let mut scratch = plain.to_vec();
            let own = signer.sign(&mut scratch, 5);
            let signed = hmac::sign(&signer.key, &over);
            let at = scratch.windows(32).position(|window| window == own.0).unwrap();
            scratch[at..at + 32].copy_from_slice(signed.as_ref());
            scratch
        };
        assert_eq!(key.verify(&answer(&key), &mac), Ok(Seal::Sound));
        assert_eq!(key.verify(&answer(&other), &mac), Ok(Seal::Broken));
        assert_eq!(key.verify(&plain, &mac), Ok(Seal::None));
        let mut changed = answer(&key);
        changed[3] = 5;
        assert_eq!(key.verify(&changed, &mac), Ok(Seal::Broken));
    }

    proptest::proptest! {
        #[test]
        fn t10_no_octets_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120), text in "\\PC{0,80}") {
            let key = TsigKey::new("k.example", "hmac-sha512", SECRET).unwrap();
            let _ = key.verify(&bytes, &Mac(vec![0; 64]));
            let _ = TsigKey::parse(&text);
        }
    }
}
